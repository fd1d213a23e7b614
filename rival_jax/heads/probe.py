"""A linear head fitted on the frozen network's features of the training split."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors import safe_open
from safetensors.numpy import save_file

from rival_jax import probe
from rival_jax.heads import Context, _study
from rival_jax.heads._features import Fitted, Seen, at, of_split, safe
from rival_jax.runtime import checksums, hosts
from rival_jax.runtime.plugins import no_such
from rival_jax.runtime.results import atomic, digest, tree_digest
from rival_jax.types import Array, Forward, Model, Taps, Variables

TRAINS = True  # `attach` reads the training split: it is checked before any work
OPTIONS = {  # of config.probe: allowed values, the default first
    "recipe": ("converged", "study"),
    "select": ("last", "test"),
    "region": ("all", "foreground"),  # "foreground": fitted on photos with a grey background
    "mask": ("soft", "binary"),  # config.data.mask, for region "foreground"
    "batch_norm": ("frozen", "drifting"),  # "drifting": as released, see `_training_mode`
}
# Penalties tried by the converged recipe, on standardised features.
L2_GRID = tuple(10.0**power for power in np.arange(-4, 1.5, 0.5))
HELD_OUT = 0.2  # of the training split, to choose the penalty


def attach(
    model: Model, variables: Variables, context: Context
) -> tuple[Model, Variables, dict[str, str]]:
    """The network with a fitted head in place of its own; fitted once per input, then cached.

    Every host fits it; process 0's is used, bit for bit.

    Raises:
      ValueError: for an unknown option.
    """
    model = at(model, context.options.get("tap", ""))
    fitted = fit(model, variables, context)
    if fitted.batch_stats is not None:
        variables = {**variables, "batch_stats": fitted.batch_stats}
    headed = Headed(model.forward, model.feature_tap)
    with_head = dataclasses.replace(model, forward=headed, num_classes=len(context.classes))
    return with_head, {"network": variables, "head": fitted.head}, {"head": "probe", **fitted.facts}


def check(model: Model, context: Context) -> None:
    """Raises ValueError for options that `attach` would refuse; reads nothing."""
    options = _checked(context.options)
    at(model, options.get("tap", ""))
    folded = getattr(getattr(model.forward, "module", None), "folded_norms", ())
    if options["batch_norm"] == "drifting" and folded:
        raise ValueError(
            f"probe.batch_norm='drifting' moves the statistics of batch norms, and {model.name} is "
            f"an exported network, in which its {len(folded)} ({folded[0]}, ...) are constants; "
            "use 'frozen'"
        )


def fit(model: Model, variables: Variables, context: Context) -> Fitted:
    """The head by `config.probe.recipe`, on the region `config.probe.region` of photos.

    "converged": L-BFGS softmax regression; its L2 penalty is chosen on a stratified fifth of the
    training split, then the whole split is used. "study": the RIVAL10 study's Adam, which does
    not converge (rate 1e-5, ten epochs, random crops).
    """
    options = _checked(context.options)
    train = context.train()
    key = digest(
        {
            "network": [model.name, model.mean, model.std, tree_digest(variables), *model.settings],
            "train": train.fingerprint,
            "geometry": dataclasses.asdict(context.geometry),
            "options": {name: options[name] for name in (*OPTIONS, "epochs", "seed")},
        }
    )
    path = context.cache / "heads" / f"{safe(model.name)}-{key}.safetensors"
    if not all(hosts.gathered(checksums.holds(path))):
        fitted = _converged if options["recipe"] == "converged" else _study.fit
        found = fitted(model, variables, context, train, options)
        if options["region"] == "foreground":
            found.facts["fitted on"] = "photos with a grey background"
        moved = traverse_util.flatten_dict(found.batch_stats or {}, sep="/")
        tensors = {f"batch_stats/{name}": value for name, value in moved.items()}
        tensors = {name: np.asarray(v) for name, v in {**found.head._asdict(), **tensors}.items()}
        with atomic(path) as partial:
            save_file(tensors, partial, {"facts": json.dumps(found.facts)})
        checksums.note(path)
    return _read(path)


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: known[0] for name, known in OPTIONS.items()} | dict(given)
    for name, known in OPTIONS.items():
        if options[name] not in known:
            raise ValueError(f"probe.{name}: " + no_such(options[name], known))
    if options["region"] == "all":
        options["mask"] = "soft"  # the mask makes no difference to such a head
    if options["batch_norm"] == "drifting" and options["recipe"] == "converged":
        raise ValueError(
            "probe.batch_norm='drifting' needs --config.probe.recipe=study: L-BFGS sees all "
            "features at once, there are no batches whose statistics could drift"
        )
    return options


def split(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """bool [n]: a stratified random `share` of every class, at least one image and never all."""
    rng = np.random.Generator(np.random.PCG64(seed))
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held_out[members[:count]] = True
    return held_out


# Compiled once for all networks and heads of one width.
_solve = jax.jit(probe.fit_converged, static_argnames="num_classes")
_loss = jax.jit(lambda head, x, y: probe.cross_entropy(head, x, y).mean())


def _converged(
    model: Model, variables: Variables, context: Context, train: Any, options: dict
) -> Fitted:
    values, labels = of_split(model, variables, train, context, Seen.of(options))
    held_out = split(labels, HELD_OUT, options["seed"])
    solve = functools.partial(_solve, num_classes=len(context.classes))
    x, y = np.asarray(values, np.float32), np.asarray(labels)
    heads = jax.vmap(solve, (None, None, 0))(x[~held_out], y[~held_out], jnp.asarray(L2_GRID))
    losses = jax.vmap(_loss, (0, None, None))(heads, x[held_out], y[held_out])
    best = int(np.argmin(losses))
    head = solve(x, y, L2_GRID[best])
    context.report(f"{model.name}: head fitted, L2 {L2_GRID[best]:.1e}")
    facts = {
        "recipe": "L-BFGS to convergence",
        "l2": f"{L2_GRID[best]:.1e}, chosen on {held_out.sum()} held-out training images",
    }
    return Fitted(head, facts)


@dataclasses.dataclass(frozen=True)
class Headed:
    """A network's `types.Forward` with the head's logits; equal for equal networks."""

    network: Forward
    feature_tap: str

    def __call__(self, variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
        """See `types.Forward`; variables are the network's and the head's."""
        _, taps = self.network(variables["network"], images, added)
        return variables["head"](taps[self.feature_tap].astype(jnp.float32)), taps


def _read(path: Path) -> Fitted:
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(file.metadata()["facts"])
    tensors: dict[str, Any] = {**hosts.agreed_arrays(tensors)}
    facts = hosts.agreed(facts)
    head = probe.Head(tensors.pop("kernel"), tensors.pop("bias"))
    moved = traverse_util.unflatten_dict(tensors, sep="/")
    return Fitted(head, facts, moved.get("batch_stats"))
