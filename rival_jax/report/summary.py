"""The headline numbers of a sweep with their intervals, as one JSON-able dict."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax.report import numbers
from rival_jax.report.cubes import at
from rival_jax.report.intervals import SUFFIX, Intervals, measure
from rival_jax.report.sweep import Noise, Sweep
from rival_jax.significance import Finding

Summary = dict[str, Any]


def summarise(
    sweep: Sweep,
    groups: Mapping[str, Sequence[str]] | None = None,
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
      groups: group -> models, see `Sweep.groups`. The accuracies of a group of several models are
        averaged before RFS is formed (study, figure 4).
      resamples, confidence, method, seed: of the intervals, see `statistics.bootstrap`.

    Returns:
      `dataset`, `statistics`, `models` (name -> accuracy_clean and one entry per norm), `groups`
      (the same, without iRFS; empty when no group has several models), `differences` and
      `group_differences` (norm -> list of pairs). Source: RIVAL10 study, section 5.1.
    """
    options = {
        "resamples": resamples,
        "confidence": confidence,
        "method": method,
        "seed": seed,
    }
    several = sweep.groups(groups)
    if all(len(members) == 1 for members in several.values()):
        several = {}
    both = sweep.averaged({name: [name] for name in sweep.models} | several)
    pairs = [pair for names in (sweep.models, several) for pair in itertools.combinations(names, 2)]
    position = both.models.index
    found = measure(both, [(position(a), position(b)) for a, b in pairs], **options)
    entries = {
        name: {"accuracy_clean": at(found.means["clean",], m)}
        | {norm: _entry(both, noise, found, m) for norm, noise in both.noise.items()}
        for m, name in enumerate(both.models)
    }
    counts = np.bincount(sweep.labels, minlength=len(sweep.classes)).tolist()
    differences = {
        norm: _differences(both, noise, found.differences[norm], pairs)
        for norm, noise in both.noise.items()
    }
    between_models = len(sweep.models) * (len(sweep.models) - 1) // 2
    return {
        "dataset": {
            "name": sweep.dataset,
            "images": len(sweep.names),
            "classes": dict(zip(sweep.classes, counts, strict=True)),
        },
        "statistics": options,
        "models": {name: entries[name] for name in sweep.models},
        "groups": {
            name: {"members": members, **_without_irfs(entries[name])}
            for name, members in several.items()
        },
        "differences": {norm: pairs[:between_models] for norm, pairs in differences.items()},
        "group_differences": {norm: pairs[between_models:] for norm, pairs in differences.items()},
    }


def _entry(sweep: Sweep, noise: Noise, found: Intervals, m: int) -> dict[str, Any]:
    norm, levels = noise.norm, noise.levels.tolist()
    fg, bg = (_trial_accuracy(noise, name)[:, m] for name in ("foreground", "background"))
    return {
        "levels": levels,
        "trials": noise.trials,
        **{
            f"accuracy_{SUFFIX[region]}": {
                "mean": at(found.means[SUFFIX[region], norm, "mean"], m),
                "by_level": [at(found.means[SUFFIX[region], norm, str(s)], m) for s in levels],
            }
            for region in noise.regions
        },
        "rfs_by_level": [at(found.rfs[norm, str(s)], m) for s in levels],
        "rfs_of_means": at(found.rfs[norm, "mean"], m),
        "mean_of_rfs": at(found.mean_of_rfs[norm], m),
        "rfs_by_class": {
            name: at(found.by_class[norm], c, m) for c, name in enumerate(sweep.classes)
        },
        "irfs_mean": at(found.means["irfs", norm], m),
        "irfs_negative": at(found.means["negative", norm], m),
        "noise_error": {
            "accuracy_fg": _standard_error(fg),
            "accuracy_bg": _standard_error(bg),
            "rfs_of_means": _standard_error(numbers.rfs(fg, bg)),
        },
    }


def _without_irfs(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A group's entry: iRFS of averaged probabilities would be no average of anything."""
    return {
        key: {k: v for k, v in value.items() if not k.startswith("irfs")}
        if "irfs_mean" in value
        else value
        for key, value in entry.items()
    }


def _differences(
    sweep: Sweep, noise: Noise, interval: Finding, pairs: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    fg, bg = (_trial_accuracy(noise, name) for name in ("foreground", "background"))
    by_trial = dict(zip(sweep.models, numbers.rfs(fg, bg).T, strict=True))
    return [
        {
            "model": b,
            "minus": a,
            "rfs_of_means": at(interval, k),
            "noise_error": _standard_error(by_trial[b] - by_trial[a]),
        }
        for k, (a, b) in enumerate(pairs)
    ]


def _trial_accuracy(noise: Noise, region: str) -> np.ndarray:
    """Accuracy [t, m] of every trial alone, averaged over classes and levels."""
    return noise.by_trial[:, :, :, noise.regions.index(region)].mean((2, 3))


def _standard_error(replicates: np.ndarray) -> float | None:
    if len(replicates) < 2:
        return None
    return float(replicates.std(ddof=1) / np.sqrt(len(replicates)))
