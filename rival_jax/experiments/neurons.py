"""Which neuron stands for which attribute, and does it on new images (RIVAL10 study, section 6).

Every feature, attribute and class at once: the feature's top images of the class in the training
split, its saliency on them against the attribute's mask, the best feature of each attribute, and
that feature on all held-out images of the class with the attribute. The same search on networks of
shuffled weights says what comes by chance.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import data, neurons
from rival_jax.experiments._neuron_passes import Passes, Search
from rival_jax.experiments._neuron_pictures import pictures
from rival_jax.experiments._neuron_rows import (
    Studied,
    best_of,
    held_out_rows,
    search_rows,
    with_shuffled,
)
from rival_jax.experiments._plans import Plans
from rival_jax.experiments._subject import Subject, one_of
from rival_jax.models import describe
from rival_jax.report import neuron_page
from rival_jax.runtime import hosts, parallel, placement
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Run, tree_digest
from rival_jax.types import Geometry, Model, Variables

ROWS_VERSION = 1  # in every unit's hash: raise it when the same inputs give other rows


def check(config: Any) -> None:
    """Raises ValueError for settings that cannot be run."""
    c = config.neurons
    one_of("neurons.absent", c.absent, neurons.ABSENT)
    least = {"top": 1, "least_images": 1, "shuffled": 0, "permutations": 1, "pictures": 0}
    for key, value in (least | {"permuted_images": 2}).items():
        if c[key] < value:
            raise ValueError(f"config.neurons.{key}={c[key]}, expected {value} or more")
    for key in ("threshold", "false_discovery_rate"):
        if not 0 < c[key] < 1:
            raise ValueError(f"config.neurons.{key}={c[key]}, expected between 0 and 1")
    if config.data.split == config.data.train_split:
        raise ValueError("config.data.split is data.train_split: nothing would be held out")
    size = config.batch_size
    if size != "auto" and not (isinstance(size, int) and size > 0):
        raise ValueError(f"config.batch_size={size}: 'auto' or a number from 1 up")


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    check(config)
    subject, total = Subject(config, console, heads=False), 0.0
    for name in config.models:
        model, _, cost = subject.bare(name)
        train, test = _splits(subject, model)
        _pairs(config, train, test)
        forwards = (2 * len(train) + len(test)) * (1 + config.neurons.shuffled)
        seconds = forwards * cost().seconds / subject.mesh.size
        total += seconds
        console.print(
            f"{model.name}: {len(train)} images twice and {len(test)} once, by "
            f"{1 + config.neurons.shuffled} networks: {forwards:,} forwards, {duration(seconds)} "
            "or more: without global pooling each feature adds a backward pass of the last block"
        )
    console.print(f"all models: about {duration(total)}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Computes the units that are missing, then tables, figures and report; returns the summary."""
    check(config)
    subject = Subject(config, console, heads=False)
    run.settle(subject.facts())
    plans, facts, shown = Plans(run, subject.mesh.size), [], {}
    units: dict[str, dict[str, str]] = {}
    for name in config.models:
        model, variables, cost = subject.bare(name)
        studied = _studied(config, subject, model, variables, cost, plans)
        search = _search(config, studied)
        units[model.name] = _units(config, run, subject, studied, search)
        facts.append(
            {
                "name": model.name,
                "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
                "input": describe(model, _geometry(subject, model)),
                "head": "none: features alone",
                "flops": plans.known[model.name]["flops"],
            }
        )
        shown[model.name] = pictures(search, variables, studied.test)
    run.save_json("models.json", facts)
    run.save_json("data.json", subject.facts())
    run.save_json("units.json", units)
    if not hosts.first():
        return {}
    return neuron_page.write(run, console, shown)


