"""A network that cuts photos: its units, each photos of one shape, whose masks become files."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rival_jax import bilateral, models
from rival_jax.configs.tokencut import Config
from rival_jax.data import Source, segments
from rival_jax.data.any_size import THREADS, Photo, batches, threaded, true_mask
from rival_jax.data.mask_folder import MaskFolder
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.runner import OnBatch, Unit
from rival_jax.experiments.subject import card, step_size
from rival_jax.models.transformer import qkv_tap
from rival_jax.report.words import Words
from rival_jax.runtime import footprint, parallel
from rival_jax.runtime.finite import refuse_nan
from rival_jax.runtime.results import Category, Columns, tree_digest
from rival_jax.tokencut import image_cuts, token_size, upscale, usual_block
from rival_jax.types import Geometry, Model, Variables

WORDS = Words(__package__)
ROWS_VERSION = 2  # part of every unit's hash: raise it when the same inputs give other rows
LEAST_TOKENS = 3
UNIT = 512  # photos, at most
SAMPLE = 4  # photos to measure costs on
COPIES = 24  # about how many float64 arrays [n, n] a network and an eigenproblem hold at once
# Keys of `config.tokencut` that rows depend on; the first are of `bilateral.made`.
MAKING = ("refine", "sigmas", "choice", "agreement", "min_pixels", "min_gap")
KEYS = (*MAKING, "feature", "block", "tau", "graph", "precision", "positions")
UNRATED: dict[str, float] = dict.fromkeys(("iou", "iou_coarse", "box", "centred"), np.nan)


class Network:
    """One network, and how it cuts photos; raises ValueError if it cannot."""

    def __init__(self, config: Config, source: Source, mesh: Any, name: str, title: str):
        self.config, self.source, self.mesh = config, source, mesh
        self.name, self.given = name, preprocessing(config)
        given = {"given": self.given, "called": title}
        self.model, variables = models.load(name, dtype=config.dtype, **given)
        block, self.notice = chosen_block(self.model, config.tokencut.block)
        self.settings = dataclasses.replace(config.tokencut, block=block)
        try:
            self.tap, self.patch = qkv_tap(self.model, block)
        except ValueError as error:
            raise ValueError(f"config.tokencut.block: {error}") from error
        self.digest, place = tree_digest(variables), self.tap.partition("/")[0]
        head = f"{self.settings.feature} features of {place}, patch {self.patch}"
        self.card = card(self.model, variables, head)

    def take(self, photos: Sequence[Photo]) -> None:
        """Takes photos, those of one `shapes` together, without those of too few tokens.

        Raises ValueError if none is left.
        """
        c, found = self.settings, dict[tuple[int, int], list[Photo]]()
        for photo in photos:
            height, width = (round(c.scale * side) for side in photo.size)
            tokens = token_size((height, width), self.patch, c.max_tokens)
            if math.prod(tokens) >= LEAST_TOKENS:
                found.setdefault(tokens, []).append(photo)
        if not found:
            raise ValueError(f"{self.model.name}: no photo is larger than two patches")
        self.shapes = dict(sorted(found.items()))  # by the rows and columns of their tokens

    def units(self, folder: MaskFolder) -> Iterator[Unit]:
        """Its units, each of at most `UNIT` photos."""
        base = {"version": ROWS_VERSION, "model": self.digest, "dtype": self.config.dtype}
        if self.given or self.model.settings:  # else unchanged, so that earlier hashes stay valid
            base["input"] = [*self.model.settings, str(sorted(self.given.items()))]
        base |= {key: getattr(self.settings, key) for key in KEYS}
        for tokens, photos in self.shapes.items():
            for start in range(0, len(photos), UNIT):
                some, state = photos[start : start + UNIT], hashlib.blake2b(digest_size=8)
                for photo in some:
                    state.update(f"{photo.digest} {photo.file} {photo.label} ".encode())
                shape = {"tokens": list(tokens), "photos": state.hexdigest()}
                name = f"{self.model.name}/{tokens[0]}x{tokens[1]}_{start // UNIT:04d}"
                rows = functools.partial(self._rows, folder, tokens, some)
                yield Unit(name, base | shape, rows)

    def cost(self) -> tuple[str, float]:
        """What is cut, and seconds, estimated from a few photos of the commonest shape."""
        tokens, photos = max(self.shapes.items(), key=lambda shape: len(shape[1]))
        count = sum(map(len, self.shapes.values()))
        text = f"{self.model.name}: {count} photos of {len(self.shapes)} shapes in tokens"
        model, variables, fn = self._loaded(tokens)
        some = photos[:SAMPLE]
        batch = next(batches(self.source, some, model.image_size, len(some)))
        with jax.enable_x64(self.settings.precision == "float64"):
            device = footprint.measure(fn, variables, dict(batch)).seconds / self.mesh.size
        image = np.asarray(self.source[photos[0].position]["image"])
        started = time.perf_counter()
        self.made(photos[0].name, image, np.eye(*tokens, dtype=bool), np.inf)
        host = (time.perf_counter() - started) / THREADS
        return text, (device + host) * count

    def made(self, name: str, image: np.ndarray, cut: np.ndarray, gap: float) -> bilateral.Made:
        """A photo's mask, from its object bool [rows, columns] in tokens, see `bilateral.made`."""
        coarse, c = upscale(cut, image.shape[:2]), self.settings
        found = bilateral.made(image, coarse, gap, **{key: getattr(c, key) for key in MAKING})
        if not c.segments:
            return found
        some = segments.read(Path(c.segments).expanduser(), name, image.shape[:2])
        return bilateral.of_segments(found, some.masks)

    def _loaded(self, tokens: tuple[int, int]) -> tuple[Model, Variables, parallel.Bound]:
        """The network for photos of a shape, its weights, and the function that cuts them."""
        size = (tokens[0] * self.patch, tokens[1] * self.patch)
        c, options = self.settings, {"dtype": self.config.dtype, "given": self.given}
        model, variables = models.load(self.name, image_size=size, positions=c.positions, **options)
        unnamed = dataclasses.replace(model, name="")
        given = (unnamed, self.tap, c.feature, c.tau, c.graph, c.precision)
        return model, variables, parallel.Bound(image_cuts, given)

    def _rows(
        self, folder: MaskFolder, tokens: tuple[int, int], group: Sequence[Photo], on_batch: OnBatch
    ) -> Columns:
        """Cuts this host's photos of a group, writes their masks, returns a row for each.

        Raises ValueError if the network gives NaN.
        """
        model, variables, fn = self._loaded(tokens)
        cost = footprint.Cost(0.0, 8.0 * COPIES * math.prod(tokens) ** 2)
        size, _ = step_size(self.config, self.mesh, cost, Geometry(model.image_size), len(group))
        taken = batches(self.source, group, model.image_size, size)
        with jax.enable_x64(self.settings.precision == "float64"):
            found = parallel.map_examples(fn, variables, taken, self.mesh, on_batch=on_batch)
        photos, rows = [group[i] for i in found["index"]], list[dict[str, Any]]()
        bad = np.isnan(found["eigenvalues"]).any(1)
        refuse_nan(model.name, bad, lambda i: photos[i].name)
        parts = (found[name] for name in ("component", "seed", "eigenvalues"))
        written = functools.partial(self._row, folder)
        for row in threaded(written, zip(photos, *parts, strict=True)):
            rows.append(row)
            on_batch(1)
        if not rows:
            return {}
        zero, labels = np.zeros(len(rows), np.int32), np.array([photo.label for photo in photos])
        return {
            "model": Category(zero, [self.model.name]),
            "dataset": Category(zero, [self.config.data.name]),
            "example": [photo.name for photo in photos],
            "label": Category(labels, list(self.source.classes)),
            "file": [photo.file for photo in photos],
            **{name: [row[name] for row in rows] for name in rows[0]},
        }

    def _row(self, folder: MaskFolder, one: tuple[Photo, Any, Any, Any]) -> dict[str, Any]:
        """The row of a photo and its `image_cuts`, after its files are written."""
        photo, component, seed, values = one
        item, (second, third) = self.source[photo.position], values.tolist()
        made = self.made(photo.name, np.asarray(item["image"]), component, third - second)
        truth, mask = true_mask(item), None if made.reason else made.mask
        return {
            "rows": component.shape[0],
            "columns": component.shape[1],
            "seed": int(seed),
            "second": second,
            "third": third,
            "component": np.packbits(component).tobytes(),
            "mask": folder.write(photo.file, item["image"], mask),
            "reason": made.reason,
            "doubt": bilateral.doubt(made, second, third),
            "area": np.nan if mask is None else float(mask.mean()),
            "agreement": made.agreement,
            **(UNRATED if truth is None else bilateral.rated(mask, made.coarse, truth)),
        }


def chosen_block(model: Model, block: int | str) -> tuple[int, str]:
    """The block to cut at, and a note on the choice ("" if the config gives a number)."""
    if block != "auto":
        return int(block), ""
    kind, depth = "classifier" if model.num_classes else "no_classes", len(model.attention_taps)
    block = usual_block(model)
    told = {"model": model.name, "classes": model.num_classes, "depth": depth, "last": depth - 1}
    return block, WORDS.text(kind, **told, block=block)
