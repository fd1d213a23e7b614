"""Nearest neighbours in a network's features (RobustViT, appendix M).

Networks x shards of the photos that are classified; each is a unit of work. The neighbours'
features are computed once for each network, and held.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import knn
from rival_jax.configs import options, typed
from rival_jax.configs.knn import Config, Knn
from rival_jax.data import Source
from rival_jax.data.shard import Shard
from rival_jax.data.source import refuse_training
from rival_jax.experiments.cures import Pair, compared_networks
from rival_jax.experiments.knn.page import WORDS, page
from rival_jax.experiments.runner import Bench, OnBatch, Unit
from rival_jax.experiments.streamed import network, plan
from rival_jax.experiments.subject import Loaded, Material, source_of
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study, compared
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.finite import refuse_nan
from rival_jax.runtime.results import Category, Columns, Run, digest, read_rows
from rival_jax.types import Array, Batch, Forward, Variables

ROWS_VERSION = 1  # part of every unit's hash: raise it when the same inputs give other rows


def measures(means: Means, pairs: list[Pair]) -> Iterator[Measure]:
    """Accuracy, the true class's share of the votes, and every pair's differences."""
    for name, column in (("accuracy", "correct"), ("probability", "probability")):
        yield from compared(name, means[column].mean("class"), pairs)


STUDY = Study(
    "knn",
    axes=("model", ("vote", "k")),
    columns=("correct", "probability"),
    measures=measures,
    alone=lambda config: ([],),
    apart="each",
)


def seen(forward: Forward, tap: str, variables: Variables, batch: Batch) -> dict[str, Array]:
    """A shard's batch: features float32 [b, f], and `knn.pixel_hash`."""
    image = jnp.asarray(batch["image"])
    _, taps = forward(variables, image.astype(jnp.float32) / 255, {})
    return {"features": taps[tap].astype(jnp.float32), "pixels": knn.pixel_hash(image)}


def voted(
    look: Callable[..., Any], c: Knn, classes: int, variables: Variables, batch: Batch, *given: Any
) -> dict[str, Array]:
    """What neighbours elect, [b, votes, k]: `predicted`, and the true class's `probability`.

    Args:
      look: `seen` of a network.
      given: the neighbours' features [n, f] and labels [n]; the labels of the shard's photos, and
        the place of each among the neighbours, or -1.
    """
    features, labels, truth, own = given
    found, index = look(variables, batch), jnp.asarray(batch["index"])
    nearest = functools.partial(knn.neighbours, found["features"], features, max(c.k))
    cosine, place = nearest(own=own[index])
    rules = {"votes": c.votes, "numbers": c.k, "temperature": c.temperature}
    shares, predicted = knn.elections(cosine, labels[place], classes, **rules)
    probability = jnp.take_along_axis(shares, truth[index][:, None, None, None], axis=3)[..., 0]
    return {"predicted": predicted, "probability": probability, "pixels": found["pixels"]}


