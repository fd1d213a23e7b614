"""No training: each class is the sum of the probabilities of its ImageNet synsets."""

from __future__ import annotations

import dataclasses
import functools
import json
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.heads import Context
from rival_jax.types import Array, Model, Taps, Variables


def attach(
    model: Model, variables: Variables, context: Context
) -> tuple[Model, Variables, dict[str, str]]:
    """A model whose logits are log sums of ImageNet probabilities over each class's synsets.

    Their softmax renormalises over the data set's classes, so probabilities are those of "which
    of these classes", as a fitted head's are.

    Raises:
      ValueError: if the model has not 1000 outputs, or a class has no known synset.
    """
    if model.num_classes != 1000:
        raise ValueError(
            f"{model.name} has {model.num_classes} outputs, head 'imagenet' needs ImageNet's 1000; "
            "pass --config.head=probe"
        )
    members = membership(context)
    key = tuple(map(tuple, members.astype(int).tolist()))
    forward = _forward(model, key)
    grouped = dataclasses.replace(model, forward=forward, num_classes=len(context.classes))
    return grouped, variables, {"head": f"imagenet ({int(members.sum())} synsets)"}


def membership(context: Context) -> np.ndarray:
    """bool [classes, 1000]: which ImageNet outputs belong to which class.

    From `config.probe.synsets`, a JSON file `{class: [wnid, ...]}`, or else the data set's own.
    """
    wnids = (resources.files("rival_jax") / "assets" / "imagenet_wnids.txt").read_text().split()
    path = context.options.get("synsets")
    if path:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
        missing = [name for name in context.classes if name not in table]
        if missing:
            raise ValueError(f"{path} has no synsets for class {missing[0]!r}; add its wnids")
        synsets = [table[name] for name in context.classes]
    elif context.class_wnids is None:
        raise ValueError(
            "this data set does not say which ImageNet synsets its classes are; name a JSON file "
            "{class: [wnid, ...]} with --config.probe.synsets, or pass --config.head=probe"
        )
    else:
        synsets = context.class_wnids
    position = {wnid: index for index, wnid in enumerate(wnids)}
    members = np.zeros((len(context.classes), len(wnids)), bool)
    for row, (name, group) in enumerate(zip(context.classes, synsets, strict=True)):
        unknown = [wnid for wnid in group if wnid not in position]
        if unknown or not group:
            raise ValueError(f"class {name!r}: {unknown or 'no synset'} is not of ImageNet-1k")
        members[row, [position[wnid] for wnid in group]] = True
    return members


@functools.lru_cache(maxsize=64)
def _forward(model: Model, members: tuple[tuple[int, ...], ...]):
    def forward(variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
        logits, taps = model.forward(variables, images, added)
        log_probability = jax.nn.log_softmax(logits.astype(jnp.float32))
        of_class = jnp.where(jnp.asarray(members, bool), log_probability[:, None, :], -jnp.inf)
        return jax.nn.logsumexp(of_class, axis=-1), taps

    return forward
