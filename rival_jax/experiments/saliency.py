"""Where networks look, and what it costs them not to see it (RIVAL10 study, 5.4).

Saliency maps against object masks, by many metrics; the images whose maps lie on the background,
and how the probability moves when what they mark is greyed. One model under one method is a unit
of work, saved when it is done and skipped when it is there.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console

from rival_jax import saliency, taps
from rival_jax.experiments._groups import groups
from rival_jax.experiments._saliency_work import Costs, Work, plan
from rival_jax.experiments._subject import Subject, one_of
from rival_jax.report.saliency_page import write
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Run
from rival_jax.types import Model

VALUES = {
    "target": ("predicted", "label"),
    "scaling": ("minmax", "cam", "cam_2021"),
    "ties": ("outside", "inside"),
    "flat": ("nan", "zero"),
    "classes": ("true", "predicted"),
}


def check(config: Any) -> None:
    """Raises ValueError for settings that cannot be run."""
    c = config.saliency
    for key, known in VALUES.items():
        one_of(f"saliency.{key}", c[key], known)
    for method in c.methods:
        plugin("saliency", method)
    if not c.methods or len(set(c.methods)) < len(c.methods):
        raise ValueError(
            f"config.saliency.methods {tuple(c.methods)}: name at least one, each once"
        )
    if not 0 < c.threshold < 1:
        raise ValueError(f"config.saliency.threshold={c.threshold}: above 0 and below 1")
    for key, least in (("tolerance", 0), ("draws", 1), ("hits", 1)):
        if c[key] < least:
            raise ValueError(f"config.saliency.{key}={c[key]}: a number from {least} up")
    size = config.batch_size
    if size != "auto" and not (isinstance(size, int) and size > 0):
        raise ValueError(f"config.batch_size={config.batch_size}: 'auto' or a number from 1 up")


def check_models(config: Any, subject: Subject) -> None:
    """Raises ValueError if a network does not allow a method, or a group names no model here."""
    names = [model.name for model in subject.models]
    for group, members in groups(config.groups).items():
        if unknown := sorted(set(members) - set(names)):
            raise ValueError(
                f"config.groups: group {group!r} names {', '.join(unknown)}; the models are "
                f"{', '.join(names)}"
            )
    for model in subject.models:
        for method in config.saliency.methods:
            _check_method(model, method)


def _check_method(model: Model, method: str) -> None:
    """Traces a method on a network, without weights: attention is not to be had of a ResNet."""
    image = jax.ShapeDtypeStruct((1, *model.image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0))
    score = taps.class_score(jnp.zeros(1, jnp.int32))
    explain = functools.partial(saliency.explain, method, model, score=score)
    jax.eval_shape(lambda v, x: explain(v, x), variables, image)


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    check(config)
    subject, seconds = Subject(config, console), 0.0
    check_models(config, subject)
    images, costs = len(subject.first_examples()), Costs(subject)
    for name in config.models:
        loaded = subject.load(name)
        for method in config.saliency.methods:
            cost = costs.of(loaded, plan(config, method))
            mine = images * cost.seconds / subject.mesh.size
            seconds += mine
            console.print(
                f"{loaded.model.name}, {method}: {images} images, "
                f"{images * cost.flops / 1e12:,.2f} TFLOP, about {duration(mine)}"
            )
    console.print(f"all models and methods: about {duration(seconds)}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Computes the units that are missing, then tables, figures and report; returns the summary."""
    check(config)
    subject = Subject(config, console)
    check_models(config, subject)
    facts, units, computed = [], [], 0
    images = len(subject.first_examples()) * len(config.models) * len(config.saliency.methods)
    with Meter(images, "images", console) as meter:
        work = Work(config, run, subject, meter)
        for name in config.models:
            loaded = subject.load(name)
            facts.append(loaded.facts)
            for method in config.saliency.methods:
                meter.say(f"{loaded.model.name} {method}")
                files, new = work.unit(loaded, method)
                units.append(files)
                computed += new
    run.save_json("models.json", facts)
    run.save_json("data.json", subject.facts())
    run.save_json("units.json", units)
    console.print(f"{computed} of {len(units)} units computed, the others were there")
    if not computed and run.unchanged and (run.path / "report.html").exists():
        console.print(f"nothing new to report: {run.path / 'report.html'}")
        return run.read_json("summary.json")
    return write(run, console, groups(config.groups))