class Experiment(Material):
    """Networks and photos, checked."""

    counted = "photos"

    def __init__(self, config: Any, console: Console):
        super().__init__(typed(Config, config), console)
        self.subject = self  # it has everything the runner needs
        c, data = self.config, self.config.data
        self.train, self.test = (source_of(data, one) for one in (data.train_split, data.split))
        refuse_training(self.train, "take neighbours from")
        if self.train.classes != self.test.classes:
            raise ValueError(
                f"splits {data.train_split!r} and {data.split!r} need the same classes, and "
                f"{', '.join(sorted(set(self.train.classes) ^ set(self.test.classes))[:5])} differ"
            )
        self.networks = [network(self, name) for name in c.models]
        names = [one.model.name for one in self.networks]
        self.distinct(names)
        called = dict(zip(c.models, names, strict=True))
        self.pairs = compared_networks(c.pairs, called).pairs
        self.skipped: list[tuple[str, str]] = []  # known at the end
        for source in (self.train, self.test):
            self.note(*getattr(source, "notices", ()))
            for one in self.networks:
                self._shards(source, one)[0].check()
        self.alone = self.train.names == self.test.names  # one split, or data without splits
        most = len(self.train) - self.alone
        self.knn = dataclasses.replace(c.knn, k=tuple(k for k in c.knn.k if k <= most))
        if not self.knn.k:
            raise ValueError(f"config.knn.k: there are {most} neighbours; name fewer")
        if self.alone:
            self.note(WORDS.text("alone", split=data.split))
        if out := [str(k) for k in c.knn.k if k > most]:
            self.note(WORDS.text("left_out", most=most, out=", ".join(out)))

    def total(self) -> int:
        """Photos that networks are shown."""
        return (len(self.train) + len(self.test)) * len(self.networks)

    def costs(self) -> Iterator[tuple[str, float]]:
        """What each network's forward passes would cost."""
        photos = len(self.train) + len(self.test)
        for one in self.networks:
            seconds = photos * one.cost().seconds / self.mesh.size
            yield f"{one.model.name}: {photos:,} photos", seconds

    def facts(self) -> dict[str, Any]:
        """What data.json and the page say about the photos that are classified."""
        found = digest([shard.digest for shard in self._shards(self.test, self.networks[0])])
        return self.described(self.test.classes, self.test.labels, self.skipped, found)

    def work(self, bench: Bench) -> Iterator[Unit]:
        """The units of every network."""
        for one in self.networks:
            chosen = plan(self, bench, one)
            bank = functools.cache(functools.partial(self._bank, one, chosen["images"], bench))
            base = {"version": ROWS_VERSION, "dtype": self.config.dtype, "model": one.digest}
            base |= {"train": [shard.digest for shard in self._shards(self.train, one)]}
            base |= {"alone": self.alone, **dataclasses.asdict(self.knn)}
            for number, shard in enumerate(self._shards(self.test, one)):
                rows = functools.partial(self._rows, one, shard, chosen["images"], bank)
                known = base | {"photos": shard.digest}
                yield Unit(f"{one.model.name}/{number:04d}", known, rows, chosen["flops"])

    def _shards(self, source: Source, one: Loaded) -> list[Shard]:
        """All photos of a source in a network's geometry; nothing is decoded yet."""
        rows, size, on_bad = np.arange(len(source)), self.config.shard, self.config.data.on_bad
        parts = np.split(rows, range(size, len(rows), size))
        return [Shard(source, part, one.geometry, on_bad=on_bad) for part in parts]

    def _bank(self, one: Loaded, size: int, bench: Bench) -> parallel.Rows:
        """The neighbours on every host: what is `seen` of them, and their place in the source."""
        fn, parts = parallel.Bound(seen, (one.model.forward, one.model.feature_tap)), []
        for shard in self._shards(self.train, one):
            given = fn, one.variables, shard.batches(size), self.mesh
            found = parallel.map_examples(*given, on_batch=bench.meter.advance)
            found = hosts.gathered_rows(found)
            parts.append({**found, "place": shard.positions[found["index"]]})
        bank = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        bad = np.isnan(bank["features"]).any(1)
        refuse_nan(one.model.name, bad, lambda i: self.train.names[bank["place"][i]])
        return bank

    def _rows(
        self, one: Loaded, shard: Shard, size: int, bank: Callable[[], Any], on_batch: OnBatch
    ) -> Columns:
        """One row for each photo of the shard, vote and number of neighbours."""
        known, classes = bank(), list(self.test.classes)
        truth = np.asarray(self.test.labels)[shard.positions]
        own = np.searchsorted(known["place"], shard.positions) if self.alone else 0 * truth - 1
        labels = np.asarray(self.train.labels)[known["place"]]
        look = parallel.Bound(seen, (one.model.forward, one.model.feature_tap))
        fn = parallel.Bound(voted, (look, self.knn, len(classes)))
        given = known["features"], *(array.astype(np.int32) for array in (labels, truth, own))
        given = fn, one.variables, shard.batches(size), self.mesh, *given
        found = parallel.map_examples(*given, on_batch=on_batch)
        pixels, mine = (one["pixels"].view(np.uint64)[:, 0] for one in (known, found))
        values, counts = np.unique(pixels, return_counts=True)
        twins = np.isin(mine, values[counts > self.alone])  # alone, a photo is its own
        shape = found["predicted"].shape
        image, vote, k = (index.ravel() for index in np.indices(shape))
        place, predicted = shard.positions[found["index"]][image], found["predicted"].ravel()
        label = np.asarray(self.test.labels)[place]
        return {
            "model": Category(0 * image, [one.model.name]),
            "dataset": Category(0 * image, [self.config.data.name]),
            "example": Category(place, list(self.test.names)),
            "label": Category(label, classes),
            "vote": Category(vote, list(self.knn.votes)),
            "k": np.array(self.knn.k, np.int32)[k],
            "probability": found["probability"].ravel(),
            "correct": predicted == label,
            "predicted": Category(predicted, classes),
            "twin": twins[image],
        }

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        found = STUDY.read(list(files.values()), self.test.classes)
        results = STUDY.results(found, self.pairs, **options(self.config, "statistics"))
        lacking = sorted(set(self.test.names) - set(found.names))
        self.skipped = [(name, "could not be read") for name in lacking]
        rows = read_rows(*files.values()).select(["example", "twin"]).to_pylist()
        if twins := sorted({row["example"] for row in rows if row["twin"]}):
            told = {"twins": len(twins), "photos": len(found.names), "one": twins[0]}
            self.note(WORDS.text("twins", **told))
        return results, page(self.config, results, len(self.train))
