"""Parts of objects taken away one at a time (RIVAL10 study, appendix; section 3.1 and figure 3).

For each model: every attribute of every image that has it is greyed, set against random regions of
equal area in the same object, and swapped for that of another class. And what attributes alone say
of the class: their means, correlations and a linear classifier.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console

from rival_jax import metrics, noise
from rival_jax.data import Examples
from rival_jax.experiments import _clean, _parts
from rival_jax.experiments._attribute_labels import label_units
from rival_jax.experiments._changed import tidy
from rival_jax.experiments._parts import CHANGES, Pairs, Plan
from rival_jax.experiments._plans import Plans
from rival_jax.experiments._subject import Loaded, Subject, one_of, source_of
from rival_jax.report import attributes_page
from rival_jax.report.document import shown_again
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Category, Columns, Run
from rival_jax.types import Array, Forward, Geometry, Variables

ROWS_VERSION = 1  # in every unit's hash: raise it when the same inputs give other rows
STEPS = 3  # changes of a pair that one unit computes; equal, so that one program does all units
Steps = tuple[tuple[int, int], ...]
"""(position in `CHANGES`, number of the draw) of everything that a unit computes."""


def scored(
    forward: Forward,
    plan: Plan,
    variables: Variables,
    batch: Mapping[str, Any],
    key: Array,
    steps: Array,
) -> dict[str, Array]:
    """What a network makes of pairs, each changed in every one of `steps` [s, 2].

    Returns:
      probability of the true class, correct, and other_probability, of the lender's class: [p, s];
      area, the part's share of the object: [p].
    """
    labels = [jnp.asarray(batch[name]) for name in ("label", "other_label")]

    def one(step: Array) -> tuple[Array, Array, Array]:
        logits, _ = forward(variables, _parts.changed(plan, batch, key, *step), {})
        (own, correct), (other, _) = (metrics.true_class(logits, label) for label in labels)
        return own, correct, other

    names = ("probability", "correct", "other_probability")
    columns = {name: value.T for name, value in zip(names, lax.map(one, steps), strict=True)}
    mask, part = (jnp.asarray(batch[name]).sum((1, 2)) for name in ("mask", "part"))
    return {**columns, "area": part / jnp.maximum(mask, 1)}


@dataclasses.dataclass(frozen=True)
class Unit:
    """Some changes of all pairs for one network: a file of rows."""

    name: str
    depends_on: dict[str, Any]
    compute: Callable[..., Columns]


def units(config: Any, subject: Subject, loaded: Loaded, size: int) -> Iterator[Unit]:
    """The units of one network, parts first, then controls; nothing is computed yet."""
    examples, c = subject.examples(loaded.geometry, attributes=True), config.ablation
    pairs = _parts.find(examples, names_of(config, examples), config.seed)
    base = {"version": ROWS_VERSION, "model": loaded.digest, "dtype": config.dtype}
    base |= {"data": examples.fingerprint, "attributes": examples.attribute_fingerprint}
    base |= {"names": list(names_of(config, examples)), "grey": c.grey, "seed": config.seed}
    base |= {"background": c.background, "mask": config.data.mask}
    for name, steps in all_steps(c.draws).items():
        compute = functools.partial(_rows, config, subject, loaded, pairs, size, steps)
        yield Unit(name, {**base, "steps": steps}, compute)


def all_steps(draws: int) -> dict[str, Steps]:
    """The steps of every unit by name; the last may repeat a draw, which is then left out.

    >>> all_steps(4)["controls_1"]
    ((2, 3), (2, 3), (2, 3))
    """
    found: dict[str, Steps] = {"parts": ((0, 0), (1, 0), (3, 0))}
    for number, start in enumerate(range(0, draws, STEPS)):
        chosen = [min(draw, draws - 1) for draw in range(start, start + STEPS)]
        found[f"controls_{number}"] = tuple((CHANGES.index("control"), draw) for draw in chosen)
    return found


def _rows(
    config: Any,
    subject: Subject,
    loaded: Loaded,
    pairs: Pairs,
    size: int,
    steps: Steps,
    *,
    on_batch: Callable[[int], None],
) -> Columns:
    """One row per step and pair of this host; no swap for pairs without a lender."""
    examples = subject.examples(loaded.geometry, attributes=True)
    names = names_of(config, examples)
    with_swap = (CHANGES.index("swap"), 0) in steps
    found = parallel.map_examples(
        parallel.Bound(scored, (loaded.model.forward, plan_of(config))),
        loaded.variables,
        _parts.batches(examples, names, pairs, size, swap=with_swap),  # pyright: ignore[reportArgumentType]
        subject.mesh,
        noise.key(config.seed),
        np.array(steps, np.int32),
        on_batch=lambda count: on_batch(count * len(steps)),
        sharding=subject.sharding,
    )
    once = [i for i, step in enumerate(steps) if step not in steps[:i]]
    place, step = (grid.ravel() for grid in np.meshgrid(np.arange(len(found["index"])), once))
    swapped = np.array(steps)[step, 0] == CHANGES.index("swap")
    wanted = ~swapped | (pairs.lender[found["index"][place]] >= 0)
    place, step = place[wanted], step[wanted]
    pair = found["index"][place]
    words = [f"control_{draw}" if CHANGES[c] == "control" else CHANGES[c] for c, draw in steps]
    measures = ("probability", "correct", "other_probability")
    values = {name: found[name][place, step] for name in measures}
    values |= {"area": found["area"][place]}
    columns = tidy(config.data.name, loaded, examples, pairs.image[pair], {}, values)
    return {
        **columns,
        "attribute": Category(pairs.attribute[pair], list(names)),
        "change": Category(np.searchsorted(once, step), [words[i] for i in once]),
        "lender": Category(pairs.lender[pair] % (len(examples) + 1), [*examples.names, ""]),
    }


def plan_of(config: Any) -> Plan:
    """The config's values as a static argument."""
    c = config.ablation
    return Plan(float(c.grey), c.background == "black", config.data.mask == "binary")


