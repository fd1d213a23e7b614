"""The one training loop: batches in, weights out; stops and goes on at any step, bit for bit."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rival_jax.runtime import finite, parallel
from rival_jax.runtime.checkpoints import Checkpoints
from rival_jax.runtime.signals import EXIT_INTERRUPTED, Caught, Interrupted
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


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the trainings that run in one program."""

    name: str
    seed: int
    learning_rate: float
    numbers: Mapping[str, float]  # options of the objective that may differ within one program


@dataclasses.dataclass(frozen=True)
class Data:
    """Where the trainings' batches come from; functions of their arguments alone."""

    per_epoch: int  # batches
    train: Callable[[int, int, int], Iterator[Batch]]  # (seed, epoch, first batch) -> the rest
    held_out: Callable[[int], Iterator[Batch]]  # seed -> what epochs are compared on
    name: Callable[[int, int], str]  # (seed, index in a batch) -> the example's name


@dataclasses.dataclass(frozen=True)
class Watch:
    """Who is told what while a training runs."""

    on_step: Callable[[int], None] = lambda images: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None  # of one member's history
    say: Callable[[str], None] = print


@dataclasses.dataclass(frozen=True)
class Trained:
    """One training's outcome."""

    best: Variables  # of the epoch with the smallest held-out loss
    last: Variables
    history: list[dict[str, Any]]  # see `fit`


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
    seconds: float = 30.0,
    watch: Watch | None = None,
) -> list[Trained]:
    """Trains some networks from the same weights, all in one program.

    Every example of an epoch once, then the mean loss on what is held out, which picks the best
    epoch. The state is saved at least every `seconds`, and when SIGTERM or SIGINT arrives; called
    again with the same arguments, this goes on from there and ends with the same bits.

    Args:
      terms: see `update.Terms`; compiled once for equal ones, so pass a `parallel.Bound`.
      variables: of the network; "params" are trained.
      recipe, members, data: see there. The members' batches are of one size.
      mesh: batches are split over its axis `data`.
      folder: of the saved states, and of the batch that a number that is not finite came from.
      about: JSON-able; what the result follows from, beside recipe and members.
      watch: who is told.

    Returns:
      For each member its weights and history: by epoch {"epoch", "learning_rate", "train": {term:
      mean}, "held_out": {term: mean}, "best": bool}. The first is of epoch -1, the network as it
      came, with None for "learning_rate" and "train".

    Raises:
      ValueError: if a term is NaN or infinite: with the step, the term and the file of the batch;
        or if `folder` holds the state of another training.
      Interrupted: after a signal.
    """
    known = {"recipe": dataclasses.asdict(recipe), **about}
    known["members"] = [dataclasses.asdict(member) for member in members]
    saved = Checkpoints(folder / "state", known, seconds=seconds)
    loop = _Loop(terms, variables, recipe, members, data, mesh, folder, saved, watch or Watch())
    return loop.run()


