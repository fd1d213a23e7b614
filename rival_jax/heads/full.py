"""All of a network's own outputs: those of the data set's classes first, then the others.

For what is asked of a network as it is: the map of the output that wins among all 1000 (RobustViT,
table 3), or whether the true one does (appendix N).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from rival_jax.heads import Context, _meeting, imagenet, own
from rival_jax.runtime.results import digest
from rival_jax.types import Model, Variables


def attach(
    model: Model, variables: Variables, context: Context
) -> tuple[Model, Variables, dict[str, str]]:
    """The model, its outputs in another order, with the classes' names for the first ones.

    Raises:
      ValueError: see `check`.
    """
    first, count = check(model, context), model.num_classes
    order = (*first, *(i for i in range(count) if i not in set(first)))
    told = imagenet.wnids() if first and count == 1000 else [f"output {i}" for i in range(count)]
    outputs = model.class_names or tuple(told)
    names = (*context.classes[: len(first)], *(outputs[i] for i in order[len(first) :]))
    facts = {"head": f"all {count} outputs"}
    forward = model.forward
    if order != tuple(range(count)):
        facts["outputs"] = f"those of the classes first (order {digest(order)})"
        forward = own.Gathered(forward, order)
    return dataclasses.replace(model, forward=forward, class_names=names), variables, facts


def check(model: Model, context: Context) -> _meeting.Order:
    """The output of each class; () if the data have a single class, which nothing can be right on.

    Raises:
      ValueError: if a class has no output, or several; states the cure.
    """
    if len(context.classes) == 1:
        return ()
    if model.num_classes == len(context.classes):
        return own.check(model, context)
    if model.num_classes != 1000:
        raise ValueError(
            f"{model.name} has {model.num_classes} outputs, which head 'full' matches with "
            f"{len(context.classes)} classes only for ImageNet networks; pass --config.head=probe"
        )
    members = imagenet.check(model, context)
    several = np.flatnonzero(members.sum(1) != 1)
    if several.size:
        raise ValueError(
            f"class {context.classes[several[0]]!r} is {members[several[0]].sum()} of "
            f"{model.name}'s outputs, head 'full' needs one for each; pass --config.head=imagenet"
        )
    return tuple(members.argmax(1).tolist())
