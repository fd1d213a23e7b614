"""What is measured on an image: where its map lies, and the effect of greying what it marks."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from rival_jax import ablation, alignment, maps, noise, sorting
from rival_jax.experiments.explained import explained
from rival_jax.types import Array, Batch, Model, Variables

REGIONS = ("none", "salient", "random", "least")  # of the background, greyed


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

    def object(self, mask: Array) -> Array:
        """Where the object is, bool like the mask."""
        return mask > (0.5 if self.binary_mask else 0)

    def salient(self, found: Array, inside: Array) -> Array:
        """The background that maps [*, h, w] mark, bool; `inside`: the object."""
        share = maps.max_normalise(jnp.nan_to_num(found))
        marked = share >= self.threshold if self.ties_inside else share > self.threshold
        return marked & ~inside


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
    mask = plan.object(jnp.asarray(batch["mask"]))
    found, logits, target = explained(plan, model, variables, batch)
    salient = plan.salient(found, mask)

    def probabilities(logits: Array) -> Array:  # [b, 2], of the true and of the explained class
        both = jnp.stack([label, target], axis=1)
        return jnp.take_along_axis(jax.nn.softmax(logits.astype(jnp.float32)), both, axis=1)

    def without(region: Array) -> Array:
        greyed = noise.grey_out(image, region.astype(image.dtype))
        return probabilities(model.forward(variables, greyed, {})[0])

    ids = jnp.asarray(batch["noise_id"])
    after = lax.map(without, regions(found, mask, salient, plan.draws, ids, key))
    after = jnp.where(salient.any((1, 2))[:, None], after, jnp.nan)
    after = (probabilities(logits), after[0], after[1:-1].mean(0), after[-1])
    ways = {"threshold": plan.threshold, "ties_inside": plan.ties_inside}
    ways |= {"tolerance": plan.tolerance, "flat_is_nan": plan.flat_is_nan}
    return {
        **alignment.every(found, mask.astype(jnp.float32), **ways),
        "area": mask.mean((1, 2)),
        "greyed": salient.mean((1, 2)),
        "predicted": jnp.argmax(logits, axis=1).astype(jnp.int32),
        "target": target,
        **{f"true_{name}": p[:, 0] for name, p in zip(REGIONS, after, strict=True)},
        **{f"target_{name}": p[:, 1] for name, p in zip(REGIONS, after, strict=True)},
    }


def regions(found: Array, mask: Array, salient: Array, draws: int, ids: Array, key: Array) -> Array:
    """Background to be greyed, bool [1 + draws + 1, b, h, w], of equal area within an image.

    The salient part, random blotches, and the least salient part. The blotches of (key, image,
    draw) come from the same field for every model and method, so that differences are paired.
    """
    fields = ablation.random_fields(key, ids, draws, (mask.shape[1], mask.shape[2]))
    least = 1e-3 * fields[0] - jnp.nan_to_num(found)  # most maps are 0 in many places
    count = salient.sum((1, 2))
    rest = [sorting.highest(field, ~mask, count) for field in (*fields, least)]
    return jnp.stack([salient, *rest])