def forget(folder: Path) -> None:
    """Deletes the saved states of a training whose outcome is kept elsewhere."""
    shutil.rmtree(folder / "state", ignore_errors=True)
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
        mesh: Mesh,
        folder: Path,
        saved: Checkpoints,
        watch: Watch,
    ):
        self.terms, self.recipe, self.members, self.data = terms, recipe, list(members), data
        self.mesh, self.folder, self.saved, self.watch = mesh, folder, saved, watch
        if any(member.numbers.keys() != members[0].numbers.keys() for member in members):
            raise ValueError("members of one program need the same numbers")
        self.numbers = [
            {name: np.float32(value) for name, value in member.numbers.items()}
            for member in members
        ]
        self.stacked = jax.tree.map(lambda *values: np.stack(values), *self.numbers)
        self.rest = {kind: tree for kind, tree in variables.items() if kind != "params"}
        some = next(data.held_out(members[0].seed))
        shapes = jax.eval_shape(terms, variables, some, self.numbers[0])
        state = begin(recipe, variables, sorted(shapes), len(members))
        self.state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
        self.epoch, self.batch = 0, 0  # the next batch to be computed
        self.history: list[dict[str, Any]] = []  # an entry an epoch; its numbers are lists
        self.update = compiled(terms, recipe, mesh, len(members))

    def run(self) -> list[Trained]:
        """All epochs that are left."""
        with Caught() as caught:  # from here on: a signal while the state is read is not lost
            found = self.saved.restore(self.state)
            if found:
                self.state, place = found
                self.epoch, self.batch = place["epoch"], place["batch"]
                self.history = place["history"]
                self.watch.on_step(self.recipe.batch_size * self._done() * len(self.members))
            if not self.history:
                self._enter(-1, None, self._held_out(), [], [])
            while self.epoch < self.recipe.epochs:
                self._batches_left(caught)
                self._compare()
                self.epoch, self.batch = self.epoch + 1, 0
                if self.saved.due() or caught.name or self.epoch == self.recipe.epochs:
                    self._save()
                if caught.name and self.epoch < self.recipe.epochs:
                    self._stop(caught)
        return [self._outcome(place) for place in range(len(self.members))]

    def _batches_left(self, caught: Caught) -> None:
        """The updates that are left of this epoch."""
        rate = np.array(self._rates(), np.float32)
        running: tuple[Any, ...] | None = None
        for batches in self._read():
            batch = arranged(batches, self.recipe.accumulate, self.mesh.size)
            given = (self.state, self.rest, batch, rate, self.stacked)
            self.state, found, norm = self.update(*given)
            if running:  # one step behind, so that reading the next batch overlaps computing
                self._check(*running)
            running = (self._done(), batch, found, norm)
            self.batch += 1
            if caught.name or self.saved.due():
                self._check(*running)
                running = None
                self._save()
            if caught.name:
                self._stop(caught)
        if running:
            self._check(*running)

    def _read(self) -> Iterator[list[Batch]]:
        """What is left of this epoch: a batch for every member."""
        seeds = list(dict.fromkeys(member.seed for member in self.members))
        streams = [self.data.train(seed, self.epoch, self.batch) for seed in seeds]
        left = self.data.per_epoch - self.batch
        for batches in itertools.islice(zip(*streams, strict=True), left):
            by_seed = dict(zip(seeds, batches, strict=True))
            yield [by_seed[member.seed] for member in self.members]

    def _compare(self) -> None:
        """Ends an epoch: means, and the better weights kept."""
        sums, seen = jax.device_get((self.state["sums"], self.state["seen"]))
        train = {name: (value.astype(np.float64) / seen).tolist() for name, value in sums.items()}
        held_out = self._held_out()
        losses = np.array(held_out["total"], np.float32)
        better = is_better(self.recipe.ties, losses, np.asarray(self.state["best_loss"]))
        self.state = end_epoch(self.recipe.ties, self.state, losses)
        self._enter(self.epoch, train, held_out, self._rates(), better.tolist())

    def _held_out(self) -> dict[str, list[float]]:
        """Mean of every term over what is held out, for each member."""
        means: dict[str, list[float]] = {}
        for place, member in enumerate(self.members):
            params = picked(self.state["params"], place, self.recipe.dtype)
            found = parallel.map_examples(
                self.terms,
                {**self.rest, "params": params},
                self.data.held_out(member.seed),
                self.mesh,
                self.numbers[place],
            )
            for name in sorted(found.keys() - {"index"}):
                mean = float(np.mean(found[name], dtype=np.float64))
                means.setdefault(name, []).append(mean)
                if not np.isfinite(mean):
                    raise ValueError(
                        f"{member.name}: the term {name!r} of the held-out images is {mean} after "
                        f"step {self._done()}; {finite.CURE}"
                    )
        return means

    def _check(self, step: int, batch: Mapping[str, Any], found: Any, norm: Any) -> None:
        """Counts a step's images; raises ValueError if a number of it is not finite."""
        values = {name: np.asarray(value) for name, value in found.items()}
        values["gradient"] = np.asarray(norm)[:, None]
        if not finite.all_finite(values):
            names = [member.name for member in self.members]
            named = lambda place, index: self.data.name(self.members[place].seed, index)  # noqa: E731
            finite.refuse(values, batch, names, named, self.folder, step)
        self.watch.on_step(int((batch["index"] >= 0).sum()))

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
            self.watch.on_epoch({"member": member.name, **_of_member(self.history[-1], place)})

    def _rates(self) -> list[float]:
        return [self.recipe.rate(member.learning_rate, self.epoch) for member in self.members]

    def _done(self) -> int:
        return self.epoch * self.data.per_epoch + self.batch

    def _save(self) -> None:
        place = {"epoch": self.epoch, "batch": self.batch, "history": self.history}
        self.saved.save(self._done(), self.state, place)

    def _stop(self, caught: Caught) -> None:
        total = self.recipe.epochs * self.data.per_epoch
        self.watch.say(
            f"{caught.name} after step {self._done()} of {total}: the state is saved. Run the same "
            f"command again to go on (exit code {EXIT_INTERRUPTED})"
        )
        raise Interrupted

    def _outcome(self, place: int) -> Trained:
        history = [_of_member(entry, place) for entry in self.history]
        chosen = max(i for i, entry in enumerate(history) if entry["best"])
        for number, entry in enumerate(history):
            entry["best"] = number == chosen
        found = (picked(self.state[name], place) for name in ("best", "params"))
        best, last = ({**self.rest, "params": params} for params in found)
        return Trained(best, last, history)


def _of_member(entry: Mapping[str, Any], place: int) -> dict[str, Any]:
    """One member's part of an entry of the history; "best" is so far."""
    train, rates, better = entry["train"], entry["learning_rate"], entry["better"]
    return {
        "epoch": entry["epoch"],
        "learning_rate": rates[place] if rates else None,
        "train": train and {name: values[place] for name, values in train.items()},
        "held_out": {name: values[place] for name, values in entry["held_out"].items()},
        "best": bool(better and better[place]),
    }
