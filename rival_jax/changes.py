"""Changed photos: regions treated, parts of the object taken away or swapped; and the answers.

The input of the studies of backgrounds (RIVAL10 study, section 5.3 and figure 8) and of attributes
(its appendix). One compiled program makes all treatments, and one all changes of a part: which one
is an argument.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key

from rival_jax import ablation, noise
from rival_jax.metrics import answers, check_same, true_class
from rival_jax.types import Batch, Forward, Variables

TREATMENTS = ("grey", "blur", "shuffle", "mean", "black", "swap")
REGIONS = ("background", "foreground")
CHANGES = ("clean", "grey", "control", "swap")
Whole = Int[Array, ""] | int


@dataclasses.dataclass(frozen=True)
class Treatment:
    """How far treatments of a region go. Hashable: a static argument of `jit`.

    Attributes:
      grey: of "grey", in [0, 1].
      blur: sigma of "blur" as a share of the image's height, above 0.
      patches: along the image's height, for "shuffle"; at least 2.
      binary_mask: masks are cut at 1/2; else their soft edges blend.

    Raises:
      ValueError: for values beyond these ranges.
    """

    grey: float
    blur: float
    patches: int
    binary_mask: bool

    def __post_init__(self) -> None:
        _check_grey(self.grey)
        if self.blur <= 0:
            raise ValueError(f"blur: got {self.blur:g}, expected above 0, a share of the height")
        if self.patches < 2:
            raise ValueError(f"patches: got {self.patches}, expected at least 2")


@dataclasses.dataclass(frozen=True)
class PartChange:
    """How parts of objects are changed. Hashable: a static argument of `jit`.

    Attributes:
      grey: of "grey" and "control", in [0, 1].
      black_background: the object is shown alone, on black, as the study's released code has it
        too; else the background is kept.
      binary_mask: masks are cut at 1/2; else their soft edges blend.

    Raises:
      ValueError: for a grey beyond [0, 1].
    """

    grey: float
    black_background: bool
    binary_mask: bool

    def __post_init__(self) -> None:
        _check_grey(self.grey)


def places(treatment: str, region: str) -> tuple[int, int]:
    """A treatment and its region in words as the last arguments of `treated`.

    Args:
      treatment: "none" or one of `TREATMENTS`.
      region: one of `REGIONS`; not read without a treatment.

    Raises:
      ValueError: for another word.

    >>> places("blur", "foreground"), places("none", "none")
    ((2, 1), (0, 0))
    """
    kinds = ("none", *TREATMENTS)
    region = REGIONS[0] if treatment == "none" else region
    for name, word, known in (("treatment", treatment, kinds), ("region", region, REGIONS)):
        if word not in known:
            raise ValueError(f"{name} got {word!r}, expected one of {', '.join(known)}")
    return kinds.index(treatment), REGIONS.index(region)


def treated(
    how: Treatment, batch: Batch, key: Key[Array, ""], treatment: Whole, region: Whole
) -> Float[Array, "b h w 3"]:
    """The images with a region treated (greyed: RIVAL10 study, section 5.3).

    Args:
      batch: image [b, h, w, 3] and mask [b, h, w] in [0, 1]; noise_id, integers [b], which tell the
        images apart; other_image and other_mask, whose pixels "swap" shows: where they lie outside
        of that region there, they are filled in from around.
      key: for the order of patches, which depends on it and on noise_id alone.
      treatment: 0 for none, else 1 + position in `TREATMENTS`; may be traced.
      region: position in `REGIONS`; may be traced.

    Raises:
      ValueError: for shapes that do not match, integers, and places that there are not and values
        beyond [0, 1] if they are known (not traced).

    >>> half = jnp.zeros((1, 4, 4)).at[:, :, 2:].set(1)
    >>> batch = {"image": jnp.ones((1, 4, 4, 3)), "mask": half, "noise_id": jnp.array([7])}
    >>> batch |= {"other_image": batch["image"], "other_mask": half}
    >>> how = Treatment(grey=0.5, blur=0.1, patches=2, binary_mask=True)
    >>> treat = jax.jit(treated, static_argnums=0)
    >>> treat(how, batch, noise.key(0), *places("grey", "background"))[0, 0, :, 0]
    Array([0.5, 0.5, 1. , 1. ], dtype=float32)
    """
    _check_place("treatment", treatment, 1 + len(TREATMENTS))
    _check_place("region", region, len(REGIONS))
    image, other, mask, other_mask = _pixels(batch, how.binary_mask, "mask", "other_mask")
    height, width = mask.shape[1:]
    weight = jnp.where(jnp.asarray(region) == 1, mask, 1 - mask)
    usable = jnp.where(jnp.asarray(region) == 1, other_mask, 1 - other_mask)

    def shuffled() -> Array:
        patch = max(1, round(height / how.patches))
        keys = ablation.example_keys(key, jnp.asarray(batch["noise_id"]))
        count = (height // patch) * (width // patch)
        draw = jax.vmap(lambda one: jax.random.uniform(one, (count,)))(keys)
        return ablation.shuffle_patches(image, weight, draw, patch=patch)

    branches = (
        lambda: image,
        lambda: noise.grey_out(image, weight, how.grey),
        lambda: ablation.blur(image, weight, how.blur * height),
        shuffled,
        lambda: ablation.mean_colour(image, weight),
        lambda: noise.grey_out(image, weight, 0.0),
        lambda: ablation.composite(image, weight, ablation.fill(other, usable)),
    )
    return lax.switch(jnp.asarray(treatment), branches)


def treated_answers(
    forward: Forward,
    how: Treatment,
    variables: Variables,
    batch: Batch,
    key: Key[Array, ""],
    treatment: Whole,
    region: Whole,
) -> dict[str, Array]:
    """The `answers` to treated photos, [b] each.

    Args:
      batch: as for `treated`, and label, integers [b].
      key, treatment, region: as for `treated`.
    """
    images = treated(how, batch, key, treatment, region)
    return answers(forward(variables, images, {})[0], batch["label"])


def part_changed(
    how: PartChange, batch: Mapping[str, Any], key: Key[Array, ""], change: Whole, draw: Whole
) -> Float[Array, "b h w 3"]:
    """The images with a part of each object changed (RIVAL10 study, appendix).

    Args:
      batch: image [b, h, w, 3]; mask of the object and part, [b, h, w]; other_image and other_part,
        the donor of "swap"; all in [0, 1]. noise_id and attribute, integers [b], which tell images
        and parts apart.
      key: for the random regions, which depend on it, the draw, noise_id and attribute alone.
      change: position in `CHANGES`, may be traced. "control": a random region of the object, as
        large as the part, is grey; "swap": the donor's part is moved and stretched onto the part.
      draw: number of the random region; may be traced.

    Raises:
      ValueError: for shapes that do not match, integers, and places that there are not and values
        beyond [0, 1] if they are known (not traced).

    >>> batch = {"image": jnp.ones((1, 2, 2, 3)), "mask": jnp.ones((1, 2, 2))}
    >>> batch |= {"part": jnp.eye(2)[None], "noise_id": jnp.array([7]), "attribute": jnp.array([0])}
    >>> batch |= {"other_image": batch["image"], "other_part": batch["part"]}
    >>> how = PartChange(grey=0.5, black_background=False, binary_mask=True)
    >>> change = jax.jit(part_changed, static_argnums=0)
    >>> change(how, batch, noise.key(0), CHANGES.index("grey"), 0)[0, ..., 0]
    Array([[0.5, 1. ],
           [1. , 0.5]], dtype=float32)
    """
    _check_place("change", change, len(CHANGES))
    names = "mask", "part", "other_part"
    image, other, mask, part, other_part = _pixels(batch, how.binary_mask, *names)
    if how.black_background:
        image = noise.grey_out(image, 1 - mask, 0.0)

    def control() -> Array:
        keys = ablation.example_keys(key, jnp.asarray(batch["noise_id"]))
        keys = jax.vmap(jax.random.fold_in)(keys, jnp.asarray(batch["attribute"]))
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, draw)
        region = ablation.random_region(mask, part.sum((1, 2)), jax.vmap(jax.random.uniform)(keys))
        return noise.grey_out(image, region, how.grey)

    def swap() -> Array:
        moved = ablation.fit_onto(ablation.fill(other, other_part), other_part, part)
        return ablation.composite(image, part, moved)

    branches = (lambda: image, lambda: noise.grey_out(image, part, how.grey), control, swap)
    return lax.switch(jnp.asarray(change), branches)


def part_answers(
    forward: Forward,
    how: PartChange,
    variables: Variables,
    batch: Mapping[str, Any],
    key: Key[Array, ""],
    steps: Int[Array, "s 2"],
) -> dict[str, Array]:
    """The `answers` to photos whose parts are changed in every one of some steps.

    Args:
      batch: as for `part_changed`, and label and other_label, the donor's, integers [b].
      key: as for `part_changed`.
      steps: `change` and `draw` of each.

    Returns:
      the `answers`, and other_probability, of the donor's class: [b, s]; area, the part's share of
      the object: [b].
    """

    def one(step: Array) -> dict[str, Array]:
        logits, _ = forward(variables, part_changed(how, batch, key, *step), {})
        other, _ = true_class(logits, jnp.asarray(batch["other_label"]))
        return {**answers(logits, batch["label"]), "other_probability": other}

    columns = {name: value.T for name, value in lax.map(one, steps).items()}
    mask, part = (jnp.asarray(batch[name]).sum((1, 2)) for name in ("mask", "part"))
    return {**columns, "area": part / jnp.maximum(mask, 1)}


def _pixels(batch: Mapping[str, Any], binary: bool, *names: str) -> list[Array]:
    """The image, the donor's image and the masks `names`, all of one size."""
    image, other, *masks = (jnp.asarray(batch[name]) for name in ("image", "other_image", *names))
    check_same("other_image", other, "image", image)
    for name, mask in zip(names, masks, strict=True):
        if mask.shape != image.shape[:-1]:
            raise ValueError(f"{name}: got {mask.shape}, expected the image's {image.shape[:-1]}")
    return [image, other, *((m > 0.5).astype(image.dtype) if binary else m for m in masks)]


def _check_place(name: str, place: Whole, count: int) -> None:
    """Raises ValueError for a known place that there is not, which jax would take for the last."""
    if not isinstance(place, Tracer) and not 0 <= int(place) < count:
        raise ValueError(f"{name}: got {int(place)}, expected 0 to {count - 1}")


def _check_grey(grey: float) -> None:
    if not 0 <= grey <= 1:
        raise ValueError(f"grey: got {grey:g}, expected a number from 0 to 1")
