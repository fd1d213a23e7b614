"""A round of trials of noise, by one program whatever their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rival_jax import noise
from rival_jax.configs.rfs import Config, Round
from rival_jax.experiments.runner import Pass
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.noise_trials import Sweep, noise_trials
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Columns


def trials(
    subject: Subject,
    loaded: Loaded,
    config: Config,
    plan: Mapping[str, Any],
    place: tuple[str, float],
    one: Round,
    columns: Callable[[parallel.Rows], Columns],
) -> Pass:
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
    first, *further = ((*args, np.int32(trial)) for trial in firsts)
    return Pass(*over, first, columns, each, further=further)