def _studied(
    config: Any,
    subject: Subject,
    model: Model,
    variables: Variables,
    cost: Callable[[], parallel.Cost],
    plans: Plans,
) -> Studied:
    """The network's splits, and what its rows follow from; raises ValueError if nothing can be."""
    train, test = _splits(subject, model)
    pairs = _pairs(config, train, test)

    def pick() -> dict[str, Any]:
        size, _ = subject.batch(cost(), _geometry(subject, model), 1, 1)
        return {"images": size, "flops": cost().flops}

    identity = [model.name, model.mean, model.std, tree_digest(variables), *model.settings]
    depends_on = {
        "version": ROWS_VERSION,
        "model": str(identity),
        "dtype": config.dtype,
        "train": [train.fingerprint, train.attribute_fingerprint],
        "seed": config.seed,
        **{k: config.neurons[k] for k in ("top", "threshold", "absent", "shuffled")},
        "least_images": config.neurons.least_images,
        "test": [test.fingerprint, test.attribute_fingerprint],
    }
    batch_size = plans.of(model.name, pick, images=len(test))["images"]
    return Studied(model, variables, train, test, pairs, batch_size, depends_on)


def _pairs(config: Any, train: data.Examples, test: data.Examples) -> np.ndarray:
    """bool [c, a]: classes and attributes with enough images; raises ValueError without any."""
    both = set(train.names) & set(test.names)
    if both:
        raise ValueError(
            f"{len(both)} photos are in both {config.data.train_split!r} and "
            f"{config.data.split!r} ({min(both)}): nothing would be held out. Give the data two "
            "splits, or name another --config.data.split"
        )
    pairs = _count(train) >= config.neurons.least_images
    pairs &= _count(test) >= config.neurons.least_images
    if not pairs.any():
        raise ValueError(
            f"no attribute has {config.neurons.least_images} images of a class in both splits; "
            "pass a lower --config.neurons.least_images"
        )
    return pairs


def _geometry(subject: Subject, model: Model) -> Geometry:
    """How photos become what the network sees."""
    return subject.geometry(model)


def _splits(subject: Subject, model: Model) -> tuple[data.Examples, data.Examples]:
    geometry, config = _geometry(subject, model), subject.config.data
    train, test = (
        subject.examples(geometry, str(split), attributes=True)
        for split in (config.train_split, config.split)
    )
    return train, test


def _count(examples: data.Examples) -> np.ndarray:
    """Images [c, a] of each class that have each attribute."""
    members = np.eye(len(examples.classes), dtype=int)[examples.labels]
    return members.T @ examples.attribute_labels


def _search(config: Any, studied: Studied) -> Search:
    """Looks at a few images to see whether features are pooled channels."""
    model, few = studied.model, next(iter(studied.test.batches(2, everywhere=True)))["image"]

    @jax.jit
    def layers(variables: Variables, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = model.forward(variables, images, {})[1]
        return model.to_grid(found[model.cam_tap]), found[model.feature_tap]

    pooled = neurons.is_pooled(*layers(studied.variables, jnp.asarray(few)))
    return Search.of(model, pooled, float(config.neurons.threshold))


def _units(
    config: Any, run: Run, subject: Subject, studied: Studied, search: Search
) -> dict[str, str]:
    """Makes the files of rows that are missing; returns their paths below the run's folder."""
    name, count = studied.model.name, 1 + config.neurons.shuffled
    images = (2 * len(studied.train) + len(studied.test)) * count
    settings = {"permuted_images": config.neurons.permuted_images}
    depends_on = {
        "search": studied.depends_on,
        "test": studied.depends_on,
        "pairing": studied.depends_on | settings,
    }
    paths = {unit: run.unit_path(f"{name}/{unit}", on) for unit, on in depends_on.items()}
    if not all(run.intact(path) for path in paths.values()):
        with Meter(images, "images x networks", subject.console) as meter:
            meter.say(name)
            networks = with_shuffled(studied.variables, count - 1, config.seed)
            networks = placement.placed(networks, subject.mesh, "replicated")
            passes = Passes(search, networks, count, subject.mesh, meter.advance)
            top = functools.partial(search_rows, config, studied, passes)
            rows = functools.partial(run.rows, everywhere=True, about=meter.lap)
            rows(f"{name}/search", depends_on["search"], top)
            best = best_of(paths["search"], studied, count) if hosts.first() else np.zeros(0)
            best = hosts.agreed_arrays({"best": best})["best"]
            held = functools.cache(lambda: held_out_rows(config, studied, passes, best))
            rows(f"{name}/test", depends_on["test"], lambda: held()[0])
            rows(f"{name}/pairing", depends_on["pairing"], lambda: held()[1])
    return {unit: path.relative_to(run.path).as_posix() for unit, path in paths.items()}
