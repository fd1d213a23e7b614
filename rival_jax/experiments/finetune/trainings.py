"""The trainings of a finetuning: which there are, run in groups of one program, kept as models."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from rich.console import Console

from rival_jax.configs.finetune import Config
from rival_jax.experiments import head_context
from rival_jax.experiments.finetune import photos
from rival_jax.experiments.finetune.jobs import Job, recipe
from rival_jax.experiments.finetune.photos import Images, Split, Training
from rival_jax.experiments.finetune.tests import ROWS_VERSION
from rival_jax.experiments.finetune.variants import Setting, settings
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.heads import imagenet
from rival_jax.runtime import hosts, parallel, train
from rival_jax.runtime.members import Member, Watch
from rival_jax.runtime.results import digest
from rival_jax.runtime.tensorboard import EventFile
from rival_jax.types import Model, Variables


class Trainings:
    """The network, its training images and the trainings, checked before any of them starts."""

    def __init__(self, config: Config, tests: Mapping[str, Subject], console: Console):
        subject = next(iter(tests.values()))
        self.config, self.subject, self.console, self.tests = config, subject, console, tests
        self.recipe = recipe(config)
        self.raw = subject.models[0]
        self.original = subject.load(config.models[0])
        if "params" not in self.original.variables:
            raise ValueError(
                f"head {config.head!r} cannot be finetuned through; pass --config.head=own, or "
                "imagenet for a network with ImageNet's 1000 outputs"
            )
        self._costs: dict[Any, parallel.Cost] = {}
        self.trained, self.labels = outputs(subject, self.raw, self.original)
        self.settings = settings(config, self.trained)
        self.training = self._training()
        self.jobs = [
            Job(s, seed, self._about(s, seed)) for s in self.settings for seed in config.seeds
        ]

    def units(self, bench: Bench) -> Iterator[Unit]:
        """A unit for every training; those of a group of which one is missing are run first."""
        groups = [
            (jobs, hosts.agreed(not all(job.done(bench.run) for job in jobs)))
            for jobs in self._groups()
        ]
        for jobs, missing in groups:
            if missing:
                yield from self._fitted(jobs, bench)
            else:
                yield from (job.unit([]) for job in jobs)

    def images(self, job: Job) -> Images:
        """What a job sees."""
        return self.training[job.setting.masks].images[job.seed]

    def split(self, seed: int) -> Split:
        """Which classes had masks."""
        return next(iter(self.training.values())).images[seed].split

    def step_cost(self, setting: Setting) -> parallel.Cost:
        """Of one image's part in an update, measured on a batch."""
        if setting.terms in self._costs:
            return self._costs[setting.terms]
        batch = self.training[setting.masks].sample(self.labels, setting.needs)
        numbers = {name: np.float32(value) for name, value in setting.numbers.items()}

        def slope(variables: Variables, given: Any) -> Any:
            loss = lambda params: setting.terms({**variables, "params": params}, given, numbers)  # noqa: E731
            return jax.grad(lambda params: loss(params)["total"].mean())(variables["params"])

        layout = (self.subject.mesh, self.config.sharding)
        found = parallel.measure(slope, self._variables(setting), batch, *layout)
        self._costs[setting.terms] = found
        return found

    def _groups(self) -> Iterator[list[Job]]:
        """Trainings that run in one program."""
        kinds: dict[Any, list[Job]] = {}
        for job in self.jobs:
            setting = job.setting
            key = (setting.terms, setting.masks, tuple(setting.numbers))
            kinds.setdefault(key, []).append(job)
        for mine in kinds.values():
            size = self._together(mine[0])
            yield from (mine[start : start + size] for start in range(0, len(mine), size))

    def _fitted(self, jobs: Sequence[Job], bench: Bench) -> Iterator[Unit]:
        """Trains some jobs, and keeps their networks, each before its unit."""
        first, run, meter = jobs[0].setting, bench.run, bench.meter
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        on_cpu = self.subject.mesh.devices.flat[0].platform == "cpu"  # whose peak is not known
        meter.say(jobs[0].name + more, 0.0 if on_cpu else self.step_cost(first).flops)
        members = [
            Member(job.name, job.seed, job.setting.learning_rate, job.setting.numbers)
            for job in jobs
        ]
        folders = {job.name: run.path / "tensorboard" / job.name for job in jobs if hosts.first()}
        curves = {name: EventFile(folder) for name, folder in folders.items()}

        def on_epoch(entry: dict[str, Any]) -> None:
            if not hosts.first():
                return
            speed = meter.lap() if entry["train"] and entry["member"] == members[0].name else {}
            run.log("epoch", **entry, **speed)
            numbers = {"learning_rate": entry["learning_rate"]}
            for part in ("train", "held_out"):
                numbers |= {f"{part}/{k}": v for k, v in (entry[part] or {}).items()}
            told = {name: value for name, value in numbers.items() if value is not None}
            curves[entry["member"]].write(entry["epoch"] + 1, told)

        about = [job.depends_on for job in jobs]
        folder, training = run.path / "training" / digest(about), self.training[first.masks]
        held_out = min(len(found.validation) for found in training.images.values())
        held_out = min(held_out, max(8, 4 * self.recipe.batch_size))
        found = train.fit(
            first.terms,
            self._variables(first),
            self.recipe,
            members,
            training.data(self.labels, held_out, first.needs),
            mesh=self.subject.mesh,
            folder=folder,
            about={"jobs": about},
            sharding=self.config.sharding,
            seconds=self.config.train.save_seconds,
            watch=Watch(meter.advance, on_epoch, self.console.print),
        )
        for job, one in zip(jobs, found, strict=True):
            job.keep(run, self.raw, one)
            yield job.unit(one.history)
        train.forget(folder)

    def _variables(self, setting: Setting) -> Variables:
        """What a training starts from, and what else its objective reads."""
        found = self.original.variables
        return {**found, "original": found["params"]} if "original" in setting.needs else found

    def _together(self, job: Job) -> int:
        """How many trainings run in one program."""
        asked = self.config.train.together
        if asked != "auto":
            return int(asked)
        device = self.subject.mesh.devices.flat[0]
        if device.platform == "cpu":  # one fills its cores; side by side they only spill caches
            return 1
        bytes_each = self.step_cost(job.setting).bytes * self.recipe.batch_size
        fit = int(parallel.memory_budget(device) / max(bytes_each, 1))
        return hosts.agreed(max(1, fit))

    def _training(self) -> dict[str, Training]:
        """The images by where their masks are from."""
        config, found = self.config, {}
        tests = {name: test.first_examples() for name, test in self.tests.items()}
        for masks in dict.fromkeys(setting.masks for setting in self.settings):
            if masks == "data":
                source = photos.source(config.data, config.data.train_split)
            else:
                source = photos.found_masks(config, self.subject.first_examples().classes)
            photos.refuse_overlap(source, tests)
            found[masks] = Training(config, source, self.original.geometry, self.console)
            found[masks].data(self.labels, 1)  # raises what it would before a training
            for images in found[masks].images.values():
                for notice in images.train.notices + images.validation.notices:
                    self.subject.note(notice)
        return found

    def _about(self, setting: Setting, seed: int) -> dict[str, Any]:
        """Everything that determines what a training gives."""
        options = {
            k: v if isinstance(v, (int, float, str)) else str(v) for k, v in setting.options.items()
        }
        images = self.training[setting.masks].images[seed]
        seen = {"train": images.train, "validation": images.validation}
        return {
            "version": ROWS_VERSION,
            "model": self.original.digest,
            "objective": [setting.variant, options],
            "learning_rate": setting.learning_rate,
            "recipe": dataclasses.asdict(self.recipe),
            "augmentation": self.config.train.augmentation,
            "outputs": self.config.outputs,
            "mask": self.config.data.mask,
            "seed": seed,
            "data": {part: examples.fingerprint for part, examples in seen.items()},
        }


def outputs(subject: Subject, raw: Model, loaded: Loaded) -> tuple[Model, np.ndarray]:
    """The network that is trained, and its output for each class.

    With `config.outputs="own"` the network's own outputs are trained, though a head groups them for
    the evaluation: each class has to be one of them.

    Args:
      raw: the network without its head.

    Raises:
      ValueError: for a class that is several outputs.
    """
    config = subject.config
    classes = subject.first_examples().classes
    if config.head != "imagenet" or config.outputs == "head":
        return loaded.model, np.arange(len(classes), dtype=np.int32)
    members = imagenet.membership(head_context.context(subject, raw))
    members = imagenet.of_outputs(raw, members)
    several = [name for name, row in zip(classes, members, strict=True) if row.sum() > 1]
    if several:
        raise ValueError(
            f"class {several[0]} is several of ImageNet's classes, so its photos have no single "
            "output to train; pass --config.outputs=head"
        )
    return raw, members.argmax(1).astype(np.int32)
