"""Relevance finetuning of ViTs (RobustViT), its baselines and ablations, before and after.

Variants x settings x seeds; a training is a unit of rows and two saved networks, and so is every
test of a network.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from rich.console import Console

from rival_jax.experiments import _clean, _finetune_data, _finetune_units
from rival_jax.experiments._finetune_jobs import Job
from rival_jax.experiments._finetune_units import Look, maps_of, mixed
from rival_jax.experiments._finetune_variants import ORIGINAL
from rival_jax.experiments._finetune_work import Work
from rival_jax.experiments._plans import Plans
from rival_jax.experiments._subject import Subject, one_of
from rival_jax.report import finetune_page
from rival_jax.report.document import shown_again
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Run
from rival_jax.types import Variables

SHOWN = 8  # images among the pictures


@dataclasses.dataclass(frozen=True)
class Tested:
    """A network whose tests are units of rows."""

    name: str
    job: Job | None  # None: the original
    alpha: float  # share of the finetuned weights
    weights: Any  # () -> Variables
    depends_on: dict[str, Any]

    def facts(self) -> dict[str, Any]:
        """What the report knows it by."""
        if self.job is None:
            return {"name": self.name, "variant": ORIGINAL, "seed": None, "alpha": 1.0}
        return {
            "name": self.name,
            "variant": self.job.setting.name,
            "seed": self.job.seed,
            "alpha": self.alpha,
        }


def check(config: Any) -> None:
    """Raises ValueError for settings that cannot be run."""
    _finetune_data.check(config)
    _finetune_units.check(config)
    if len(config.models) != 1:
        raise ValueError(f"config.models={tuple(config.models)}: finetune takes one network a run")
    if config.dtype != "float32":
        raise ValueError(
            "finetune keeps float32 weights; for the computation pass --config.train.dtype=bfloat16"
        )
    if len(set(config.seeds)) < len(config.seeds) or not config.seeds:
        raise ValueError(f"config.seeds={tuple(config.seeds)}: name each seed once, at least one")
    one_of("data.mask", config.data.mask, ("soft", "binary"))


def subjects(config: Any, console: Console) -> dict[str, Subject]:
    """The test sets by name: the one of `config.data`, and that of `config.shifted`."""
    found = {config.data.test_name: Subject(config, console)}
    if config.shifted.name:
        changed = config.copy_and_resolve_references().unlock()
        changed.data.update(config.shifted)
        found[config.shifted.test_name] = Subject(changed, console)
    first, *others = found.values()
    for other in others:
        if other.first_examples().classes != first.first_examples().classes:
            raise ValueError(
                f"config.shifted has the classes {other.first_examples().classes}, config.data "
                f"{first.first_examples().classes}; both need the same"
            )
    return found


def tested(config: Any, work: Work, run: Run) -> Iterator[Tested]:
    """The original, every finetuned network, and the mixtures of both."""
    original = work.original.variables
    yield Tested(ORIGINAL, None, 1.0, lambda: original, {"model": work.original.digest})
    checkpoint = config.evaluate.checkpoint
    for job in work.jobs:
        tuned = functools.cache(functools.partial(work.tuned, job, run, checkpoint))
        for alpha in (1.0, *map(float, config.evaluate.alphas)):
            name = job.name if alpha == 1 else f"{job.name}_alpha{alpha:g}"
            weights = functools.partial(
                lambda t, a: t() if a == 1 else mixed(original, t(), a), tuned, alpha
            )
            known = {"training": job.depends_on, "checkpoint": checkpoint, "alpha": alpha}
            yield Tested(name, job, alpha, weights, known)


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    check(config)
    tests = subjects(config, console)
    first = next(iter(tests.values()))
    work = Work(config, tests, console)
    cost, seconds = work.original.cost(), 0.0
    for setting in work.settings:
        step = work.step_cost(setting)
        mine = [len(work.images(job).train) for job in work.jobs if job.setting is setting]
        count = sum(mine) * config.train.epochs
        seconds += count * step.seconds
        console.print(
            f"{setting.name}: {count:,} images in {len(mine)} trainings, about "
            f"{duration(count * step.seconds)}, {step.bytes / 2**20:.1f} MiB an image"
        )
    networks = 1 + len(work.jobs)
    scores = sum(len(test.first_examples()) for test in tests.values())
    scores = scores * (1 + len(work.jobs) * (1 + len(config.evaluate.alphas))) * 3
    noisy = len(first.first_examples()) * _finetune_units.forwards(config) * networks
    seconds += (scores + noisy) * cost.seconds
    console.print(f"tests of {networks} networks: {scores + noisy:,} forwards")
    console.print(f"all: about {duration(seconds)}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Trains and tests what is missing, then tables, figures and report; returns the summary."""
    check(config)
    tests = subjects(config, console)
    first = next(iter(tests.values()))
    run.settle(first.facts())
    work = Work(config, tests, console)
    computed = _train(work, run, console)
    sizes, paths, facts = _sizes(config, work, first, run), [], []
    networks = list(tested(config, work, run))
    with Meter(_forwards(config, tests, networks), "forwards", console) as meter:
        for network in networks:
            seed = network.job.seed if network.job else config.seeds[0]
            masked = work.split(seed).masked
            found = _finetune_units.units(
                config,
                work.original,
                tests,
                sizes,
                network.name,
                masked,
                noisy=network.alpha == 1,
                on_batch=meter.advance,
            )
            files: dict[str, str] = {}
            for unit in found:
                meter.say(f"{network.name} {unit.name}", unit.flops)
                depends = {**network.depends_on, **unit.depends_on}
                file = f"{network.name}/{unit.name}"
                compute = functools.partial(lambda u, n: u.compute(n.weights()), unit, network)
                computed += run.rows(file, depends, compute, about=meter.lap)
                place = run.unit_path(file, depends).relative_to(run.path)
                files[unit.name] = place.as_posix()
            _clean.check(first, network.name, run.path / files[config.data.test_name])
            if network.job:
                job = network.job
                place = run.unit_path(f"{job.name}/training", job.depends_on)
                paths.append(place.relative_to(run.path).as_posix())
            facts.append({**network.facts(), "files": files, "masked": list(masked)})
    run.save_json("models.json", [work.original.facts])
    run.save_json("data.json", first.facts())
    trainings = {
        "networks": facts,
        "trainings": list(dict.fromkeys(paths)),
        "saved": work.saved(run),
    }
    run.save_json("units.json", trainings)
    console.print(f"{computed} units computed, the others were there")
    if not computed and run.finished():
        return shown_again(run, console)
    if not hosts.first():
        return {}
    shown = functools.partial(_pictures, config, work, tests, networks)
    return finetune_page.write(run, console, list(tests), shown)


