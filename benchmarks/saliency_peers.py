"""The PyTorch programs that `saliency.py` times ours against; a worker of that driver.

`study` drives pytorch-grad-cam one photo at a time and computes the metrics as the study's code
is described to; `batched` gives the same package whole batches and computes the metrics in
vectorised torch. `loop` attributes neurons photo by photo and feature by feature in NumPy and
OpenCV. Nothing of the study's code is here: only what it does.
"""

from __future__ import annotations

import importlib
import pathlib
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import saliency_inputs
import torch
import torch_models
from torch import Tensor
from worker import cores, serve

BATCH = 16
LOOP_IMAGES = 20
ENERGIES = (0.25, 0.5, 0.75)


def grad_cam() -> Any:
    """The package pytorch-grad-cam, with empty stand-ins for what it imports and GradCAM lacks."""
    for _ in range(20):
        try:
            return importlib.import_module("pytorch_grad_cam")
        except ModuleNotFoundError as error:
            for name in [n for n in sys.modules if n.startswith("pytorch_grad_cam")]:
                del sys.modules[name]
            stand_in = types.ModuleType(str(error.name))
            stand_in.__path__ = []
            stand_in.__getattr__ = lambda name: types.SimpleNamespace  # type: ignore[method-assign]
            sys.modules[str(error.name)] = stand_in
    raise ModuleNotFoundError("pytorch_grad_cam cannot be imported; pip install grad-cam")


