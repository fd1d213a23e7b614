"""The treatments of a region, and the donor images of their pixels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rival_jax import ablation, noise
from rival_jax.data import Examples
from rival_jax.experiments.changed import lent
from rival_jax.types import Array, Batch

TREATMENTS = ("grey", "blur", "shuffle", "mean", "black", "swap")
REGIONS = ("background", "foreground")
SHOWN = 6  # images on the sheet of all treatments
_PIXELS = ("image", "mask", "other", "other_mask")


@dataclasses.dataclass(frozen=True)
class Strength:
    """How treatments are done."""

    grey: float  # in [0, 1]
    blur: float  # sigma as a share of the image's height
    patches: int  # along the height
    binary_mask: bool


def treated(
    strength: Strength,
    batch: Mapping[str, Any],
    key: Array,
    treatment: Array | int,
    region: Array | int,
) -> Array:
    """The images [b, h, w, 3] with a region treated.

    Args:
      batch: also has `other` and `other_mask`, the donors for "swap".
      key: for the order of patches.
      treatment: 0 for none, else 1 + position in `TREATMENTS`.
      region: position in `REGIONS`.
    """
    image, mask, other, other_mask = (jnp.asarray(batch[k]) for k in _PIXELS)
    if strength.binary_mask:
        mask, other_mask = ((m > 0.5).astype(image.dtype) for m in (mask, other_mask))
    height, width = mask.shape[1:]
    weight = jnp.where(jnp.asarray(region) == 1, mask, 1 - mask)
    usable = jnp.where(jnp.asarray(region) == 1, other_mask, 1 - other_mask)

    def shuffled() -> Array:
        patch = max(1, round(height / strength.patches))
        keys = ablation.example_keys(key, jnp.asarray(batch["noise_id"]))
        count = (height // patch) * (width // patch)
        draw = jax.vmap(lambda one: jax.random.uniform(one, (count,)))(keys)
        return ablation.shuffle_patches(image, weight, draw, patch=patch)

    branches = (
        lambda: image,
        lambda: noise.grey_out(image, weight, strength.grey),
        lambda: ablation.blur(image, weight, strength.blur * height),
        shuffled,
        lambda: ablation.mean_colour(image, weight),
        lambda: noise.grey_out(image, weight, 0.0),
        lambda: ablation.composite(image, weight, ablation.fill(other, usable)),
    )
    return lax.switch(jnp.asarray(treatment), branches)


def with_others(examples: Examples, size: int, others: np.ndarray | None) -> Iterator[Batch]:
    """The batches with `other` and `other_mask`, from the examples `others` [n] or themselves."""
    for batch in examples.batches(size):
        if others is None:
            yield cast(Batch, {**batch, "other": batch["image"], "other_mask": batch["mask"]})
        else:
            rows = others[np.maximum(batch["index"], 0)]
            yield cast(Batch, {**batch, **_lent(examples, rows, ("other", "other_mask"))})


def sheet(
    examples: Examples,
    strength: Strength,
    settings: Sequence[tuple[str, str]],
    others: np.ndarray,
    seed: int,
) -> list[tuple[str, str, dict[str, np.ndarray]]]:
    """One image of each class under every setting, to look at.

    Returns:
      (class, example, {setting in words: uint8 [h, w, 3]}), at most `SHOWN`.
    """
    _, first = np.unique(examples.labels, return_index=True)
    rows = np.sort(first)[:SHOWN]
    batch = _lent(examples, rows, ("image", "mask"))
    batch |= _lent(examples, others[rows], ("other", "other_mask"))
    batch["noise_id"] = examples.noise_ids[rows]
    show = jax.jit(functools.partial(treated, strength))
    found: list[dict[str, np.ndarray]] = [{} for _ in rows]
    for treatment, region in settings:
        number = ("none", *TREATMENTS).index(treatment)
        place = REGIONS.index(region) if number else 0
        pictures = np.asarray(255 * show(batch, noise.key(seed), number, place) + 0.5)
        for k, picture in enumerate(pictures.astype(np.uint8)):
            found[k][f"{region}: {treatment}" if number else "photo"] = picture
    classes = [examples.classes[examples.labels[row]] for row in rows]
    return [(c, examples.names[r], f) for c, r, f in zip(classes, rows, found, strict=True)]


def _lent(examples: Examples, rows: np.ndarray, names: tuple[str, str]) -> dict[str, np.ndarray]:
    """Images and masks of `rows` as in a batch, under two names."""
    items = lent(examples, rows)
    return {
        name: np.stack([item[key] for item in items]).astype(np.float32) / 255
        for name, key in zip(names, ("image", "mask"), strict=True)
    }
