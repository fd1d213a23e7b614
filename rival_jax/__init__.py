"""Does an image classifier look at the object or at the background, and can it be cured?

The pure functions. Everything else is found in its module, and the command line is
`python -m rival_jax.main --config=configs/rfs.py`.
"""

from rival_jax import saliency
from rival_jax._version import VERSION as __version__
from rival_jax.alignment import (
    average_precision,
    dice,
    intersection_and_union,
    iou,
    mask_coverage,
    pixel_accuracy,
    pointing_game,
    saliency_density_gap,
    saliency_precision,
)
from rival_jax.losses import (
    background_loss,
    confidence_loss,
    energy_loss,
    foreground_loss,
    label_loss,
    relevance_objective,
)
from rival_jax.maps import (
    attention_rollout,
    gradcam,
    max_normalise,
    minmax_normalise,
    relevance,
    upsample,
)
from rival_jax.metrics import irfs, rfs, true_class
from rival_jax.noise import corrupt, gaussian, grey_out
from rival_jax.statistics import Interval, bootstrap, bootstrap_difference, class_means
from rival_jax.taps import class_score, predicted_score, tap_grads, unit_score
from rival_jax.tokencut import normalised_cut

__all__ = [
    "Interval",
    "__version__",
    "attention_rollout",
    "average_precision",
    "background_loss",
    "bootstrap",
    "bootstrap_difference",
    "class_means",
    "class_score",
    "confidence_loss",
    "corrupt",
    "dice",
    "energy_loss",
    "foreground_loss",
    "gaussian",
    "gradcam",
    "grey_out",
    "intersection_and_union",
    "iou",
    "irfs",
    "label_loss",
    "mask_coverage",
    "max_normalise",
    "minmax_normalise",
    "normalised_cut",
    "pixel_accuracy",
    "pointing_game",
    "predicted_score",
    "relevance",
    "relevance_objective",
    "rfs",
    "saliency",
    "saliency_density_gap",
    "saliency_precision",
    "tap_grads",
    "true_class",
    "unit_score",
    "upsample",
]
