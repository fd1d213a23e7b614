"""Networks and the data sets they are streamed photos from, checked before any work."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import models
from rival_jax.data.shard import Shard, framed
from rival_jax.experiments import sets
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.runner import Bench, OnBatch, Unit
from rival_jax.experiments.subject import Loaded, Material, card
from rival_jax.heads import Context, imagenet, own
from rival_jax.images import Images
from rival_jax.protocols import Calibration
from rival_jax.report.tables import counted
from rival_jax.runtime import footprint, parallel
from rival_jax.runtime.results import Columns, digest, read_rows, tree_digest
from rival_jax.runtime.row_arrays import read_images
from rival_jax.types import Array, Batch, Forward, Geometry, Variables

SAMPLE = 8  # photos that a forward pass is measured on
SHOWN = 6  # photos of each set that are shown
Mistaken = Sequence[tuple[str, str, Mapping[str, np.ndarray]]]
"""Photos: (what they are and are taken for, example, {confidence: picture})."""
ROWS_VERSION = 1  # part of every unit's hash: raise it when the same inputs give other rows


def logits_of(forward: Forward, variables: Variables, batch: Batch) -> dict[str, Array]:
    """Logits float32 [b, c] of a shard's batch; one program for all sets."""
    logits, _ = forward(variables, jnp.asarray(batch["image"], jnp.float32) / 255, {})
    return {"logits": logits.astype(jnp.float32)}


