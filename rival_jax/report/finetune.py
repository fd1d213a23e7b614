"""What finetuning changed: rows -> one JSON-able summary, every gain paired with the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rival_jax import metrics
from rival_jax.report import cubes
from rival_jax.report.cubes import at
from rival_jax.report.rows import read_json
from rival_jax.runtime import row_files
from rival_jax.types import Array

Summary = dict[str, Any]
ORIGINAL = "original"
MEASURES = ("correct", "iou", "average_precision", "pixel_accuracy", "probability")
SHOWN = {"correct": "accuracy"}  # what a summary calls a column


class Found(NamedTuple):
    """The rows of a run as arrays; networks are the original, then the finetuned ones."""

    networks: list[dict[str, Any]]  # "name", "variant", "seed", "alpha", "masked", "files"
    classes: tuple[str, ...]
    tests: dict[str, tuple[np.ndarray, np.ndarray]]  # name -> values [n, networks, m], labels
    noise: dict[str, tuple[np.ndarray, np.ndarray]]  # norm -> correct [n, noisy, levels, 2], labels


def read(folder: Path, tests: Sequence[str], classes: Sequence[str]) -> Found:
    """All rows of a run, named in its units.json."""
    networks = read_json(folder / "units.json")["networks"]
    found, noise = {}, {}
    for test in tests:
        paths = [folder / network["files"][test] for network in networks]
        cube = cubes.read_cube(paths, ("example", "model"), MEASURES, classes)
        order = [cube.axes["model"].index(network["name"]) for network in networks]
        values = np.stack([cube.values[name] for name in MEASURES], axis=-1)
        found[test] = values[:, order], cube.labels
    noisy = [network for network in networks if network["alpha"] == 1]
    units = [name for name in networks[0]["files"] if name not in tests]
    for norm in dict.fromkeys(unit.partition("_")[0] for unit in units):
        mine = [unit for unit in units if unit.partition("_")[0] == norm]
        paths = [folder / network["files"][unit] for network in noisy for unit in mine]
        axes = ("example", "model", "level", "region")
        cube = cubes.read_cube(paths, axes, ("correct",), classes)
        order = [cube.axes["model"].index(network["name"]) for network in noisy]
        sides = [cube.axes["region"].index(name) for name in ("foreground", "background")]
        noise[norm] = cube.values["correct"][:, order][..., sides], cube.labels
    return Found(networks, tuple(classes), found, noise)


def summarise(found: Found, **options: Any) -> Summary:
    """Means over classes, their intervals, and gains over the original on the same images.

    Seeds of a variant are averaged before images are resampled; their spread is told apart.

    Args:
      found: what was measured.
      options: of `statistics.bootstrap`.

    Returns:
      `variants` (name -> tests, rfs, seeds), `mixtures` (name -> alpha -> tests), by_class.
    """
    groups = _groups(found.networks)
    entries = {key: {"seeds": _seeds(found.networks, rows)} for key, rows in groups.items()}
    for test, (values, labels) in found.tests.items():
        _add_test(entries, found, test, values, labels, groups, options)
    for norm, (values, labels) in found.noise.items():
        _add_noise(entries, found, norm, values, labels, options)
    mixtures: dict[str, Any] = {}
    for (variant, alpha), entry in entries.items():
        if alpha != 1:
            mixtures.setdefault(variant, {})[f"{alpha:g}"] = entry
    return {
        "dataset": {test: len(labels) for test, (_, labels) in found.tests.items()},
        "statistics": options,
        "masked": {n["name"]: n["masked"] for n in found.networks if n["alpha"] == 1},
        "variants": {variant: entry for (variant, alpha), entry in entries.items() if alpha == 1},
        "mixtures": mixtures,
    }


def _groups(networks: Sequence[Mapping[str, Any]]) -> dict[tuple[str, float], list[int]]:
    """(variant, alpha) -> places of its seeds; the original first."""
    groups: dict[tuple[str, float], list[int]] = {}
    for place, network in enumerate(networks):
        groups.setdefault((network["variant"], network["alpha"]), []).append(place)
    return groups


def _seeds(networks: Sequence[Mapping[str, Any]], rows: list[int]) -> list[int]:
    return [networks[row]["seed"] for row in rows if networks[row]["seed"] is not None]


def _weights(groups: Mapping[Any, list[int]], count: int) -> np.ndarray:
    """[groups, networks]: the mean over seeds."""
    found = np.zeros((len(groups), count), np.float32)
    for g, rows in enumerate(groups.values()):
        found[g, rows] = 1 / len(rows)
    return found


def _add_test(
    entries: dict[Any, dict[str, Any]],
    found: Found,
    test: str,
    values: np.ndarray,
    labels: np.ndarray,
    groups: Mapping[Any, list[int]],
    options: Mapping[str, Any],
) -> None:
    """Levels and gains of every measure on one test set, for all classes, set A and set B."""
    weights = _weights(groups, len(found.networks))
    present = [found.classes[label] for label in np.unique(labels)]
    inside = np.array([[c in n["masked"] for c in present] for n in found.networks], np.float32)
    sets = {
        name: part / np.maximum(part.sum(1, keepdims=True), 1)
        for name, part in (("A", inside), ("B", 1 - inside))
        if part.sum(1).all()
    }

    def parts(means: Array) -> dict[str, Array]:  # [c, networks, measures]
        level = jnp.einsum("gn,cnm->gm", weights, means) / means.shape[0]
        classes = jnp.einsum("gn,cn->gc", weights, means[..., 0])
        made = {"level": level, "gain": level - level[:1], "classes": classes}
        made["class gain"] = classes - classes[:1]
        for name, share in sets.items():  # under every network's own sets, the original too
            own = jnp.einsum("gn,nc,cn->g", weights, share, means[..., 0])
            before = jnp.einsum("gn,nc,c->g", weights, share, means[:, 0, 0])
            made |= {f"set {name}": own, f"set {name} gain": own - before}
        return made

    intervals = cubes.joint(parts, values, labels, **options)
    by_network = np.stack([values[labels == label].mean(0) for label in np.unique(labels)]).mean(0)
    for g, (key, rows) in enumerate(groups.items()):
        entry: dict[str, Any] = {"by_seed": by_network[rows, 0].astype(float).tolist()}
        for m, name in enumerate(MEASURES):
            shown = SHOWN.get(name, name)
            entry[shown] = at(intervals["level"], g, m)
            entry[f"{shown}_gain"] = at(intervals["gain"], g, m)
        entry["sets"] = {
            name: {
                "accuracy": at(intervals[f"set {name}"], g),
                "accuracy_gain": at(intervals[f"set {name} gain"], g),
            }
            for name in sets
        }
        entry["classes"] = {
            name: {
                "accuracy": at(intervals["classes"], g, c),
                "accuracy_gain": at(intervals["class gain"], g, c),
            }
            for c, name in enumerate(present)
        }
        entries[key].setdefault("tests", {})[test] = entry


def _add_noise(
    entries: dict[Any, dict[str, Any]],
    found: Found,
    norm: str,
    values: np.ndarray,
    labels: np.ndarray,
    options: Mapping[str, Any],
) -> None:
    """RFS of every network from accuracies averaged over levels and classes, then over seeds."""
    noisy = [network for network in found.networks if network["alpha"] == 1]
    groups = _groups(noisy)
    weights = _weights(groups, len(noisy))

    def parts(means: Array) -> dict[str, Array]:  # [c, networks, levels, 2]
        level = means.mean((0, 2))
        ratio = jnp.einsum("gn,n->g", weights, metrics.rfs(level[:, 0], level[:, 1]))
        sides = jnp.einsum("gn,ns->gs", weights, level)
        return {"rfs": ratio, "gain": ratio - ratio[:1], "sides": sides}

    intervals = cubes.joint(parts, values, labels, **options)
    level = np.stack([values[labels == label].mean(0) for label in np.unique(labels)]).mean((0, 2))
    each = np.asarray(metrics.rfs(jnp.asarray(level[:, 0]), jnp.asarray(level[:, 1])))
    for g, (key, rows) in enumerate(groups.items()):
        entries[key].setdefault("noise", {})[norm] = {
            "rfs": at(intervals["rfs"], g),
            "rfs_gain": at(intervals["gain"], g),
            "accuracy_fg": at(intervals["sides"], g, 0),
            "accuracy_bg": at(intervals["sides"], g, 1),
            "by_seed": each[rows].astype(float).tolist(),
        }


def curves(folder: Path, term: str = "total") -> dict[str, dict[str, np.ndarray]]:
    """Training curves: network -> "epoch", "train" and "held_out" of a term, "best"."""
    found = {}
    for path in read_json(folder / "units.json")["trainings"]:
        table = row_files.read(folder / path)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        mine = [i for i, name in enumerate(columns["term"]) if name == term]
        epochs = sorted({columns["epoch"][i] for i in mine})
        curve = {part: np.full(len(epochs), np.nan) for part in ("train", "held_out")}
        best = np.zeros(len(epochs), bool)
        for i in mine:
            place = epochs.index(columns["epoch"][i])
            curve[columns["part"][i]][place] = columns["value"][i]
            best[place] = columns["best"][i]
        found[columns["model"][0]] = {"epoch": np.array(epochs), "best": best, **curve}
    return found
