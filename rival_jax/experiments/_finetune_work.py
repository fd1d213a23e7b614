"""The trainings of a finetuning: which there are, run in groups of one program, kept as models."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from rival_jax import models
from rival_jax.experiments import _finetune_data
from rival_jax.experiments._finetune_data import Images, Split, Training
from rival_jax.experiments._finetune_jobs import CHECKPOINTS, Job, recipe
from rival_jax.experiments._finetune_units import ROWS_VERSION
from rival_jax.experiments._finetune_variants import Setting, settings
from rival_jax.experiments._subject import Loaded, Subject, one_of
from rival_jax.heads import Context, imagenet
from rival_jax.runtime import checksums, hosts, parallel, train
from rival_jax.runtime.members import Member, Watch
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import Run, digest
from rival_jax.runtime.tensorboard import EventFile
from rival_jax.types import Model, Variables


class Work:
    """The network, its training images and the trainings, checked before any of them starts."""

    def __init__(self, config: Any, subjects: Mapping[str, Subject], console: Console):
        subject = next(iter(subjects.values()))
        self.config, self.subject, self.console = config, subject, console
        self.tests = subjects
        self.recipe = recipe(config)
        self.raw = subject.models[0]
        self.original = subject.load(config.models[0])
        if "params" not in self.original.variables:
            raise ValueError(
                f"head {config.head!r} cannot be finetuned through; pass --config.head=own, or "
                "imagenet for a network with ImageNet's 1000 outputs"
            )
        self._costs: dict[Any, parallel.Cost] = {}
        self.trained, self.labels = self._outputs()
        self.settings = settings(config, self.trained)
        self.training = self._training()
        self.jobs = [
            Job(s, seed, self._about(s, seed)) for s in self.settings for seed in config.seeds
        ]

    def groups(self, run: Run) -> Iterator[list[Job]]:
        """Trainings that run in one program, if one of them is missing."""
        key = lambda job: (job.setting.terms, job.setting.masks, tuple(job.setting.numbers))  # noqa: E731
        kinds = list(dict.fromkeys(map(key, self.jobs)))
        for kind in kinds:
            mine = [job for job in self.jobs if key(job) == kind]
            size = self._together(mine[0])
            for start in range(0, len(mine), size):
                some = mine[start : start + size]
                if hosts.agreed(not all(job.done(run) for job in some)):
                    yield some

    def fit(self, jobs: Sequence[Job], run: Run, meter: Meter) -> None:
        """Trains some jobs, and keeps their networks, then their rows."""
        first, c = jobs[0].setting, self.config.train
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

        folder = run.path / "training" / digest([job.depends_on for job in jobs])
        found = train.fit(
            first.terms,
            self._variables(first),
            self.recipe,
            members,
            self.training[first.masks].data(
                self.labels, self._held_out_batch(first.masks), first.needs
            ),
            mesh=self.subject.mesh,
            folder=folder,
            about={"jobs": [job.depends_on for job in jobs]},
            sharding=self.config.sharding,
            seconds=c.save_seconds,
            watch=Watch(meter.advance, on_epoch, self.console.print),
        )
        for job, one in zip(jobs, found, strict=True):
            job.keep(run, self.raw, one)
            rows = functools.partial(job.rows, one.history)
            run.rows(f"{job.name}/training", job.depends_on, rows, everywhere=True)
        train.forget(folder)

    def images(self, job: Job) -> Images:
        """What a job sees."""
        return self.training[job.setting.masks].images[job.seed]

    def split(self, seed: int) -> Split:
        """Which classes had masks."""
        return next(iter(self.training.values())).images[seed].split

    def saved(self, run: Run) -> dict[str, dict[str, str]]:
        """Where the networks are: name -> checkpoint -> folder, for `config.models` elsewhere."""
        return {
            job.name: {which: str(job.folder(run, which)) for which in CHECKPOINTS}
            for job in self.jobs
        }

    def tuned(self, job: Job, run: Run, checkpoint: str) -> Variables:
        """A finetuned network's weights, as they were kept."""
        folder = job.folder(run, checkpoint)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is gone, and its rows are there; delete {run.path / 'rows' / job.name} "
                "to train it again"
            )
        if not checksums.holds(folder):
            raise ValueError(
                f"{folder} is not as it was written; delete {run.path / 'rows' / job.name} to "
                "train it again"
            )
        return models.load(str(folder))[1]

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

    def _variables(self, setting: Setting) -> Variables:
        """What a training starts from, and what else its objective reads."""
        found = self.original.variables
        return {**found, "original": found["params"]} if "original" in setting.needs else found

    def flops(self, setting: Setting) -> float:
        """Operations of one image's part in an update; 0 on CPUs, whose peak is not known."""
        device = self.subject.mesh.devices.flat[0]
        return 0.0 if device.platform == "cpu" else self.step_cost(setting).flops

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

    def _held_out_batch(self, masks: str) -> int:
        images = min(len(found.validation) for found in self.training[masks].images.values())
        return min(images, max(8, 4 * self.recipe.batch_size))

    def _training(self) -> dict[str, Training]:
        """The images by where their masks are from."""
        config, found = self.config, {}
        for masks in dict.fromkeys(setting.masks for setting in self.settings):
            if masks == "data":
                source = _finetune_data.source(config.data, config.data.train_split)
            else:
                source = self._tokencut_source()
            tests = {name: test.first_examples() for name, test in self.tests.items()}
            _finetune_data.refuse_overlap(source, tests)
            found[masks] = Training(config, source, self.original.geometry, self.console)
            found[masks].data(self.labels, 1)  # raises what it would before a training
            for images in found[masks].images.values():
                for notice in images.train.notices + images.validation.notices:
                    self.subject.note(notice)
        return found

    def _tokencut_source(self) -> Any:
        c = self.config.tokencut
        if not c.root:
            raise ValueError(
                "variant 'tokencut' needs the folder of masks that configs/tokencut.py wrote: pass "
                "--config.tokencut.root"
            )
        source = _finetune_data.source(c, c.split)
        classes = self.subject.first_examples().classes
        return _finetune_data.reclassed(source, classes, c.root)

    def _outputs(self) -> tuple[Model, np.ndarray]:
        """The network that is trained, and its output for each class.

        With `config.outputs="own"` the network's own outputs are trained, though a head groups
        them for the evaluation: each class has to be one of them.
        """
        config, loaded = self.config, self.original
        one_of("outputs", config.outputs, ("own", "head"))
        classes = self.subject.first_examples().classes
        if config.head != "imagenet" or config.outputs == "head":
            return loaded.model, np.arange(len(classes), dtype=np.int32)
        members = imagenet.membership(_context(config, self.subject, loaded))
        members = imagenet.of_outputs(self.raw, members)
        several = [name for name, row in zip(classes, members, strict=True) if row.sum() > 1]
        if several:
            raise ValueError(
                f"class {several[0]} is several of ImageNet's classes, so its photos have no "
                "single output to train; pass --config.outputs=head"
            )
        return self.raw, members.argmax(1).astype(np.int32)

    def _about(self, setting: Setting, seed: int) -> dict[str, Any]:
        """All that a training follows from."""
        images = self.training[setting.masks]
        options = {
            k: v if isinstance(v, (int, float, str)) else str(v) for k, v in setting.options.items()
        }
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
            "data": images.fingerprint(seed),
        }


def _context(config: Any, subject: Subject, loaded: Loaded) -> Context:
    examples = subject.first_examples()
    return Context(
        classes=examples.classes,
        class_wnids=examples.class_wnids,
        geometry=loaded.geometry,
        train=lambda: None,
        test=lambda: None,
        batch_size=lambda: 1,
        options=dict(config.get("probe", {})),
        cache=Path(),
        mesh=subject.mesh,
        report=lambda text: None,
    )
