"""Passes over a data set whose results would not fit the memory: a few batches at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from jax.sharding import Mesh

from rival_jax.runtime import hosts, parallel
from rival_jax.types import Batch, Variables

STEPS = 16  # batches of a part


def map_parts(
    fn: parallel.PerExample,
    variables: Variables,
    batches: Iterable[Batch],
    mesh: Mesh,
    *,
    on_batch: Callable[[int], None] = lambda examples: None,
) -> Iterator[parallel.Rows]:
    """`parallel.map_examples` over `STEPS` batches at a time; read as they are asked for.

    Yields the rows of all hosts, on every host.
    """
    rest = iter(batches)
    for first in rest:
        part = itertools.chain([first], itertools.islice(rest, STEPS - 1))
        rows = parallel.map_examples(fn, variables, part, mesh, on_batch=on_batch)
        yield hosts.gathered_rows(rows)
