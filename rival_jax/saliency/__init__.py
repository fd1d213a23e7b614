"""Where a network looks: one file per method, all on `taps.tap_grads`, batched and under jit.

A method is a module here with `maps(model, variables, images, score, **options) -> [b, h, w]`, on
its own grid. Any score can be explained: the predicted class, a label, a feature
(`taps.predicted_score`, `class_score`, `unit_score`). A method that computes the network's logits
anyway may also have `maps_and_logits`, with the same arguments, which returns both.
"""

from __future__ import annotations

from typing import Any

from rival_jax import maps
from rival_jax.metrics import check_float, check_unit
from rival_jax.runtime.plugins import no_such, plugin
from rival_jax.types import Array, Model, Score, Variables

SCALINGS = {
    "none": lambda raw, size: maps.upsample(raw, size),
    "minmax": lambda raw, size: maps.minmax_normalise(maps.upsample(raw, size)),
    "cam": maps.cam_scaled,
    "cam_2021": maps.cam_scaled_2021,
}


def explain(
    method: str,
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    scaling: str = "minmax",
    **options: Any,
) -> Array:
    """Saliency maps at the images' size.

    Args:
      method: a module of this folder, or a dotted name.
      model, variables: the network.
      images: [b, h, w, 3] in [0, 1].
      score: what to explain, `(logits, taps) -> [b]`.
      scaling: "minmax": each map to [0, 1]; "cam" and "cam_2021": as in the study's package, see
        `maps.cam_scaled`; "none": only resized.
      **options: the method's.

    Returns:
      [b, h, w].

    Raises:
      ValueError: an unknown method or scaling, a method that the network does not allow, images of
        bytes, or beyond [0, 1] if the network normalises them.
    """
    if scaling not in SCALINGS:
        raise ValueError("saliency scaling: " + no_such(scaling, SCALINGS))
    _check(model, images)
    raw = plugin("saliency", method).maps(model, variables, images, score, **options)
    return SCALINGS[scaling](raw, images.shape[1:3])


def explain_with_logits(
    method: str,
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    scaling: str = "minmax",
    **options: Any,
) -> tuple[Array, Array]:
    """What `explain` returns, and the logits [b, c].

    From one forward pass where the method has `maps_and_logits`, from a second one otherwise.
    """
    if scaling not in SCALINGS:
        raise ValueError("saliency scaling: " + no_such(scaling, SCALINGS))
    _check(model, images)
    module = plugin("saliency", method)
    if hasattr(module, "maps_and_logits"):
        raw, logits = module.maps_and_logits(model, variables, images, score, **options)
    else:
        raw = module.maps(model, variables, images, score, **options)
        logits, _ = model.forward(variables, images, {})
    return SCALINGS[scaling](raw, images.shape[1:3]), logits


def _check(model: Model, images: Array) -> None:
    """Checks images; a network that normalises nothing may get normalised images."""
    bare = not any(model.mean) and all(std == 1 for std in model.std)
    (check_float if bare else check_unit)("images", images)
