"""Which features mark an attribute of a class on held-out images: from rows to results."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rival_jax import neurons, significance
from rival_jax.configs.neurons import Neurons
from rival_jax.named import Counts, Named
from rival_jax.report.results import Results, Row
from rival_jax.report.study import Images, Means, Measure, Study
from rival_jax.runtime import row_files

Pair = tuple[str, str, str]
PAIR = ("class", "model", "attribute")
NOTHING = np.zeros((0, 0))


def measures(means: Means, reported: Set[Pair]) -> Iterator[Measure]:
    """IoU of every pair of a class and an attribute, then means over all and over some of them."""
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
    axes=("model", "network", "attribute"),  # network 0 is the one in question
    columns=("iou", "activation"),
    measures=measures,
    sparse=True,
)


class Found(NamedTuple):
    """The rows of all models."""

    images: Images  # held out; NaN where one is not of the class or lacks the attribute
    features: dict[Pair, tuple[int, float]]  # the best one, and its IoU on its top images
    cross: dict[Pair, np.ndarray]  # [m, m]: IoU of one image's map with another's mask

    def of(self, row: Row) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """IoU and activation of a pair's feature, and names, of all held-out images with both."""
        one = {"model": row["model"], "network": 0, "attribute": row["attribute"]}
        values = self.images.values
        iou, activation = (np.asarray(values[k].at(**one).values) for k in STUDY.columns)
        label = self.images.classes.index(row["class"])
        place = np.flatnonzero(np.isfinite(iou) & (self.images.labels == label))
        return iou[place], activation[place], [self.images.names[i] for i in place]


def read(files: Mapping[str, Path], classes: Sequence[str]) -> Found:
    """From the three files of rows of every model; `classes` of the data set."""
    search, test, pairing = (
        [path for name, path in files.items() if name.endswith(f"/{kind}")]
        for kind in ("search", "test", "pairing")
    )
    best = pc.field("best") & (pc.field("network") == 0)
    features = _by_pair(search, ("feature", "score", "network", "best"), best)
    cross = {pair: np.array(iou) for pair, (iou,) in _by_pair(pairing, ("iou",)).items()}
    return Found(
        images=STUDY.read(test, sorted(classes)),
        features={pair: (number[0], score[0]) for pair, (number, score, *_) in features.items()},
        cross={pair: iou.reshape(2 * (round(len(iou) ** 0.5),)) for pair, iou in cross.items()},
    )


def _by_pair(
    files: Sequence[Path], columns: Sequence[str], kept: pc.Expression | None = None
) -> dict[Pair, list[list[Any]]]:
    """The values of some columns, each a list in the order of the rows, of every pair."""
    keys = ["label", *PAIR[1:]]
    tables = [row_files.read(file, [*keys, *columns]) for file in files]
    tables = tables if kept is None else [table.filter(kept) for table in tables]
    groups = pa.concat_tables(tables).group_by(keys, use_threads=False)
    rows = groups.aggregate([(name, "list") for name in columns]).to_pylist()
    return {tuple(row[k] for k in keys): [row[f"{c}_list"] for c in columns] for row in rows}


def results(found: Found, settings: Neurons, seed: int, **options: Any) -> Results:
    """Every model's detectors: the features that mark an attribute of a class, tested.

    A pair of a class and an attribute is tested once, on images that had no part in choosing its
    feature, by two nulls (`neurons.pairing_p_value`, `neurons.shuffled_p_values`). Its p-value is
    the larger of the two, so that both have to fall; all pairs of a model together are adjusted
    for false discovery.

    Args:
      found: see `read`.
      seed: of the permutations.
      options: of `statistics.bootstrap`.

    Returns:
      of every model how many pairs are `tested` and `reported`, the mean `iou` of both, and of how
      many shuffled networks, each in its place, a pair would pass (`shuffled_reporting`). Then of
      every pair `iou`, `train_iou` (on the feature's top images), `shuffled_iou`, `p_pairing`,
      `p_shuffled`, `q` and `reported` (1 or 0): those that are reported first, by their IoU.
    """
    first = found.images.values["iou"].at(network=0)
    numbers = {model: _tested(found, model, settings, seed) for model in first.of("model")}
    reported = {pair for _, told in numbers.values() for pair in told if told[pair]["reported"]}
    table = STUDY.results(found.images._replace(values={"iou": first}), reported, **options)
    pair_of = lambda row: tuple(row[name] for name in PAIR)  # noqa: E731
    rows: list[Row] = []
    for model, (totals, told) in numbers.items():
        mine = table.where(model=model)
        whole = mine.where(**{"class": None}).rows
        rows += [*whole, *_plain(whole[0], totals)]
        of_pairs = mine.where(**{"class": mine.of("class")})
        by_iou = lambda row: (pair_of(row) not in reported, -row["estimate"], pair_of(row))  # noqa: E731
        for row in sorted(of_pairs, key=by_iou):
            feature, score = found.features.get(pair_of(row), (-1, 0.0))
            row = {**row, "feature": feature}
            rows += [row, *_plain(row, {"train_iou": score, **told[pair_of(row)]})]
    return Results(rows)


def _plain(row: Row, numbers: Mapping[str, float]) -> Iterator[Row]:
    """More numbers in the place of a row, without intervals."""
    ends = dict.fromkeys(("low", "high", "p"), np.nan)
    return ({**row, **ends, "measure": k, "estimate": v} for k, v in numbers.items())


def _tested(
    found: Found, model: str, settings: Neurons, seed: int
) -> tuple[dict[str, float], dict[Pair, dict[str, float]]]:
    """A model's numbers that have no interval: of all, and of every pair."""
    images, iou = found.images, found.images.values["iou"].at(model=model)
    scores: dict[Pair, np.ndarray] = {}  # mean IoU of each network [networks]
    for label in np.unique(images.labels):
        of_class = np.asarray(iou.values)[images.labels == label]
        for a, attribute in enumerate(iou.of("attribute")):
            mine = of_class[np.isfinite(of_class[:, 0, a]), :, a]
            if len(mine):
                scores[images.classes[label], model, attribute] = mine.mean(0)
    table = np.stack([*scores.values()], axis=1)  # [networks, pairs]; the first is in question
    several, options = len(table) > 1, {"permutations": settings.permutations, "seed": seed}
    cross = [found.cross.get(pair, NOTHING) for pair in scores]
    pairing = np.array([neurons.pairing_p_value(one, **options) for one in cross])
    shuffled = neurons.shuffled_p_values(table) if several else 0 * pairing
    q = significance.benjamini_hochberg(np.maximum(pairing, shuffled))
    reported = q <= settings.false_discovery_rate
    totals = {"tested": float(len(q)), "reported": float(reported.sum())}
    told = {"p_pairing": pairing, "q": q, "reported": reported}
    if several:
        alarms = neurons.false_alarms(table, settings.false_discovery_rate)
        totals |= {"shuffled_iou": float(table[1:].mean()), "shuffled_reporting": float(alarms)}
        told |= {"shuffled_iou": table[1:].mean(0), "p_shuffled": shuffled}
    each = {pair: {k: float(v[t]) for k, v in told.items()} for t, pair in enumerate(scores)}
    return totals, each
