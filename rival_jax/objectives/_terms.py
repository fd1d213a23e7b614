"""What several objectives share."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from rival_jax import losses, saliency, taps
from rival_jax.runtime.plugins import plugin
from rival_jax.types import Array, Batch, Model, Score, Variables


def arrays(batch: Batch, *names: str) -> list[Array]:
    """Parts of a batch on the device. Raises ValueError for a missing one."""
    missing = [name for name in names if name not in batch]
    if missing:
        given = ", ".join(batch)
        raise ValueError(f"batch: got {given}; this objective needs {', '.join(missing)} too")
    return [jnp.asarray(batch[name]) for name in names]


def with_original(variables: Variables) -> tuple[Variables, Variables]:
    """The network in training, and the one before, for objectives that need "original".

    Raises:
      ValueError: if it is missing.
    """
    if "original" not in variables:
        raise ValueError(
            f"variables: got {', '.join(variables)}; this objective needs original too, the "
            "parameters before the training"
        )
    network = {kind: tree for kind, tree in variables.items() if kind != "original"}
    original = jax.tree.map(
        lambda leaf, now: leaf.astype(now.dtype), variables["original"], variables["params"]
    )
    return network, {**network, "params": original}


def correct(logits: Array, label: Array) -> Array:
    """1 where the label is predicted, else 0: [b]."""
    return (logits.argmax(-1) == label).astype(logits.dtype)


def input_gradient_terms(
    model: Model,
    variables: Variables,
    batch: Batch,
    score: Score,
    *,
    through_grads: bool,
    border: str,
    temperature: Any,
) -> dict[str, Array]:
    """Terms of an objective that keeps the input gradient off the background.

    Args:
      score: the function to differentiate.
      through_grads: whether the gradient is differentiated again.
      border: see `losses.regions`.
      temperature: the cross-entropy's.

    Returns:
      "squares" [b, h, w, 3], the squared gradient with respect to the normalised image on the
      background; "classification" [b] and "correct" [b].
    """
    image, mask, label = arrays(batch, "image", "mask", "label")
    given = (model.forward, variables, image, score, ["image"])
    logits, _, _, gradients = taps.logits_and_grads(*given)
    gradient = gradients["image"] * jnp.asarray(model.std)  # pixel = normalised * std + mean
    if not through_grads:
        gradient = jax.lax.stop_gradient(gradient)
    _, background = losses.regions(mask, border)
    return {
        "squares": jnp.square(gradient * background[..., None]),
        "classification": losses.label_loss(logits, label, temperature=temperature),
        "correct": correct(logits, label),
    }


def energy_and_logits(
    model: Model,
    variables: Variables,
    batch: Batch,
    *,
    method: str,
    through_grads: bool,
    border: str,
) -> tuple[Array, Array]:
    """`losses.energy_loss` [b] of the label's map, and the logits [b, c].

    Raises:
      ValueError: an unknown name, or a method that cannot hold its gradients constant.
    """
    image, mask, label = arrays(batch, "image", "mask", "label")
    given = (method, model, variables, image, taps.class_score(label))
    options = gradient_option(method, through_grads)
    found, logits = saliency.explain_with_logits(*given, scaling="none", **options)
    return losses.energy_loss(jax.nn.relu(found), mask, border=border), logits


def gradient_option(method: str, through_grads: bool) -> dict[str, bool]:
    """The matching option of a saliency method; none if only True is possible.

    Raises:
      ValueError: a method that would have to hold its gradients constant but cannot.
    """
    module = plugin("saliency", method)
    own = getattr(module, "maps_and_logits", module.maps)
    if "through_grads" in inspect.signature(own).parameters:
        return {"through_grads": through_grads}
    if not through_grads:
        raise ValueError(f"{method} cannot hold its gradients constant; set through_grads=True")
    return {}
