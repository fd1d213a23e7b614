"""Relative foreground sensitivity: noise in the object or its background (RIVAL10 study, 5.1).

Models x noise levels x trials x regions; one level of one model is a unit of work, saved when it is
done and skipped when it is there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console

from rival_jax import metrics, noise, report
from rival_jax.data import Examples
from rival_jax.experiments._subject import Loaded, Subject, one_of
from rival_jax.runtime import parallel
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Category, Columns, Run
from rival_jax.types import Array, Batch, Model, Variables

FIGURE_1_LEVEL = {"linf": 60 / 255, "l2": 75.0}
ROWS_VERSION = 1  # in every unit's hash: raise it when the same inputs give other rows


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What one compiled program does; all but the level, which is an argument of it."""

    norm: str
    regions: tuple[str, ...]
    trials: int
    at_once: int  # trials computed together; divides `trials`
    binary_mask: bool


def noise_trials(
    model: Model, sweep: Sweep, variables: Variables, batch: Batch, key: Array, level: Array
) -> dict[str, Array]:
    """Every image under every trial of noise in every region, at one level.

    The unit normal of (key, image, trial) is the same for all regions, levels, norms and models,
    so that differences between them are paired.

    Returns:
      probability float32 [b, trials, regions] of the true class, and correct, bool.
    """
    image, label = jnp.asarray(batch["image"]), jnp.asarray(batch["label"])
    mask = jnp.asarray(batch["mask"])
    if sweep.binary_mask:
        mask = (mask > 0.5).astype(image.dtype)

    def some_trials(trials: Array) -> tuple[Array, Array]:
        draw = lambda trial: noise.gaussian(key, batch["noise_id"], trial, image.shape[1:])  # noqa: E731
        units = jax.vmap(draw, out_axes=1)(trials)  # [b, t, h, w, 3]
        noisy = jnp.stack([corrupted(units, region) for region in sweep.regions], axis=2)
        logits, _ = model.forward(variables, noisy.reshape(-1, *image.shape[1:]), {})
        scores = metrics.true_class(logits, jnp.repeat(label, len(logits) // len(label)))
        return tuple(score.reshape(noisy.shape[:3]) for score in scores)

    def corrupted(units: Array, region: str) -> Array:
        one = functools.partial(noise.corrupt, region=region, level=level, norm=sweep.norm)
        return jax.vmap(one, (None, None, 1), 1)(image, mask, units)

    scores = lax.map(some_trials, jnp.arange(sweep.trials).reshape(-1, sweep.at_once))
    shape = (len(label), sweep.trials, len(sweep.regions))  # from [groups, b, at_once, regions]
    probability, correct = (jnp.moveaxis(score, 0, 1).reshape(shape) for score in scores)
    return {"probability": probability, "correct": correct}


def clean_trial(model: Model, variables: Variables, batch: Batch) -> dict[str, Array]:
    """The images as they are: probability [b] of the true class, and correct."""
    logits, _ = model.forward(variables, jnp.asarray(batch["image"]), {})
    probability, correct = metrics.true_class(logits, jnp.asarray(batch["label"]))
    return {"probability": probability, "correct": correct}


@dataclasses.dataclass(frozen=True)
class Unit:
    """One level of one model (or its clean images): a file of rows."""

    name: str
    depends_on: dict[str, Any]  # all that its bytes follow from
    compute: Callable[[Callable[[int], None]], Columns]


def units(
    config: Any, subject: Subject, loaded: Loaded, batches: dict[str, list]
) -> Iterator[Unit]:
    """The units of one model, the clean images first; nothing is computed yet.

    Args:
      batches: (images per step, trials at once) by model, filled where missing: a restart must
        compute with the sizes the first run picked, for the same bytes.
    """
    examples, trials = subject.examples(loaded.geometry), config.noise.trials
    regions = tuple(config.noise.regions)
    size = subject.batch(loaded.cost, loaded.geometry, trials, len(regions))
    batch_size, at_once = batches.setdefault(loaded.model.name, list(size))
    rows = functools.partial(_columns, config, examples, loaded.model.name)
    base = {"version": ROWS_VERSION, "model": loaded.digest, "dtype": config.dtype}
    base |= {"data": examples.fingerprint}

    def computed(fn: Callable, each: int, advance: Callable, *args: Any) -> parallel.Rows:
        found = parallel.map_examples(
            fn,
            loaded.variables,
            examples.batches(batch_size),
            subject.mesh,
            *args,
            on_batch=lambda count: advance(count * each),
        )
        bad = np.flatnonzero(~np.isfinite(found["probability"].reshape(len(examples), -1)).all(1))
        if len(bad):
            raise ValueError(
                f"{loaded.model.name} gives NaN for {examples.names[bad[0]]} and {len(bad) - 1} "
                "other images: its weights or dtype are not usable; nothing of this level was saved"
            )
        return found

    clean = functools.partial(clean_trial, loaded.model)
    yield Unit("clean", base, lambda tick: rows("none", 0.0, ("clean",), computed(clean, 1, tick)))
    for norm, levels in noise_levels(config):
        sweep = Sweep(norm, regions, trials, at_once, config.data.mask == "binary")
        fn = functools.partial(noise_trials, loaded.model, sweep)
        for level in levels:
            args = (jax.random.key(config.seed), jnp.float32(level))
            settings = {"norm": norm, "level": level, "trials": trials, "regions": regions}
            settings |= {"seed": config.seed, "mask": config.data.mask}
            compute = lambda tick, norm=norm, level=level, fn=fn, args=args: rows(  # noqa: E731
                norm, level, regions, computed(fn, trials * len(regions), tick, *args)
            )
            yield Unit(f"{norm}_{level:.6g}", base | settings, compute)


def _columns(
    config: Any,
    examples: Examples,
    model: str,
    norm: str,
    level: float,
    regions: tuple[str, ...],
    found: parallel.Rows,
) -> Columns:
    """One row per image, trial and region, in that order; the clean images' trial is -1."""
    count, trials = len(examples), found["probability"].size // len(examples) // len(regions)
    rows = count * trials * len(regions)
    image = np.repeat(np.arange(count), trials * len(regions))
    trial = np.tile(np.repeat(np.arange(trials), len(regions)), count) - (norm == "none")
    return {
        "model": Category(np.zeros(rows), [model]),
        "dataset": Category(np.zeros(rows), [config.data.name]),
        "example": Category(image, list(examples.names)),
        "label": Category(examples.labels[image], list(examples.classes)),
        "region": Category(np.tile(np.arange(len(regions)), count * trials), list(regions)),
        "norm": Category(np.zeros(rows), [norm]),
        "level": np.full(rows, level),
        "trial": trial.astype(np.int16),
        "probability": found["probability"].ravel(),
        "correct": found["correct"].ravel(),
    }


def noise_levels(config: Any) -> list[tuple[str, tuple[float, ...]]]:
    """The levels of every norm asked for: sigma for linf, the Euclidean norm for l2."""
    levels = {"linf": config.noise.sigmas, "l2": config.noise.epsilons}
    return [(norm, tuple(map(float, levels[norm]))) for norm in config.noise.norms]


def forwards(config: Any) -> int:
    """Forward passes per image and model: one clean, then levels x trials x regions."""
    levels = sum(len(levels) for _, levels in noise_levels(config))
    return 1 + levels * config.noise.trials * len(config.noise.regions)


def check(config: Any) -> None:
    """Raises ValueError for noise settings that cannot be run."""
    for norm in config.noise.norms:
        one_of("noise.norms", norm, noise.NORMS)
    for region in config.noise.regions:
        one_of("noise.regions", region, noise.REGIONS)
    if not {"foreground", "background"} <= set(config.noise.regions):
        raise ValueError("config.noise.regions needs both 'foreground' and 'background' for RFS")
    for norm, levels in noise_levels(config):
        if not levels or min(levels) <= 0 or len(set(levels)) < len(levels):
            raise ValueError(f"config.noise: {norm} levels {levels} must be positive and distinct")
    if not config.noise.norms or config.noise.trials < 1:
        raise ValueError("config.noise needs at least one norm and one trial")
    if config.batch_size != "auto" and int(config.batch_size) < 1:
        raise ValueError(f"config.batch_size={config.batch_size}: 'auto' or a number from 1 up")


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    check(config)
    subject, seconds, count = Subject(config, console), 0.0, forwards(config)
    for name in config.models:
        loaded = subject.load(name)
        images = len(subject.examples(loaded.geometry))
        mine = images * count * loaded.cost.seconds / subject.mesh.size
        seconds += mine
        console.print(
            f"{loaded.model.name}: {images} images x {count} = {images * count:,} forwards, "
            f"{images * count * loaded.cost.flops / 1e12:,.1f} TFLOP, about {duration(mine)}"
        )
    console.print(f"all models: about {duration(seconds)}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Computes the units that are missing, then tables, figures and report; returns the summary."""
    check(config)
    subject = Subject(config, console)
    batches, facts, paths, computed = run.read_json("batches.json") or {}, [], [], 0
    images = len(subject.sources[config.data.split])
    with Meter(images * forwards(config) * len(config.models), "forwards", console) as meter:
        for name in config.models:
            loaded = subject.load(name)
            facts.append(loaded.facts)
            for unit in units(config, subject, loaded, batches):
                run.save_json("batches.json", batches)
                meter.say(f"{loaded.model.name} {unit.name}")
                file = f"{loaded.model.name}/{unit.name}"
                compute = functools.partial(unit.compute, meter.advance)
                computed += run.rows(file, unit.depends_on, compute)
                paths.append(run.unit_path(file, unit.depends_on))
    run.save_json("models.json", facts)
    run.save_json("data.json", subject.facts())
    run.save_json("units.json", [path.relative_to(run.path).as_posix() for path in paths])
    console.print(f"{computed} of {len(paths)} units computed, the others were there")
    return report.write(run, console, functools.partial(pictures, config, subject))


def pictures(config: Any, subject: Subject, name: str) -> tuple[np.ndarray, ...]:
    """(photo, foreground noised, background noised), uint8 [h, w, 3]: trial 0 as it was scored.

    At the level of the first norm that is nearest the one of the study's figure 1, sigma 60/255.
    """
    examples = subject.first_examples()
    row = examples.names.index(name)
    example = examples.example(row)
    norm, levels = noise_levels(config)[0]
    level = min(levels, key=lambda value: abs(value - FIGURE_1_LEVEL[norm]))
    image = jnp.float32(example["image"]) / 255
    mask = jnp.float32(example["mask"]) / 255
    if config.data.mask == "binary":
        mask = (mask > 0.5).astype(jnp.float32)
    ids = jnp.asarray(examples.noise_ids[row : row + 1])
    unit = noise.gaussian(jax.random.key(config.seed), ids, 0, image.shape)[0]
    noised = (
        noise.corrupt(image, mask, unit, region=region, level=level, norm=norm)
        for region in ("foreground", "background")
    )
    return example["image"], *(np.asarray(jnp.round(255 * x), np.uint8) for x in noised)
