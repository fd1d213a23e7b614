"""The one training loop: batches in, weights out; can stop and resume at any step, bit for bit."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from rival_jax.runtime import finite, footprint, hosts, parallel, profile
from rival_jax.runtime.checkpoints import Checkpoints, delete
from rival_jax.runtime.members import Data, Member, Trained, Watch, of_member
from rival_jax.runtime.placement import placed, spread, whole
from rival_jax.runtime.signals import Interrupted
from rival_jax.runtime.update import (
    Recipe,
    Terms,
    arranged,
    begin,
    compiled,
    end_epoch,
    is_better,
    picked,
)
from rival_jax.types import Batch, Variables


def fit(
    terms: Terms,
    variables: Variables,
    recipe: Recipe,
    members: Sequence[Member],
    data: Data,
    *,
    mesh: Mesh,
    folder: Path,
    about: Mapping[str, Any],
    sharding: str = "replicated",
    seconds: float = 30.0,
    watch: Watch | None = None,
) -> list[Trained]:
    """Trains several networks from the same weights, all in one program.

    An epoch takes every example once; then the mean loss on the held-out images picks the best
    epoch. The state is saved about every `seconds`, and when SIGTERM or SIGINT arrives at any host;
    a call with the same arguments resumes from there and ends with the same bits, or on another
    mesh with the same numbers up to rounding. Every host makes the same call.

    Args:
      terms: see `update.Terms`; compiled once for equal ones, so pass a `parallel.Bound`.
      variables: the network's; "params" are trained.
      recipe, members, data: see their classes. All members' batches have the same size.
      mesh: batches are split over its axis `data`.
      sharding: how weights and moments are placed, see `placement.SHARDINGS`.
      folder: for saved states, and for the batch that caused a number that is not finite.
      about: JSON-able; what, besides recipe and members, determines the result.
      watch: callbacks.

    Returns:
      For each member its weights and history: by epoch {"epoch", "learning_rate", "train": {term:
      mean}, "held_out": {term: mean}, "best": bool}. The first entry is epoch -1, the initial
      network, with None for "learning_rate" and "train".

    Raises:
      ValueError: if a term is NaN or infinite, with the step, the term and the batch's file; or if
        `folder` holds another training's state.
      Interrupted: after a signal.
    """
    known = {"recipe": dataclasses.asdict(recipe), **about}
    known["members"] = [dataclasses.asdict(member) for member in members]
    saved = Checkpoints(folder / "state", known, seconds=seconds)
    layout = (mesh, sharding)
    loop = _Loop(terms, variables, recipe, members, data, layout, folder, saved, watch or Watch())
    return loop.run()


def measure(
    terms: Terms,
    variables: Variables,
    numbers: Mapping[str, float],
    batch: Batch,
    mesh: Mesh,
    sharding: str = "replicated",
) -> footprint.Cost:
    """The cost of one example in an update, without the optimiser; arguments as for `fit`."""
    given = {name: np.float32(value) for name, value in numbers.items()}

    def loss(params: Any, variables: Variables, batch: Any) -> Any:
        return terms({**variables, "params": params}, batch, given)["total"].mean()

    slope = lambda variables, batch: jax.grad(loss)(variables["params"], variables, batch)  # noqa: E731
    return footprint.measure(slope, variables, batch, mesh, sharding)


def forget(folder: Path) -> None:
    """Deletes the saved states of a training whose outcome is stored elsewhere."""
    delete(folder / "state")
    with contextlib.suppress(OSError):
        folder.rmdir()  # unless something else is in it


class _Loop:
    """A training while it runs."""

    def __init__(
        self,
        terms: Terms,
        variables: Variables,
        recipe: Recipe,
        members: Sequence[Member],
        data: Data,
        layout: tuple[Mesh, str],
        folder: Path,
        saved: Checkpoints,
        watch: Watch,
    ):
        self.terms, self.recipe, self.members, self.data = terms, recipe, list(members), data
        self.mesh, self.sharding = layout
        self.folder, self.saved, self.watch = folder, saved, watch
        if any(member.numbers.keys() != members[0].numbers.keys() for member in members):
            raise ValueError("members of one program need the same numbers")
        self.numbers = [
            {name: np.float32(value) for name, value in member.numbers.items()}
            for member in members
        ]
        self.stacked = jax.tree.map(lambda *values: np.stack(values), *self.numbers)
        self.given = {kind: tree for kind, tree in variables.items() if kind != "params"}
        self.rest = placed(self.given, self.mesh, "replicated")
        some = next(data.held_out(members[0].seed))
        names = sorted(jax.eval_shape(terms, variables, some, self.numbers[0]))
        self.state = begin(recipe, variables, names, len(members), *layout)
        self.epoch, self.batch = 0, 0  # the next batch to compute
        self.history: list[dict[str, Any]] = []  # an entry per epoch; its numbers are lists
        self.update = compiled(terms, recipe, self.mesh, len(members), self.sharding)

    def run(self) -> list[Trained]:
        """Runs all remaining epochs."""
        with hosts.Stop() as stop:  # already here: a signal while the state is read counts
            found = self.saved.restore(self.state)
            if found:
                self.state, place = found
                self.epoch, self.batch = place["epoch"], place["batch"]
                self.history = place["history"]
                images = self.recipe.batch_size * self._done() * len(self.members)
                self.watch.on_step(images // hosts.count())
            if not self.history:
                self._enter(-1, None, self._held_out(), [], [])
            while self.epoch < self.recipe.epochs:
                self._batches_left(stop)
                self._compare()
                self.epoch, self.batch = self.epoch + 1, 0
                signal = stop.asked()
                last = self.epoch == self.recipe.epochs
                if last or signal or self.saved.due(self._done()):
                    self._save()
                if signal:
                    self._stop(signal)
        return [self._outcome(place) for place in range(len(self.members))]

    def _batches_left(self, stop: hosts.Stop) -> None:
        """Runs the remaining updates of this epoch."""
        rate = np.array(self._rates(), np.float32)
        running: tuple[Any, ...] | None = None
        for batches in profile.timed(self._read()):
            here = arranged(batches, self.recipe.accumulate, len(self.mesh.local_devices))
            batch = spread(here, self.mesh, 2)
            self.state, seen = self.update(self.state, self.rest, batch, rate, self.stacked)
            if running:  # one step behind, so that reading the next batch overlaps computing
                self._check(*running)
            running = (self._done(), here, seen)
            self.batch += 1
            signal = stop.asked()
            if signal or self.saved.due(self._done()):
                self._check(*running)
                running = None
                self._save()
            if signal:
                self._stop(signal)
        if running:
            self._check(*running)

    def _read(self) -> Iterator[list[Batch]]:
        """The rest of this epoch: at each step a batch for every member."""
        seeds = list(dict.fromkeys(member.seed for member in self.members))
        streams = [self.data.train(seed, self.epoch, self.batch) for seed in seeds]
        left = self.data.per_epoch - self.batch
        for batches in itertools.islice(zip(*streams, strict=True), left):
            by_seed = dict(zip(seeds, batches, strict=True))
            yield [by_seed[member.seed] for member in self.members]

    def _compare(self) -> None:
        """Ends an epoch: records means, and keeps the better weights."""
        sums, seen = whole((self.state["sums"], self.state["seen"]))
        train = {name: (value.astype(np.float64) / seen).tolist() for name, value in sums.items()}
        held_out = self._held_out()
        losses = np.array(held_out["total"], np.float32)
        better = is_better(self.recipe.ties, losses, whole(self.state["best_loss"]))
        self.state = end_epoch(self.recipe.ties, self.mesh, self.sharding, self.state, losses)
        self._enter(self.epoch, train, held_out, self._rates(), better.tolist())

    def _held_out(self) -> dict[str, list[float]]:
        """Mean of every term over the held-out images, for each member."""
        means: dict[str, list[float]] = {}
        for place, member in enumerate(self.members):
            params = picked(self.state["params"], place, self.recipe.dtype)
            rows = parallel.map_examples(
                self.terms,
                {**self.rest, "params": params},
                self.data.held_out(member.seed),
                self.mesh,
                self.numbers[place],
                sharding=self.sharding,
            )
            found = hosts.gathered_rows(rows)
            for name in sorted(found.keys() - {"index"}):
                mean = float(np.mean(found[name], dtype=np.float64))
                means.setdefault(name, []).append(mean)
                if not np.isfinite(mean):
                    raise ValueError(
                        f"{member.name}: the term {name!r} of the held-out images is {mean} after "
                        f"step {self._done()}; {finite.CURE}"
                    )
        return means

    def _check(self, step: int, here: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """Counts a step's images; raises ValueError if one of its numbers is not finite."""
        values = whole(seen)
        if not finite.all_finite(values):
            names = [member.name for member in self.members]
            named = lambda place, index: self.data.name(self.members[place].seed, index)  # noqa: E731
            batch = whole(spread(here, self.mesh, 2))
            finite.refuse(values, batch, names, named, self.folder, step)
        profile.on_step()
        self.watch.on_step(int((here["index"] >= 0).sum()))

    def _enter(
        self,
        epoch: int,
        train: Mapping[str, list[float]] | None,
        held_out: Mapping[str, list[float]],
        rates: list[float],
        better: list[bool],
    ) -> None:
        entry = {"epoch": epoch, "learning_rate": rates, "train": train}
        self.history.append({**entry, "held_out": dict(held_out), "better": better})
        for place, member in enumerate(self.members):
            self.watch.on_epoch({"member": member.name, **of_member(self.history[-1], place)})

    def _rates(self) -> list[float]:
        return [self.recipe.rate(member.learning_rate, self.epoch) for member in self.members]

    def _done(self) -> int:
        return self.epoch * self.data.per_epoch + self.batch

    def _save(self) -> None:
        place = {"epoch": self.epoch, "batch": self.batch, "history": self.history}
        self.saved.save(self._done(), self.state, place)

    def _stop(self, signal: str) -> None:
        total = self.recipe.epochs * self.data.per_epoch
        self.watch.say(f"{signal} after step {self._done()} of {total}: the state is saved")
        raise Interrupted(signal)

    def _outcome(self, place: int) -> Trained:
        history = [of_member(entry, place) for entry in self.history]
        chosen = max(i for i, entry in enumerate(history) if entry["best"])
        for number, entry in enumerate(history):
            entry["best"] = number == chosen
        found = (whole(picked(self.state[name], place)) for name in ("best", "params"))
        best, last = ({**whole(self.given), "params": params} for params in found)
        return Trained(best, last, history)
