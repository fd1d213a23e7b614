"""One compiled update of the weights of several trainings: gradients and AdamW."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from rival_jax.runtime import placement
from rival_jax.runtime.parallel import floats
from rival_jax.types import Array, Batch, Model, Variables

Numbers = Mapping[str, Any]
Terms = Callable[[Variables, Batch, Numbers], Mapping[str, Array]]
"""`(variables, batch, numbers) -> {name: [b]}`, differentiable; "total" is minimised."""
State = dict[str, Any]
"""Every leaf has a leading axis, with a place for each training in the program."""

BETAS, EPSILON = (0.9, 0.999), 1e-8
REMAT = ("none", "dots")
PRECISIONS = ("float32", "bfloat16")


def bound_terms(
    terms: Any,
    model: Model,
    fixed: tuple[tuple[str, Any], ...],
    variables: Variables,
    batch: Batch,
    numbers: Mapping[str, Any],
) -> dict[str, Array]:
    """`Terms` of an objective with `fixed` options, and numbers; pictures may be bytes."""
    return terms(model, variables, floats(batch), **dict(fixed), **numbers)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How weights are updated; the defaults are RobustViT's.

    An epoch's rate is the first times `rate_factor ** (epoch // rate_every)`. No warm-up, no
    clipping. Hashable, since the compiled program depends on it.
    """

    epochs: int = 50
    batch_size: int = 8  # images per update
    weight_decay: float = 1e-4
    trained: str = ""  # regular expression of "block/layer/name" of trained parameters; "": all
    decayed: str = "all"  # "all" parameters | "kernels": matrices, without norms and biases
    rate_factor: float = 0.85
    rate_every: int = 2
    accumulate: int = 1  # number of parts of a batch that are computed one after another
    dtype: str = "float32"  # of the computation; weights and moments stay float32
    remat: str = "none"  # "dots": only matrix products are kept for the backward pass
    ties: str = "later"  # which of two epochs with equal validation loss is better

    def __post_init__(self) -> None:
        """Raises ValueError for invalid values."""
        choices = {
            "decayed": ("all", "kernels"),
            "dtype": PRECISIONS,
            "remat": REMAT,
            "ties": ("later", "earlier"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} got {getattr(self, name)!r}, expected one of {', '.join(known)}"
                )
        try:
            re.compile(self.trained)
        except re.error as error:
            raise ValueError(
                f"trained got {self.trained!r}, no regular expression: {error}"
            ) from None
        for name in ("epochs", "batch_size", "accumulate", "rate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} got {getattr(self, name)}, expected at least 1")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}"
            )

    def rate(self, first: float, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0.

        >>> [round(Recipe().rate(1.0, epoch), 4) for epoch in range(5)]
        [1.0, 1.0, 0.85, 0.85, 0.7225]
        """
        return first * self.rate_factor ** (epoch // self.rate_every)


def optimiser(recipe: Recipe) -> optax.GradientTransformation:
    """AdamW without its rate, which multiplies the result: `p - rate * update`.

    Decoupled: the decay is `rate * weight_decay * p`, as PyTorch's.
    """

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    mask = kernels if recipe.decayed == "kernels" else None
    adamw = optax.chain(
        optax.scale_by_adam(*BETAS, EPSILON), optax.add_decayed_weights(recipe.weight_decay, mask)
    )
    if not recipe.trained:
        return adamw
    held = functools.partial(_held, recipe.trained)
    return optax.chain(adamw, optax.masked(optax.set_to_zero(), held))


def _held(trained: str, params: Any) -> Any:
    """Whether each parameter stays fixed. Raises ValueError if none is trained."""
    paths = [
        "/".join(str(key.key) for key in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    held = [re.search(trained, path) is None for path in paths]
    if all(held):
        raise ValueError(f"trained={trained!r} names no parameter; there are: {', '.join(paths)}")
    return jax.tree.unflatten(jax.tree.structure(params), held)


def begin(
    recipe: Recipe,
    variables: Variables,
    terms: Sequence[str],
    members: int,
    mesh: Mesh,
    sharding: str = "replicated",
) -> State:
    """The state before the first update of `members` trainings of one network, on the mesh.

    Args:
      terms: names of the terms to sum over an epoch.
      sharding: how weights and moments are placed, see `placement.SHARDINGS`.
    """

    def made(params: Any) -> State:
        params = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], members, axis=0), params)
        state = {
            "params": params,
            "moments": jax.vmap(optimiser(recipe).init)(params),
            "best": jax.tree.map(jnp.copy, params),
            "best_loss": jnp.full(members, jnp.inf, jnp.float32),
            "sums": {name: jnp.zeros(members) for name in terms},  # over the epoch so far
            "seen": jnp.zeros(members),
        }
        return placement.constrained(state, mesh, sharding)

    return jax.jit(made)(placement.placed(variables["params"], mesh, sharding))


@functools.partial(jax.jit, static_argnums=2)
def picked(tree: Any, place: Array, dtype: str = "float32") -> Any:
    """One training's part of a tree of parameters."""
    return jax.tree.map(lambda leaf: leaf[place].astype(dtype), tree)


@functools.lru_cache(maxsize=32)
def compiled(
    terms: Terms, recipe: Recipe, mesh: Mesh, members: int, sharding: str = "replicated"
) -> Callable[..., Any]:
    """`(state, rest, batch, rates, numbers) -> (state, seen)`.

    `batch` has the axes [members, accumulate, b / accumulate, ...], split over the mesh; `rest` is
    everything of the network that is not a parameter. `seen` is whole on every host: each term
    [members, b], and `gradient`, its norm [members, 1]. The given state's arrays are consumed.
    """
    everywhere = placement.replicated(mesh)
    one = functools.partial(_update, terms, recipe)

    def update(state: State, *given: Any) -> tuple[State, dict[str, Array]]:
        after, seen = _for_each(one, members, state, *given)
        return placement.constrained(after, mesh, sharding), seen

    return jax.jit(
        update,
        in_shardings=(None, everywhere, placement.cut(mesh, 2), everywhere, everywhere),
        out_shardings=(None, everywhere),
        donate_argnums=0,
    )


def _for_each(
    one: Callable[..., Any],
    members: int,
    state: State,
    rest: Variables,
    batch: Batch,
    rates: Array,
    numbers: Any,
) -> Any:
    if members > 1:
        return jax.vmap(one, in_axes=(0, None, 0, 0, 0))(state, rest, batch, rates, numbers)
    first = jax.tree.map(lambda leaf: leaf[0], (state, batch, rates, numbers))
    found = one(first[0], rest, *first[1:])
    return jax.tree.map(lambda leaf: leaf[None], found)


def _update(
    terms: Terms,
    recipe: Recipe,
    state: State,
    rest: Variables,
    batch: Batch,
    rate: Array,
    numbers: Any,
) -> tuple[State, dict[str, Array]]:
    """One training's step on one batch [accumulate, b, ...]; padding (index -1) has no weight."""
    real = jnp.asarray(batch["index"]) >= 0
    count = real.sum()
    params = state["params"]

    def loss(params: Any, part: Batch) -> tuple[Array, dict[str, Array]]:
        cast = jax.tree.map(lambda leaf: leaf.astype(recipe.dtype), params)
        found = dict(terms({**rest, "params": cast}, part, numbers))
        weight = jnp.asarray(part["index"]) >= 0
        kept = {name: jnp.where(weight, value, 0) for name, value in found.items()}
        return kept["total"].sum() / count, kept

    if recipe.remat == "dots":
        loss = jax.checkpoint(loss, policy=jax.checkpoint_policies.dots_saveable)
    slope = jax.grad(loss, has_aux=True)
    if recipe.accumulate == 1:
        gradient, kept = slope(params, jax.tree.map(lambda leaf: leaf[0], batch))
    else:

        def add(total: Any, part: Batch) -> tuple[Any, dict[str, Array]]:
            gradient, kept = slope(params, part)
            return jax.tree.map(jnp.add, total, gradient), kept

        gradient, kept = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), batch)
        kept = {name: value.reshape(-1) for name, value in kept.items()}
    update, moments = optimiser(recipe).update(gradient, state["moments"], params)
    after = jax.tree.map(lambda p, u: p - rate * u, params, update)
    sums = {name: state["sums"][name] + kept[name].sum() for name in state["sums"]}
    changed = {"params": after, "moments": moments, "sums": sums, "seen": state["seen"] + count}
    square = sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(gradient))
    norm = jnp.sqrt(square)[None]
    return {**state, **changed}, {**kept, "gradient": norm}


