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

from rival_jax import noise, taps
from rival_jax.experiments import _clean
from rival_jax.experiments._groups import groups
from rival_jax.experiments._saliency_unit import explain
from rival_jax.experiments._saliency_work import Costs, Work, nameless, plan
from rival_jax.experiments._subject import Subject, one_of
from rival_jax.report.document import shown_again
from rival_jax.report.saliency_page import write
from rival_jax.runtime import hosts
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
    "unfit": ("error", "skip"),
}


def check(config: Any) -> None:
    """Raises ValueError for settings that cannot be run."""
    c = config.saliency
    for key, known in VALUES.items():
        one_of(f"saliency.{key}", c[key], known)
    for method in c.methods:
        plugin("saliency", method.partition("@")[0])
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


def allowed(config: Any, subject: Subject, console: Console) -> dict[str, tuple[str, ...]]:
    """The methods of every model, by its name.

    Raises:
      ValueError: a network does not allow a method and is not to be skipped, or no network does;
        a group names no model.
    """
    names = [model.name for model in subject.models]
    for group, members in groups(config.groups).items():
        if unknown := sorted(set(members) - set(names)):
            raise ValueError(
                f"config.groups: group {group!r} names {', '.join(unknown)}; the models are "
                f"{', '.join(names)}"
            )
    fitting: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    for method in config.saliency.methods:
        faults = {model.name: _fault(nameless(model), method) for model in subject.models}
        bad = {name: fault for name, fault in faults.items() if fault}
        if bad and (config.saliency.unfit == "error" or len(bad) == len(names)):
            name, fault = next(iter(bad.items()))
            raise ValueError(f"config.saliency.methods: {method} of {name}: {fault}")
        for name in names:
            fitting[name] += (method,) * (name not in bad)
            if name in bad:
                console.print(f"{name}: no {method}: {bad[name].partition(';')[0]}")
    if without := [name for name, methods in fitting.items() if not methods]:
        raise ValueError(f"config.saliency.methods: none is left for {', '.join(without)}")
    return fitting


@functools.lru_cache(maxsize=64)
def _fault(model: Model, method: str) -> str:
    """Why a network does not allow a method, "" if it does: traced, without weights."""
    image = jax.ShapeDtypeStruct((1, *model.image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, noise.key(0))
    score = taps.class_score(jnp.zeros(1, jnp.int32))
    try:
        jax.eval_shape(lambda v, x: explain(model, method, v, x, score, "none"), variables, image)
    except ValueError as error:
        return str(error).strip()
    return ""


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    check(config)
    subject, seconds = Subject(config, console), 0.0
    methods = allowed(config, subject, console)
    images, costs = len(subject.first_examples()), Costs(subject)
    for name in config.models:
        loaded = subject.load(name)
        for method in methods[loaded.model.name]:
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
    run.settle(subject.facts())
    methods = allowed(config, subject, console)
    facts, units, computed = [], [], 0
    images = len(subject.first_examples()) * sum(map(len, methods.values()))
    with Meter(images, "images", console) as meter:
        work = Work(config, run, subject, meter)
        for name in config.models:
            loaded = subject.load(name)
            facts.append(loaded.facts)
            for method in methods[loaded.model.name]:
                meter.say(f"{loaded.model.name} {method}")
                files, new = work.unit(loaded, method)
                units.append(files)
                computed += new
                if loaded.model.name not in subject.clean:  # the same under every method
                    _clean.check(subject, loaded.model.name, run.path / files["rows"])
    run.save_json("models.json", facts)
    run.save_json("data.json", subject.facts())
    run.save_json("units.json", units)
    console.print(f"{computed} of {len(units)} units computed, the others were there")
    if not computed and run.finished():
        return shown_again(run, console)
    if not hosts.first():
        return {}
    return write(run, console, groups(config.groups))
