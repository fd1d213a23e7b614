"""Units of TokenCut: photos of one shape, their masks written as files and rated in rows."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import models, noise
from rival_jax.bilateral import rated
from rival_jax.configs.tokencut import Config, Tokencut
from rival_jax.data import Source
from rival_jax.data.any_size import THREADS, Photo, batches, plain, threaded, true_mask
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.runner import OnBatch
from rival_jax.experiments.tokencut.masks import KINDS, digest, doubt, intact, make, write
from rival_jax.report.words import Words
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.results import Category, Columns, Run, tree_digest
from rival_jax.tokencut import normalised_cut, token_features, token_size
from rival_jax.types import Array, Batch, Forward, Model, Variables

WORDS = Words(__package__)
ROWS_VERSION = 2  # part of every unit's hash: raise it when the same inputs give other rows
LEAST_TOKENS = 3
UNIT = 512  # photos, at most
SAMPLE = 4  # photos to measure costs on
ON_CPU = 8  # images per step on a CPU
COPIES = 8  # about how many arrays [n, n] an eigenproblem holds at once
KEYS = ("feature", "block", "tau", "graph", "precision", "refine", "choice", "agreement")
KEYS += ("min_pixels", "min_gap", "positions")  # keys of `config.tokencut` that rows depend on
UNRATED: dict[str, float] = dict.fromkeys(("iou", "iou_coarse", "box", "centred"), np.nan)


class Group(NamedTuple):
    """Photos of one shape, a unit of work."""

    name: str
    photos: tuple[Photo, ...]
    tokens: tuple[int, int]
    depends_on: dict[str, Any]


class Work:
    """One network's units."""

    folder = Path()  # with `images` and `masks` side by side, once known: see `put_in`

    def __init__(self, config: Config, source: Source, name: str, mesh: Any):
        self.config, self.source, self.mesh = config, source, mesh
        self.name, self.given = name, preprocessing(config)
        self.model, variables = models.load(name, dtype=config.dtype, given=self.given)
        block, self.notice = chosen_block(self.model, config.tokencut.block)
        self.settings = dataclasses.replace(config.tokencut, block=block)
        self.tap, self.patch = tap_of(self.model, block)
        self.digest = tree_digest(variables)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))

    def put_in(self, base: Path, photos: Sequence[Photo]) -> None:
        """Sets the folder of masks, below `base`; raises ValueError if it holds those of others."""
        self.folder = base.expanduser() / plain(self.model.name) / plain(self.config.data.split)
        mine = {photo.file for photo in photos}
        for kind in KINDS:
            there = (self.folder / kind).glob("*/*.png")
            other = [path for path in there if f"{path.parent.name}/{path.stem}" not in mine]
            if other:
                raise ValueError(
                    f"{self.folder} holds {len(other)} {kind} of other photos, such as "
                    f"{other[0].name}: name another --config.output, or remove them"
                )

    def groups(self, photos: Sequence[Photo]) -> Iterator[Group]:
        """Photos of one shape together, at most `UNIT`; photos with too few tokens in none."""
        c, shapes = self.settings, dict[tuple[int, int], list[Photo]]()
        for photo in photos:
            size = round(c.scale * photo.size[0]), round(c.scale * photo.size[1])
            shapes.setdefault(token_size(size, self.patch, c.max_tokens), []).append(photo)
        base = {"version": ROWS_VERSION, "model": self.digest, "dtype": self.config.dtype}
        if self.given or self.model.settings:  # else unchanged, so that earlier hashes stay valid
            base["input"] = [*self.model.settings, str(sorted(self.given.items()))]
        base |= {key: getattr(c, key) for key in KEYS} | {"sigmas": list(c.sigmas)}
        for (rows, columns), members in sorted(shapes.items()):
            for start in range(0, len(members), UNIT) if rows * columns >= LEAST_TOKENS else ():
                some = tuple(members[start : start + UNIT])
                state = hashlib.blake2b(digest_size=8)
                for photo in some:
                    state.update(f"{photo.digest} {photo.file} {photo.label} ".encode())
                name = f"{self.model.name}/{rows}x{columns}_{start // UNIT:04d}"
                shape = {"tokens": [rows, columns], "photos": state.hexdigest()}
                yield Group(name, some, (rows, columns), base | shape)

    def _loaded(self, group: Group) -> tuple[Model, Any, parallel.Bound]:
        """The network for photos of a shape, its weights, and the function that cuts them."""
        size = (group.tokens[0] * self.patch, group.tokens[1] * self.patch)
        options = {"positions": self.config.tokencut.positions, "given": self.given}
        dtype = self.config.dtype
        model, variables = models.load(self.name, dtype=dtype, image_size=size, **options)
        given = (model.forward, model.to_grid, self.tap, self.settings)
        return model, variables, parallel.Bound(cut, given)

    def _in_precision(self) -> contextlib.AbstractContextManager:
        """The context to compile and run the cut in."""
        return jax.enable_x64(self.settings.precision == "float64")

    def compute(self, group: Group, on_batch: OnBatch) -> Columns:
        """Cuts this host's photos, writes their masks, returns a row for each.

        Raises ValueError if the network gives NaN.
        """
        model, variables, fn = self._loaded(group)
        step = step_size(model, math.prod(group.tokens), self.config, self.mesh.devices)
        step = min(step, -(-len(group.photos) // self.mesh.size) * self.mesh.size)
        taken = batches(self.source, group.photos, model.image_size, step)
        with self._in_precision():
            found = parallel.map_examples(fn, variables, taken, self.mesh, on_batch=on_batch)
        photos, rows = [group.photos[i] for i in found["index"]], []
        bad = np.flatnonzero(np.isnan(found["eigenvalues"]).any(1))
        if bad.size:
            raise ValueError(
                f"{model.name} gives NaN for {bad.size} of {len(photos)} photos, the first "
                f"{photos[bad[0]].name}; its weights or config.dtype are not usable"
            )
        cuts = ({name: values[i] for name, values in found.items()} for i in range(len(photos)))
        for row in threaded(self._row, zip(photos, cuts, strict=True)):
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

    def _row(self, one: tuple[Photo, Mapping[str, Any]]) -> dict[str, Any]:
        """A photo's row, after its files are written."""
        (photo, cut), c = one, self.config.tokencut
        item, component = self.source[photo.position], cut["component"]
        second, third = cut["eigenvalues"].tolist()
        made = make(np.asarray(item["image"]), component, third - second, c)
        write(self.folder, photo.file, made, item["image"] if c.photos else None)
        truth, mask = true_mask(item), None if made.reason else made.mask
        rates = UNRATED if truth is None else rated(mask, made.coarse, truth)
        return {
            "rows": component.shape[0],
            "columns": component.shape[1],
            "seed": int(cut["seed"]),
            "second": second,
            "third": third,
            "component": np.packbits(component).tobytes(),
            "mask": "" if mask is None else digest(mask),
            "reason": made.reason,
            "doubt": doubt(made, second, third),
            "area": np.nan if mask is None else float(mask.mean()),
            "agreement": made.agreement,
            **rates,
        }

    def tidy(self) -> None:
        """Removes class folders whose photos were all skipped."""
        for folder in (path for kind in KINDS for path in (self.folder / kind).glob("*/")):
            if not any(folder.iterdir()):
                folder.rmdir()

    def renew(self, run: Run, group: Group) -> None:
        """Removes a unit's rows if its masks are no longer as written."""
        path = run.unit_path(group.name, group.depends_on)
        kept = run.intact(path)
        if kept and hosts.first() and not intact(path, self.folder, self.config.tokencut.photos):
            run.say(
                f"{path.name}: not all masks in {self.folder} are as they were written; made anew"
            )
            path.unlink()

    def card(self) -> dict[str, Any]:
        """The network's entry in models.json."""
        block, text = self.tap.partition("/")[0], models.describe(self.model)
        head = f"{self.settings.feature} features of {block}, patch {self.patch}"
        return {"name": self.model.name, "parameters": self.parameters, "input": text, "head": head}

    def seconds(self, groups: Sequence[Group]) -> float:
        """Estimated seconds, measured on a few photos of the commonest shape."""
        group = max(groups, key=lambda group: len(group.photos))
        photos = group.photos[:SAMPLE]
        model, variables, fn = self._loaded(group)
        batch = next(batches(self.source, photos, model.image_size, len(photos)))
        with self._in_precision():
            device = parallel.measure(fn, variables, dict(batch)).seconds / self.mesh.size
        image = np.asarray(self.source[photos[0].position]["image"])
        started = time.perf_counter()
        make(image, np.eye(*group.tokens, dtype=bool), np.inf, self.config.tokencut)
        host = (time.perf_counter() - started) / THREADS
        return (device + host) * sum(len(group.photos) for group in groups)


def chosen_block(model: Model, block: int | str) -> tuple[int, str]:
    """The block to cut at, and a note on the choice ("" if the config gives a number).

    A network without classes shows objects in its last block's keys. A classifier's last block is
    about the class instead; one after the middle separates object and background better: IoU 0.52
    at block 7 of AugReg's ViT-Tiny, 0.20 at its last, 11 (30 photos, tau 0.2, not refined).
    """
    if block != "auto":
        return int(block), ""
    depth = len(model.attention_taps)
    block, kind = (3 * depth // 5, "classifier") if model.num_classes else (-1, "no_classes")
    told = {"model": model.name, "classes": model.num_classes, "depth": depth, "last": depth - 1}
    return block, WORDS.text(kind, **told, block=block)


def tap_of(model: Model, block: int) -> tuple[str, int]:
    """The tap that holds queries, keys and values, and the side of a patch in pixels.

    Raises ValueError if the network has no such block, tap or grid, naming networks that have.
    """
    blocks = model.attention_taps
    if not blocks:
        raise ValueError(
            f"{model.name} has no attention, and TokenCut cuts the keys of a ViT: name a ViT in "
            "--config.models, best a DINO one (dino/vitb16)"
        )
    if not -len(blocks) <= block < len(blocks):
        raise ValueError(
            f"config.tokencut.block={block}: {model.name} has blocks 0 to {len(blocks) - 1}; -1 is "
            "the last"
        )
    name = blocks[block].replace("/attention", "/qkv")
    shapes = _shapes(model)
    if name not in shapes:
        raise ValueError(f"{model.name} does not show its keys: there is no tap {name}")
    grid = model.to_grid(jnp.zeros(shapes[name].shape))  # raises if something is wrong with it
    return name, model.image_size[0] // grid.shape[1]


def step_size(model: Model, tokens: int, config: Config, devices: Any) -> int:
    """Images per step: `config.batch_size`, or a rough estimate of what fits a device's memory."""
    if config.batch_size != "auto":
        return int(config.batch_size)
    if devices.flat[0].platform == "cpu":
        return ON_CPU * devices.size
    taps = sum(4 * math.prod(value.shape) for value in _shapes(model).values())
    budget = parallel.memory_budget(devices.flat[0])
    return max(1, int(budget / (taps + 8 * COPIES * tokens**2))) * devices.size


def _shapes(model: Model) -> Mapping[str, Any]:
    """Every tap's shape for one image of the network's own size."""
    image = jax.ShapeDtypeStruct((1, *model.image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, noise.key(0))
    return jax.eval_shape(lambda v, x: model.forward(v, x, {})[1], variables, image)


def cut(
    forward: Forward,
    to_grid: Callable[[Array], Array],
    tap: str,
    c: Tokencut,
    variables: Variables,
    batch: Batch,
) -> dict[str, Array]:
    """Every image's object: `component` bool [b, h, w], `seed` [b], `eigenvalues` [b, 2]."""
    _, taps = forward(variables, jnp.asarray(batch["image"]), {})
    found = token_features(to_grid, c.feature, taps[tap]).astype(c.precision)
    b, rows, columns, width = found.shape
    found = found.reshape(b, rows * columns, width)
    parts = normalised_cut(found, (rows, columns), tau=c.tau, graph=c.graph)
    return {"component": parts.component, "seed": parts.seed, "eigenvalues": parts.eigenvalues}
