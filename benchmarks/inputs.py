"""What every program of a benchmark run reads: random images, masks, labels and weights on disk.

Weights carry the public (timm, torchvision) parameter names and layouts. They are random: speed
does not depend on their values, and agreement of the logits is checked on them before timing.

As `config.data.name = "benchmarks.inputs"` this file is also the data set that ours reads.
"""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import numpy as np

CLASSES = 10
SIZE = 224
MODELS = ("vit_tiny_patch16_224", "resnet18")
WIDTHS = {"vit_tiny_patch16_224": 192, "vit_small_patch16_224": 384}
MEAN_STD = {
    "vit_tiny_patch16_224": ([0.5] * 3, [0.5] * 3),
    "vit_small_patch16_224": ([0.5] * 3, [0.5] * 3),
    "resnet18": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}

# Of one forward pass of the standard networks, two for each multiply-add of a product.
FLOPS = {"vit_tiny_patch16_224": 2.507e9, "resnet18": 3.627e9}

Tensors = dict[str, np.ndarray]


def write_images(folder: pathlib.Path, count: int, seed: int = 0) -> None:
    """Writes images.npy uint8 [n, 224, 224, 3], masks.npy uint8 [n, 224, 224], labels.npy [n]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 14, 14, 3), np.uint8)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centre = rng.uniform(SIZE * 0.3, SIZE * 0.7, (count, 2, 1, 1))
    radius = rng.uniform(SIZE * 0.15, SIZE * 0.35, (count, 1, 1))
    inside = np.hypot(rows - centre[:, 0], columns - centre[:, 1]) < radius
    np.save(folder / "images.npy", coarse.repeat(16, axis=1).repeat(16, axis=2))
    np.save(folder / "masks.npy", inside.astype(np.uint8) * 255)
    np.save(folder / "labels.npy", rng.integers(0, CLASSES, count).astype(np.int32))


class Images:
    """The images of a folder as a `rival_jax.data.Source`."""

    def __init__(self, folder: pathlib.Path):
        self._images, self._masks = np.load(folder / "images.npy"), np.load(folder / "masks.npy")
        self.labels = np.load(folder / "labels.npy")
        self.names = [f"{index:06}" for index in range(len(self.labels))]
        self.classes = tuple(f"class{index}" for index in range(CLASSES))
        self.class_wnids = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        from PIL import Image  # the peers, which import this file too, need no Pillow

        image, mask = self._images[position], self._masks[position]
        return {"image": Image.fromarray(image), "mask": Image.fromarray(mask)}


def load(root: pathlib.Path, split: str) -> Images:
    """The data set of a folder, whatever the split: see `rival_jax.data.load`."""
    return Images(root)


def write_model(folder: pathlib.Path, name: str, seed: int = 0) -> None:
    """Writes model.safetensors and config.json of a randomly initialised network."""
    from safetensors.numpy import save_file

    tensors = _vit(seed, WIDTHS[name]) if name in WIDTHS else _resnet18(seed)
    save_file(tensors, folder / "model.safetensors")
    mean, std = MEAN_STD[name]
    geometry = {"input_size": [3, SIZE, SIZE], "interpolation": "bilinear", "crop_pct": 1.0}
    pretrained = {**geometry, "mean": mean, "std": std}
    config = {"architecture": name, "num_classes": CLASSES, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(config, indent=1))


class _Draw:
    """Collects named float32 tensors; weights are normal with variance gain / fan-in."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.tensors: Tensors = {}

    def weight(self, name: str, *shape: int, gain: float = 1.0) -> None:
        scale = math.sqrt(gain / math.prod(shape[1:]))
        self.tensors[name] = self.rng.normal(0, scale, shape).astype(np.float32)

    def vector(self, name: str, size: int, centre: float = 0.0) -> None:
        self.tensors[name] = self.rng.normal(centre, 0.05, size).astype(np.float32)

    def linear(self, name: str, inner: int, outer: int) -> None:
        self.weight(f"{name}.weight", outer, inner)
        self.vector(f"{name}.bias", outer)

    def norm(self, name: str, size: int) -> None:
        self.vector(f"{name}.weight", size, 1.0)
        self.vector(f"{name}.bias", size)

    def conv_bn(self, conv: str, bn: str, inner: int, outer: int, kernel: int) -> None:
        self.weight(f"{conv}.weight", outer, inner, kernel, kernel, gain=2.0)
        self.norm(bn, outer)
        self.vector(f"{bn}.running_mean", outer)
        self.vector(f"{bn}.running_var", outer, 1.5)
        self.tensors[f"{bn}.num_batches_tracked"] = np.array(0, np.int64)


def _vit(seed: int, width: int, depth: int = 12, patch: int = 16) -> Tensors:
    draw = _Draw(seed)
    draw.weight("patch_embed.proj.weight", width, 3, patch, patch)
    draw.vector("patch_embed.proj.bias", width)
    draw.tensors["cls_token"] = draw.rng.normal(0, 0.1, (1, 1, width)).astype(np.float32)
    positions = 1 + (SIZE // patch) ** 2
    draw.tensors["pos_embed"] = draw.rng.normal(0, 0.1, (1, positions, width)).astype(np.float32)
    for block in (f"blocks.{index}" for index in range(depth)):
        draw.norm(f"{block}.norm1", width)
        draw.linear(f"{block}.attn.qkv", width, 3 * width)
        draw.linear(f"{block}.attn.proj", width, width)
        draw.norm(f"{block}.norm2", width)
        draw.linear(f"{block}.mlp.fc1", width, 4 * width)
        draw.linear(f"{block}.mlp.fc2", 4 * width, width)
    draw.norm("norm", width)
    draw.linear("head", width, CLASSES)
    return draw.tensors


def _resnet18(seed: int) -> Tensors:
    draw = _Draw(seed)
    draw.conv_bn("conv1", "bn1", 3, 64, 7)
    inner = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for index in range(2):
            block = f"layer{stage}.{index}"
            draw.conv_bn(f"{block}.conv1", f"{block}.bn1", inner, width, 3)
            draw.conv_bn(f"{block}.conv2", f"{block}.bn2", width, width, 3)
            if inner != width:
                shortcut = f"{block}.downsample"
                draw.conv_bn(f"{shortcut}.0", f"{shortcut}.1", inner, width, 1)
            inner = width
    draw.linear("fc", 512, CLASSES)
    return draw.tensors
