"""Logits scored by every protocol that a data set has, see `protocols`."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import protocols
from rival_jax.types import Array

TOP = 5
Kind = tuple[str, int, tuple[int, ...] | None]


@dataclasses.dataclass(frozen=True)
class Protocols:
    """How logits are scored; hashable.

    Attributes:
      outputs: each class's right outputs, the first listed first; (): it is not scored.
      ways: number of outputs.
      columns: outputs that `subset` keeps; None: no such protocol.
      groups: each output's group, for `grouped`; None: no such protocol.
      among: further subsets by name; only photos of their classes count.
      real: whether photos have reassessed labels.
    """

    outputs: tuple[tuple[int, ...], ...]
    ways: int
    columns: tuple[int, ...] | None = None
    groups: tuple[int, ...] | None = None
    among: tuple[tuple[str, tuple[int, ...]], ...] = ()
    real: bool = False

    @functools.cached_property
    def kinds(self) -> dict[str, Kind]:
        """Name -> the right outputs, how many of the largest count, and the competing columns."""
        counts = [len(some) for some in self.outputs if some]
        found: dict[str, tuple[str, tuple[int, ...] | None]] = {}
        found["any" if max(counts) > 1 else "full"] = "all", None
        if max(counts) > 1 and np.median(counts) == 1:
            found["first"] = "first", None
        if self.columns:
            found["subset"] = "all", self.columns
        if self.real:
            found["real"] = "real", None
        every: dict[str, Kind] = {}
        for name, (right, columns) in found.items():
            every[name] = right, 1, columns
            if len(columns or range(self.ways)) > TOP:
                every[f"{name}_{TOP}"] = right, TOP, columns
        for name, columns in self.among:
            every[name] = "all", 1, columns
        return every

    @property
    def names(self) -> tuple[str, ...]:
        """The main protocol."""
        return (*self.kinds, "grouped") if self.groups else tuple(self.kinds)

    @functools.partial(jax.jit, static_argnums=0)
    def scores(self, logits: Array, label: Array, real: Array) -> dict[str, Array]:
        """Hits by protocol, and figures of the softmax over all outputs; [b] each.

        NaN if a protocol leaves a photo out. `tie`: the order of equal logits decided.

        Args:
          logits: [b, ways].
          label: int [b], positions among the classes.
          real: bool [b, ways], reassessed labels.
        """
        right = {"all": jnp.asarray(protocols.accepts(self.outputs, self.ways))[label]}
        first = protocols.accepts([some[:1] for some in self.outputs], self.ways)
        right |= {"first": jnp.asarray(first)[label], "real": real}
        found: dict[str, Any] = {}
        for name, (kind, k, columns) in self.kinds.items():
            hit = protocols.hits(logits, right[kind], columns=columns, k=k)
            counts = right[kind] if columns is None else right[kind][:, jnp.array(columns)]
            partial = name in dict(self.among) or kind == "real"
            found[name] = jnp.where(counts.any(1), hit, jnp.nan) if partial else hit
        if self.groups:
            groups = np.array(self.groups)
            own = groups[[some[0] if some else 0 for some in self.outputs]]
            found["grouped"] = protocols.grouped_hits(logits, groups, jnp.asarray(own)[label])
        told = protocols.calibration(logits, right["all"])
        tie = protocols.ties(logits, right["all"])
        found |= {"predicted": logits.argmax(1), "probability": jnp.exp(-told.nll)}
        return {**found, **told._asdict(), "tie": tie}
