"""Backgrounds taken away, and objects likewise (RIVAL10 study, section 5.3 and figure 8).

Models x heads x treatments x regions; a treatment of one region for one head is a unit of work.
Heads are fitted on the photos as they are and on photos with a grey background.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import metrics, noise
from rival_jax.data import Examples
from rival_jax.experiments import _clean
from rival_jax.experiments._changed import partners, tidy
from rival_jax.experiments._groups import groups
from rival_jax.experiments._plans import Plans
from rival_jax.experiments._subject import Loaded, Subject, one_of
from rival_jax.experiments._treatments import (
    REGIONS,
    TREATMENTS,
    Strength,
    sheet,
    treated,
    with_others,
)
from rival_jax.report import background_page, cubes
from rival_jax.report.background_figures import Shown
from rival_jax.report.document import shown_again
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Columns, Run
from rival_jax.types import Array, Forward, Variables

ROWS_VERSION = 1  # in every unit's hash: raise it when the same inputs give other rows


def scored(
    forward: Forward,
    strength: Strength,
    variables: Variables,
    batch: Mapping[str, Any],
    *args: Array,
) -> dict[str, Array]:
    """Probability of the true class [b] and correct; `args`: key, treatment and region.

    One program for all treatments of a network and both its heads.
    """
    logits, _ = forward(variables, treated(strength, batch, *args), {})
    probability, correct = metrics.true_class(logits, jnp.asarray(batch["label"]))
    return {"probability": probability, "correct": correct}


@dataclasses.dataclass(frozen=True)
class Unit:
    """One treatment of one region for one network and head: a file of rows."""

    name: str
    depends_on: dict[str, Any]
    compute: Callable[..., Columns]


def units(config: Any, subject: Subject, loaded: Loaded, head: str, size: int) -> Iterator[Unit]:
    """The units of one network and head, the photos as they are first; nothing is computed yet."""
    examples, strength = subject.examples(loaded.geometry), strength_of(config)
    base = {"version": ROWS_VERSION, "model": loaded.digest, "dtype": config.dtype}
    base |= {"data": examples.fingerprint, "head": head}
    for treatment, region in settings(config):
        settled = {"treatment": treatment, "region": region}
        if treatment != "none":
            settled["mask"] = config.data.mask
            uses = {"grey": ["grey"], "blur": ["blur"], "shuffle": ["patches"]}.get(treatment, [])
            settled |= {name: getattr(strength, name) for name in uses}
        if treatment in ("shuffle", "swap"):
            settled["seed"] = config.seed
        words = {"head": head, "treatment": treatment, "region": region}
        compute = functools.partial(_rows, config, subject, loaded, size, words)
        yield Unit(f"{head}_{treatment}_{region}", base | settled, compute)


def _rows(
    config: Any,
    subject: Subject,
    loaded: Loaded,
    size: int,
    words: dict[str, str],
    *,
    on_batch: Callable[[int], None],
) -> Columns:
    examples = subject.examples(loaded.geometry)
    others = _others(config, examples) if words["treatment"] == "swap" else None
    treatment = ("none", *TREATMENTS).index(words["treatment"])
    region = REGIONS.index(words["region"]) if treatment else 0
    found = parallel.map_examples(
        parallel.Bound(scored, (loaded.model.forward, strength_of(config))),
        loaded.variables,
        with_others(examples, size, others),
        subject.mesh,
        noise.key(config.seed),
        np.int32(treatment),
        np.int32(region),
        on_batch=on_batch,
        sharding=subject.sharding,
    )
    values = {key: found[key] for key in ("probability", "correct")}
    return tidy(config.data.name, loaded, examples, found["index"], words, values)


def _others(config: Any, examples: Examples) -> np.ndarray:
    """The image of another class that lends its pixels to each [n]."""
    return partners(examples, np.arange(len(examples)), f"{config.seed} background")


def strength_of(config: Any) -> Strength:
    """The config's values as a static argument."""
    c = config.ablation
    return Strength(float(c.grey), float(c.blur), int(c.patches), config.data.mask == "binary")


