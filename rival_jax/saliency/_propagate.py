"""Relevance from a score back through a vision transformer's blocks, by `propagation`'s rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rival_jax import propagation, taps
from rival_jax.types import Array, Model, Score, Taps, Variables


class Propagated(NamedTuple):
    """Of a batch: relevance of every block's attention and of the first block's input.

    Attributes:
      attentions: [b, heads, n, n], first block to last; gradients: of the score, likewise.
      embedding: [b, n, width].
      logits: [b, c].
    """

    attentions: list[Array]
    gradients: list[Array]
    embedding: Array
    logits: Array


def propagate(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    older: bool = False,
    through_grads: bool = True,
) -> Propagated:
    """Propagates a relevance of 1, the score's, down to the first block.

    The score counts as a linear function of the features, as a class's logit is, with its gradient
    for weights. Norms, GELU, softmax and scales of channels pass relevance through.

    Derivatives of the result flow through activations and weights, and are exact. They are large
    where a divisor is small: LRP's maps are to be trained by an optimiser that scales gradients.

    The network is the one that classifies. The release propagates through a copy whose last norm
    has an epsilon of 1e-5 in place of 1e-6, which moves maps by about 1e-6 of their largest value
    (tiny network, float64); there is no option for it.

    Args:
      older: the rules of full and partial LRP: `linear` with `apart`, `added` without `balanced`.
      through_grads: whether derivatives flow through the gradient to the features, too.

    Raises:
      ValueError: for a network other than the package's vision transformers with a class token,
        and without gates or norms inside attention or MLP.
    """
    labels = [name.removesuffix("/attention") for name in model.attention_taps]
    if not labels:
        raise ValueError(f"{model.name} has no attention to explain it with; use gradcam")
    read = ("norm1", "qkv", "attention", "norm2", "hidden")
    more = ["embedding", "norm", *(f"{label}/{name}" for label in labels for name in read)]
    params = variables["params"]
    if not _plain(params):
        raise ValueError(
            f"{model.name}: relevance is propagated only through the package's own vision "
            "transformers whose head reads the class token, without gates or norms in their "
            "attention or MLP; use relevance or gradcam"
        )
    names = [*model.attention_taps, model.feature_tap]
    given = (model.forward, variables, images, score, names)
    logits, _, values, gradients = taps.logits_and_grads(*given, also=more)
    wide = lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))  # noqa: E731
    values, gradient, params = jax.tree.map(wide, (values, gradients[model.feature_tap], params))
    gradient = gradient if through_grads else jax.lax.stop_gradient(gradient)

    def through(values: Taps, gradient: Array) -> tuple[list[Array], Array]:
        """Of one example."""
        tokens = _of_head(params, values, values[model.feature_tap], gradient, older)
        blocks = [
            (params[f"blocks_{i}"], {name: values[f"{label}/{name}"] for name in read})
            for i, label in enumerate(labels)
        ]
        return _of_blocks(blocks, values["embedding"], tokens, older)

    attentions, embedding = jax.vmap(through)(values, gradient)
    grads = [gradients[name] for name in model.attention_taps]
    return Propagated(attentions, grads, embedding, logits)


def _plain(params: Mapping[str, Any]) -> bool:
    """Whether a network is one whose layers the rules below know."""
    if "blocks_0" not in params or params.keys() & {"fc_norm", "attn_pool"}:
        return False
    attention, mlp = (params["blocks_0"].get(name, {}) for name in ("attn", "mlp"))
    known = attention.keys() == {"qkv", "proj"} and mlp.keys() == {"fc1", "fc2"}
    return known and mlp["fc1"]["kernel"].shape[1] == mlp["fc2"]["kernel"].shape[0]


def _of_head(
    params: Mapping[str, Any], values: Taps, features: Array, gradient: Array, older: bool
) -> Array:
    """Relevance [n, width] of the last block's tokens, from the score's gradient to features."""
    one = jnp.ones(1, features.dtype)
    relevance = propagation.linear(features, gradient[:, None], one, apart=older)
    tokens = values["norm"]
    kernel = params["pre_logits"]["kernel"] if "pre_logits" in params else params.get("proj")
    if kernel is not None:
        relevance = propagation.linear(tokens[0], kernel, relevance, apart=older)
    first = relevance.reshape(-1, tokens.shape[-1])  # of the class, and the distillation token
    first = propagation.copied(tokens[: len(first)], first)
    return jnp.zeros_like(tokens).at[: len(first)].set(first)


def _of_blocks(
    blocks: Sequence[tuple[Mapping[str, Any], Taps]], x: Array, relevance: Array, older: bool
) -> tuple[list[Array], Array]:
    """Relevance of every block's attention, and of the first block's input x [n, width]."""
    steps = []
    for params, values in blocks:
        mixed = _merged(values["attention"] @ _heads(values)[2])
        attended = _scaled(params, "ls1", _dense(params["attn"]["proj"], mixed))
        middle = x + attended
        changed = _scaled(params, "ls2", _dense(params["mlp"]["fc2"], values["hidden"]))
        steps.append((params, values, x, mixed, attended, middle, changed))
        x = middle + changed
    found = []
    for step in reversed(steps):
        attention, relevance = _of_block(step, relevance, older)
        found.insert(0, attention)
    return found, relevance


def _of_block(step: tuple[Any, ...], relevance: Array, older: bool) -> tuple[Array, Array]:
    """Relevance of one block's attention [heads, n, n] and input [n, width]."""
    params, values, x, mixed, attended, middle, changed = step
    layers = {**params["attn"], **params["mlp"]}
    kernel = {name: layer["kernel"] for name, layer in layers.items()}
    kept, of_mlp = propagation.added(middle, changed, relevance, balanced=not older)
    of_mlp = propagation.linear(values["hidden"], kernel["fc2"], of_mlp, apart=older)
    of_mlp = propagation.linear(values["norm2"], kernel["fc1"], of_mlp, apart=older)
    relevance = propagation.copied(middle, kept, of_mlp)
    kept, of_attended = propagation.added(x, attended, relevance, balanced=not older)
    of_mixed = propagation.linear(mixed, kernel["proj"], of_attended, apart=older)
    q, k, v = _heads(values)
    of_mixed = of_mixed.reshape(len(x), len(v), -1).swapaxes(0, 1)
    attention, of_v = propagation.product(values["attention"], v, of_mixed)
    of_q, of_k = propagation.product(q, k.swapaxes(1, 2), attention)
    of_qkv = jnp.concatenate([_merged(one) for one in (of_q, of_k.swapaxes(1, 2), of_v)], axis=1)
    of_norm = propagation.linear(values["norm1"], kernel["qkv"], of_qkv, apart=older)
    return attention, propagation.copied(x, kept, of_norm)


def _heads(values: Taps) -> Array:
    """Queries, keys and values [3, heads, n, width of a head]."""
    heads, tokens, _ = values["attention"].shape
    return values["qkv"].reshape(tokens, 3, heads, -1).transpose(1, 2, 0, 3)


def _merged(x: Array) -> Array:
    """[heads, n, f] -> [n, heads f]."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def _dense(layer: Mapping[str, Array], x: Array) -> Array:
    return x @ layer["kernel"] + layer.get("bias", 0)


def _scaled(params: Mapping[str, Any], name: str, x: Array) -> Array:
    return x * params[name] if name in params else x
