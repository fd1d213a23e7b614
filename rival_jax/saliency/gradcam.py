"""GradCAM: channels of the last layer weighted by their mean gradient (Selvaraju et al. 2017)."""

from __future__ import annotations

from rival_jax.maps import gradcam
from rival_jax.saliency._layers import cam_layer
from rival_jax.types import Array, Model, Score, Variables


def maps(model: Model, variables: Variables, images: Array, score: Score) -> Array:
    """[b, h, w] >= 0, on the grid of `model.cam_tap`."""
    return gradcam(*cam_layer(model, variables, images, score))
