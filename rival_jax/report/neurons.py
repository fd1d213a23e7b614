"""What `neurons` found: from rows to arrays, and from these to the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rival_jax import neurons, significance
from rival_jax.report.cubes import at
from rival_jax.runtime.results import read_rows
from rival_jax.types import Array

Shown = Callable[[str, int, str], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""(example, feature, attribute) -> photo uint8 [h, w, 3], saliency in [0, 1] and mask [h, w]."""

Summary = dict[str, Any]


class Found(NamedTuple):
    """One model's rows as arrays; t pairs of a class and an attribute, n held-out images.

    Held-out arrays are NaN (cross: shorter) where an image is not of the class or lacks the
    attribute.
    """

    classes: list[str]  # [t]
    attributes: list[str]  # [t]
    feature: np.ndarray  # [t], -1: none
    train_score: np.ndarray  # [t]
    iou: np.ndarray  # [networks, n, t]; the first network is the one in question
    activation: np.ndarray  # [n, t], of the first network's feature
    names: list[str]  # [n]
    labels: np.ndarray  # [n], positions in the sorted classes
    cross: list[np.ndarray]  # t of [m, m]: IoU of one image's map with another's mask

    @classmethod
    def read(cls, search: Path, test: Path, pairing: Path) -> Found:
        """From the three files of rows of a model."""
        rows = read_rows(test)
        network = rows["network"].to_numpy()
        label, attribute, name = (_strings(rows[c]) for c in ("label", "attribute", "example"))
        pairs = sorted(set(zip(label.tolist(), attribute.tolist(), strict=True)))
        names = sorted(set(name.tolist()))
        t = np.array([pairs.index(p) for p in zip(label, attribute, strict=True)])
        n = np.searchsorted(names, name)
        iou = np.full((network.max() + 1, len(names), len(pairs)), np.nan)
        iou[network, n, t] = rows["iou"].to_numpy()
        first = network == 0
        activation, feature = np.full(iou.shape[1:], np.nan), np.zeros(len(pairs), int)
        activation[n[first], t[first]] = rows["activation"].to_numpy()[first]
        feature[t[first]] = rows["feature"].to_numpy()[first]
        labels = np.zeros(len(names), int)
        labels[n] = np.unique(label, return_inverse=True)[1]
        return cls(
            classes=[label for label, _ in pairs],
            attributes=[attribute for _, attribute in pairs],
            feature=feature,
            train_score=_train_scores(read_rows(search), pairs),
            iou=iou,
            activation=activation,
            names=names,
            labels=labels,
            cross=_cross(read_rows(pairing), pairs),
        )


def positions(column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """Places of a column's strings in `names`."""
    place = {name: i for i, name in enumerate(names)}
    return np.array([place[name] for name in _strings(column).tolist()], int)


def _strings(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.string()).to_numpy(zero_copy_only=False), str)


def _train_scores(rows: pa.Table, pairs: list[tuple[str, str]]) -> np.ndarray:
    rows = rows.filter((pc.field("network") == 0) & pc.field("best"))
    keys = zip(_strings(rows["label"]).tolist(), _strings(rows["attribute"]).tolist(), strict=True)
    scores = dict(zip(keys, rows["score"].to_numpy().tolist(), strict=True))
    return np.array([scores.get(pair, 0.0) for pair in pairs])


def _cross(rows: pa.Table, pairs: list[tuple[str, str]]) -> list[np.ndarray]:
    label, attribute = (_strings(rows[c]) for c in ("label", "attribute"))
    iou = rows["iou"].to_numpy()
    found = [iou[(label == c) & (attribute == a)] for c, a in pairs]
    return [values.reshape(2 * (round(len(values) ** 0.5),)) for values in found]


def summarise(found: Found, settings: Mapping[str, Any], seed: int, **options: Any) -> Summary:
    """One model's detectors: the features that mark an attribute of a class on held-out images.

    A pair of a class and an attribute is tested once, on images that had no part in choosing its
    feature, by two nulls (`neurons.pairing_p_value`, `neurons.shuffled_p_values`). Its p-value is
    the larger of the two, so that both have to fall; all pairs together are adjusted for false
    discovery.

    Args:
      found: the model's rows.
      settings: of config.neurons. seed: of the permutations.
      options: of `statistics.bootstrap`.
    """
    scores = np.nanmean(found.iou, axis=1)  # [networks, t]
    pairing = np.array([
        neurons.pairing_p_value(cross, permutations=settings["permutations"], seed=seed)
        for cross in found.cross
    ])  # fmt: skip
    shuffled = neurons.shuffled_p_values(scores) if len(scores) > 1 else 0 * pairing
    p = np.maximum(pairing, shuffled)
    q = significance.benjamini_hochberg(p)
    reported = q <= settings["false_discovery_rate"]
    interval = _intervals(found, reported, **options)
    pairs = []
    for t, (label, attribute) in enumerate(zip(found.classes, found.attributes, strict=True)):
        pairs.append({
            "class": label,
            "attribute": attribute,
            "feature": int(found.feature[t]),
            "train_score": float(found.train_score[t]),
            "images": int(np.isfinite(found.iou[0, :, t]).sum()),
            "iou": at(interval, t),
            "shuffled_iou": float(scores[1:, t].mean()) if len(scores) > 1 else None,
            "p_pairing": float(pairing[t]),
            "p_shuffled": float(shuffled[t]) if len(scores) > 1 else None,
            "q": float(q[t]),
            "reported": bool(reported[t]),
        })  # fmt: skip
    pairs.sort(key=lambda pair: (not pair["reported"], -pair["iou"]["estimate"]))
    every, mine = (at(interval, i) for i in (-2, -1))
    return {
        "tested": len(pairs),
        "reported": int(reported.sum()),
        "iou": every,
        "iou_reported": mine if reported.any() else None,
        "shuffled_iou": float(scores[1:].mean()) if len(scores) > 1 else None,
        "shuffled_reporting": _false_alarms(scores, settings["false_discovery_rate"]),
        "shuffled_networks": len(scores) - 1,
        "pairs": pairs,
    }


def _false_alarms(scores: np.ndarray, rate: float) -> int:
    """Of the shuffled networks, those that report something in the place of the first."""
    others = scores[1:]
    found = [neurons.shuffled_p_values(np.roll(others, -i, axis=0)) for i in range(len(others))]
    return sum(bool((significance.benjamini_hochberg(p) <= rate).any()) for p in found)


def _intervals(found: Found, reported: np.ndarray, **options: Any) -> significance.Finding:
    """Mean held-out IoU of each pair, then of all, then of those reported: [t + 2].

    Images are resampled within classes, all attributes of an image together.
    """
    shown = np.isfinite(found.iou[0])
    values = np.stack([np.where(shown, found.iou[0], 0), shown], axis=-1)
    classes = sorted(set(found.classes))
    own = np.array([classes.index(name) for name in found.classes])
    estimate = jnp.asarray(np.nanmean(found.iou[0], axis=0))
    weight = jnp.asarray(reported / max(reported.sum(), 1))

    def measures(means: Array) -> Array:  # [c, t, 2]
        total, count = means[own, jnp.arange(len(own))].T
        # a resample without any image of a pair says nothing of it
        mean = jnp.where(count > 0, total / jnp.where(count > 0, count, 1), estimate)
        return jnp.concatenate([mean, mean.mean(keepdims=True), (mean @ weight)[None]])

    return significance.findings(measures, values, found.labels, **options)
