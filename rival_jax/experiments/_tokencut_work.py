"""Units of TokenCut: photos of one shape, their masks written as files and rated in rows."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rival_jax import models
from rival_jax.data import Source
from rival_jax.experiments._photos import THREADS, Photo, batches, plain, threaded, true_mask
from rival_jax.experiments._preprocessing import preprocessing
from rival_jax.experiments._tokencut_masks import digest, doubt, intact, make, rate, write
from rival_jax.experiments._tokencut_unit import (
    Settings,
    chosen_block,
    cut,
    patch_size,
    step_size,
    tap_of,
)
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import Category, Columns, Run, tree_digest
from rival_jax.tokencut import token_size
from rival_jax.types import Model

ROWS_VERSION = 2  # in every unit's hash: raise it when the same inputs give other rows
LEAST_TOKENS = 3
UNIT = 512  # photos, at most
SAMPLE = 4  # photos that costs are measured on
KINDS = ("images", "masks")


def settings(config: Any) -> Settings:
    """The values that the cut follows from."""
    c = config.tokencut
    return Settings(c.feature, c.block, float(c.tau), c.graph, c.precision)


def folder_of(config: Any, run: Run | None, model: str) -> Path:
    """Where the masks of one network are, `images` and `masks` side by side."""
    base = Path(config.output).expanduser() if config.output or not run else run.path / "masks"
    return base / plain(model) / plain(config.data.split)


@dataclasses.dataclass(frozen=True)
class Unit:
    """Photos of one shape."""

    name: str
    photos: tuple[Photo, ...]
    tokens: tuple[int, int]
    depends_on: dict[str, Any]


class Work:
    """One network's units."""

    def __init__(self, config: Any, run: Run | None, source: Source, name: str, mesh: Any):
        self.config, self.source, self.mesh, self.settings = config, source, mesh, settings(config)
        self.name, self.given = name, preprocessing(config)
        self.model, variables = models.load(name, dtype=config.dtype, given=self.given)
        self.tap = tap_of(self.model, self.settings)
        block, self.notice = chosen_block(self.model, self.settings.block)
        self.settings = dataclasses.replace(self.settings, block=block)
        self.patch = patch_size(self.model, self.tap)
        self.digest = tree_digest(variables)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        self.folder = folder_of(config, run, self.model.name)

    def tokens(self, photo: Photo) -> tuple[int, int]:
        """Rows and columns of tokens of a photo."""
        c = self.config.tokencut
        height, width = (round(c.scale * side) for side in photo.size)
        return token_size((height, width), self.patch, int(c.max_tokens))

    def units(self, photos: Sequence[Photo]) -> Iterator[Unit]:
        """Photos of one shape together, at most `UNIT`; those of too few tokens in none."""
        shapes: dict[tuple[int, int], list[Photo]] = {}
        for photo in photos:
            shapes.setdefault(self.tokens(photo), []).append(photo)
        c = self.config
        keys = ("refine", "sigmas", "choice", "agreement", "min_pixels", "min_gap", "positions")
        base = {"version": ROWS_VERSION, "model": self.digest, "dtype": c.dtype}
        if self.given or self.model.settings:  # else as it was before there were these
            base["input"] = [*self.model.settings, str(sorted(self.given.items()))]
        base |= {**dataclasses.asdict(self.settings), **{k: _plain(c.tokencut[k]) for k in keys}}
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
                yield Unit(name, some, (rows, columns), base | shape)

    def loaded(self, tokens: tuple[int, int]) -> tuple[Model, Any]:
        """The network for images of so many tokens."""
        c, (rows, columns) = self.config, tokens
        size = (rows * self.patch, columns * self.patch)
        options = {"positions": c.tokencut.positions, "given": self.given}
        return models.load(self.name, dtype=c.dtype, image_size=size, **options)

    def cuts(self, unit: Unit, meter: Meter) -> parallel.Rows:
        """The network's and the device's part.

        Raises:
          ValueError: if the network gives NaN.
        """
        (rows, columns), settings = unit.tokens, self.settings
        model, variables = self.loaded(unit.tokens)
        pixels = (rows * self.patch, columns * self.patch)
        step = step_size(model, rows * columns, self.config, self.mesh.devices)
        step = min(step, -(-len(unit.photos) // self.mesh.size) * self.mesh.size)
        fn = parallel.Bound(cut, (model.forward, model.to_grid, self.tap, settings))
        with settings.context():
            found = parallel.map_examples(
                fn,
                variables,
                batches(self.source, unit.photos, pixels, step),
                self.mesh,
                on_batch=meter.advance,
            )
        bad = found["index"][np.isnan(found["eigenvalues"]).any(1)]
        if bad.size:
            raise ValueError(
                f"{model.name} gives NaN for {bad.size} of {len(found['index'])} photos, the first "
                f"{unit.photos[bad[0]].name}; its weights or config.dtype are not usable"
            )
        return found

    def compute(self, unit: Unit, meter: Meter) -> Columns:
        """Cuts the photos, writes their masks, returns a row for each; this host's alone."""
        found = self.cuts(unit, meter)
        photos = [unit.photos[i] for i in found["index"]]

        def finished(place: int) -> dict[str, Any]:
            return self._row(photos[place], {name: v[place] for name, v in found.items()})

        rows = []
        for row in threaded(finished, range(len(photos))):
            rows.append(row)
            meter.advance(1)
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

    def check(self, photos: Sequence[Photo]) -> None:
        """Raises ValueError if the folder of the masks holds files of other photos."""
        mine = {photo.file for photo in photos}
        for kind in KINDS:
            there = (self.folder / kind).glob("*/*.png")
            other = [path for path in there if f"{path.parent.name}/{path.stem}" not in mine]
            if other:
                raise ValueError(
                    f"{self.folder} holds {len(other)} {kind} of other photos, such as "
                    f"{other[0].name}: name another --config.output, or remove them"
                )

    def tidy(self) -> None:
        """Removes class folders whose photos were all skipped."""
        for kind in KINDS:
            for folder in (self.folder / kind).glob("*/"):
                if not any(folder.iterdir()):
                    folder.rmdir()

    def run(self, run: Run, unit: Unit, meter: Meter) -> tuple[Path, bool]:
        """Where a unit's rows are, and whether they had to be computed.

        They are again if their masks are not as they were written.
        """
        path = run.unit_path(unit.name, unit.depends_on)
        masks, photos = self.folder, self.config.tokencut.photos
        if run.intact(path) and hosts.first() and not intact(path, masks, photos):
            run.say(f"{path.name}: not all masks in {masks} are as they were written; made anew")
            path.unlink()
        meter.say(unit.name)
        compute = lambda: self.compute(unit, meter)  # noqa: E731
        return path, run.rows(unit.name, unit.depends_on, compute, about=meter.lap)


def cost(work: Work, units: Sequence[Unit], mesh: Any) -> float:
    """Seconds that units take, about: measured on a photo or a few of the commonest shape."""
    if not units:
        return 0.0
    unit = max(units, key=lambda unit: len(unit.photos))
    photos, (rows, columns) = unit.photos[:SAMPLE], unit.tokens
    model, variables = work.loaded(unit.tokens)
    pixels = (rows * work.patch, columns * work.patch)
    batch = next(batches(work.source, photos, pixels, len(photos)))
    fn = parallel.Bound(cut, (model.forward, model.to_grid, work.tap, work.settings))
    with work.settings.context():
        device = parallel.measure(fn, variables, dict(batch)).seconds / mesh.size
    image = np.asarray(work.source[photos[0].position]["image"])
    started = time.perf_counter()
    make(image, np.eye(rows, columns, dtype=bool), np.inf, work.config.tokencut)
    host = (time.perf_counter() - started) / THREADS
    return (device + host) * sum(len(unit.photos) for unit in units)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
