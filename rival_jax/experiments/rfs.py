"""Relative foreground sensitivity: noise in the object or its background (RIVAL10 study, 5.1).

Models x noise levels x trials x regions; one level of one model is a unit of work, saved when it is
done and skipped when it is there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
from rich.console import Console

from rival_jax import noise, report
from rival_jax.experiments import _clean
from rival_jax.experiments._noise_trials import Sweep, noise_trials
from rival_jax.experiments._pictures import noised_pictures
from rival_jax.experiments._plans import Plans
from rival_jax.experiments._subject import Loaded, Subject, one_of
from rival_jax.experiments._trial_rows import clean_trial, trial_rows
from rival_jax.report.document import shown_again
from rival_jax.runtime import hosts
from rival_jax.runtime.parallel import Bound
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Columns, Run

ROWS_VERSION = 1  # in every unit's hash: raise it when the same inputs give other rows


@dataclasses.dataclass(frozen=True)
class Unit:
    """One level of one model (or its clean images): a file of rows."""

    name: str
    depends_on: dict[str, Any]  # all that its bytes follow from
    compute: Callable[..., Columns]


def pick(config: Any, subject: Subject, loaded: Loaded) -> dict[str, Any]:
    """Images per step and trials at once of one model's units; FLOPs of a forward pass."""
    trials, regions = config.noise.trials, len(config.noise.regions)
    images, at_once = subject.batch(loaded.cost(), loaded.geometry, trials, regions)
    return {"images": images, "trials": at_once, "flops": loaded.cost().flops}


def units(config: Any, subject: Subject, loaded: Loaded, plan: dict[str, Any]) -> Iterator[Unit]:
    """The units of one model, the clean images first; nothing is computed yet.

    Args:
      plan: see `pick`.
    """
    examples, trials = subject.examples(loaded.geometry), config.noise.trials
    regions, at_once = tuple(config.noise.regions), plan["trials"]
    rows = functools.partial(trial_rows, subject, loaded, plan["images"])
    base = {"version": ROWS_VERSION, "model": loaded.digest, "dtype": config.dtype}
    base |= {"data": examples.fingerprint}
    clean = Bound(clean_trial, (loaded.model.forward,))
    yield Unit("clean", base, functools.partial(rows, clean, ("none", 0.0, ("clean",))))
    for norm, levels in noise_levels(config):
        sweep = Sweep(norm, regions, trials, at_once, config.data.mask == "binary")
        trial = Bound(noise_trials, (loaded.model.forward, sweep))
        for level in levels:
            settings = {"norm": norm, "level": level, "trials": trials, "regions": regions}
            settings |= {"seed": config.seed, "mask": config.data.mask}
            args = (noise.key(config.seed), jnp.float32(level))
            compute = functools.partial(rows, trial, (norm, level, regions), *args)
            yield Unit(f"{norm}_{level:.6g}", base | settings, compute)


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
    size = config.batch_size
    if size != "auto" and not (isinstance(size, int) and size > 0):
        raise ValueError(f"config.batch_size={config.batch_size}: 'auto' or a number from 1 up")


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    check(config)
    subject, seconds, count = Subject(config, console), 0.0, forwards(config)
    images = len(subject.first_examples())
    subject.read_training()
    for name in config.models:
        model, _, measured = subject.bare(name)
        cost = measured()
        mine = images * count * cost.seconds / subject.mesh.size
        seconds += mine
        console.print(
            f"{model.name}: {images} images x {count} = {images * count:,} forwards, "
            f"{images * count * cost.flops / 1e12:,.1f} TFLOP, about {duration(mine)}"
        )
    console.print(f"all models: about {duration(seconds)}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Computes the units that are missing, then tables, figures and report; returns the summary."""
    check(config)
    subject = Subject(config, console)
    run.settle(subject.facts())
    plans, facts, paths, computed = Plans(run, subject.mesh.size), [], [], 0
    images = len(subject.first_examples())
    with Meter(images * forwards(config) * len(config.models), "forwards", console) as meter:
        for name in config.models:
            loaded = subject.load(name)
            model = loaded.model.name
            asked = {"trials": config.noise.trials, "regions": len(config.noise.regions)}
            choose = functools.partial(pick, config, subject, loaded)
            plan = plans.of(model, choose, images=images, **asked)
            for unit in units(config, subject, loaded, plan):
                meter.say(f"{model} {unit.name}", plan["flops"])
                file = f"{model}/{unit.name}"
                compute = functools.partial(unit.compute, on_batch=meter.advance)
                computed += run.rows(file, unit.depends_on, compute, about=meter.lap)
                paths.append(run.unit_path(file, unit.depends_on))
                if unit.name == "clean":
                    _clean.check(subject, model, paths[-1])
            facts.append({**loaded.facts, "flops": plan["flops"]})
    run.save_json("models.json", facts)
    run.save_json("data.json", subject.facts())
    run.save_json("units.json", [path.relative_to(run.path).as_posix() for path in paths])
    console.print(f"{computed} of {len(paths)} units computed, the others were there")
    if not computed and run.finished():
        return shown_again(run, console)
    if not hosts.first():
        return {}
    return report.write(run, console, noised_pictures(config, subject, noise_levels(config)[0]))
