"""Units of TokenCut: photos of one shape, their masks written as files and rated in rows."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rival_jax import models
from rival_jax.configs.tokencut import Config
from rival_jax.data import Source
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.runner import OnBatch
from rival_jax.experiments.tokencut.masks import digest, doubt, intact, make, rate, write
from rival_jax.experiments.tokencut.photos import (
    THREADS,
    Photo,
    batches,
    plain,
    threaded,
    true_mask,
)
from rival_jax.experiments.tokencut.unit import (
    Settings,
    chosen_block,
    cut,
    patch_size,
    step_size,
    tap_of,
)
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.results import Category, Columns, Run, tree_digest
from rival_jax.tokencut import token_size
from rival_jax.types import Model

ROWS_VERSION = 2  # in every unit's hash: raise it when the same inputs give other rows
LEAST_TOKENS = 3
UNIT = 512  # photos, at most
SAMPLE = 4  # photos that costs are measured on
KINDS = ("images", "masks")


class Group(NamedTuple):
    """Photos of one shape, a unit of work."""

    name: str
    photos: tuple[Photo, ...]
    tokens: tuple[int, int]
    depends_on: dict[str, Any]


class Work:
    """One network's units.

    Attributes:
      folder: of its masks, `images` and `masks` side by side, once it is known; see `put_in`.
    """

    folder = Path()

    def __init__(self, config: Config, source: Source, name: str, mesh: Any):
        self.config, self.source, self.mesh = config, source, mesh
        self.settings, self.name, self.given = Settings.of(config), name, preprocessing(config)
        self.model, variables = models.load(name, dtype=config.dtype, given=self.given)
        self.tap = tap_of(self.model, self.settings)
        block, self.notice = chosen_block(self.model, self.settings.block)
        self.settings = dataclasses.replace(self.settings, block=block)
        self.patch = patch_size(self.model, self.tap)
        self.digest = tree_digest(variables)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))

    def put_in(self, base: Path, photos: Sequence[Photo]) -> None:
        """Says where masks go: below `base`.

        Raises:
          ValueError: if there are files of others than `photos`.
        """
        self.folder = base / plain(self.model.name) / plain(self.config.data.split)
        mine = {photo.file for photo in photos}
        for kind in KINDS:
            there = (self.folder / kind).glob("*/*.png")
            other = [path for path in there if f"{path.parent.name}/{path.stem}" not in mine]
            if other:
                raise ValueError(
                    f"{self.folder} holds {len(other)} {kind} of other photos, such as "
                    f"{other[0].name}: name another --config.output, or remove them"
                )

    def tokens(self, photo: Photo) -> tuple[int, int]:
        """Rows and columns of tokens of a photo."""
        c = self.config.tokencut
        height, width = (round(c.scale * side) for side in photo.size)
        return token_size((height, width), self.patch, int(c.max_tokens))

    def groups(self, photos: Sequence[Photo]) -> Iterator[Group]:
        """Photos of one shape together, at most `UNIT`; those of too few tokens in none."""
        shapes: dict[tuple[int, int], list[Photo]] = {}
        for photo in photos:
            shapes.setdefault(self.tokens(photo), []).append(photo)
        c = self.config
        keys = ("refine", "choice", "agreement", "min_pixels", "min_gap", "positions")
        base = {"version": ROWS_VERSION, "model": self.digest, "dtype": c.dtype}
        if self.given or self.model.settings:  # else as it was before there were these
            base["input"] = [*self.model.settings, str(sorted(self.given.items()))]
        base |= dataclasses.asdict(self.settings) | {k: getattr(c.tokencut, k) for k in keys}
        base["sigmas"] = list(c.tokencut.sigmas)
        for (rows, columns), members in sorted(shapes.items()):
            if rows * columns < LEAST_TOKENS:
                continue
            for start in range(0, len(members), UNIT):
                some = tuple(members[start : start + UNIT])
                state = hashlib.blake2b(digest_size=8)
                for photo in some:
                    state.update(f"{photo.digest} {photo.file} {photo.label} ".encode())
                name = f"{self.model.name}/{rows}x{columns}_{start // UNIT:04d}"
                shape = {"tokens": [rows, columns], "photos": state.hexdigest()}
                yield Group(name, some, (rows, columns), base | shape)

    def _loaded(self, group: Group) -> tuple[Model, Any, parallel.Bound]:
        """The network for photos of a shape, its weights, and what cuts them."""
        size = (group.tokens[0] * self.patch, group.tokens[1] * self.patch)
        options = {"positions": self.config.tokencut.positions, "given": self.given}
        dtype = self.config.dtype
        model, variables = models.load(self.name, dtype=dtype, image_size=size, **options)
        given = (model.forward, model.to_grid, self.tap, self.settings)
        return model, variables, parallel.Bound(cut, given)

    def cuts(self, group: Group, on_batch: OnBatch) -> parallel.Rows:
        """The network's and the device's part.

        Raises:
          ValueError: if the network gives NaN.
        """
        model, variables, fn = self._loaded(group)
        step = step_size(model, math.prod(group.tokens), self.config, self.mesh.devices)
        step = min(step, -(-len(group.photos) // self.mesh.size) * self.mesh.size)
        taken = batches(self.source, group.photos, model.image_size, step)
        with self.settings.context():
            found = parallel.map_examples(fn, variables, taken, self.mesh, on_batch=on_batch)
        bad = found["index"][np.isnan(found["eigenvalues"]).any(1)]
        if bad.size:
            raise ValueError(
                f"{model.name} gives NaN for {bad.size} of {len(found['index'])} photos, the "
                f"first {group.photos[bad[0]].name}; its weights or config.dtype are not usable"
            )
        return found

    def compute(self, group: Group, on_batch: OnBatch) -> Columns:
        """Cuts the photos, writes their masks, returns a row for each; this host's alone."""
        found = self.cuts(group, on_batch)
        photos = [group.photos[i] for i in found["index"]]

        def finished(place: int) -> dict[str, Any]:
            return self._row(photos[place], {name: v[place] for name, v in found.items()})

        rows = []
        for row in threaded(finished, range(len(photos))):
            rows.append(row)
            on_batch(1)
        if not rows:
            return {}
        index = np.arange(len(rows))
        labels = np.array([photo.label for photo in photos])
        return {
            "model": Category(0 * index, [self.model.name]),
            "dataset": Category(0 * index, [self.config.data.name]),
            "example": [photo.name for photo in photos],
            "label": Category(labels, list(self.source.classes)),
            "file": [photo.file for photo in photos],
            **{name: [row[name] for row in rows] for name in rows[0]},
        }

    def _row(self, photo: Photo, cut: dict[str, Any]) -> dict[str, Any]:
        """What is told of one photo; its files are written."""
        item, c = self.source[photo.position], self.config.tokencut
        second, third = cut["eigenvalues"].tolist()
        component = cut["component"]
        made = make(np.asarray(item["image"]), component, third - second, c)
        write(self.folder, photo.file, made, item["image"] if c.photos else None)
        return {
            "rows": component.shape[0],
            "columns": component.shape[1],
            "seed": int(cut["seed"]),
            "second": second,
            "third": third,
            "component": np.packbits(component).tobytes(),
            "mask": digest(made),
            "reason": made.reason,
            "doubt": doubt(made, second, third),
            **rate(made, true_mask(item)),
        }

    def tidy(self) -> None:
        """Removes class folders whose photos were all skipped."""
        for kind in KINDS:
            for folder in (self.folder / kind).glob("*/"):
                if not any(folder.iterdir()):
                    folder.rmdir()

    def renew(self, run: Run, group: Group) -> None:
        """Removes a unit's rows if their masks are not as they were written."""
        path = run.unit_path(group.name, group.depends_on)
        kept = run.intact(path)
        if kept and hosts.first() and not intact(path, self.folder, self.config.tokencut.photos):
            run.say(
                f"{path.name}: not all masks in {self.folder} are as they were written; made anew"
            )
            path.unlink()

    def card(self) -> dict[str, Any]:
        """For models.json."""
        block = self.tap.partition("/")[0]
        head = f"{self.settings.feature} features of {block}, patch {self.patch}"
        text = models.describe(self.model)
        return {"name": self.model.name, "parameters": self.parameters, "input": text, "head": head}

    def seconds(self, groups: Sequence[Group]) -> float:
        """That they take, about: measured on a photo or a few of the commonest shape."""
        if not groups:
            return 0.0
        group = max(groups, key=lambda group: len(group.photos))
        photos = group.photos[:SAMPLE]
        model, variables, fn = self._loaded(group)
        batch = next(batches(self.source, photos, model.image_size, len(photos)))
        with self.settings.context():
            device = parallel.measure(fn, variables, dict(batch)).seconds / self.mesh.size
        image = np.asarray(self.source[photos[0].position]["image"])
        started = time.perf_counter()
        make(image, np.eye(*group.tokens, dtype=bool), np.inf, self.config.tokencut)
        host = (time.perf_counter() - started) / THREADS
        return (device + host) * sum(len(group.photos) for group in groups)
