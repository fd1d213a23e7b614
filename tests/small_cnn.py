"""A family outside the package, in one file: convolutions, their spatial mean, a linear head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from rival_jax.models import conversion
from rival_jax.models.network import INPUT, Tap, as_model, input_keywords, module_of
from rival_jax.types import Array, Model, Variables
from rival_jax.weights import Config


class SmallCNN(nn.Module):
    """Taps: "conv0" .. [b, h, w, c] after the ReLU, and "features" [b, f]."""

    num_classes: int
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, images: Array, tap: Tap) -> Array:
        x = images
        for i, width in enumerate(self.widths):
            x = nn.Conv(width, (3, 3), strides=2, padding=1, name=f"conv_{i}")(x)
            x = tap(f"conv{i}", nn.relu(x))
        return nn.Dense(self.num_classes, name="fc")(tap("features", x.mean(axis=(1, 2))))


def build(*, name: str, image_size: tuple[int, int], **keywords: Any) -> Model:
    given = input_keywords(keywords)
    module = SmallCNN(**keywords)
    cam_tap = f"conv{len(module.widths) - 1}"
    return as_model(
        module, name, image_size, num_classes=module.num_classes, cam_tap=cam_tap, **given
    )


def recognises(tensors: Mapping[str, np.ndarray]) -> bool:
    return {"conv.0.weight", "fc.weight"} <= tensors.keys()


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    depth = sum(bool(re.match(r"conv\.\d+\.weight$", name)) for name in tensors)
    return {
        "num_classes": conversion.classes(config.num_classes, tensors, "fc.weight"),
        "image_size": config.image_size or (32, 32),
        "widths": tuple(len(tensors[f"conv.{i}.weight"]) for i in range(depth)),
    }


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    return conversion.to_variables(tensors, conversion.torch_rules(model.init))


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    return conversion.to_tensors(variables, conversion.torch_rules(model.init))


def config(model: Model) -> Config:
    return Config(architecture="small_cnn", num_classes=model.num_classes)


def resized(
    model: Model, variables: Variables, image_size: tuple[int, int], method: str
) -> tuple[Model, Variables]:
    old, facts = module_of(model), {key: getattr(model, key) for key in INPUT}
    fields = {field: getattr(old, field) for field in ("num_classes", "widths")}
    return build(name=model.name, image_size=image_size, **fields, **facts), variables
