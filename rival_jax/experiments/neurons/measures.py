"""Which features mark an attribute of a class on held-out images: from rows to results."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rival_jax import detectors
from rival_jax.configs.neurons import Neurons
from rival_jax.named import Counts, Named
from rival_jax.report.results import NO_INTERVAL, Results, Row
from rival_jax.report.study import Images, Means, Measure, Study
from rival_jax.runtime import row_files

Pair = tuple[str, str, str]
PAIR = ("class", "model", "attribute")
KEYS = ("label", "model", "attribute")  # the same in rows
NOTHING = np.zeros((0, 0))


def measures(means: Means, reported: Set[Pair]) -> Iterator[Measure]:
    """IoU of every pair of a class and an attribute; means over all, and over those reported."""
    iou = means["iou"]  # [class, model, attribute]
    yield Measure("iou", iou)
    every = iou.counts.images > 0
    keys = itertools.product(*map(iou.of, PAIR))
    mine = every & np.reshape([key in reported for key in keys], every.shape)
    for name, pairs in (("iou", every), ("iou_reported", mine)):
        mean = (iou.values * (pairs / np.maximum(pairs.sum((0, 2)), 1)[:, None])).sum((0, 2))
        images = (iou.counts.every * pairs).max(2).sum(0)  # of these classes
        counts = Counts(images, images, pairs.any(2).sum(0), images)
        yield Measure(name, Named(mean, iou.axes[1:2], counts))


STUDY = Study(
    "neurons",
    axes=("model", "network", "attribute"),  # network 0 is the model, the others are shuffled
    columns=("iou", "activation"),
    measures=measures,
    sparse=True,
)


class Found(NamedTuple):
    """The rows of all models."""

    images: Images  # held out; NaN if an image is not of the class or lacks the attribute
    features: dict[Pair, tuple[int, float]]  # each pair's best, and its mean IoU on its top images
    cross: dict[Pair, np.ndarray]  # [m, m]: IoU of every image's map with every image's mask

    def of(self, row: Row) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """IoU and activation of a pair's feature, and names, of all held-out images with both."""
        one = {"model": row["model"], "network": 0, "attribute": row["attribute"]}
        values = self.images.values
        iou, activation = (np.asarray(values[k].at(**one).values) for k in STUDY.columns)
        label = self.images.classes.index(row["class"])
        place = np.flatnonzero(np.isfinite(iou) & (self.images.labels == label))
        return iou[place], activation[place], [self.images.names[i] for i in place]

    def tested(self, model: str, c: Neurons, seed: int) -> tuple[dict[str, float], dict[Pair, Any]]:
        """A model's numbers without intervals: of all pairs together, and of every pair."""
        labels, iou = self.images.labels, self.images.values["iou"].at(model=model)
        scores: dict[Pair, np.ndarray] = {}  # mean IoU of each network
        for label, (a, attribute) in itertools.product(
            np.unique(labels), enumerate(iou.of("attribute"))
        ):
            mine = np.asarray(iou.values)[labels == label, :, a]
            if len(mine := mine[np.isfinite(mine[:, 0])]):
                scores[self.images.classes[label], model, attribute] = mine.mean(0)
        told = np.stack([*scores.values()], axis=1), [self.cross.get(p, NOTHING) for p in scores]
        options = {"permutations": c.permutations, "seed": seed}
        each, whole = detectors.assessed(*told, c.false_discovery_rate, **options)
        pairs = enumerate(scores)
        return whole, {pair: {k: float(v[i]) for k, v in each.items()} for i, pair in pairs}


def read(files: Mapping[str, Path], classes: Sequence[str]) -> Found:
    """From the three files of rows of every model; `classes` of the data set."""
    search, test, pairing = (
        [path for name, path in files.items() if name.endswith(f"/{kind}")]
        for kind in ("search", "test", "pairing")
    )
    best, columns = pc.field("best") & (pc.field("network") == 0), ["network", "best", "feature"]
    rows = (row_files.read(path, [*KEYS, *columns, "score"]).filter(best) for path in search)
    cross = pa.concat_tables(row_files.read(path, [*KEYS, "iou"]) for path in pairing)
    cross = cross.group_by([*KEYS], use_threads=False).aggregate([("iou", "list")]).to_pylist()
    square = lambda iou: np.reshape(iou, 2 * (round(len(iou) ** 0.5),))  # noqa: E731
    key = operator.itemgetter(*KEYS)
    return Found(
        images=STUDY.read(test, sorted(classes)),
        features={
            key(row): (row["feature"], row["score"]) for some in rows for row in some.to_pylist()
        },
        cross={key(row): square(row["iou_list"]) for row in cross},
    )


def results(found: Found, c: Neurons, seed: int, **options: Any) -> Results:
    """Every model's detectors: the features that mark an attribute of a class, tested.

    A pair of a class and an attribute is tested on images that had no part in choosing its feature.

    Args:
      found: see `read`.
      seed: of the permutations.
      options: of `statistics.bootstrap`.

    Returns:
      of every model the mean `iou` of all pairs and of those reported, and `Assessed.whole` of
      `detectors.assessed`. Then of every pair `iou`, `train_iou` (on the feature's top images), and
      `Assessed.each`; pairs that are reported come first, then those of high IoU.
    """
    first = found.images.values["iou"].at(network=0)
    tests = {model: found.tested(model, c, seed) for model in first.of("model")}
    reported = {pair for _, each in tests.values() for pair in each if each[pair]["reported"]}
    table = STUDY.results(found.images._replace(values={"iou": first}), reported, **options)
    pair = operator.itemgetter(*PAIR)
    order = lambda row: (pair(row) not in reported, -row["estimate"], pair(row))  # noqa: E731
    rows: list[Row] = []
    for model, (numbers, each) in tests.items():
        mine = table.where(model=model)
        whole = mine.where(**{"class": None}).rows
        rows += [*whole, *_plain(whole[0], numbers)]
        for row in sorted(mine.where(**{"class": bool}), key=order):
            feature, score = found.features.get(pair(row), (-1, 0.0))
            row = {**row, "feature": feature}
            rows += [row, *_plain(row, {"train_iou": score, **each[pair(row)]})]
    return Results(rows)


def _plain(row: Row, numbers: Mapping[str, float]) -> Iterator[Row]:
    """More numbers in the place of a row, without intervals."""
    return ({**row, **NO_INTERVAL, "measure": k, "estimate": v} for k, v in numbers.items())
