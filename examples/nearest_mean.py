"""A head: the class whose training photos have the nearest mean features.

  python -m rival_jax.main --config=configs/background.py --config.head=examples.nearest_mean

Softmax of minus half the squared distance: what the classes would be if each were a Gaussian of
unit variance, which is linear in the features.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from rival_jax.heads import Context
from rival_jax.runtime import hosts
from rival_jax.runtime.parallel import Bound, map_examples
from rival_jax.types import Array, Batch, Forward, Model, Taps, Variables

TRAINS = True  # `attach` reads config.data.train_split, which is looked at before any work


def check(model: Model, context: Context) -> None:
    """Raises ValueError where `attach` could not work; called before photos are read.

    What has to be assumed instead goes to `context.note`, and so on the console and the page.
    """
    if len(context.classes) < 2:
        raise ValueError(
            f"{model.name}: one class, {', '.join(context.classes)}, is always the nearest"
        )


def attach(
    model: Model, variables: Variables, context: Context
) -> tuple[Model, Variables, dict[str, str]]:
    """The network with logits of the data set's classes, its variables, and the head in words.

    Those words and the variables tell a head's results from those of another.
    """
    train = context.train()
    rows = map_examples(
        Bound(_features, (model.forward, model.feature_tap)),
        variables,
        train.batches(context.batch_size()),
        context.mesh,
        sharding=context.sharding,
    )
    features = hosts.gathered_rows(rows)["features"]  # of the photos of all hosts
    members = [features[train.labels == k] for k in range(len(context.classes))]
    for name, mine in zip(context.classes, members, strict=True):
        if not len(mine):
            raise ValueError(f"class {name} has no training photo; add some, or leave it out")
    means = np.stack([mine.mean(0) for mine in members])
    context.report(f"{model.name}: means of {len(train)} training photos")
    headed = dataclasses.replace(
        model,
        forward=Nearest(model.forward, model.feature_tap),
        num_classes=len(context.classes),
        class_names=context.classes,
    )
    return headed, {**variables, "means": jnp.asarray(means)}, {"head": "nearest mean"}


@dataclasses.dataclass(frozen=True)
class Nearest:
    """A network's `types.Forward` with other logits; equal for equal networks, so compiled once."""

    network: Forward
    feature_tap: str

    def __call__(self, variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
        """See `types.Forward`."""
        own = {kind: tree for kind, tree in variables.items() if kind != "means"}
        _, taps = self.network(own, images, added)
        features, means = taps[self.feature_tap].astype(jnp.float32), variables["means"]
        return features @ means.T - jnp.square(means).sum(1) / 2, taps


def _features(forward: Forward, tap: str, variables: Variables, batch: Batch) -> dict[str, Array]:
    _, taps = forward(variables, jnp.asarray(batch["image"]), {})
    return {"features": taps[tap].astype(jnp.float32)}
