"""The headline numbers of a sweep with their intervals, as one JSON-able dict."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.flatten_util
import numpy as np

from rival_jax import metrics, statistics
from rival_jax.report import numbers
from rival_jax.report.sweep import Noise, Sweep
from rival_jax.types import Array

Summary = dict[str, Any]


def summarise(
    sweep: Sweep,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "bca",
    seed: int = 0,
) -> Summary:
    """Accuracies, RFS in both orders of averaging, iRFS and every paired difference of models.

    Every number is class-balanced (mean over images of a class, then over classes) and is given as
    `{"estimate", "low", "high"}`: a bootstrap interval in which images are resampled within their
    class and keep their trials. All models share the resamples, so differences are paired.
    `noise_error` is what the finite number of trials adds: the standard deviation of the number
    over single trials, divided by the root of their count; None with one trial.

    Args:
      sweep: what to summarise.
      resamples, confidence, method, seed: of the intervals, see `statistics.bootstrap`.

    Returns:
      `dataset`, `statistics`, `models` (name -> accuracy_clean and one entry per norm) and
      `differences` (norm -> list of pairs). Source: RIVAL10 study, section 5.1.
    """
    options = {
        "resamples": resamples,
        "confidence": confidence,
        "method": method,
        "seed": seed,
    }
    counts = np.bincount(sweep.labels, minlength=len(sweep.classes))
    summary: Summary = {
        "dataset": {
            "name": sweep.dataset,
            "images": len(sweep.names),
            "classes": dict(zip(sweep.classes, counts.tolist(), strict=True)),
        },
        "statistics": options,
        "models": {model: {} for model in sweep.models},
        "differences": {},
    }
    for norm, noise in sweep.noise.items():
        intervals = _intervals(sweep, noise, options)
        errors = _noise_errors(noise)
        for m, model in enumerate(sweep.models):
            entry = summary["models"][model]
            entry["accuracy_clean"] = _at(intervals["accuracy_clean"], m)
            entry[norm] = _model_entry(sweep, noise, intervals, errors, m)
        summary["differences"][norm] = [
            {
                "model": sweep.models[b],
                "minus": sweep.models[a],
                "rfs_of_means": _at(intervals["difference"], pair),
                "noise_error": _number(errors["difference"][pair]),
            }
            for pair, (a, b) in enumerate(_pairs(len(sweep.models)))
        ]
    return summary


def _model_entry(
    sweep: Sweep, noise: Noise, intervals: dict, errors: dict, m: int
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "levels": noise.levels.tolist(),
        "trials": noise.trials,
        "not_finite": int((~np.isfinite(noise.probability[m])).sum()),
    }
    for r, region in enumerate(noise.regions):
        entry["accuracy_" + SUFFIX[region]] = {
            "mean": _at(intervals["accuracy_mean"], m, r),
            "by_level": [_at(intervals["accuracy"], m, k, r) for k in range(len(noise.levels))],
        }
    entry["rfs_by_level"] = [_at(intervals["rfs"], m, k) for k in range(len(noise.levels))]
    for name in ("rfs_of_means", "mean_of_rfs", "irfs_mean", "irfs_negative"):
        entry[name] = _at(intervals[name], m)
    entry["rfs_by_class"] = {
        name: _at(intervals["rfs_by_class"], m, c) for c, name in enumerate(sweep.classes)
    }
    entry["noise_error"] = {
        name: _number(errors[name][m]) for name in ("accuracy_fg", "accuracy_bg", "rfs_of_means")
    }
    return entry


SUFFIX = {"foreground": "fg", "background": "bg", "all": "all"}


def _intervals(sweep: Sweep, noise: Noise, options: dict) -> dict[str, statistics.Interval]:
    """Bootstraps every measure of every model at once, so that all share the resamples."""
    irfs = numbers.irfs(noise)
    models, levels, regions = noise.correct.shape[:3]
    columns = np.concatenate(  # per image and model: clean, iRFS, its sign, every level x region
        [
            sweep.correct[:, None],
            irfs.mean(1, keepdims=True),
            (irfs < 0).mean(1, keepdims=True),
            noise.correct.reshape(models, levels * regions, -1),
        ],
        axis=1,
    )
    fg, bg = (noise.regions.index(name) for name in ("foreground", "background"))

    def measures(means: Array) -> dict[str, Array]:  # [c, m, columns]
        by_class = means[..., 3:].reshape(*means.shape[:2], levels, regions)
        accuracy = jax.numpy.moveaxis(by_class, 0, -1)  # [m, l, r, c]
        acc_fg, acc_bg = accuracy[:, :, fg], accuracy[:, :, bg]
        total = numbers.rfs_of_means(acc_fg, acc_bg)
        pairs = np.array(_pairs(models)).reshape(-1, 2)
        return {
            "accuracy_clean": means[..., 0].mean(0),
            "irfs_mean": means[..., 1].mean(0),
            "irfs_negative": means[..., 2].mean(0),
            "accuracy": accuracy.mean(-1),
            "accuracy_mean": accuracy.mean((1, 3)),
            "rfs": metrics.rfs(acc_fg.mean(-1), acc_bg.mean(-1)),
            "rfs_of_means": total,
            "mean_of_rfs": numbers.mean_of_rfs(acc_fg, acc_bg),
            "rfs_by_class": metrics.rfs(acc_fg.mean(1), acc_bg.mean(1)),
            "difference": total[pairs[:, 1]] - total[pairs[:, 0]],
        }

    found = statistics.bootstrap(
        lambda means: jax.flatten_util.ravel_pytree(measures(means))[0],
        np.moveaxis(columns, -1, 0),
        sweep.labels,
        **options,
    )
    shapes = jax.eval_shape(
        measures, jax.ShapeDtypeStruct((len(sweep.classes), *columns.shape[:2]), np.float32)
    )
    ends = np.cumsum([part.size for part in shapes.values()])[:-1]
    pieces = [np.split(array, ends) for array in found]
    return {
        name: statistics.Interval(*(piece[i].reshape(part.shape) for piece in pieces))
        for i, (name, part) in enumerate(shapes.items())
    }


def _noise_errors(noise: Noise) -> dict[str, np.ndarray]:
    """Standard error that the noise draws leave in each number: trials are its replicates."""
    fg, bg = (noise.by_trial[:, :, :, noise.regions.index(r)] for r in ("foreground", "background"))
    total = numbers.rfs(fg.mean((2, 3)), bg.mean((2, 3)))
    pairs = np.array(_pairs(total.shape[1])).reshape(-1, 2)
    replicates = {
        "accuracy_fg": fg.mean((2, 3)),
        "accuracy_bg": bg.mean((2, 3)),
        "rfs_of_means": total,
        "difference": total[:, pairs[:, 1]] - total[:, pairs[:, 0]],
    }
    if noise.trials == 1:
        return {name: np.full(value.shape[1:], np.nan) for name, value in replicates.items()}
    return {
        name: value.std(0, ddof=1) / np.sqrt(noise.trials) for name, value in replicates.items()
    }


def _pairs(models: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(models), 2))


def _at(interval: statistics.Interval, *index: int) -> dict[str, float | None]:
    return {name: _number(value[index]) for name, value in interval._asdict().items()}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
