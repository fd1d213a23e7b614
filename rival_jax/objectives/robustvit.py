"""RobustViT: relevance on the object and off the background, and confident predictions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rival_jax import losses, saliency, taps
from rival_jax.objectives._terms import arrays, correct, gradient_option
from rival_jax.types import Array, Batch, Model, Variables

TARGETS = ("prediction", "label")

ABLATIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "without classification": {"classification_weight": 0.0},
        "without background": {"background_weight": 0.0},
        "without foreground": {"foreground_weight": 0.0},
        "with label": {"target": "label"},
        "only background": {"classification_weight": 0.0, "foreground_weight": 0.0},
        "only foreground": {"classification_weight": 0.0, "background_weight": 0.0},
    }
)
"""Options of the six rows of the paper's table 4; the other weights stay as they are."""


def terms(
    model: Model,
    variables: Variables,
    batch: Batch,
    *,
    method: str = "relevance",
    method_options: Mapping[str, Any] = MappingProxyType({}),
    through_grads: bool = False,
    explained: str = "label",
    border: str = "complement",
    foreground_target: str = "mask",
    target: str = "prediction",
    temperature: Any = 1.0,
    background_weight: Any = 2.0,
    foreground_weight: Any = 0.3,
    relevance_weight: Any = 0.8,
    classification_weight: Any = 0.2,
) -> dict[str, Array]:
    """Per-example losses [b]: "background", "foreground", "classification" and "total".

    Also "correct", 1 where the label is predicted.

    Args:
      method: what makes the map, a module of `saliency`; its map is resized to the image and scaled
        to [0, 1], and a flat one becomes 0 with a gradient of 0.
      method_options: options of that module.
      through_grads: whether the gradients inside the map are differentiated too (the exact gradient
        of the loss), or held constant, as released. Not every method can hold them constant.
      explained: the class whose map is trained, "label" (as released) or "prediction".
      border: of the mask, see `losses.regions`; the release uses "released".
      foreground_target: see `losses.foreground_loss`.
      target: of "classification": "prediction" (confidence, equation 4) or "label".
      temperature: divides the logits in "classification", not in the map.
      background_weight, ...: see `losses.relevance_objective`; 0 removes a term, see `ABLATIONS`.

    Raises:
      ValueError: an unknown name, or a method that cannot hold its gradients constant.
    """
    for option, name in (("target", target), ("explained", explained)):
        if name not in TARGETS:
            raise ValueError(f"{option}={name!r}; expected one of {TARGETS}")
    image, mask, label = arrays(batch, "image", "mask", "label")
    options = {**method_options, **gradient_option(method, through_grads)}
    score = taps.class_score(label) if explained == "label" else taps.predicted_score
    given = (method, model, variables, image, score)
    relevance, logits = saliency.explain_with_logits(*given, **options)
    background = losses.background_loss(relevance, mask, border=border)
    foreground = losses.foreground_loss(relevance, mask, target=foreground_target, border=border)
    if target == "label":
        classification = losses.label_loss(logits, label, temperature=temperature)
    else:
        classification = losses.confidence_loss(logits, temperature=temperature)
    total = losses.relevance_objective(
        background,
        foreground,
        classification,
        background_weight=background_weight,
        foreground_weight=foreground_weight,
        relevance_weight=relevance_weight,
        classification_weight=classification_weight,
    )
    return {
        "background": background,
        "foreground": foreground,
        "classification": classification,
        "total": total,
        "correct": correct(logits, label),
    }