def names_of(config: Any, examples: Examples) -> tuple[str, ...]:
    """The attributes that are taken away: those of the config, or all that some image has."""
    some = np.any(examples.attribute_labels, axis=0).tolist()
    present = [name for name, has in zip(examples.attributes, some, strict=True) if has]
    return tuple(name for name in config.ablation.attributes or present if name in present)


def check(config: Any) -> None:
    """Raises ValueError for settings that cannot be run."""
    c = config.ablation
    one_of("ablation.background", c.background, ("kept", "black"))
    one_of("ablation.pooling", c.pooling, ("classes", "images"))
    if not 0 <= c.grey <= 1 or c.draws < 1:
        raise ValueError(f"config.ablation: grey {c.grey} in [0, 1] and draws {c.draws} from 1 up")


def _subject(config: Any, console: Console) -> tuple[Subject, Geometry]:
    """The subject, its attributes checked, and the first model's geometry."""
    check(config)
    source_of(config, config.data.split, attributes=True)  # before anything else is asked of it
    subject = Subject(config, console)
    geometry = subject.geometry(subject.models[0])
    examples = subject.examples(geometry, attributes=True)
    for name in config.ablation.attributes:
        one_of("ablation.attributes", name, examples.attributes)
        if name not in names_of(config, examples):
            subject.note(
                f"No image of {config.data.name} {config.data.split} has the attribute {name}, "
                "which config.ablation.attributes asks for: it is left out of all that follows."
            )
    if not names_of(config, examples):
        raise ValueError(
            f"no image of {config.data.name} {config.data.split} has one of the attributes asked "
            f"for; name others with --config.ablation.attributes, of {examples.attributes}"
        )
    return subject, geometry


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    subject, geometry = _subject(config, console)
    examples = subject.examples(geometry, attributes=True)
    subject.read_training()
    subject.examples(geometry, str(config.data.train_split), attributes=True)
    pairs = _parts.find(examples, names_of(config, examples), config.seed)
    each, seconds = STEPS * len(all_steps(config.ablation.draws)), 0.0
    for name in config.models:
        model, _, measured = subject.bare(name)
        mine = len(pairs.image) * each * measured().seconds / subject.mesh.size
        seconds += mine
        total = f"{len(pairs.image)} attributes of {len(examples)} images x {each}"
        console.print(f"{model.name}: {total} forwards, about {duration(mine)}")
    console.print(f"all models: about {duration(seconds)}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Computes the units that are missing, then tables, figures and report; returns the summary."""
    subject, geometry = _subject(config, console)
    run.settle(subject.facts())
    examples = subject.examples(geometry, attributes=True)
    names = names_of(config, examples)
    pairs = _parts.find(examples, names, config.seed)
    plans, facts, paths, computed = Plans(run, subject.mesh.size), [], [], 0
    each, images = STEPS * len(all_steps(config.ablation.draws)), len(subject.first_examples())
    with Meter(len(pairs.image) * each * len(config.models), "forwards", console) as meter:
        for name in config.models:
            loaded = subject.load(name)
            model = loaded.model.name
            plan = plans.of(model, functools.partial(subject.pick, loaded), images=images)
            for unit in units(config, subject, loaded, plan["images"]):
                meter.say(f"{model} {unit.name}", plan["flops"])
                compute = functools.partial(unit.compute, on_batch=meter.advance)
                file, on = f"{model}/{unit.name}", unit.depends_on
                computed += run.rows(file, on, compute, about=meter.lap)
                paths.append(run.unit_path(f"{model}/{unit.name}", unit.depends_on))
                if unit.name == "parts":
                    black = config.ablation.background == "black"
                    shown = f"{model} (on black backgrounds)" if black else model
                    _clean.check(subject, shown, paths[-1])
            facts.append({**loaded.facts, "flops": plan["flops"]})
    splits = [config.data.train_split, config.data.split]
    train, test = (subject.examples(geometry, split, attributes=True) for split in splits)
    more = label_units(run, train, test)
    run.save_json("models.json", facts)
    run.save_json("data.json", {**subject.facts(), "attributes": list(examples.attributes)})
    console.print(f"{computed} of {len(paths)} units computed, the others were there")
    if not computed and run.finished():
        return shown_again(run, console)
    if not hosts.first():
        return {}
    shown = functools.partial(_parts.sheet, plan_of(config), examples, names, pairs, config.seed)
    return attributes_page.write(
        run, console, paths, more, shown if (pairs.lender >= 0).any() else None
    )