class Streamed(Material):
    """The networks and sets of a config.

    Photos are decoded on demand, once for all networks with one geometry, and only a shard is held
    at a time; the networks are all held at once.

    Raises:
      ValueError, FileNotFoundError: naming the thing, the place and the cure.
    """

    def __init__(self, config: Any, console: Console):
        super().__init__(config, console)
        self.skipped: list[tuple[str, str]] = []  # (name, reason), see `images`
        self.networks = [network(self, name) for name in config.models]
        self.distinct([network.model.name for network in self.networks])
        ways = {network.model.num_classes: network.model.name for network in self.networks}
        if len(ways) > 1:
            raise ValueError(
                f"config.models have different numbers of outputs ({ways}); networks of one run "
                "need the same number, so that they are scored in the same way"
            )
        self.sets = sets.load(config, next(iter(ways)))
        for one in self.sets:
            self.note(*getattr(one.source, "notices", ()))
            for geometry in self.geometries:
                Shard(one.source, one.positions[:1], geometry, on_bad=config.data.on_bad).check()
        self.orders = {
            (network.model.name, one.name): self._order(network, one)
            for network in self.networks
            for one in self.sets
        }

    counted = "photos"

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """The networks' geometries, each once."""
        return tuple(dict.fromkeys(network.geometry for network in self.networks))

    @property
    def names(self) -> list[str]:
        """The networks' names."""
        return [network.model.name for network in self.networks]

    def total(self) -> int:
        """Photos that networks are shown."""
        return sum(len(one.positions) for one in self.sets) * len(self.networks)

    def costs(self) -> Iterator[tuple[str, float]]:
        """What each network's forward passes would cost."""
        photos = self.total() // len(self.networks)
        for network in self.networks:
            told = f"{network.model.name}: {photos:,} photos of {len(self.sets)} sets"
            yield told, photos * network.cost().seconds / self.mesh.size

    def work(self, bench: Bench) -> Iterator[Unit]:
        """The units of every set."""
        plans = self.plans(bench)
        for one in self.sets:
            yield from self.units(one, plans)

    def plans(self, bench: Bench) -> dict[str, dict[str, Any]]:
        """Each network's images per step and FLOPs; adds its card."""
        return {one.model.name: plan(self, bench, one) for one in self.networks}

    def facts(self) -> dict[str, Any]:
        """What data.json and the page say about the sets, which stand in place of classes."""
        named = [
            [one.name, np.asarray(one.source.labels).tolist(), one.source.names]
            for one in self.sets
        ]
        counts = {one.name: len(one.positions) for one in self.sets}
        told = f"{counted(sum(counts.values()), 'photo')} of {counted(len(counts), 'data set')}."
        labels = np.repeat(np.arange(len(counts)), list(counts.values()))
        sentence = f"{told} Fingerprint of their names and labels: {digest(named)}."
        given = [*counts], labels, self.skipped, digest(named), ", ".join(counts)
        return {**self.described(*given), "sentence": sentence}

    def files(self, one: sets.Set, files: Mapping[str, Path], *networks: str) -> list[Path]:
        """The rows of a set by some networks, or by all; `files`: of a run, by unit."""
        starts = range(0, len(one.positions), self.config.shard)
        names = networks or self.names
        return [files[self._file(name, one, start)] for name in names for start in starts]

    def images(self, files: Mapping[str, Path]) -> Iterator[tuple[list[sets.Set], Images]]:
        """What was scored on every photo, axes set and model; sets of the same photos together.

        Photos that lack rows could not be read; `facts` names them from then on.

        Args:
          files: of a finished run, by unit.
        """
        for family in sets.families(self.sets):
            columns = (*family[0].protocols.names, *Calibration._fields)
            some = [file for one in family for file in self.files(one, files)]
            classes = family[0].source.classes
            axes = ("set", "model")
            found = read_images(some, axes, columns, classes, whole=True, dtype=np.float32)
            if len(found.labels) < len(family[0].positions):
                there = set(found.names)
                for one in family:
                    said = f"photo of {one.name} could not be read"
                    self.skipped += [(name, said) for name in one.names if name not in there]
            yield family, found

    def mistaken(self, one: sets.Set, files: Mapping[str, Path]) -> Mistaken:
        """Photos that the first network is most confident of, and wrong about by the main protocol.

        Args:
          files: of a finished run, by unit.
        """
        rows = read_rows(*self.files(one, files, self.names[0]))
        right, sure = (rows[name].to_numpy() for name in (one.protocols.names[0], "confidence"))
        order = np.argsort(2 * right.astype(float) - sure, kind="stable")[:SHOWN]
        geometry, found = self.networks[0].geometry, []
        for row in rows.take(order[right[order] == 0]).to_pylist():
            picture = framed(one.source, one.source.names.index(row["example"]), geometry)
            title = f"{one.called(row['label'])}: {one.called(row['predicted'])}"
            found.append((title, row["example"], {f"{row['confidence']:.2f}": picture}))
        return found

    def _file(self, network: str, one: sets.Set, start: int) -> str:
        return f"{network}/{one.name}/{start // self.config.shard:04d}"

    def units(self, one: sets.Set, plans: Mapping[str, Mapping[str, Any]]) -> Iterator[Unit]:
        """The units of a set: each shard, by all networks with one geometry in turn."""
        for geometry in self.geometries:
            for start in range(0, len(one.positions), self.config.shard):
                rows = range(len(one.positions))[start : start + self.config.shard]
                positions = one.positions[rows.start : rows.stop]
                shard = Shard(one.source, positions, geometry, on_bad=self.config.data.on_bad)
                base = {"version": ROWS_VERSION, "dtype": self.config.dtype}
                base |= {"photos": shard.digest, "rows": digest(one.identity(rows))}
                for network in self.networks:
                    if network.geometry == geometry:
                        name = network.model.name
                        known = {"model": network.digest, "order": self.orders[name, one.name]}
                        task = functools.partial(
                            self._compute, one, shard, rows.start, network, plans[name]["images"]
                        )
                        file = self._file(name, one, start)
                        yield Unit(file, base | known, task, plans[name]["flops"])

    def _compute(
        self, one: sets.Set, shard: Shard, start: int, network: Loaded, size: int, on_batch: OnBatch
    ) -> Columns:
        name = network.model.name
        found = parallel.map_examples(
            parallel.Bound(logits_of, (network.model.forward,)),
            network.variables,
            shard.batches(size),
            self.mesh,
            on_batch=on_batch,
        )
        logits = found["logits"][:, list(self.orders[name, one.name])]
        return one.columns(name, start + found["index"], logits)

    def _order(self, network: Loaded, one: sets.Set) -> tuple[int, ...]:
        """The network's output for each class of the set, or of ImageNet."""
        classes, wnids = one.source.classes, one.source.class_wnids
        if one.protocols.ways == sets.WAYS:
            classes = tuple(synset.wnid for synset in sets.class_maps.imagenet())
            wnids = tuple((wnid,) for wnid in classes)
        context = Context(classes, wnids, network.geometry, self.mesh, note=self.note)
        if one.protocols.ways == sets.WAYS:
            return tuple(imagenet.check(network.model, context).argmax(1).tolist())
        return own.check(network.model, context)


def network(material: Material, name: str) -> Loaded:
    """A network of a config, with its own outputs; its notices go to the reader."""
    given = preprocessing(material.config)
    ways = {"given": given, "called": material.titles.get(name, "")}
    model, variables = models.load(name, dtype=material.config.dtype, **ways)
    material.note(*model.notices)
    geometry = Geometry(model.image_size, "crop", model.interpolation, model.crop_pct)

    @functools.cache
    def cost() -> footprint.Cost:
        batch = {"image": np.zeros((SAMPLE, *model.image_size, 3), np.uint8)}
        fn = parallel.Bound(logits_of, (model.forward,))
        return footprint.measure(fn, variables, batch, material.mesh)

    facts = card(model, variables, "own")
    material.console.print(facts["input"])
    identity = [model.name, model.mean, model.std, tree_digest(variables), *model.settings]
    return Loaded(model, variables, geometry, str(identity), cost, facts)


def plan(material: Material, bench: Bench, one: Loaded) -> dict[str, Any]:
    """A network's images per step and FLOPs, for shards of photos; adds its card."""
    c = material.config

    def pick(one: Loaded) -> dict[str, Any]:
        size, _ = footprint.step_size(c, material.mesh, one.cost(), one.geometry, c.shard)
        return {"images": size, "flops": one.cost().flops}

    return bench.plan(one, pick, shard=c.shard)
