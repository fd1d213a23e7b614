"""States of a training on disk, through Orbax: complete or absent, even after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from rival_jax.runtime import buckets, checksums, hosts

KEPT = 2  # the newest states; the previous one stays until the newest is complete


class Checkpoints:
    """The newest states of one training in a folder.

    A state is a tree of arrays (weights, the optimiser's moments, running sums) and a JSON-able
    position (epoch, batch, history). Data order, crops and noise are functions of seed and
    position, so the position is all there is to save of the data iterator and of random numbers.

    All hosts make the same calls; each writes its part of the arrays. A state can be read onto any
    number of hosts and devices.

    Args:
      folder: created with the first state; all hosts see it.
      about: JSON-able; everything that determines the training. A folder with states of another
        training is refused.
      seconds: between the states that `due` requests.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], *, seconds: float = 30.0):
        self.folder, self.seconds = _place(folder), seconds
        self.about = json.loads(json.dumps(about))
        self._saved = self._asked = time.monotonic()
        self._step = self._next = self._gap = 0  # steps: asked at, to be asked at, between both
        self._open: ocp.CheckpointManager | None = None

    def due(self, step: int) -> bool:
        """Whether `seconds` have passed since the last state was saved: the same on all hosts.

        Call it after every step. The first host's clock is only read now and then, more often for
        slow steps, since hosts need time to agree.
        """
        if step < self._next:
            return False
        now = time.monotonic()
        pace = (now - self._asked) / max(1, step - self._step)
        left, pace = hosts.agreed([self.seconds - (now - self._saved), pace])
        self._gap = max(1, min(2 * self._gap, int(left / max(pace, 1e-9))))
        self._asked, self._step, self._next = now, step, step + self._gap
        return left <= 0

    def save(self, step: int, tree: Any, position: Mapping[str, Any]) -> None:
        """Writes a state; returns when it is on disk. Keeps one older state.

        Args:
          step: updates done; larger than for every earlier state.
          tree: arrays, named by their place in it.
          position: JSON-able.
        """
        manager = self._manager()
        if step not in manager.all_steps():
            note = {"about": self.about, "position": dict(position)}
            parts = ocp.args.Composite(
                state=ocp.args.StandardSave(tree), note=ocp.args.JsonSave(note)
            )
            manager.save(step, args=parts)
            manager.wait_until_finished()
            self._note(step)
        self._saved = time.monotonic()

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest state and its position, or None.

        Args:
          like: a tree of the expected arrays; restored ones lie on the same devices.

        Raises:
          ValueError: if the states are another training's, or a network's with other shapes; if the
            newest is unreadable or has changed.
        """
        if not hosts.agreed(self.folder.is_dir()):
            return None
        manager = self._manager()
        step = manager.latest_step()
        if step is None:
            return None
        if not hosts.decided(lambda: self._as_written(step)):
            raise ValueError(self._damaged(step, "is not as it was written"))
        asked = ocp.args.Composite(note=ocp.args.JsonRestore())
        note = self._read(manager, step, asked)["note"]
        _refuse_another_run(self.folder, note["about"], self.about)
        self._check_shapes(manager, step, like)
        wanted = ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, like))
        state = self._read(manager, step, ocp.args.Composite(state=wanted))["state"]
        return state, note["position"]

    def _read(self, manager: ocp.CheckpointManager, step: int, asked: Any) -> Any:
        try:
            return manager.restore(step, args=asked)
        except Exception as error:  # of many kinds, depending on where Orbax meets the damage
            words = " ".join(str(error).split())[:200]
            raise ValueError(self._damaged(step, f"cannot be read ({words})")) from error

    def _damaged(self, step: int, how: str) -> str:
        return (
            f"the training state {self.folder / str(step)} {how}; delete it to go on from the one "
            f"before, or {self.folder} to begin anew"
        )

    def _note(self, step: int) -> None:
        """Keeps a checksum of a state that one process has written to a disk.

        Orbax has none for the values. With several hosts, one may not see yet what the others
        wrote, and buckets check their bytes themselves.
        """
        if not isinstance(self.folder, Path):
            return
        for file in self.folder.glob(f"*{checksums.ENDING}"):
            if hosts.first() and (file.stem == str(step) or not file.with_suffix("").exists()):
                file.unlink(missing_ok=True)
        if hosts.count() == 1:
            checksums.note(self.folder / str(step))

    def _as_written(self, step: int) -> bool:
        """Whether a state matches its stored checksum, if there is one."""
        if not isinstance(self.folder, Path):
            return True
        noted = (self.folder / f"{step}{checksums.ENDING}").exists()
        return not noted or checksums.holds(self.folder / str(step))

    def _manager(self) -> ocp.CheckpointManager:
        if self._open is None:
            options = ocp.CheckpointManagerOptions(
                max_to_keep=KEPT,
                cleanup_tmp_directories=True,  # left half written by a kill
                enable_async_checkpointing=False,  # the loop reuses the arrays' memory
            )
            handlers = {
                "state": ocp.StandardCheckpointHandler(),
                "note": ocp.JsonCheckpointHandler(),
            }
            self._open = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)
        return self._open

    def _check_shapes(self, manager: ocp.CheckpointManager, step: int, like: Any) -> None:
        there = manager.item_metadata(step)["state"]
        found = _shapes(getattr(there, "tree", there))
        expected = _shapes(like)
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) != expected.get(name):
                raise ValueError(
                    f"the training state in {self.folder} is of another architecture: {name} is "
                    f"{found.get(name, 'not there')}, expected {expected.get(name, 'no such leaf')}"
                    "; name another --workdir"
                )


def delete(folder: Path) -> None:
    """Removes the states in a folder; called by every host once none reads them."""
    hosts.barrier()
    if hosts.first():
        epath.Path(_place(folder)).rmtree(missing_ok=True)


def _place(folder: Path) -> Any:
    """The place all hosts share: the folder, or its counterpart in a bucket."""
    return buckets.remote(folder) or folder.resolve()


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes by name; field names of tuples and keys of dicts are treated alike."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path): (
            tuple(leaf.shape)
        )
        for path, leaf in leaves
    }


def _refuse_another_run(folder: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [
        f"{key}: {there.get(key)!r} there, {now.get(key)!r} now"
        for key in sorted(there.keys() | now.keys())
        if there.get(key) != now.get(key)
    ]
    if changed:
        raise ValueError(
            f"{folder} holds the state of another training ({'; '.join(changed[:3])}); name "
            "another --workdir, or delete that folder to begin anew"
        )