def settings(config: Any) -> list[tuple[str, str]]:
    """(treatment, region) of every unit of a network and head."""
    treatments, regions = config.ablation.treatments, config.ablation.regions
    return [("none", "none"), *((t, r) for t in treatments for r in regions)]


def heads(config: Any) -> dict[str, dict[str, str]]:
    """Names of the heads, and what of config.probe they are fitted with."""
    if config.head != "probe":
        return {config.head: {}}
    names = {"all": "normal", "foreground": "grey"}
    return {names[region]: {"region": region} for region in config.probe.regions}


def check(config: Any, subject: Subject | None = None) -> None:
    """Raises ValueError for settings that cannot be run."""
    c = config.ablation
    for key, known in (("treatments", TREATMENTS), ("regions", REGIONS)):
        for value in c[key]:
            one_of(f"ablation.{key}", value, known)
        if not c[key] or len(set(c[key])) < len(c[key]):
            raise ValueError(f"config.ablation.{key}={tuple(c[key])}: name each wanted one once")
    for region in config.probe.regions:
        one_of("probe.regions", region, ("all", "foreground"))
    if not config.probe.regions:
        raise ValueError("config.probe.regions is empty; name 'all', 'foreground' or both")
    if not 0 <= c.grey <= 1 or c.blur <= 0 or c.patches < 2:
        raise ValueError(
            f"config.ablation: grey {c.grey} must be in [0, 1], blur {c.blur} above 0 and "
            f"patches {c.patches} at least 2"
        )
    if subject is None:
        return
    if "swap" in c.treatments and len(np.unique(subject.first_examples().labels)) < 2:
        raise ValueError(
            "treatment 'swap' takes pixels of another class, and the data have one class only; "
            "pass --config.ablation.treatments without it"
        )
    cubes.group_weights([model.name for model in subject.models], groups(config.groups))


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    check(config)
    subject, seconds = Subject(config, console), 0.0
    check(config, subject)
    subject.read_training()
    images, count = len(subject.first_examples()), len(settings(config)) * len(heads(config))
    for name in config.models:
        model, _, measured = subject.bare(name)
        mine = images * count * measured().seconds / subject.mesh.size
        seconds += mine
        total = f"{images} images x {count} = {images * count:,} forwards"
        console.print(f"{model.name}: {total}, about {duration(mine)}")
    console.print(f"all models: about {duration(seconds)}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Computes the units that are missing, then tables, figures and report; returns the summary."""
    check(config)
    subject = Subject(config, console)
    run.settle(subject.facts())
    check(config, subject)
    plans, facts, paths, computed = Plans(run, subject.mesh.size), [], [], 0
    images = len(subject.first_examples())
    total = images * len(settings(config)) * len(heads(config))
    with Meter(total * len(config.models), "forwards", console) as meter:
        for name in config.models:
            cards = []
            for head, options in heads(config).items():
                loaded = subject.load(name, **options)
                model = loaded.model.name
                plan = plans.of(model, functools.partial(subject.pick, loaded), images=images)
                for unit in units(config, subject, loaded, head, plan["images"]):
                    meter.say(f"{model} {unit.name}", plan["flops"])
                    compute = functools.partial(unit.compute, on_batch=meter.advance)
                    file, on = f"{model}/{unit.name}", unit.depends_on
                    computed += run.rows(file, on, compute, about=meter.lap)
                    paths.append(run.unit_path(f"{model}/{unit.name}", unit.depends_on))
                    if unit.name == f"{head}_none_none":
                        several = f" ({head} head)" if len(heads(config)) > 1 else ""
                        _clean.check(subject, model + several, paths[-1])
                cards.append(loaded.facts)
            heads_text = " | ".join(card["head"] for card in cards)
            facts.append({**cards[0], "head": heads_text, "flops": plan["flops"]})
    run.save_json("models.json", facts)
    run.save_json("data.json", subject.facts())
    console.print(f"{computed} of {len(paths)} units computed, the others were there")
    if not computed and run.finished():
        return shown_again(run, console)
    if not hosts.first():
        return {}
    examples = subject.first_examples()

    def shown() -> Shown:
        others = _others(config, examples)
        return sheet(examples, strength_of(config), settings(config), others, config.seed)

    return background_page.write(run, console, paths, groups(config.groups), shown)
