"""The rows of one network: on the training images that activate features most, and held out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.compute as pc
from jax.sharding import Mesh

from rival_jax import data, detectors, neurons
from rival_jax.configs.neurons import Config
from rival_jax.data.donors import repacked
from rival_jax.experiments.runner import Unit
from rival_jax.experiments.subject import Loaded
from rival_jax.runtime import hosts, parallel, parts, placement, row_files
from rival_jax.runtime.results import Category, Columns
from rival_jax.types import Variables

ROWS_VERSION = 1  # in every unit's hash: raise it when the same inputs give other rows
KEYS = ("top", "threshold", "absent", "shuffled", "least_images")  # that all rows depend on
_held_out = jax.jit(detectors.held_out, static_argnums=0)


@dataclasses.dataclass(frozen=True)
class Search:
    """One network, its shuffled copies, and the data that features are chosen and judged on."""

    loaded: Loaded
    train: data.Examples
    test: data.Examples
    pairs: np.ndarray  # bool [c, a], classes and attributes with enough images in both splits
    size: int  # images per step
    config: Config
    mesh: Mesh
    advance: Callable[[int], None]  # called with the number of images x networks done

    @functools.cached_property
    def program(self) -> detectors.Program:
        """What passes are compiled for; runs two images to see whether features are pooled."""
        images = jnp.asarray(next(iter(self.test.batches(2, everywhere=True)))["image"])
        given = self.loaded.model, self.loaded.variables, images
        return detectors.program(*given, float(self.config.neurons.threshold))

    @functools.cached_property
    def networks(self) -> Variables:
        """The network and its shuffled copies, stacked; made when this is first asked for."""
        networks = neurons.with_shuffled(self.loaded.variables, self.count - 1, self.config.seed)
        return placement.placed(networks, self.mesh, "replicated")

    def units(self, files: Mapping[str, Path]) -> Iterator[Unit]:
        """Its units; those on held-out images read the first's file, one of `files`."""
        name, c = self.loaded.model.name, self.config
        about: dict[str, Any] = {"version": ROWS_VERSION, "model": self.loaded.digest}
        about |= {"dtype": c.dtype, "seed": c.seed, **{k: getattr(c.neurons, k) for k in KEYS}}
        for split, examples in (("train", self.train), ("test", self.test)):
            about[split] = [examples.fingerprint, examples.attribute_fingerprint]
        held_out = functools.cache(lambda: self.held_out_rows(files[f"{name}/search"]))
        yield Unit(f"{name}/search", about, lambda _: self.rows(), everywhere=True)
        yield Unit(f"{name}/test", about, lambda _: held_out()[0], everywhere=True)
        about = {**about, "permuted_images": c.neurons.permuted_images}
        yield Unit(f"{name}/pairing", about, lambda _: held_out()[1], everywhere=True)

    @property
    def count(self) -> int:
        """The number of networks."""
        return 1 + self.config.neurons.shuffled

    def top(self) -> neurons.Top:
        """The top training images of every class and feature, [c, networks x f, k]."""
        classes, k, found = len(self.train.classes), self.config.neurons.top, None
        some = ("image", "label", "index")
        plain = ({name: batch[name] for name in some} for batch in self.train.batches(self.size))
        for rows in self.found(detectors.features, plain):
            values, labels = rows["features"].reshape(len(rows["index"]), -1), rows["label"]
            found = found or neurons.no_top(classes, values.shape[1], k)
            found = neurons.merge_top(found, *map(jnp.asarray, (values, labels, rows["index"])))
        assert found is not None  # `map_examples` refuses an empty data set
        return found

    def ious_of_top(self, top: neurons.Top) -> np.ndarray:
        """IoU [c, networks x f, k, a] on the top images, computed for those pairs alone."""
        index = np.asarray(top.index)
        owner, units, slots = neurons.wanted(index, self.count)

        def made(row: int, item: Mapping[str, Any]) -> dict[str, Any]:
            shown = {name: item[name] for name in ("image", "attribute_masks", "index")}
            return {**shown, "units": units[row], "slot": slots[row]}

        found = np.zeros((index.size, len(self.train.attributes)), np.float32)
        for rows in self.found(detectors.ious, repacked(self.train, self.size, owner, made)):
            slot = rows["slot"].reshape(-1)
            real = slot >= 0
            found[slot[real]] = rows["iou"].reshape(len(slot), -1)[real]
        return found.reshape(*index.shape, -1)

    def found(self, fn: Callable[..., Any], batches: Iterable[Any]) -> Iterator[parallel.Rows]:
        """All hosts' results, see `parts.map_parts`."""
        given = parallel.Bound(fn, (self.program,)), self.networks, batches, self.mesh
        return parts.map_parts(*given, on_batch=lambda images: self.advance(images * self.count))

    def rows(self) -> Columns:
        """One row for each network, class, attribute that is tested there, feature, and top image.

        Shuffled networks have only the rows of each attribute's best feature.
        """
        examples, top = self.train, self.top()
        each = (len(examples.classes), self.count, -1)  # the networks' features apart
        value, index, iou = (
            np.moveaxis(np.asarray(part).reshape(*each, *part.shape[2:]), 1, 0)
            for part in (*top, self.ious_of_top(top))
        )  # [n, c, f, k], iou [n, c, f, k, a]
        present, absent = examples.attribute_labels[index].astype(bool), self.config.neurons.absent
        score, best, kept = detectors.chosen(iou, present, index >= 0, self.pairs, absent)
        n, c, f, k, a = np.nonzero(kept)
        return {
            **self._names(c, a),
            "network": n.astype(np.int16),
            "feature": f.astype(np.int32),
            "rank": k.astype(np.int16),
            "example": Category(index[n, c, f, k], list(examples.names)),
            "activation": value[n, c, f, k],
            "present": present[n, c, f, k, a],
            "iou": iou[n, c, f, k, a],
            "score": score[n, c, f, a],
            "best": best[n, c, a] == f,
        }

    def held_out_rows(self, path: Path) -> tuple[Columns, Columns]:
        """Rows of the best features on held-out images, and of maps against other images' masks.

        The first have one row for each network, class, attribute, and image of the class with the
        attribute. The second have one for each class, attribute, and two of the first
        `permuted_images` of these images. `path`: the file with `rows`.
        """
        examples, best = self.test, self._best(path)
        shown = self.pairs[examples.labels] & (examples.attribute_labels > 0)  # [images, a]
        few = shown & (best[0] >= 0)[examples.labels]
        for label in range(len(examples.classes)):
            mine = examples.labels == label
            few[mine] &= few[mine].cumsum(0) <= self.config.neurons.permuted_images
        iou, activation = np.zeros((2, len(examples), *best.shape[::2]), np.float32)
        bits: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}  # map and mask
        feature = np.moveaxis(best[:, examples.labels], 0, 1)  # [images, networks, a]
        batches = ({**b, "units": feature[b["index"]]} for b in examples.batches(self.size))
        for rows in self.found(detectors.held_out, batches):
            index = rows["index"]
            iou[index], activation[index] = rows["iou"], rows["activation"]
            for row, a in np.argwhere(few[index]).tolist():
                bits[int(index[row]), a] = rows["inside"][row, a], rows["masks"][row, a]
        i, n, a = np.nonzero(np.broadcast_to(shown[:, None], feature.shape))
        test = {
            **self._names(examples.labels[i], a),
            "network": n.astype(np.int16),
            "feature": feature[i, n, a].astype(np.int32),
            "example": Category(i, list(examples.names)),
            "activation": activation[i, n, a],
            "iou": np.where(feature[i, n, a] >= 0, iou[i, n, a], 0),  # without a feature, 0
        }
        cross, names = detectors.crossed(examples.labels, few, bits), list(examples.names)
        pairing = {
            **self._names(cross.label, cross.attribute),
            "map_of": Category(cross.of_map, names),
            "mask_of": Category(cross.of_mask, names),
            "iou": cross.iou,
        }
        return test, pairing

    def _best(self, path: Path) -> np.ndarray:
        """The best features [networks, c, a] in a file of `rows`, or -1; process 0 reads them."""
        best = np.full((self.count, *self.pairs.shape), -1)
        if hosts.first():
            columns = ["network", "label", "attribute", "feature"]
            rows = row_files.read(path, [*columns, "best"]).filter(pc.field("best"))
            classes, attributes = self.train.classes, self.train.attributes
            for n, c, a, f in zip(*(rows[name].to_pylist() for name in columns), strict=True):
                best[n, classes.index(c), attributes.index(a)] = f
        return hosts.agreed_arrays({"best": best})["best"]

    def _names(self, label: np.ndarray, attribute: np.ndarray) -> dict[str, Category]:
        """The columns that all rows begin with."""
        return {
            "model": Category(0 * label, [self.loaded.model.name]),
            "label": Category(label, list(self.test.classes)),
            "attribute": Category(attribute, list(self.test.attributes)),
        }

    def shown(self, name: str, feature: int, attribute: str) -> tuple[np.ndarray, ...]:
        """A held-out photo uint8 [h, w, 3], and bool [h, w]: salient pixels, attribute's mask."""
        example = self.test.example(self.test.names.index(name))
        mask = example["attribute_masks"][self.test.attributes.index(attribute)] > 127
        batch = {"image": np.divide(example["image"][None], 255, dtype=np.float32)}
        batch |= {"attribute_masks": mask[None, None], "units": np.full((1, 1, 1), feature)}
        alone = jax.tree.map(lambda leaf: leaf[None], self.loaded.variables)
        inside = np.unpackbits(_held_out(self.program, alone, batch)["inside"], count=mask.size)
        return example["image"], inside.reshape(mask.shape) > 0, mask
