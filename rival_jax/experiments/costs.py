"""What a run costs before it runs: forward passes, operations and time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax.runtime.progress import duration
from rival_jax.types import Model


def dry_run(experiment: Any, console: Console) -> None:
    """Prints a run's cost; all checks of a run were made with the experiment."""
    costs = member(experiment, "costs", functools.partial(_costs, experiment))
    total = np.zeros(2)
    for text, *seconds in costs():
        total += seconds
        console.print(f"{text}, about {_span(duration, seconds)}", markup=False)
    console.print(f"all: about {_span(duration, total)}; nothing was run")


def member(experiment: Any, name: str, default: Any = None) -> Any:
    """An optional member, see `Experiment`."""
    return getattr(experiment, name, None) or getattr(experiment.subject, name, None) or default


def passes(experiment: Any, model: Model) -> tuple[str, int]:
    """What is done with a network, in words, and its forward passes."""
    if own := member(experiment, "passes"):
        return own(model)
    images, count = len(experiment.subject.first_examples()), experiment.forwards()
    ends = (count, member(experiment, "most_forwards", experiment.forwards)())
    return f"{images} images x {_span(str, ends)}", images * count


def _costs(experiment: Any) -> Iterator[tuple[str, float, float]]:
    """The cost of each network's forward passes: the fewest and the most."""
    subject, usual = experiment.subject, member(experiment, "forwards", lambda: 1)
    factor = member(experiment, "most_forwards", usual)() / usual()
    subject.read_training()
    for name in experiment.config.models:
        model, _, measured = subject.bare(name)
        (text, count), cost = passes(experiment, model), measured()
        ends = np.array([count, factor * count])
        seconds = ends * cost.seconds / subject.mesh.size
        ends = _span("{:,.0f}".format, ends), _span("{:,.1f}".format, ends * cost.flops / 1e12)
        yield (f"{model.name}: {text} = {ends[0]} forwards, {ends[1]} TFLOP", *seconds.tolist())


def _span(said: Callable[[Any], str], ends: Iterable[Any]) -> str:
    """The fewest and the most in words; once, if both are the same."""
    return " to ".join(dict.fromkeys(map(said, ends)))
