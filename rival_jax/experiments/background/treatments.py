"""The treatments of a region, and the donor images of their pixels."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rival_jax import ablation, noise
from rival_jax.configs.background import Config
from rival_jax.data import Examples
from rival_jax.data.donors import lent_pixels
from rival_jax.report.grids import Shown, pictures
from rival_jax.types import Array

TREATMENTS = ("grey", "blur", "shuffle", "mean", "black", "swap")
REGIONS = ("background", "foreground")
SHOWN = 6  # images on the sheet of all treatments
_PIXELS = ("image", "mask", "other_image", "other_mask")


def treated(
    config: Config,
    batch: Mapping[str, Any],
    key: Array,
    treatment: Array | int,
    region: Array | int,
) -> Array:
    """The images [b, h, w, 3] with a region treated.

    Args:
      batch: also has `other_image` and `other_mask`, the donors for "swap".
      key: for the order of patches.
      treatment: 0 for none, else 1 + position in `TREATMENTS`.
      region: position in `REGIONS`.
    """
    image, mask, other, other_mask = (jnp.asarray(batch[k]) for k in _PIXELS)
    c = config.ablation
    if config.data.mask == "binary":
        mask, other_mask = ((m > 0.5).astype(image.dtype) for m in (mask, other_mask))
    height, width = mask.shape[1:]
    weight = jnp.where(jnp.asarray(region) == 1, mask, 1 - mask)
    usable = jnp.where(jnp.asarray(region) == 1, other_mask, 1 - other_mask)

    def shuffled() -> Array:
        patch = max(1, round(height / c.patches))
        keys = ablation.example_keys(key, jnp.asarray(batch["noise_id"]))
        count = (height // patch) * (width // patch)
        draw = jax.vmap(lambda one: jax.random.uniform(one, (count,)))(keys)
        return ablation.shuffle_patches(image, weight, draw, patch=patch)

    branches = (
        lambda: image,
        lambda: noise.grey_out(image, weight, c.grey),
        lambda: ablation.blur(image, weight, c.blur * height),
        shuffled,
        lambda: ablation.mean_colour(image, weight),
        lambda: noise.grey_out(image, weight, 0.0),
        lambda: ablation.composite(image, weight, ablation.fill(other, usable)),
    )
    return lax.switch(jnp.asarray(treatment), branches)


def sheet(
    config: Config, examples: Examples, settings: Sequence[tuple[str, str]], others: np.ndarray
) -> Shown:
    """One image of each class, at most `SHOWN`, under every setting; the first setting is none."""
    rows = np.sort(np.unique(examples.labels, return_index=True)[1])[:SHOWN]
    pixels = *lent_pixels(examples, rows), *lent_pixels(examples, others[rows])
    batch = dict(zip(_PIXELS, pixels, strict=True)) | {"noise_id": examples.noise_ids[rows]}
    key, changes = noise.key(config.seed), {}
    for treatment, region in settings:
        name = "photo" if treatment == "none" else f"{region}: {treatment}"
        changes[name] = key, *places(treatment, region)
    seen = pictures(functools.partial(jax.jit(functools.partial(treated, config)), batch), changes)
    classes = [examples.classes[examples.labels[row]] for row in rows]
    return list(zip(classes, (examples.names[row] for row in rows), seen, strict=True))


def places(treatment: str, region: str) -> tuple[int, int]:
    """A setting as the arguments of `treated`; without a treatment there is no region."""
    place = ("none", *TREATMENTS).index(treatment)
    return place, REGIONS.index(region) if place else 0
