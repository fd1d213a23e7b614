"""Heads: what turns a network's features or logits into the data set's classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from rival_jax.types import Geometry


@dataclasses.dataclass(frozen=True)
class Context:
    """What a head may need besides the network; what has a default, if it is fitted on photos."""

    classes: tuple[str, ...]
    class_wnids: tuple[tuple[str, ...], ...] | None  # ImageNet synsets of every class
    geometry: Geometry
    mesh: Mesh
    train: Callable[[], Any] = dict  # decodes the training split when called: data.Examples
    test: Callable[[], Any] = dict  # the same for the test split; for the released selection rule
    batch_size: Callable[[], int] = int
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # config.probe
    cache: Path = Path()
    report: Callable[[str], None] = lambda text: None  # one line of progress
    sharding: str = "replicated"  # of the network's weights, see `parallel.map_examples`
    note: Callable[[str], None] = lambda text: None  # tells the reader, see `Subject.note`
