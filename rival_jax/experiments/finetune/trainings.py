"""The trainings of a finetuning: which there are, how they are run, where networks are kept."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rival_jax import models
from rival_jax.configs.finetune import Config
from rival_jax.data.source import refuse_overlap
from rival_jax.data.training import Images, Training
from rival_jax.experiments import head_context
from rival_jax.experiments.finetune.photos import source, training
from rival_jax.experiments.finetune.variants import Setting, settings
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.heads import imagenet
from rival_jax.runtime import checksums, footprint, hosts, train
from rival_jax.runtime.members import Member, columns
from rival_jax.runtime.results import Run, digest
from rival_jax.runtime.tensorboard import watched
from rival_jax.types import Array, Model, Variables

ROWS_VERSION = 2  # part of every unit's hash: raise it when the same inputs give other rows
CHECKPOINTS = ("best", "last")


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: a setting and a seed."""

    setting: Setting
    seed: int
    images: Images  # that it is trained on
    shown: int  # images in an epoch
    depends_on: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of its rows and models."""
        return f"{self.setting.name}_seed{self.seed}"

    def folder(self, run: Run, checkpoint: str) -> Path:
        """Where its network is kept, for `models.load`."""
        return run.path / "models" / digest(self.depends_on) / f"{self.name}_{checkpoint}"

    def unit(self, history: Sequence[Mapping[str, Any]] = ()) -> Unit:
        """Its rows, made from the history of its epochs, which may be left out if they exist."""
        told = {"model": self.name, "variant": self.setting.name, "seed": self.seed}
        compute = lambda on_batch: columns(history, told)  # noqa: E731
        return Unit(f"{self.name}/training", self.depends_on, compute, everywhere=True)


def kept(folder: Path) -> Variables:
    """A finetuned network's weights, from the folder that `Job.folder` names.

    Raises FileNotFoundError or ValueError if they are missing or changed.
    """
    name = folder.name.rpartition("_")[0]
    cure = f"delete {folder.parents[2] / 'rows' / name} to train it again"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is gone, but its rows exist; {cure}")
    if not checksums.holds(folder):
        raise ValueError(f"{folder} is not as it was written; {cure}")
    return models.load(str(folder))[1]


@jax.jit
def mixed(original: Variables, tuned: Variables, alpha: Array | float) -> Variables:
    """Weights on the straight line between two networks (WiSE-FT); alpha 1 is the finetuned one."""
    mix = lambda a, b: ((1 - alpha) * a + alpha * b).astype(a.dtype)  # noqa: E731
    return {**original, "params": jax.tree.map(mix, original["params"], tuned["params"])}


class Trainings:
    """The original network, the training images and all trainings, checked before any starts."""

    def __init__(self, config: Config, tests: Mapping[str, Subject]):
        self.config, self.subject = config, next(iter(tests.values()))
        self.raw = self.subject.models[0]
        self.original = self.subject.load(config.models[0])
        if "params" not in self.original.variables:
            raise ValueError(
                f"head {config.head!r} cannot be finetuned through; pass --config.head=own, or "
                "imagenet for a network with ImageNet's 1000 outputs"
            )
        self.on_cpu = self.subject.mesh.devices.flat[0].platform == "cpu"
        self._costs: dict[Any, footprint.Cost] = {}
        trained, labels = outputs(self.subject, self.raw, self.original)
        self.settings = settings(config, trained)
        self.training: dict[Any, Training] = {}  # by `Setting.seen`
        examples = {name: test.first_examples() for name, test in tests.items()}
        for masks in dict.fromkeys(setting.masks for setting in self.settings):
            found = source(config, masks, self.subject.first_examples().classes)
            for name, one in examples.items():
                splits = "the training split", f"the test set {name}"
                why = "a network would be tested on what it was finetuned on. Give the data two"
                refuse_overlap(found.names, one.names, splits, f"{why} splits")
            given, every = (self.subject, found, self.original.geometry, labels), self.settings
            sizes = dict.fromkeys(one.sizes for one in every if one.masks == masks)
            made = {(masks, some): training(*given, **dict(some)) for some in sizes}
            most = max(one.shown for one in made.values())  # equally many updates for all
            some = {key: dataclasses.replace(one, shown=most) for key, one in made.items()}
            self.training |= some
        self.jobs = [self._job(one, seed) for one in self.settings for seed in config.seeds]

    def _job(self, setting: Setting, seed: int) -> Job:
        """A training, and everything that determines its result."""
        mine, config = self.training[setting.seen], self.config
        seen, shown = mine.images[seed], mine.shown
        about = {
            "version": ROWS_VERSION,
            "model": self.original.digest,
            "objective": [setting.variant, setting.options],
            "learning_rate": setting.learning_rate,
            "recipe": dataclasses.asdict(setting.recipe),
            "augmentation": config.train.augmentation,
            "outputs": config.outputs,
            "mask": config.data.mask,
            "seed": seed,
            "data": {part: getattr(seen, part).fingerprint for part in ("train", "validation")},
        }
        if shown > len(seen.train):
            about["shown"] = shown
        return Job(setting, seed, seen, shown, about)

    def units(self, bench: Bench) -> Iterator[Unit]:
        """A unit for every training; a group with a missing unit is run first."""
        run, kinds = bench.run, dict[Any, list[Job]]()  # a kind's trainings may share a program
        for job in self.jobs:
            one = job.setting
            key = one.terms, one.seen, one.recipe, tuple(one.numbers)
            kinds.setdefault(key, []).append(job)
        for mine in kinds.values():
            size = self._together(mine[0].setting)
            for jobs in (mine[start : start + size] for start in range(0, len(mine), size)):
                units = [job.unit() for job in jobs]
                paths = [run.unit_path(unit.name, unit.depends_on) for unit in units]
                yield from units if all(map(run.intact, paths)) else self._fitted(jobs, bench)

    def _together(self, setting: Setting) -> int:
        """How many trainings run in one program."""
        asked = self.config.train.together
        if asked != "auto":
            return int(asked)
        if self.on_cpu:  # one training fills its cores; several only spill caches
            return 1
        budget = footprint.memory_budget(self.subject.mesh.devices.flat[0])
        bytes_each = self.step_cost(setting).bytes * self.config.train.batch
        return hosts.agreed(max(1, int(budget / max(bytes_each, 1))))

    def costs(self) -> Iterator[tuple[str, float]]:
        """The cost of every setting's trainings."""
        for setting in self.settings:
            step = self.step_cost(setting)
            mine = [job.shown for job in self.jobs if job.setting is setting]
            count = sum(mine) * self.config.train.epochs
            told = f"{setting.name}: {count:,} images in {len(mine)} trainings"
            yield f"{told}, {step.bytes / 2**20:.1f} MiB an image", count * step.seconds

    def step_cost(self, setting: Setting) -> footprint.Cost:
        """The cost of one image in an update, measured on a batch."""
        if setting.terms not in self._costs:
            batch = self.training[setting.seen].sample(setting.needs)
            given = setting.terms, self._variables(setting), setting.numbers, batch
            layout = self.subject.mesh, self.config.sharding
            self._costs[setting.terms] = train.measure(*given, *layout)
        return self._costs[setting.terms]

    def _fitted(self, jobs: Sequence[Job], bench: Bench) -> Iterator[Unit]:
        """Trains some jobs and saves their networks, each before its unit."""
        first, run, config = jobs[0].setting, bench.run, self.config
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        # a CPU's peak is not known
        bench.meter.say(
            f"training {jobs[0].name}{more}", 0.0 if self.on_cpu else self.step_cost(first).flops
        )
        members = [
            Member(job.name, job.seed, job.setting.learning_rate, job.setting.numbers)
            for job in jobs
        ]
        about = [job.depends_on for job in jobs]
        folder = run.path / "training" / digest(about)
        given = first.terms, self._variables(first), first.recipe, members
        found = train.fit(
            *given,
            self.training[first.seen].data(first.needs),
            mesh=self.subject.mesh,
            folder=folder,
            about={"jobs": about},
            sharding=config.sharding,
            seconds=config.train.save_seconds,
            watch=watched(run, bench.meter, members, self.subject.console.print),
        )
        for job, one in zip(jobs, found, strict=True):
            for checkpoint in CHECKPOINTS:
                place, variables = job.folder(run, checkpoint), getattr(one, checkpoint)
                save = functools.partial(models.save, place, self.raw, variables)
                checksums.shared(place, save)  # afterwards all hosts see it
            yield job.unit(one.history)
        train.forget(folder)

    def _variables(self, setting: Setting) -> Variables:
        """The weights that a training starts from, and those that its objective compares with."""
        found = self.original.variables
        return {**found, "original": found["params"]} if "original" in setting.needs else found


def outputs(subject: Subject, raw: Model, loaded: Loaded) -> tuple[Model, np.ndarray]:
    """The network to train, and its output for each class; `raw`: without its head.

    With `config.outputs="own"` the network's own outputs are trained, even if a head groups them
    for the evaluation. Raises ValueError if a class is not a single output.
    """
    config = subject.config
    classes = subject.first_examples().classes
    if config.head != "imagenet" or config.outputs == "head":
        return loaded.model, np.arange(len(classes), dtype=np.int32)
    members = imagenet.check(raw, head_context.context(subject, raw))
    several = [name for name, row in zip(classes, members, strict=True) if row.sum() > 1]
    if several:
        raise ValueError(
            f"class {several[0]} is several of ImageNet's classes, so its photos have no single "
            "output to train; pass --config.outputs=head"
        )
    return raw, members.argmax(1).astype(np.int32)
