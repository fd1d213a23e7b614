"""The network's own head, for a network trained on the data set's classes."""

from __future__ import annotations

from rival_jax.heads import Context
from rival_jax.types import Model, Variables


def attach(
    model: Model, variables: Variables, context: Context
) -> tuple[Model, Variables, dict[str, str]]:
    """The model as it is.

    Raises:
      ValueError: if it does not have as many outputs as the data set has classes.
    """
    if model.num_classes != len(context.classes):
        raise ValueError(
            f"{model.name} has {model.num_classes} outputs, the data set {len(context.classes)} "
            "classes; pass --config.head=probe to fit a head, or imagenet for ImageNet networks"
        )
    return model, variables, {"head": "own"}
