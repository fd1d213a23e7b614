"""Per-example losses of relevance maps and logits (RobustViT, section 3)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BORDERS = ("complement", "released", "rebinarised")
FOREGROUND_TARGETS = ("mask", "one")


def regions(
    mask: Float[Array, "*b h w"], border: str = "complement"
) -> tuple[Float[Array, "*b h w"], Float[Array, "*b h w"]]:
    """How much each pixel counts as foreground and as background.

    The rules differ only where a mask is neither 0 nor 1, as along a resized border.

    Args:
      mask: in [0, 1], 1 on the object.
      border: "complement": S and 1 - S; "released": S and, as in RobustViT's code, the mask with 0
        and 1 exchanged and all else kept, so that a border pixel is pushed both up and down;
        "rebinarised": S >= 0.5 and its complement.

    Returns:
      (foreground, background), each of the mask's shape.

    Raises:
      ValueError: an unknown rule.

    >>> regions(jnp.array([[0.0, 0.25, 1.0]]), "released")[1]
    Array([[1.  , 0.25, 0.  ]], dtype=float32)
    """
    if border not in BORDERS:
        raise ValueError(f"border={border!r}; expected one of {BORDERS}")
    if border == "rebinarised":
        mask = (mask >= 0.5).astype(mask.dtype)
    if border == "released":
        return mask, jnp.where((mask == 0) | (mask == 1), 1 - mask, mask)
    return mask, 1 - mask


def background_loss(
    relevance: Float[Array, "*b h w"],
    mask: Float[Array, "*b h w"],
    *,
    border: str = "complement",
) -> Float[Array, "*b"]:
    """Mean square of the relevance on the background, over all pixels of the image.

    Args:
      relevance: maps in [0, 1], see `minmax_normalise`.
      mask: in [0, 1], 1 on the object.
      border: see `regions`.

    Raises:
      ValueError: for shapes that differ, or an unknown rule.

    Source: RobustViT, equation 1.

    >>> background_loss(jnp.array([[0.5, 1.0]]), jnp.array([[0.0, 1.0]]))
    Array(0.125, dtype=float32)
    """
    _check_shapes(relevance, mask)
    return jnp.square(relevance * regions(mask, border)[1]).mean((-2, -1))


def foreground_loss(
    relevance: Float[Array, "*b h w"],
    mask: Float[Array, "*b h w"],
    *,
    target: str = "mask",
    border: str = "complement",
) -> Float[Array, "*b"]:
    """Mean square of the relevance missing on the object, over all pixels of the image.

    Args:
      relevance: maps in [0, 1], see `minmax_normalise`.
      mask: in [0, 1], 1 on the object.
      target: the goal of `relevance * mask`: the "mask" (as released), or "one" everywhere, as in
        equation 2, which adds 1 for every background pixel. For a binary mask both have the same
        gradient.
      border: see `regions`.

    Raises:
      ValueError: for shapes that differ, or an unknown target or rule.

    Source: RobustViT, equation 2.

    >>> foreground_loss(jnp.array([[0.5, 0.5]]), jnp.array([[0.0, 1.0]]))
    Array(0.125, dtype=float32)
    >>> foreground_loss(jnp.array([[0.5, 0.5]]), jnp.array([[0.0, 1.0]]), target="one")
    Array(0.625, dtype=float32)
    """
    _check_shapes(relevance, mask)
    if target not in FOREGROUND_TARGETS:
        raise ValueError(f"target={target!r}; expected one of {FOREGROUND_TARGETS}")
    foreground, _ = regions(mask, border)
    wanted = foreground if target == "mask" else 1
    return jnp.square(relevance * foreground - wanted).mean((-2, -1))


def energy_loss(
    saliency: Float[Array, "*b h w"],
    mask: Float[Array, "*b h w"],
    *,
    border: str = "complement",
) -> Float[Array, "*b"]:
    """Share of the map's mass that is not on the object, in [0, 1]; 1 for a map that is 0.

    Many small values on the background weigh as much as one large one, while a mean square of a map
    in [0, 1] hardly sees them.

    Args:
      saliency: maps >= 0, of any scale.
      mask: in [0, 1], 1 on the object.
      border: see `regions`.

    Raises:
      ValueError: for shapes that differ, or an unknown rule.

    Source: the energy loss of Rao et al., ICCV 2023.

    >>> energy_loss(jnp.array([[1.0, 3.0]]), jnp.array([[0.0, 1.0]]))
    Array(0.25, dtype=float32)
    """
    _check_shapes(saliency, mask)
    mass = saliency.sum((-2, -1))
    on_object = (saliency * regions(mask, border)[0]).sum((-2, -1))
    return 1 - jnp.where(mass > 0, on_object / jnp.where(mass > 0, mass, 1), 0)


def label_loss(
    logits: Float[Array, "*b c"],
    label: Int[Array, "*b"],
    *,
    temperature: Any = 1.0,
    outputs: Int[Array, "*b k"] | None = None,
) -> Float[Array, "*b"]:
    """Cross-entropy of softmax(logits / temperature) with the label.

    Args:
      logits: a network's.
      label: the right class.
      temperature: divides the logits.
      outputs: the softmax covers only these and the label, so that no other logit is pushed down: a
        network trained on some classes keeps the others.

    >>> label_loss(jnp.zeros((1, 4)), jnp.array([0]), outputs=jnp.array([[0, 2]]))
    Array([0.6931472], dtype=float32)
    """
    if outputs is not None:
        classes = jnp.concatenate([outputs, label[..., None]], axis=-1)[..., None]
        counts = (classes == jnp.arange(logits.shape[-1])).any(-2)
        logits = jnp.where(counts, logits, -jnp.inf)
    log_probability = jax.nn.log_softmax(logits / temperature)
    return -jnp.take_along_axis(log_probability, label[..., None], axis=-1)[..., 0]


def distillation_loss(
    logits: Float[Array, "*b c"], teacher: Float[Array, "*b c"], *, temperature: Any = 1.0
) -> Float[Array, "*b"]:
    """Kullback-Leibler divergence from the teacher's softmax, >= 0; 0 where both say the same.

    Args:
      logits: of the network in training.
      teacher: another network's; no gradient flows there.
      temperature: divides both.

    Source: Hinton et al., "Distilling the knowledge in a neural network", 2015, without its factor
    of the temperature squared.

    >>> distillation_loss(jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 1.0]]))
    Array([0.], dtype=float32)
    """
    wanted = jax.nn.log_softmax(jax.lax.stop_gradient(teacher) / temperature)
    found = jax.nn.log_softmax(logits / temperature)
    return (jnp.exp(wanted) * (wanted - found)).sum(-1)


def confidence_loss(logits: Float[Array, "*b c"], *, temperature: Any = 1.0) -> Float[Array, "*b"]:
    """Cross-entropy with the predicted class: falls as the network's confidence grows.

    Args:
      logits: a network's; the largest one is the target, and no gradient flows through that choice.
      temperature: divides the logits.

    Source: RobustViT, equation 4.

    >>> confidence_loss(jnp.array([[0.0, 0.0]]))
    Array([0.6931472], dtype=float32)
    """
    return label_loss(logits, logits.argmax(-1), temperature=temperature)


def relevance_objective(
    background: Float[Array, "*b"],
    foreground: Float[Array, "*b"],
    classification: Float[Array, "*b"],
    *,
    background_weight: Any = 2.0,
    foreground_weight: Any = 0.3,
    relevance_weight: Any = 0.8,
    classification_weight: Any = 0.2,
) -> Float[Array, "*b"]:
    """The weighted total of RobustViT; its terms are `background_loss` and so on.

    Source: RobustViT, equations 3 and 5; the weights are the paper's, the same for all networks.

    >>> relevance_objective(jnp.array([0.1]), jnp.array([0.2]), jnp.array([0.5]))
    Array([0.308], dtype=float32)
    """
    relevance = background_weight * background + foreground_weight * foreground
    return relevance_weight * relevance + classification_weight * classification


def _check_shapes(relevance: Array, mask: Array) -> None:
    if relevance.shape != mask.shape:
        raise ValueError(f"mask: got {mask.shape}, expected {relevance.shape}")
