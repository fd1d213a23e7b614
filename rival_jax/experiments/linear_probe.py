"""Linear heads on frozen networks: fitted, saved, scored on the test split (RIVAL10 study, 4)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save_file

from rival_jax import statistics
from rival_jax.experiments import _clean
from rival_jax.experiments._subject import Subject
from rival_jax.experiments._trial_rows import clean_trial, trial_rows
from rival_jax.runtime import hosts
from rival_jax.runtime.names import file_path
from rival_jax.runtime.parallel import Bound
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Run, atomic, read_rows


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    subject = Subject(config, console)
    subject.read_training()
    for name in config.models:
        model, _, cost = subject.bare(name)
        images = sum(len(source) for source in subject.sources.values())
        passes = config.probe.epochs if config.probe.recipe == "study" else 1
        seconds = images * passes * cost().seconds
        console.print(
            f"{model.name}: features of {images} images, {passes} x, about {duration(seconds)}"
        )
    console.print("nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Fits and scores what is missing; returns accuracies with intervals."""
    subject = Subject(config, console)
    run.settle(subject.facts())
    table = Table("model", "classes", "test accuracy", "interval", "head")
    summary: dict[str, Any] = {"models": []}
    for name in config.models:
        loaded = subject.load(name)
        examples = subject.examples(loaded.geometry)
        head = loaded.variables["head"]
        if hosts.first():
            with atomic(
                run.path / "heads" / f"{file_path(loaded.model.name)}.safetensors"
            ) as partial:
                save_file({k: np.asarray(v) for k, v in head._asdict().items()}, partial)
        batch_size, _ = subject.batch(loaded.cost(), loaded.geometry, 1, 1)
        with Meter(len(examples), "images", console) as meter:
            meter.say(loaded.model.name)
            clean = Bound(clean_trial, (loaded.model.forward,))
            unit = f"{loaded.model.name}/probe"
            depends_on = {"model": loaded.digest, "data": examples.fingerprint}
            compute = functools.partial(
                trial_rows, subject, loaded, batch_size, clean, ("none", 0.0, ("clean",))
            )
            compute = functools.partial(compute, on_batch=meter.advance)
            run.rows(unit, depends_on, compute, about=meter.lap)
        if not hosts.first():
            continue
        _clean.check(subject, loaded.model.name, run.unit_path(unit, depends_on))
        rows = read_rows(run.unit_path(unit, depends_on))
        correct = rows["correct"].to_numpy(zero_copy_only=False).astype(np.float64)
        interval = statistics.bootstrap(
            lambda means: means.mean(0), correct, examples.labels, **config.statistics
        )
        accuracy, low, high = (round(float(value), 4) for value in interval)
        facts = {"accuracy": accuracy, "low": low, "high": high, **loaded.facts}
        summary["models"].append(facts)
        table.add_row(
            loaded.model.name,
            str(len(examples.classes)),
            f"{100 * accuracy:.1f} %",
            f"{100 * low:.1f} to {100 * high:.1f}",
            loaded.facts["head"],
        )
    console.print(table)
    console.print(f"heads are in {run.path / 'heads'}")
    return summary
