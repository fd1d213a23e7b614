"""The one loop of all experiments: plans, progress, skipping, saving, hosts, dry run, report."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import Console

from rival_jax.experiments import clean
from rival_jax.experiments.costs import dry_run as dry_run
from rival_jax.experiments.costs import member, passes
from rival_jax.experiments.looked import looked
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.report.document import Document, shown_again, write_document
from rival_jax.report.results import Results
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.plans import Plans
from rival_jax.runtime.progress import Meter, phase
from rival_jax.runtime.results import Columns, Run
from rival_jax.types import Batch, Variables

OnBatch = Callable[[int], None]
"""Called with a batch's share of a unit's work, in what the experiment counts."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """A file of rows: computed unless it exists.

    Attributes:
      name: the file's path below `rows/`, without its ending: "vit_tiny/linf_0.1176".
      depends_on: JSON-able; everything that determines the file's contents.
      compute: returns the columns; usually a `Pass` over the images.
      flops: per thing counted, for the progress bar; 0: unknown.
      clean: the network's name on the page, if the rows include unchanged photos.
      everywhere: every host returns all rows, not only those of its own images.
    """

    name: str
    depends_on: Mapping[str, Any]
    compute: Callable[[OnBatch], Columns]
    flops: float = 0.0
    clean: str = ""
    everywhere: bool = False


@dataclasses.dataclass(frozen=True)
class Pass:
    """A function over all images of a split, and the rows that follow.

    Attributes:
      fn: `fn(variables, batch, *args) -> {name: [b, ...]}`; compiled once for equal functions.
      columns: turns the results of `fn` for this host's images, with `index`, into tidy columns.
      each: what one image adds to the experiment's count.
      batches: default: the evaluated split's.
      weights: reads weights to use instead of the loaded network's, when needed.
      further: arguments of further calls over all images, each in place of `args`; their results
        [n, k] are joined with the first's along the second axis.
    """

    subject: Subject
    loaded: Loaded
    size: int  # images per step
    fn: parallel.PerExample
    args: tuple[Any, ...]
    columns: Callable[[parallel.Rows], Columns]
    each: int = 1
    batches: Callable[[], Iterable[Batch]] | None = None
    weights: Callable[[], Variables] | None = None
    further: Sequence[tuple[Any, ...]] = ()

    def __call__(self, on_batch: OnBatch) -> Columns:
        """The columns; `on_batch` is called after every batch."""
        found, *others = (self._mapped(args, on_batch) for args in (self.args, *self.further))
        for name in found.keys() - {"index"} if others else ():
            found[name] = np.concatenate([one[name] for one in (found, *others)], 1)
        return self.columns(found)

    def _mapped(self, args: tuple[Any, ...], on_batch: OnBatch) -> parallel.Rows:
        examples = self.subject.examples(self.loaded.geometry)
        return parallel.map_examples(
            self.fn if self.batches else parallel.Bound(parallel.of_bytes, (self.fn,)),
            self.weights() if self.weights else self.loaded.variables,
            self.batches() if self.batches else examples.batches(self.size, dtype=np.uint8),
            self.subject.mesh,
            *args,
            on_batch=lambda images: on_batch(images * self.each),
            sharding=self.subject.sharding,
        )


@dataclasses.dataclass
class Bench:
    """What the units of a run share.

    Attributes:
      files: the finished units of this run, by name.
      cards: facts about the networks, for models.json.
    """

    run: Run
    plans: Plans
    meter: Meter
    files: dict[str, Path] = dataclasses.field(default_factory=dict)
    cards: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    computed: int = 0

    def plan(self, loaded: Loaded, pick: Callable[[Loaded], Any], **asked: Any) -> dict[str, Any]:
        """A network's plan, see `Plans`; adds its card."""
        plan = self.plans.of(loaded.model.name, functools.partial(pick, loaded), **asked)
        self.cards.append({**loaded.facts, "flops": plan["flops"]})
        return plan


class Experiment(Protocol):
    """What can be run: an object made from a config after checking everything that can be wrong.

    Optional members, of the experiment or else of its subject: `work(bench)` yields the units of
    all networks in place of `units`; `heads()` returns each network's heads, name -> options;
    `pick(loaded)` returns a plan, see `Plans`; `facts()` is data.json; `passes(model)` returns what
    is done with a network, in words, and its forward passes, in place of `forwards`;
    `most_forwards()`, if rows decide whether there are more than `forwards`; `costs()` yields
    (text, seconds), or (text, least, most), for a dry run; `total()` is how much there is of what
    `counted` names, if not forward passes.
    """

    subject: Subject
    config: Any

    def forwards(self) -> int:
        """Forward passes per image and network, over all units."""
        ...

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network under one head; nothing is computed yet."""
        ...

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and its page, from the finished files of rows."""
        ...


def run(experiment: Any, run: Run, console: Console) -> None:
    """Computes the missing units, then results, figures and report."""
    facts = member(experiment, "facts")
    run.settle(facts())
    work = member(experiment, "work", functools.partial(networks, experiment))
    counted = member(experiment, "counted", "forwards")
    forwards = lambda: sum(passes(experiment, m)[1] for m in experiment.subject.models)  # noqa: E731
    with Meter(member(experiment, "total", forwards)(), counted, console) as meter:
        bench = Bench(run, Plans(run, experiment.subject.mesh.size), meter)
        for unit in work(bench):
            meter.say(f"measuring {unit.name.replace('/', ' ')}", unit.flops)
            compute = functools.partial(unit.compute, meter.advance)
            bench.computed += run.rows(
                unit.name, unit.depends_on, compute, everywhere=unit.everywhere, about=meter.lap
            )
            bench.files[unit.name] = path = run.unit_path(unit.name, unit.depends_on)
            if unit.clean:
                clean.check(experiment.subject, unit.clean, path)
    run.save_json("models.json", bench.cards)
    units = {name: path.relative_to(run.path).as_posix() for name, path in bench.files.items()}
    run.save_json("units.json", units)
    console.print(f"{bench.computed} of {len(units)} units computed, the others were there")
    if not bench.computed and not run.pdf and run.finished():
        seen = (run.read_json("data.json") or {}).get("notices", [])
        if set(facts().get("notices", ())) <= set(seen):
            experiment.subject.note(*seen)  # also of what was seen in the rows
            shown_again(run, console)
            return
    run.save_json("data.json", facts())
    if hosts.first():
        with phase("computing intervals", console):
            results, document = experiment.report(run, bench.files)
        run.save_json("data.json", facts())  # with what was seen in the rows
        results.write(run.path)
        write_document(run, console, document, looked(run))


def networks(experiment: Any, bench: Bench) -> Iterator[Unit]:
    """The units of every network and head."""
    subject = experiment.subject
    images = len(subject.first_examples())
    heads = member(experiment, "heads", lambda: {experiment.config.head: {}})()
    pick, asked = member(experiment, "pick"), member(experiment, "asked", {})
    for name in experiment.config.models:
        loaded, told = None, []
        for head, options in heads.items():
            loaded = subject.load(name, **options)
            model = loaded.model.name
            chosen = functools.partial(pick, loaded)
            plan = bench.plans.of(model, chosen, images=images, **asked)
            told.append(loaded.facts["head"])
            yield from experiment.units(loaded, plan, head)
        assert loaded is not None
        bench.cards.append({**loaded.facts, "head": " | ".join(told), "flops": plan["flops"]})
