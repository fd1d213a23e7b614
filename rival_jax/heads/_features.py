"""A frozen network's features of a split's photos, perhaps with a grey background."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import noise, probe
from rival_jax.heads import Context
from rival_jax.runtime import checksums, hosts
from rival_jax.runtime.names import file_name
from rival_jax.runtime.parallel import Bound, map_examples
from rival_jax.runtime.results import atomic, digest, tree_digest
from rival_jax.taps import check_names
from rival_jax.types import Array, Batch, Forward, Model, Taps, Variables


class Seen(NamedTuple):
    """The part of a photo that the network sees while its head is fitted."""

    region: str = "all"
    mask: str = "soft"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Seen:
        return cls(options["region"], options["mask"])

    def shown(self, images: Array, masks: Array) -> Array:
        """The photos [b, h, w, 3], perhaps with a grey background."""
        if self.region == "all":
            return images
        masks = (masks > 0.5).astype(images.dtype) if self.mask == "binary" else masks
        return noise.grey_out(images, 1 - masks)


class Fitted(NamedTuple):
    """A head, a description of its fit, and the statistics that the fit moved, if any."""

    head: probe.Head
    facts: dict[str, str]
    batch_stats: Variables | None = None


@dataclasses.dataclass(frozen=True)
class At:
    """A network's `types.Forward` with one more tap: the mean of another's values over positions.

    Nothing is computed from it but the head, so what is added there changes no other value.
    """

    network: Forward
    tap: str

    def __call__(self, variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
        """See `types.Forward`."""
        name = f"{self.tap} pooled"
        rest = {key: value for key, value in added.items() if key != name}
        logits, taps = self.network(variables, images, rest)
        value = taps[self.tap]
        pooled = value.mean(tuple(range(1, value.ndim - 1))) + added.get(name, 0)
        return logits, {**taps, name: pooled}


def at(model: Model, tap: str) -> Model:
    """The network whose features [b, f] are those of a tap; "" is its own.

    Raises:
      ValueError: it has no such tap (lists those it has), or the tap's values are no features.
    """
    if not tap:
        return model
    images = jax.ShapeDtypeStruct((1, *model.image_size, 3), jnp.float32)
    key = jax.eval_shape(lambda: noise.key(0))
    look = lambda key, x: model.forward(model.init(key), x, {})[1]  # noqa: E731
    shapes = jax.eval_shape(look, key, images)
    check_names([tap], shapes)
    if len(shapes[tap].shape) < 2:
        raise ValueError(f"probe.tap: {tap!r} of {model.name} is {shapes[tap].shape}, no features")
    settings = (*model.settings, f"features={tap}")
    read = {"forward": At(model.forward, tap), "feature_tap": f"{tap} pooled"}
    return dataclasses.replace(model, settings=settings, **read)


def of_split(
    model: Model, variables: Variables, examples: Any, context: Context, seen: Seen
) -> tuple[np.ndarray, np.ndarray]:
    """(features [n, f], labels [n]) of a split, on every host; cached on disk by content."""
    network = [model.name, model.mean, model.std, tree_digest(variables), *model.settings]
    content = [*network, examples.fingerprint]
    content += [*seen] if seen.region != "all" else []
    path = context.cache / "features" / f"{safe(model.name)}-{digest(content)}.npy"
    if not all(hosts.gathered(checksums.holds(path))):
        context.report(f"{model.name}: features of {len(examples)} images")
        batches = examples.batches(context.batch_size())
        fn, sharding = per_batch(model, seen), context.sharding
        rows = map_examples(fn, variables, batches, context.mesh, sharding=sharding)
        rows = hosts.gathered_rows(rows)
        with atomic(path) as partial:
            np.save(partial, rows["features"])
        checksums.note(path)
    return np.load(path, allow_pickle=False), np.asarray(examples.labels)


def per_batch(model: Model, seen: Seen) -> Bound:
    """`parallel.map_examples`'s function: features [b, f] in float32, and labels."""
    return Bound(_per_batch, (model.forward, model.feature_tap, seen))


def _per_batch(
    forward: Forward, tap: str, seen: Seen, variables: Variables, batch: Batch
) -> dict[str, Array]:
    shown = seen.shown(jnp.asarray(batch["image"]), jnp.asarray(batch["mask"]))
    _, taps = forward(variables, shown, {})
    return {"features": taps[tap].astype(jnp.float32), "label": jnp.asarray(batch["label"])}


def safe(name: str) -> str:
    """A model's name as part of a file name; a digest follows that makes it unique."""
    return file_name("".join(c if c.isalnum() or c in "._-" else "_" for c in name))