def is_better(ties: str, losses: Any, best: Any) -> Any:
    """Where an epoch's losses beat the best so far."""
    return losses <= best if ties == "later" else losses < best


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def end_epoch(ties: str, mesh: Mesh, sharding: str, state: State, losses: Array) -> State:
    """The state after an epoch with held-out losses [members], keeping the better weights."""
    better = is_better(ties, losses, state["best_loss"])

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(better[(..., *(None,) * (new.ndim - 1))], new, old)

    kept = jax.tree.map(choose, state["params"], state["best"])
    zeros = jax.tree.map(jnp.zeros_like, {key: state[key] for key in ("sums", "seen")})
    best_loss = jnp.where(better, losses, state["best_loss"])
    after = {**state, **zeros, "best": kept, "best_loss": best_loss}
    return placement.constrained(after, mesh, sharding)


def arranged(batches: list[Batch], parts: int, devices: int) -> dict[str, np.ndarray]:
    """This host's part of one batch of each training, as [members, parts, b, ...].

    Padded with copies of the first row, `index` -1, so that its `devices` get equally many.
    """
    size = len(batches[0]["index"])
    short = -size % (parts * devices)

    def one(name: str) -> np.ndarray:
        value = np.stack([np.asarray(batch[name]) for batch in batches])
        filler = np.repeat(value[:, :1], short, axis=1)
        if name == "index":
            filler = np.full_like(filler, -1)
        value = np.concatenate([value, filler], axis=1) if short else value
        return value.reshape(len(batches), parts, -1, *value.shape[2:])

    return {name: one(name) for name in batches[0]}
