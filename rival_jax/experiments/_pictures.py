"""The pictures of a report: photos as a network was shown them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import noise
from rival_jax.experiments._subject import Subject

FIGURE_1_LEVEL = {"linf": 60 / 255, "l2": 75.0}  # of the RIVAL10 study

Pictures = Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]]


def noised_pictures(
    config: Any, subject: Subject, levels: tuple[str, tuple[float, ...]]
) -> Pictures:
    """By example name: (photo, foreground noised, background noised), uint8 [h, w, 3].

    The noise is that of trial 0 as it was scored, at the level nearest the study's figure 1.

    Args:
      levels: a norm and its levels.
    """
    norm, sigmas = levels
    level = min(sigmas, key=lambda value: abs(value - FIGURE_1_LEVEL[norm]))
    examples = subject.first_examples()
    draw = jax.jit(noise.gaussian, static_argnums=3)

    def pictures(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        row = examples.names.index(name)
        example = examples.example(row)
        image, mask = (jnp.float32(example[key]) / 255 for key in ("image", "mask"))
        if config.data.mask == "binary":
            mask = (mask > 0.5).astype(jnp.float32)
        ids = jnp.asarray(examples.noise_ids[row : row + 1])
        unit = draw(noise.key(config.seed), ids, 0, image.shape)[0]

        def noised(region: str) -> np.ndarray:
            x = noise.corrupt(image, mask, unit, region=region, level=level, norm=norm)
            return np.asarray(jnp.round(255 * x)).astype(np.uint8)

        return example["image"], noised("foreground"), noised("background")

    return pictures
