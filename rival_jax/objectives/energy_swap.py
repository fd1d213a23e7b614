"""Energy on photos and on their objects before other backgrounds, changing little else."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from rival_jax import ablation, losses
from rival_jax.objectives._terms import arrays, correct, energy_and_logits, with_original
from rival_jax.types import Array, Batch, Model, Variables

NEEDS = ("original", "other", "outputs")


def terms(
    model: Model,
    variables: Variables,
    batch: Batch,
    *,
    method: str = "gradient_x_input",
    through_grads: bool = True,
    border: str = "complement",
    relevance_weight: Any = 8.0,
    kept_weight: Any = 1.0,
    swapped_weight: Any = 1.0,
    temperature: Any = 1.0,
) -> dict[str, Array]:
    """Per-example losses [b]: "energy", "kept", "swapped", "total" and "correct".

    "energy" is `losses.energy_loss` of the label's map, averaged over the photo and its object
    before another photo's background (`on_background`). "swapped" is the cross-entropy of the
    latter with the label among the classes trained on; "kept" is how far the photo's predictions
    have moved from those before the training, over all classes. Neither pushes down the classes
    without masks, as a plain cross-entropy does.

    Args:
      method, through_grads, border: see `energy`.
      relevance_weight, kept_weight, swapped_weight: weights in "total".
      temperature: divides the logits in "kept" and "swapped".

    Raises:
      ValueError: an unknown name, a method that cannot hold its gradients constant, or a missing
        item of `NEEDS`.
    """
    image, mask, label, outputs = arrays(batch, "image", "mask", "label", "outputs")
    swapped_image = on_background(image, mask, *arrays(batch, "other_image", "other_mask"))
    # Side by side, so that each device keeps its part of a batch that is cut among devices.
    twice: Batch = {
        "image": jnp.stack([image, swapped_image], 1).reshape(-1, *image.shape[1:]),
        "mask": jnp.repeat(mask, 2, axis=0),
        "label": jnp.repeat(label, 2),
    }
    network, original = with_original(variables)
    options: Any = {"method": method, "through_grads": through_grads, "border": border}
    energies, both = energy_and_logits(model, network, twice, **options)
    energy, logits, on_other = energies.reshape(-1, 2).mean(1), both[::2], both[1::2]
    before, _ = model.forward(original, image, {})
    kept = losses.distillation_loss(logits, before, temperature=temperature)
    swapped = losses.label_loss(on_other, label, temperature=temperature, outputs=outputs)
    total = relevance_weight * energy + kept_weight * kept + swapped_weight * swapped
    return {
        "energy": energy,
        "kept": kept,
        "swapped": swapped,
        "total": total,
        "correct": correct(logits, label),
    }


def on_background(image: Array, mask: Array, other: Array, other_mask: Array) -> Array:
    """The object of `image` before the background of `other`, [b, h, w, 3].

    The other's own object is replaced by the mean colour of its background.
    """
    background = 1 - other_mask
    weight = background.sum((1, 2))[:, None, None, None]
    total = (other * background[..., None]).sum((1, 2), keepdims=True)
    colour = jnp.broadcast_to(total / jnp.maximum(weight, 1), other.shape)
    return ablation.composite(image, 1 - mask, ablation.composite(other, other_mask, colour))
