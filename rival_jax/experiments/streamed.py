"""Networks and the data sets they are streamed photos from, checked before any work."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import models
from rival_jax.data.shard import Shard
from rival_jax.experiments import sets
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.runner import Bench, OnBatch, Unit
from rival_jax.experiments.subject import Loaded, Material, step_size
from rival_jax.heads import Context, imagenet, own
from rival_jax.report.tables import counted
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Columns, digest, tree_digest
from rival_jax.types import Array, Batch, Forward, Geometry, Variables

SAMPLE = 8  # photos that a forward pass is measured on
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
        self.skipped: list[tuple[str, str]] = []  # (name, reason), see `left_out`
        self.networks = [self._network(name) for name in config.models]
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

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """The networks' geometries, each once."""
        return tuple(dict.fromkeys(network.geometry for network in self.networks))

    def plans(self, bench: Bench) -> dict[str, dict[str, Any]]:
        """Each network's images per step and FLOPs; adds its card."""
        found = {}
        for network in self.networks:

            def pick(network: Loaded = network) -> dict[str, Any]:
                cost, shard = network.cost(), self.config.shard
                size, _ = step_size(self.config, self.mesh, cost, network.geometry, shard)
                return {"images": size, "flops": cost.flops}

            name = network.model.name
            found[name] = bench.plans.of(name, pick, shard=self.config.shard)
            bench.cards.append({**network.facts, "flops": found[name]["flops"]})
        return found

    def facts(self) -> dict[str, Any]:
        """What data.json and the page say about the sets, which stand in place of classes."""
        named = [
            [one.name, np.asarray(one.source.labels).tolist(), one.source.names]
            for one in self.sets
        ]
        counts = {one.name: len(one.positions) for one in self.sets}
        told = f"{counted(sum(counts.values()), 'photo')} of {counted(len(counts), 'data set')}."
        return {
            "name": ", ".join(counts),
            "root": str(self.config.data.root),
            "split": self.config.data.split,
            "classes": list(counts),
            "counts": list(counts.values()),
            "images": sum(counts.values()),
            "skipped": [list(pair) for pair in self.skipped],
            "fingerprint": digest(named),
            "sentence": f"{told} Fingerprint of their names and labels: {digest(named)}.",
            "notices": list(self.notices),
        }

    def left_out(self, seen: Mapping[str, Sequence[str]]) -> None:
        """Notes the photos that could not be read: those of each set that lack rows."""
        for one in self.sets:
            there = set(seen[one.name])
            lacking = [name for name in one.names if name not in there]
            self.skipped += [(name, f"photo of {one.name} could not be read") for name in lacking]

    def units(
        self, one: sets.Set, plans: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, Unit]]:
        """(network, unit) of a set: each shard, by all networks with one geometry in turn."""
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
                        file = f"{name}/{one.name}/{start // self.config.shard:04d}"
                        yield name, Unit(file, base | known, task, plans[name]["flops"])

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

    def _network(self, name: str) -> Loaded:
        given = preprocessing(self.config)
        model, variables = models.load(name, dtype=self.config.dtype, given=given)
        self.note(*model.notices)
        geometry = Geometry(model.image_size, "crop", model.interpolation, model.crop_pct)

        @functools.cache
        def cost() -> parallel.Cost:
            batch = {"image": np.zeros((SAMPLE, *model.image_size, 3), np.uint8)}
            fn = parallel.Bound(logits_of, (model.forward,))
            return parallel.measure(fn, variables, batch, self.mesh)

        described = models.describe(model)
        facts = {
            "name": model.name,
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
            "input": described,
            "head": "own",
        }
        self.console.print(described)
        identity = [model.name, model.mean, model.std, tree_digest(variables), *model.settings]
        return Loaded(model, variables, geometry, str(identity), cost, facts)

    def _order(self, network: Loaded, one: sets.Set) -> tuple[int, ...]:
        """The network's output for each class of the set, or of ImageNet."""
        classes, wnids = one.source.classes, one.source.class_wnids
        if one.protocols.ways == sets.WAYS:
            classes = tuple(synset.wnid for synset in sets.class_maps.imagenet())
            wnids = tuple((wnid,) for wnid in classes)
        context = Context(
            classes=classes,
            class_wnids=wnids,
            geometry=network.geometry,
            train=dict,
            test=dict,
            batch_size=int,
            options={},
            cache=Path(),
            mesh=self.mesh,
            report=self.note,
            note=self.note,
        )
        if one.protocols.ways == sets.WAYS:
            return tuple(imagenet.check(network.model, context).argmax(1).tolist())
        return own.check(network.model, context)