def drop_class_token(tokens: Tensor) -> Tensor:
    """[b, 1 + n, c] -> [b, c, h, w]."""
    side = round((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)


def metrics_one_by_one(cam: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Of one photo; the thresholds by a walk over the sorted pixels, as the study finds them."""
    saliency, mask = torch.from_numpy(cam), torch.from_numpy((mask > 0).astype(np.float32))
    binary = (saliency / saliency.max() > 0.5).float()
    both = (binary * mask).sum()
    either = ((binary + mask) > 0).float().sum()
    inside, outside = (saliency * mask).sum(), (saliency * (1 - mask)).sum()
    ordered, total = np.sort(cam.ravel()), cam.sum(dtype=np.float64)
    running, thresholds = 0.0, []
    for value in ordered:
        running += value
        if running > ENERGIES[len(thresholds)] * total:
            thresholds.append(value)
            if len(thresholds) == len(ENERGIES):
                break
    covered = [float(((saliency >= t).float() * mask).sum() / mask.sum()) for t in thresholds]
    return {
        "iou": float(both / either),
        "dice": float(2 * both / (binary.sum() + mask.sum())),
        "density_gap": float(inside / mask.sum() - outside / (1 - mask).sum()),
        "precision": float(inside / saliency.sum()),
        "coverage": covered[0] if covered else 0.0,  # of a map that is 0 everywhere
        "average_precision": float(average_precision(saliency[None], mask[None])[0]),
    }


def metrics_batched(cam: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """Of many photos at once."""
    saliency = torch.from_numpy(cam).flatten(1)
    mask = torch.from_numpy((masks > 0).astype(np.float32)).flatten(1)
    binary = (saliency > 0.5 * saliency.amax(1, keepdim=True)).float()
    both = (binary * mask).sum(1)
    inside, area = (saliency * mask).sum(1), mask.sum(1)
    outside, rest = saliency.sum(1) - inside, mask.shape[1] - area
    ordered = saliency.sort(1).values
    mass = ordered.cumsum(1)
    covered = []
    for energy in ENERGIES:
        beyond = mass > energy * mass[:, -1:]
        first = beyond.float().argmax(1, keepdim=True)
        kept = (saliency >= ordered.gather(1, first)) & beyond.any(1, keepdim=True)
        covered.append((kept * mask).sum(1) / area)
    found = {
        "iou": both / (binary.sum(1) + area - both),
        "dice": 2 * both / (binary.sum(1) + area),
        "density_gap": inside / area - outside / rest,
        "precision": inside / saliency.sum(1),
        "coverage": covered[0],
        "average_precision": average_precision(saliency, mask),
    }
    return {name: value.numpy() for name, value in found.items()}


def average_precision(saliency: Tensor, mask: Tensor) -> Tensor:
    """Area under the precision-recall curve, equal scores taken together."""
    saliency, mask = saliency.flatten(1), mask.flatten(1)
    ordered, order = saliency.sort(1, descending=True)
    hits = mask.gather(1, order).cumsum(1)
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
    precision = hits / torch.arange(1, hits.shape[1] + 1)
    reached = torch.where(last, hits, 0).cummax(1).values
    before = torch.cat([torch.zeros_like(reached[:, :1]), reached[:, :-1]], 1)
    gained = torch.where(last, hits - before, 0)
    return (gained * precision).sum(1) / hits[:, -1]


class Peers:
    """What is measured of the peers."""

    def __init__(self):
        torch.set_num_threads(cores())

    def hello(self) -> dict[str, Any]:
        """Versions."""
        return {"torch": torch.__version__, "opencv": cv2.__version__, "threads": cores()}

    def open(self, folder: str, name: str) -> dict[str, Any]:
        """Loads."""
        path = pathlib.Path(folder)
        self.masks = np.load(path / "masks.npy")
        images = torch.from_numpy(np.load(path / "images.npy")).permute(0, 3, 1, 2).float() / 255
        self.images = images.contiguous()
        self.model = model = torch_models.load(name, path / "model.safetensors")
        self.layers = [model.layer4[-1] if name == "resnet18" else model.blocks[-1].norm1]
        self.reshape = None if name == "resnet18" else drop_class_token
        self.package = grad_cam()
        return {"batch": BATCH, "package": self.package.__name__}

    def _explainer(self) -> Callable[..., np.ndarray]:
        layers, reshape = self.layers, self.reshape
        return self.package.GradCAM(self.model, layers, reshape_transform=reshape)

    def maps(self, count: int) -> list[Any]:
        """The first photos' maps, every eighth pixel."""
        return self._explainer()(input_tensor=self.images[:count], targets=None)[
            :, ::8, ::8
        ].tolist()

    def gradcam(self, program: str) -> dict[str, Any]:
        """All photos, timed. Without targets the package explains the predicted class."""
        start = time.perf_counter()
        explain, step = self._explainer(), 1 if program == "study" else BATCH
        found: list[dict[str, Any]] = []
        for i in range(0, len(self.images), step):
            cam = explain(input_tensor=self.images[i : i + step], targets=None)
            if program == "study":
                found.append(metrics_one_by_one(cam[0], self.masks[i]))
            else:
                found.append(metrics_batched(cam, self.masks[i : i + step]))
        means = {
            name: float(np.nanmean(np.concatenate([np.atleast_1d(one[name]) for one in found])))
            for name in found[0]
        }
        return {"seconds": time.perf_counter() - start, "metrics": means}

    def open_neurons(self, images: int, features: int, attributes: int, hold: bool) -> None:
        """Reads the photos into memory."""
        self.photos = [saliency_inputs.photo(i, attributes) for i in range(images)]
        self.features, self.attributes = features, attributes
        self.projection = saliency_inputs.projection(features)

    def neurons(self, program: str) -> dict[str, Any]:
        """The search, timed: scores [c, f, a] of every feature.

        "loop": every feature of the first `LOOP_IMAGES` photos against every mask, from which the
        time of all photos follows; no scores. "lean": the top photos of each feature alone.
        """
        if program == "loop":
            return {"seconds": self._every_feature() * len(self.photos) / LOOP_IMAGES}
        start = time.perf_counter()
        grids = [self._grid(photo.image) for photo in self.photos]
        values = np.stack([grid.mean((0, 1)) for grid in grids])
        classes = np.array([photo.label for photo in self.photos])
        total = np.zeros((saliency_inputs.CLASSES, self.features, self.attributes))
        wanted: list[list[int]] = [[] for _ in self.photos]
        counts = np.zeros(saliency_inputs.CLASSES)
        for c in range(saliency_inputs.CLASSES):
            rows = np.flatnonzero(classes == c)
            counts[c] = min(len(rows), saliency_inputs.TOP)
            for f in range(self.features):
                order = np.argsort(-values[rows, f], kind="stable")[: saliency_inputs.TOP]
                for i in rows[order]:
                    wanted[i].append(f)
        for photo, grid, mine in zip(self.photos, grids, wanted, strict=True):
            for f in mine:
                total[photo.label, f] += ious(grid[..., f], photo.masks)
        scores = total / counts[:, None, None]
        return {"seconds": time.perf_counter() - start, "scores": scores.tolist()}

    def _every_feature(self) -> float:
        start = time.perf_counter()
        for photo in self.photos[:LOOP_IMAGES]:
            grid = self._grid(photo.image)
            for f in range(self.features):
                ious(grid[..., f], photo.masks)
        return time.perf_counter() - start

    def _grid(self, image: np.ndarray) -> np.ndarray:
        grid, side = saliency_inputs.GRID, len(image) // saliency_inputs.GRID
        colours = image.reshape(grid, side, grid, side, 3).mean((1, 3), np.float32) / 255 - 0.5
        return np.maximum(colours.astype(np.float32) @ self.projection, 0)


def ious(raw: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Of one feature's map with every mask [a, h, w]; 0 where both are empty."""
    binary, found = scaled(raw, masks.shape[1:]) > 0.5, np.zeros(len(masks))
    for a, mask in enumerate(masks):
        either = np.logical_or(binary, mask).sum()
        if either:
            found[a] = np.logical_and(binary, mask).sum() / either
    return found


def scaled(raw: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A map as pytorch-grad-cam scales it: to [0, 1], resized, to [0, 1] again."""
    raw = raw - raw.min()
    raw = cv2.resize(raw / (1e-7 + raw.max()), size[::-1])
    raw = raw - raw.min()
    return raw / (1e-7 + raw.max())


if __name__ == "__main__":
    peers = Peers()
    serve([peers.hello, peers.open, peers.maps, peers.gradcam, peers.open_neurons, peers.neurons])
