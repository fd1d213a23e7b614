"""A round of trials of noise, by one program whatever their number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax import noise
from rival_jax.configs.rfs import Config, Round
from rival_jax.experiments.runner import OnBatch, Pass
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.noise_trials import Sweep, noise_trials
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Columns

ToColumns = Callable[[parallel.Rows], Columns]


@dataclasses.dataclass(frozen=True)
class Trials:
    """Passes whose results, [n, trials, regions] each, are joined before they become columns."""

    passes: Sequence[Pass]
    columns: ToColumns

    def __call__(self, on_batch: OnBatch) -> Columns:
        """The columns; `on_batch` is called after every batch of every pass."""
        parts: list[Any] = [one(on_batch) for one in self.passes]
        joined = {
            key: np.concatenate([part[key] for part in parts], 1)
            for key in parts[0].keys() - {"index"}
        }
        return self.columns({"index": parts[0]["index"], **joined})


def trials(
    subject: Subject,
    loaded: Loaded,
    config: Config,
    plan: Mapping[str, Any],
    place: tuple[str, float],
    one: Round,
    columns: ToColumns,
) -> Trials:
    """The trials of a round, of one network under noise of one (norm, level).

    Rounds of several lengths would be several programs, which take longer to compile than a
    network of 64 pixels to run: there is one for one trial, unless a single round has all.
    """
    c, (norm, level) = config.noise, place
    step = one.trials if c.trials != "auto" else 1
    at_once, images = math.gcd(plan["trials"], step), plan["images"]
    # As many forward passes at once, of more images, if there are more.
    steps = math.ceil(len(subject.examples(loaded.geometry)) / images)
    size = images * min(plan["trials"] // at_once, steps)
    sweep = Sweep(norm, c.regions, step, at_once, config.data.mask == "binary", c.draws)
    over = subject, loaded, size, parallel.Bound(noise_trials, (loaded.model.forward, sweep))
    args, each = (noise.key(config.seed), np.float32(level)), step * len(c.regions)
    firsts = range(one.first, one.first + one.trials, step)
    passes = [Pass(*over, (*args, np.int32(first)), dict, each) for first in firsts]
    return Trials(passes, columns)
