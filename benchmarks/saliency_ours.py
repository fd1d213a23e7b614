"""Our side of `saliency.py`, in a process of its own."""

from __future__ import annotations

import functools
import pathlib
import resource
import time
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import saliency_inputs
from worker import cores, serve

from rival_jax import alignment, models, neurons, saliency, taps
from rival_jax.configs.neurons import Config, Neurons
from rival_jax.experiments.neurons.search import Search
from rival_jax.experiments.subject import Loaded
from rival_jax.runtime import parallel
from rival_jax.types import Array, Batch, Geometry, Model, Taps, Variables

BATCH = 16


def aligned(model: Model, variables: Variables, batch: Batch) -> dict[str, Array]:
    """GradCAM of the predicted class at the photos' size, and the study's metrics of it."""
    image, mask = jnp.asarray(batch["image"]), jnp.asarray(batch["mask"])
    score = taps.predicted_score
    cam = saliency.explain("gradcam", model, variables, image, score, scaling="cam")
    flat, target = cam.reshape(len(cam), -1), mask.reshape(len(cam), -1)
    return {
        "iou": alignment.iou(cam, mask),
        "dice": alignment.dice(cam, mask),
        "density_gap": alignment.saliency_density_gap(cam, mask),
        "precision": alignment.saliency_precision(cam, mask),
        "coverage": alignment.mask_coverage(cam, mask)[:, 0],
        "average_precision": alignment.average_precision(flat, target),
    }


def network(variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
    """The network of `saliency_inputs` as a `Forward`."""
    tap = taps.Recorder(added)
    grid, side = saliency_inputs.GRID, images.shape[1] // saliency_inputs.GRID
    patches = images.reshape(len(images), grid, side, grid, side, 3)
    colours = patches.astype(jnp.float32).mean((2, 4)) / 255 - 0.5
    values = tap("grid", jax.nn.relu(colours @ variables["projection"]))
    return values, dict(tap.values, features=tap("features", values.mean((1, 2))))


class Ours:
    """What is measured of ours."""

    def hello(self) -> dict[str, Any]:
        """Versions and the device."""
        device = jax.devices()[0].device_kind
        return {"jax": jax.__version__, "threads": cores(), "device": device}

    def open(self, folder: str, name: str) -> dict[str, Any]:
        """Loads and compiles."""
        path = pathlib.Path(folder)
        self.model, self.variables = models.load(folder)
        images = np.load(path / "images.npy").astype(np.float32) / 255
        masks = np.load(path / "masks.npy").astype(np.float32) / 255
        index = np.arange(len(images), dtype=np.int32)
        parts = {"image": images, "mask": masks, "index": index}
        self.batches: list[Any] = [
            {key: value[first : first + BATCH] for key, value in parts.items()}
            for first in range(0, len(images), BATCH)
        ]
        self.aligned = functools.partial(aligned, self.model)
        self.mesh = parallel.data_mesh()
        self.gradcam("ours")
        return {"batch": BATCH}

    def maps(self, count: int) -> list[Any]:
        """The first photos' maps, every eighth pixel."""
        image = jnp.asarray(self.batches[0]["image"][:count])
        score = taps.predicted_score
        cam = saliency.explain("gradcam", self.model, self.variables, image, score, scaling="cam")
        return np.asarray(cam)[:, ::8, ::8].tolist()

    def gradcam(self, program: str) -> dict[str, Any]:
        """All photos, timed: from pixels in memory to the metrics of every photo."""
        start = time.perf_counter()
        rows = parallel.map_examples(self.aligned, self.variables, self.batches, self.mesh)
        means = {name: float(np.nanmean(v)) for name, v in rows.items() if name != "index"}
        return {"seconds": time.perf_counter() - start, "metrics": means}

    def open_neurons(self, images: int, features: int, attributes: int, hold: bool) -> None:
        """Reads the photos into memory, or with `hold` False draws them when they are asked for."""
        self.images, self.attributes = images, attributes
        model = Model("patches", network, lambda key: {}, features, cam_tap="grid")
        variables = {"projection": jnp.asarray(saliency_inputs.projection(features))}
        loaded = Loaded(model, variables, Geometry((saliency_inputs.SIZE,) * 2), "", None, {})
        held = list(self._drawn()) if hold else []
        photos: Any = types.SimpleNamespace(
            batches=lambda size, everywhere=False: iter(held) if hold else self._drawn(),
            classes=range(saliency_inputs.CLASSES),
            attributes=range(attributes),
            rows_of_hosts=[range(images)],
        )
        config = Config(neurons=Neurons(shuffled=0, top=saliency_inputs.TOP))
        mesh, pairs = parallel.data_mesh(), np.ones((saliency_inputs.CLASSES, attributes), bool)
        self.search = Search(loaded, photos, photos, pairs, BATCH, config, mesh, lambda done: None)

    def _drawn(self) -> Iterator[Any]:
        for first in range(0, self.images, BATCH):
            index = np.arange(first, first + BATCH)
            photos = [saliency_inputs.photo(int(i), self.attributes) for i in index]
            yield {
                "image": np.stack([photo.image for photo in photos]),
                "attribute_masks": np.stack([photo.masks for photo in photos]),
                "label": np.array([photo.label for photo in photos], np.int32),
                "index": np.where(index < self.images, index, -1).astype(np.int32),
            }

    def neurons(self, program: str) -> dict[str, Any]:
        """The search, timed: scores [c, f, a] of every feature."""
        start = time.perf_counter()
        top = self.search.top()
        iou = self.search.ious_of_top(top)
        # An absent attribute's mask is empty, its IoU 0: no labels are needed to average.
        found = jnp.asarray(top.index >= 0)
        scores = np.asarray(neurons.score(jnp.asarray(iou), jnp.ones(iou.shape, bool), found))
        return {"seconds": time.perf_counter() - start, "scores": scores.tolist()}

    def peak_memory(self) -> float:
        """MiB of this process so far."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    ours = Ours()
    serve([ours.hello, ours.open, ours.maps, ours.gradcam, ours.open_neurons, ours.neurons,
           ours.peak_memory])  # fmt: skip
