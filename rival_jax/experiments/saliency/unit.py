"""What is measured on an image: where its map lies, and the effect of greying what it marks."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rival_jax import alignment, maps, noise, sorting
from rival_jax.experiments.explained import explained
from rival_jax.types import Array, Batch, Model, Variables

REGIONS = ("none", "salient", "random", "least")  # of the background, greyed
BLOTCHES = (8, 8)  # cells of the random field; its highest values are a random region


@dataclasses.dataclass(frozen=True)
class Plan:
    """How maps are made and read; the named values of `config.saliency`."""

    method: str  # "gradcam", or "gradcam@layer3" with the tap that class maps read
    target: str  # "predicted" | "label"
    scaling: str
    threshold: float  # of the map's maximum
    ties_inside: bool
    flat_is_nan: bool
    tolerance: int
    draws: int
    binary_mask: bool


class Seen(NamedTuple):
    """A network's maps and logits for a batch."""

    saliency: Array  # [b, h, w] in [0, 1]; NaN if the scaling leaves NaN
    mask: Array  # bool [b, h, w]
    salient: Array  # bool [b, h, w], the background that the map marks
    logits: Array  # [b, c]
    target: Array  # int32 [b], the class explained


def look(model: Model, plan: Plan, variables: Variables, batch: Batch) -> Seen:
    """The maps of a batch, and the background above the threshold. Raises as the method does."""
    mask = jnp.asarray(batch["mask"]) > (0.5 if plan.binary_mask else 0)
    found, logits, target = explained(plan, model, variables, batch)
    share = maps.max_normalise(jnp.nan_to_num(found))
    marked = share >= plan.threshold if plan.ties_inside else share > plan.threshold
    return Seen(found, mask, marked & ~mask, logits, target)


def measure(
    model: Model, plan: Plan, variables: Variables, batch: Batch, key: Array
) -> dict[str, Array]:
    """Alignment of every map, and the probabilities before and after greying.

    Returns:
      [b] each: `alignment.every`; `area`, the object's share of the image; `greyed`, the greyed
      region's; `predicted` and `target`; `true_<region>` and `target_<region>`, the probability of
      the true and the explained class, NaN for images without a salient background.
    """
    image, label = jnp.asarray(batch["image"]), jnp.asarray(batch["label"])
    seen = look(model, plan, variables, batch)

    def probabilities(logits: Array) -> Array:  # [b, 2], of the true and of the explained class
        both = jnp.stack([label, seen.target], axis=1)
        return jnp.take_along_axis(jax.nn.softmax(logits.astype(jnp.float32)), both, axis=1)

    def without(region: Array) -> Array:
        greyed = noise.grey_out(image, region.astype(image.dtype))
        return probabilities(model.forward(variables, greyed, {})[0])

    after = lax.map(without, regions(seen, plan, jnp.asarray(batch["noise_id"]), key))
    after = jnp.where(seen.salient.any((1, 2))[:, None], after, jnp.nan)
    after = (probabilities(seen.logits), after[0], after[1:-1].mean(0), after[-1])
    ways = {"threshold": plan.threshold, "ties_inside": plan.ties_inside}
    ways |= {"tolerance": plan.tolerance, "flat_is_nan": plan.flat_is_nan}
    return {
        **alignment.every(seen.saliency, seen.mask.astype(jnp.float32), **ways),
        "area": seen.mask.mean((1, 2)),
        "greyed": seen.salient.mean((1, 2)),
        "predicted": jnp.argmax(seen.logits, axis=1).astype(jnp.int32),
        "target": seen.target,
        **{f"true_{name}": p[:, 0] for name, p in zip(REGIONS, after, strict=True)},
        **{f"target_{name}": p[:, 1] for name, p in zip(REGIONS, after, strict=True)},
    }


def regions(seen: Seen, plan: Plan, ids: Array, key: Array) -> Array:
    """Background to be greyed, bool [1 + draws + 1, b, h, w], of equal area within an image.

    The salient part, random blotches, and the least salient part. The blotches of (key, image,
    draw) come from the same field for every model and method, so that differences are paired.
    """
    size = (seen.mask.shape[1], seen.mask.shape[2])
    draw = lambda trial: noise.gaussian(key, ids, trial, BLOTCHES)  # noqa: E731
    fields = maps.upsample(jax.vmap(draw)(jnp.arange(plan.draws)), size)
    ramp = jnp.arange(size[0] * size[1]).reshape(size) / (size[0] * size[1])
    fields = fields + 0.01 * ramp  # a resize clamps at the edges; this leaves no two pixels equal
    count = seen.salient.sum((1, 2))
    least = 1e-3 * fields[0] - jnp.nan_to_num(seen.saliency)  # most maps are 0 in many places
    rest = [sorting.highest(field, ~seen.mask, count) for field in (*fields, least)]
    return jnp.stack([seen.salient, *rest])
