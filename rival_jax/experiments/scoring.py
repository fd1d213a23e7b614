"""A network's answers on photos, scored by every protocol that a data set has."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import protocols
from rival_jax.data import class_maps
from rival_jax.types import Array

WAYS = 1000  # ImageNet's outputs
TOP = 5
# On ImageNet's validation photos, to fit ImageNet-A and -R: 200 outputs, photos of 200 classes.
AMONG = {"a_200": "imagenet_a", "r_200": "imagenet_r"}

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


def protocols_of(name: str, kind: str, source: Any, ways: int) -> Protocols:
    """A set's scoring, for networks with its own classes, or with ImageNet's (joined by synset).

    Args:
      name: the set's, for errors. kind: its source's.
      source: see `EvaluationSource`; a plain `Source` with classes or synsets will do.
      ways: number of the networks' outputs.

    Raises:
      ValueError: if the outputs are neither, or a class has no synset of ImageNet.
    """
    if ways == len(source.classes) != WAYS:
        return Protocols(tuple((i,) for i in range(ways)), ways)
    outputs, wnids = getattr(source, "outputs", None), source.class_wnids
    if ways != WAYS or (outputs is None and wnids is None):
        raise ValueError(
            f"{name} has {len(source.classes)} classes, the networks {ways} outputs: expected as "
            f"many, or ImageNet's {WAYS} and classes whose synsets are known"
        )
    columns, groups = getattr(source, "columns", None), getattr(source, "groups", None)
    if outputs is None:
        index = class_maps.index_of()
        if unknown := sorted({wnid for some in wnids for wnid in some} - index.keys()):
            raise ValueError(f"{name}: {unknown[0]} is no synset of ImageNet-1k")
        outputs = [[index[wnid] for wnid in some] for some in wnids]
        columns = sorted({i for some in outputs for i in some})
    if groups is None and columns is not None and max(map(len, outputs)) > 1:
        groups = _groups(outputs)
    among = tuple((key, class_maps.columns(one)) for key, one in AMONG.items())
    return Protocols(
        tuple(map(tuple, outputs)),
        ways,
        None if columns is None or len(columns) == WAYS else tuple(columns),
        None if groups is None else tuple(np.asarray(groups).tolist()),
        among if kind == "imagenet" else (),
        getattr(source, "real", None) is not None,
    )


def _groups(outputs: Sequence[Sequence[int]]) -> np.ndarray | None:
    """int [1000], the class that each output is right for; None if one is for several."""
    every = [i for some in outputs for i in some]
    groups = np.full(WAYS, -1)
    for label, some in enumerate(outputs):
        groups[list(some)] = label
    return groups if len(set(every)) == len(every) else None
