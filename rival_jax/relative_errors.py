"""Errors relative to others: ImageNet-C's to AlexNet's, ImageNet-X's to those on all photos."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from rival_jax.metrics import check_same

ALEXNET_ERROR = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's top-1 error under each of ImageNet-C's 15 corruptions, the mean of five severities.

Source: Hendrycks and Dietterich, ICLR 2019, and their released code.
"""


def error_ratio(accuracy: Float[Array, "*s"], reference: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Errors relative to the reference's, `(1 - accuracy) / (1 - reference)`; 1 if both are 0.

    ImageNet-X's ratio of a factor: `reference` is the accuracy on all photos. ImageNet-C's relative
    error of a corruption: `1 - ALEXNET_ERROR[corruption]`. Elementwise.

    Args:
      accuracy, reference: same shape, in [0, 1].

    Raises:
      ValueError: for shapes that differ.

    Source: Idrissi et al., ICLR 2023, section 4 (ImageNet-X).

    >>> error_ratio(jnp.array([0.5, 1.0]), jnp.array([0.75, 1.0]))
    Array([2., 1.], dtype=float32)
    """
    accuracy, reference = jnp.asarray(accuracy), jnp.asarray(reference)
    check_same("reference", reference, "accuracy", accuracy)
    error, room = 1 - accuracy, 1 - reference
    undefined = jnp.where(error == 0, 1, jnp.inf)
    return jnp.where(room == 0, undefined, error / jnp.where(room == 0, 1, room))


def mean_corruption_error(accuracy: Mapping[str, Float[Array, "*s"]]) -> Float[Array, "*s"]:
    """ImageNet-C's mCE: the mean over its 15 corruptions of errors relative to AlexNet's.

    Args:
      accuracy: by corruption, named as in `ALEXNET_ERROR`, the mean of its five severities.

    Raises:
      ValueError: unless it has exactly these 15; over others it is not mCE.

    Source: Hendrycks and Dietterich, ICLR 2019, section 4.
    """
    if accuracy.keys() != ALEXNET_ERROR.keys():
        missing = sorted(ALEXNET_ERROR.keys() - accuracy.keys())
        raise ValueError(
            f"mCE needs exactly its 15 corruptions: missing {missing}, unknown "
            f"{sorted(accuracy.keys() - ALEXNET_ERROR.keys())}"
        )
    ratios = [
        error_ratio(jnp.asarray(accuracy[name]), jnp.full_like(accuracy[name], 1 - error))
        for name, error in ALEXNET_ERROR.items()
    ]
    return jnp.stack(ratios).mean(0)
