"""One bootstrap of everything a summary holds, so that all models and norms share the resamples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import metrics, significance
from rival_jax.report import numbers
from rival_jax.report.sweep import Sweep
from rival_jax.significance import Finding
from rival_jax.types import Array

SUFFIX = {"foreground": "fg", "background": "bg", "all": "all"}
Columns = dict[tuple[str, ...], np.ndarray]
"""Per-image values [m, n] by what they are: ("fg", norm, level or "mean")."""


class Intervals(NamedTuple):
    """Estimates with intervals, by what they are of; arrays over models unless it says otherwise.

    `means`: class-balanced means of ("clean",), (suffix, norm, level or "mean"), ("irfs", norm) and
    ("negative", norm), the share of images x levels with iRFS below 0.
    """

    means: dict[tuple[str, ...], Finding]
    rfs: dict[tuple[str, ...], Finding]  # (norm, level or "mean")
    mean_of_rfs: dict[str, Finding]  # by norm
    by_class: dict[str, Finding]  # by norm, [c, m]
    differences: dict[str, Finding]  # by norm, [pairs], of the RFS of means


def measure(sweep: Sweep, pairs: Sequence[tuple[int, int]], **options: Any) -> Intervals:
    """Bootstraps every measure of every model, and RFS of model b minus RFS of model a.

    Args:
      sweep: the models.
      pairs: (a, b), positions of models.
      options: of `statistics.bootstrap`.
    """
    fg, bg, rest = _columns(sweep)
    norms, width = list(sweep.noise), len(fg)
    count, first = len(sweep.models), len(norms)
    contrast = np.zeros((len(pairs), count), np.float32)
    for pair, (a, b) in enumerate(pairs):
        contrast[pair, a], contrast[pair, b] = -1, 1
    levels = list(fg)[first:]
    over_levels = np.array([[key[1] == norm for norm in norms] for key in levels], np.float32)
    over_levels /= over_levels.sum(0)

    # The columns are [fg, bg, rest] with the means over levels first in fg and bg: slices only,
    # since the statistic is compiled anew for every report.
    @jax.jit
    def measures(means: Array) -> Array:  # class means [c, m, columns]
        mean = means.mean(0)
        rfs = metrics.rfs(mean[:, :width], mean[:, width : 2 * width])
        by_class = metrics.rfs(means[..., :first], means[..., width : width + first])
        parts = (mean, rfs, rfs[:, first:] @ over_levels, by_class, contrast @ rfs[:, :first])
        return jnp.concatenate([part.ravel() for part in parts])

    least = [0.0] * (2 * width) + [-1.0 if key[0] == "irfs" else 0.0 for key in rest]
    interval = significance.findings(
        measures,
        np.stack([*fg.values(), *bg.values(), *rest.values()]).transpose(2, 1, 0),
        sweep.labels,
        bounds=(np.tile(least, (count, 1)), 1.0),
        **options,
    )
    names = [[*fg, *bg, *rest], [key[1:] for key in fg], norms, norms, norms]
    leading = [(count,), (count,), (count,), (len(sweep.classes), count), (len(pairs),)]
    return Intervals(*_split(interval, names, leading))


def _split(
    interval: Finding, names: Sequence[Sequence], leading: Sequence[tuple[int, ...]]
) -> list[dict[Any, Finding]]:
    """Cuts flat arrays into blocks [*leading, names], one dict by name for each block."""
    parts, start = [], 0
    for keys, lead in zip(names, leading, strict=True):
        shape = (*lead, len(keys))
        size = int(np.prod(shape))
        block = [array[start : start + size].reshape(shape) for array in interval]
        parts.append({key: Finding(*(b[..., k] for b in block)) for k, key in enumerate(keys)})
        start += size
    return parts


def _columns(sweep: Sweep) -> tuple[Columns, Columns, Columns]:
    """Per-image values under foreground noise, under background noise, and all others."""
    parts: dict[str, Columns] = {"fg": {}, "bg": {}, "all": {}}
    for norm, noise in sweep.noise.items():
        for region in noise.regions:
            name = SUFFIX[region]
            parts[name][name, norm, "mean"] = noise.region(noise.correct, region).mean(1)
    for norm, noise in sweep.noise.items():
        for region in noise.regions:
            values, name = noise.region(noise.correct, region), SUFFIX[region]
            for k, level in enumerate(noise.levels.tolist()):
                parts[name][name, norm, str(level)] = values[:, k]
    rest: Columns = {("clean",): sweep.correct, **parts["all"]}
    for norm, noise in sweep.noise.items():
        irfs = numbers.irfs(noise)
        rest["irfs", norm], rest["negative", norm] = irfs.mean(1), (irfs < 0).mean(1)
    return parts["fg"], parts["bg"], rest
