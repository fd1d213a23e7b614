"""The network's own head, for a network trained on the data set's classes.

Outputs and classes are matched by name: in whatever order the outputs are, each class gets the one
with its name or its synset. Only if nothing names the outputs, they must be in the order of the
classes, and a note says so.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from rival_jax.heads import Context, _meeting
from rival_jax.runtime.results import digest
from rival_jax.types import Array, Forward, Model, Taps, Variables

CURE = (
    "call the class folders as the outputs, map them with --config.data.masked_folder.class_map, "
    "write what each output is in the data set's words, a line each, to class_names.txt beside the "
    "weights, or pass --config.head=probe"
)


def attach(
    model: Model, variables: Variables, context: Context
) -> tuple[Model, Variables, dict[str, str]]:
    """The model, its outputs in the order of the classes.

    Raises:
      ValueError: see `check`.
    """
    order = check(model, context)
    if order == tuple(range(len(order))):
        return model, variables, {"head": "own"}
    forward = Gathered(model.forward, order)
    gathered = dataclasses.replace(model, forward=forward, class_names=context.classes)
    told = f"{_meeting.listed([str(i) for i in order])} for {_meeting.listed(context.classes)}"
    if len(order) > _meeting.IN_FULL:
        told += f" (order {digest(order)})"  # facts identify networks
    return gathered, variables, {"head": "own", "outputs": told}


def check(model: Model, context: Context) -> _meeting.Order:
    """The output of each class; assumptions go to `context.note`.

    Raises:
      ValueError: if the numbers of outputs and classes differ, or their names do; states both, and
        the cure.
    """
    classes, outputs = context.classes, model.class_names
    if model.num_classes != len(classes):
        raise ValueError(
            f"{model.name} has {model.num_classes} outputs, the data set {len(classes)} "
            "classes; pass --config.head=probe to fit a head, or imagenet for ImageNet networks"
        )
    as_they_are = tuple(range(len(classes)))
    if outputs is None:
        context.note(
            f"{model.name}: outputs 0 to {len(classes) - 1} are taken to be "
            f"{_meeting.listed(classes)}, in this order, because the checkpoint names none. If "
            "that is not so, write their names, a line each, to class_names.txt beside the "
            "weights."
        )
        return as_they_are
    try:
        return _meeting.by_name(outputs, classes, context.class_wnids)
    except ValueError as error:
        numbered = _meeting.by_number(classes)
        if numbered is None:
            raise ValueError(
                f"{model.name} has {error}. Outputs meet classes by name: {CURE}"
            ) from error
        context.note(
            f"{model.name}: folders 0 to {len(classes) - 1} are taken for the numbers of the "
            f"outputs, which are {_meeting.listed(outputs)}."
        )
        return numbered


@dataclasses.dataclass(frozen=True)
class Gathered:
    """A network's `types.Forward` with its logits in another order; equal for equal networks."""

    network: Forward
    order: _meeting.Order

    def __call__(self, variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
        """See `types.Forward`."""
        logits, taps = self.network(variables, images, added)
        return logits[:, jnp.asarray(self.order)], taps
