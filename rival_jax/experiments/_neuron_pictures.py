"""What a feature looks at in a photo, beside where the attribute is."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import data, maps
from rival_jax.experiments._neuron_passes import Search, unit_maps
from rival_jax.report.neurons import Shown
from rival_jax.types import Variables


def pictures(search: Search, variables: Variables, examples: data.Examples) -> Shown:
    """By example, feature and attribute: photo uint8, saliency in [0, 1], mask bool; [h, w]."""
    raw_map = jax.jit(functools.partial(unit_maps, search))

    def shown(name: str, feature: int, attribute: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        example = examples.example(examples.names.index(name))
        photo = example["image"]
        image = jnp.asarray(photo[None], jnp.float32) / 255
        _, raw = raw_map(variables, image, jnp.full((1, 1), feature))
        mask = example["attribute_masks"][examples.attributes.index(attribute)] > 127
        return photo, np.asarray(maps.cam_scaled(raw[0, 0], photo.shape[:2])), mask

    return shown
