"""No training: a class's probability is the sum over its ImageNet synsets."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.heads import Context, _meeting
from rival_jax.runtime.plugins import no_such
from rival_jax.runtime.results import digest
from rival_jax.types import Array, Model, Taps, Variables

MEMBERS = ("auto", "study", "below")  # of config.probe.members, see `membership`
# ImageNet's usual list of output names, in the order of the synsets.
_USUAL = {0: "tench", 1: "goldfish", 388: "giant panda", 999: "toilet"}

Synsets = Sequence[Sequence[str]]


def attach(
    model: Model, variables: Variables, context: Context
) -> tuple[Model, Variables, dict[str, str]]:
    """A model whose logits are logarithms of ImageNet probabilities summed over a class's synsets.

    Their softmax renormalises over the data set's classes, so probabilities are "which of these
    classes", as for a fitted head.

    Raises:
      ValueError: see `check`.
    """
    members = check(model, context)
    forward = _forward(model, tuple(map(tuple, members.astype(int).tolist())))
    classes = context.classes
    grouped = dataclasses.replace(
        model, forward=forward, num_classes=len(classes), class_names=classes
    )
    facts = {"head": f"imagenet ({int(members.sum())} synsets)"}
    if not np.array_equal(members, membership(context)):  # facts identify networks
        facts["outputs"] = f"ImageNet's in another order ({digest(model.class_names)})"
    return grouped, variables, facts


def check(model: Model, context: Context) -> np.ndarray:
    """bool [classes, 1000]: which of the model's outputs belong to which class.

    Assumptions about outputs and classes go to `context.note`.

    Raises:
      ValueError: if the model does not have 1000 outputs, their names are not ImageNet's, or a
        class has no known synset.
    """
    if model.num_classes != 1000:
        raise ValueError(
            f"{model.name} has {model.num_classes} outputs, head 'imagenet' needs ImageNet's 1000; "
            "pass --config.head=probe"
        )
    members = membership(context)
    if model.class_names is None:
        context.note(
            f"{model.name}: its 1000 outputs are taken to be ImageNet's in the order of the "
            "synsets, because the checkpoint names none. If that is not their order, write the "
            "synset of each, a line each, to class_names.txt beside the weights."
        )
    kind, synsets = _synsets(context)
    if kind in _TOLD and any(list(s) != [c] for c, s in zip(context.classes, synsets, strict=True)):
        named = [f"{c} {len(s)}" for c, s in zip(context.classes, synsets, strict=True)]
        if kind == "study":
            named = [f"{c} {' '.join(s)}" for c, s in zip(context.classes, synsets, strict=True)]
        context.note(_TOLD[kind].format(int(members.sum()), _meeting.listed(named)))
    return of_outputs(model, members)


_TOLD = {
    "study": "Head imagenet: a class is the sum of the data set's own synsets, {} of ImageNet's "
    "1000 classes in all ({}). Photos of other kinds, such as other birds or trucks, count as "
    "wrong: for these pass --config.probe.members=below.",
    "below": "Head imagenet: a class is the sum of all ImageNet classes below it, {} of 1000 "
    "in all ({}). For the study's two synsets of each class, where the data set has them, pass "
    "--config.probe.members=study.",
}


def membership(context: Context) -> np.ndarray:
    """bool [classes, 1000]: which of ImageNet's classes, in its order, belong to which class.

    By `config.probe.synsets`, a JSON file `{class: [wnid, ...]}`, if given; else by
    `config.probe.members`: "study", the data set's own synsets (two for each of RIVAL10's classes,
    or folders named by synsets); "below", all of ImageNet's classes below one of RIVAL10's (59
    birds), for photos of other origin; "auto", the first available.

    Raises:
      ValueError: for a class without synsets, or with one not in ImageNet-1k.
    """
    position = {wnid: index for index, wnid in enumerate(wnids())}
    members = np.zeros((len(context.classes), len(position)), bool)
    for row, (name, group) in enumerate(zip(context.classes, _synsets(context)[1], strict=True)):
        unknown = [wnid for wnid in group if wnid not in position]
        if unknown or not group:
            raise ValueError(f"class {name!r}: {unknown or 'no synset'} is not of ImageNet-1k")
        members[row, [position[wnid] for wnid in group]] = True
    return members


def _synsets(context: Context) -> tuple[str, Synsets]:
    """The origin of the classes' synsets, and the synsets."""
    kind, path = context.options.get("members", "auto"), context.options.get("synsets")
    if kind not in MEMBERS:
        raise ValueError("config.probe.members: " + no_such(kind, MEMBERS))
    if path:
        return path, _of_table(path, context)
    if context.class_wnids is not None and kind != "below":
        return "study", context.class_wnids
    table = json.loads(_asset("imagenet_below.json"))
    if kind != "study" and not set(context.classes) - set(table):
        return "below", [table[name].split() for name in context.classes]
    known = f" (known by name: {', '.join(table)})" if kind != "study" else ""
    raise ValueError(
        f"this data set does not say which ImageNet synsets its classes are{known}; name a JSON "
        "file {class: [wnid, ...]} with --config.probe.synsets, or pass --config.head=probe"
    )


def _of_table(path: str, context: Context) -> Synsets:
    expected = 'expected {"class": ["n01443537", ...], ...}'
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        raise ValueError(f"{path} is not JSON ({error}); {expected}") from error
    if not isinstance(table, dict):
        raise ValueError(f"{path} holds a {type(table).__name__}; {expected}")
    for name in context.classes:
        if name not in table:
            raise ValueError(f"{path} has no synsets for class {name!r}; add its wnids")
        wnids = table[name]
        if not isinstance(wnids, list) or not all(isinstance(wnid, str) for wnid in wnids):
            raise ValueError(f"{path}: class {name!r} has {str(wnids)[:60]}; {expected}")
    return [table[name] for name in context.classes]


def of_outputs(model: Model, members: np.ndarray) -> np.ndarray:
    """bool [classes, 1000]: `membership`, with the columns in the order of a model's outputs.

    Raises:
      ValueError: the outputs are named, but neither by synsets nor by ImageNet's usual list.
    """
    outputs = model.class_names
    if outputs is None or outputs == wnids():
        return members
    try:
        return members[:, np.argsort(_meeting.by_name(outputs, wnids(), None))]
    except ValueError as error:
        if all(name in outputs[i].casefold() for i, name in _USUAL.items()):
            return members
        raise ValueError(
            f"{model.name} has 1000 outputs, named otherwise than ImageNet's "
            f"({', '.join(outputs[:3])}, ...); pass --config.head=own or probe"
        ) from error


def wnids() -> tuple[str, ...]:
    """ImageNet's 1000 synsets in order."""
    return tuple(_asset("imagenet_wnids.txt").split())


def _asset(name: str) -> str:
    return (resources.files("rival_jax") / "assets" / name).read_text(encoding="utf-8")


@functools.lru_cache(maxsize=64)
def _forward(model: Model, members: tuple[tuple[int, ...], ...]):
    def forward(variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
        logits, taps = model.forward(variables, images, added)
        log_probability = jax.nn.log_softmax(logits.astype(jnp.float32))
        of_class = jnp.where(jnp.asarray(members, bool), log_probability[:, None, :], -jnp.inf)
        return jax.nn.logsumexp(of_class, axis=-1), taps

    return forward