def _train(work: Work, run: Run, console: Console) -> int:
    """The trainings that are missing; returns how many."""
    groups = list(work.groups(run))
    total = sum(len(work.images(job).train) for jobs in groups for job in jobs)
    with Meter(total * work.recipe.epochs, "images", console) as meter:
        for jobs in groups:
            more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
            meter.say(jobs[0].name + more, work.flops(jobs[0].setting))
            work.fit(jobs, run, meter)
    return sum(map(len, groups))


def _sizes(config: Any, work: Work, first: Subject, run: Run) -> dict[str, Any]:
    """Images per step, trials at once and operations of a forward pass; see `Plans`."""
    plans, loaded = Plans(run, first.mesh.size), work.original
    regions = len(_finetune_units.REGIONS)

    def scores() -> dict[str, Any]:
        return {"images": first.batch(loaded.cost(), loaded.geometry, 1, 3)[0]}  # a map costs three

    def noise() -> dict[str, Any]:
        cost = loaded.cost()
        images, trials = first.batch(cost, loaded.geometry, config.noise.trials, regions)
        return {"images": images, "trials": trials, "flops": cost.flops}

    images = len(first.first_examples())
    noisy = plans.of("noise", noise, images=images, trials=config.noise.trials)
    chosen = plans.of("scores", scores, images=images)
    sizes = {"images": chosen["images"], "noisy_images": noisy["images"]}
    return {**sizes, "trials": noisy["trials"], "flops": noisy["flops"]}


def _forwards(config: Any, tests: dict[str, Subject], networks: list[Tested]) -> int:
    images = [len(test.first_examples()) for test in tests.values()]
    noisy = images[0] * _finetune_units.forwards(config)
    return len(networks) * sum(images) + noisy * sum(network.alpha == 1 for network in networks)


def _pictures(
    config: Any, work: Work, tests: dict[str, Subject], networks: list[Tested]
) -> list[dict[str, Any]]:
    """Images of the last test set with their maps before and after the first finetuning."""
    name, test = list(tests.items())[-1]
    examples, loaded = test.first_examples(), work.original
    _, rows = np.unique(examples.labels, return_index=True)
    rows = rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().astype(int)]
    items = [examples.example(int(row)) for row in rows]
    batch = {
        "image": np.stack([item["image"] for item in items]) / np.float32(255),
        "label": examples.labels[rows],
    }
    look = Look(config.evaluate.method, config.evaluate.explained)
    show = jax.jit(parallel.Bound(maps_of, (loaded.model, look)))
    tuned = networks[1]

    def seen(variables: Variables) -> tuple[np.ndarray, list[str]]:
        maps, logits = jax.device_get(show(variables, batch))
        return maps, [examples.classes[i] for i in logits.argmax(1)]

    before, after = seen(networks[0].weights()), seen(tuned.weights())
    return [
        {
            "test": name,
            "network": tuned.name,
            "example": examples.names[row],
            "label": examples.classes[examples.labels[row]],
            "image": item["image"],
            "mask": item["mask"],
            "before": before[0][k],
            "after": after[0][k],
            "predicted": (before[1][k], after[1][k]),
        }
        for k, (row, item) in enumerate(zip(rows, items, strict=True))
    ]
