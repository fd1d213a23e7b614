"""Work directories of invented noise runs, in the layout the rfs experiment writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from rival_jax.runtime import row_files

REGIONS = ("foreground", "background", "all")
CLASSES = ("truck", "car", "plane", "ship", "cat", "dog", "equine", "deer", "frog", "bird")


def write_run(
    path: Path,
    *,
    models: Sequence[str],
    labels: np.ndarray,
    clean: tuple[np.ndarray, np.ndarray],
    noise: Mapping[str, tuple[Sequence[float], np.ndarray, np.ndarray]],
    classes: Sequence[str] = CLASSES,
    names: Sequence[str] | None = None,
    fingerprint: str = "5e1f",
) -> Path:
    """Writes rows and JSON files; `clean` is (probability, correct) [m, n], `noise` maps a norm
    to (levels, probability, correct) with arrays [m, l, r, t, n]."""
    names = list(names or [f"{classes[label]}/{i:05d}.jpg" for i, label in enumerate(labels)])
    words = [classes[label] for label in labels]
    units: dict[str, Path] = {}
    for m, model in enumerate(models):
        folder = path / "rows" / model.replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        units[f"{model}/clean"] = file = folder / "clean.parquet"
        _unit(file, model, names, words, "none", 0.0, [a[m][None, None] for a in clean])
        for norm, (levels, *values) in noise.items():
            for k, level in enumerate(levels):
                arrays = [array[m, k] for array in values]
                units[f"{model}/{norm}_{level:.6g}"] = file = folder / f"{norm}_{k}.parquet"
                _unit(file, model, names, words, norm, float(level), arrays)
    some = next(iter(noise.values()))[1]
    files = {
        "units": {name: unit.relative_to(path).as_posix() for name, unit in units.items()},
        "models": [
            {"name": name, "parameters": 5_700_000 * (1 + i), "flops": 1.3e9 * (1 + i),
             "input": "squash to 224 x 224, mean 0.5, std 0.5", "head": "own"}
            for i, name in enumerate(models)
        ],
        "data": {
            "name": "invented", "root": "", "split": "test", "classes": list(classes),
            "counts": np.bincount(labels, minlength=len(classes)).tolist(),
            "images": len(names), "skipped": [["cat/0099.jpg", "mask is empty"]],
            "fingerprint": fingerprint,
        },
        "environment": {"python": "3.11.9", "packages": {"jax": "0.10.2"}, "devices": "1 x cpu",
                        "commit": "0123abc"},
        "config": {
            "experiment": "rfs", "models": list(models), "head": "own", "normalise": "model",
            "dtype": "float32", "seed": 0, "batch_size": "auto",
            "data": {"name": "invented", "root": "", "split": "test", "mask": "soft"},
            "noise": {
                "norms": list(noise),
                "sigmas": list(map(float, noise.get("linf", [[]])[0])),
                "epsilons": list(map(float, noise.get("l2", [[]])[0])),
                "trials": some.shape[3],
                "regions": list(REGIONS[: some.shape[2]]),
            },
            "statistics": {"resamples": 200, "confidence": 0.95, "method": "bca"},
        },
    }  # fmt: skip
    for name, value in files.items():
        (path / f"{name}.json").write_text(json.dumps(value))
    argv = ["--config=configs/rfs.py", f"--workdir={path.name}"]
    (path / "log.jsonl").write_text(json.dumps({"time": 0, "event": "start", "argv": argv}) + "\n")
    return path


def invented(
    path: Path,
    *,
    models: Sequence[str] = ("scenes/vit_00", "scenes/vit_95", "scenes/resnet_00"),
    classes: Sequence[str] = CLASSES,
    per_class: int = 8,
    trials: int = 3,
    norms: Mapping[str, Sequence[float]] | None = None,
    seed: int = 0,
    **options,
) -> Path:
    """A run whose model number i relies on the background more than model i - 1."""
    rng = np.random.default_rng(seed)
    norms = norms or {"linf": [s / 255 for s in range(30, 211, 60)], "l2": [25.0, 100.0]}
    labels = np.repeat(np.arange(len(classes)), per_class)
    count = len(labels)
    ease = rng.normal(2.0, 1.0, count) + rng.normal(0, 0.5, len(classes))[labels]
    lean = rng.normal(0.0, 0.7, count) + rng.normal(0, 0.6, len(classes))[labels]
    margins = np.stack([ease + rng.normal(0, 0.4, count) + 0.8 for _ in models])
    noise = {}
    for norm, levels in norms.items():
        strength = np.asarray(levels) / max(levels) * 4
        shape = (len(models), len(levels), len(REGIONS), trials, count)
        drop = rng.normal(0, 0.5, shape)
        for m in range(len(models)):
            on_background = 0.25 + 0.5 * m / max(1, len(models) - 1) - 0.15 * lean
            share = np.stack([1 - on_background, on_background, np.ones(count)])
            drop[m] += strength[:, None, None, None] * share[:, None]
        margin = margins[:, None, None, None] - drop
        noise[norm] = (levels, _logistic(margin), margin > 0)
    return write_run(
        path,
        models=models,
        classes=classes,
        labels=labels,
        clean=(_logistic(margins), margins > 0),
        noise=noise,
        **options,
    )


def _logistic(margin: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-margin))).astype(np.float32)


def _unit(file, model, names, words, norm, level, arrays) -> None:
    probability, correct = arrays
    regions, trials, count = probability.shape
    kind = ["clean"] if norm == "none" else list(REGIONS[:regions])
    r, t, n = (index.ravel() for index in np.indices((regions, trials, count)))
    columns = {
        "model": np.full(r.size, model),
        "dataset": np.full(r.size, "invented"),
        "example": np.array(names)[n],
        "label": np.array(words)[n],
        "region": np.array(kind)[r],
        "norm": np.full(r.size, norm),
        "level": np.full(r.size, level),
        "trial": np.where(norm == "none", -1, t).astype(np.int16),
        "probability": probability.ravel().astype(np.float32),
        "correct": correct.ravel().astype(bool),
    }
    row_files.write([pa.table(columns)], file, file.name)
