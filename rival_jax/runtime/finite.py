"""Numbers that are not finite: of which example and term; a training's batch is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.runtime import buckets, hosts

CURE = "lower the learning rate or the term's weight, and name another --workdir"


def all_finite(values: Mapping[str, np.ndarray]) -> bool:
    """Whether all numbers are finite."""
    return all(np.isfinite(value).all() for value in values.values())


def refuse_nan(network: str, bad: Any, name: Callable[[int], str], things: str = "photos") -> None:
    """Raises ValueError if a network gave NaN for some examples.

    Args:
      bad: bool [n], for which.
      name: place among them -> an example's name.
    """
    if bad.any():
        raise ValueError(
            f"{network} gives NaN for {bad.sum()} of {len(bad)} {things}, the first "
            f"{name(int(bad.argmax()))}; its weights or config.dtype are not usable"
        )


def refuse(
    values: Mapping[str, np.ndarray],
    batch: Mapping[str, np.ndarray],
    members: list[str],
    name: Callable[[int, int], str],
    folder: Path,
    step: int,
) -> None:
    """Saves the batch of the first member with a number that is not finite, and raises.

    Every host calls it with the same arguments; the first writes.

    Args:
      values: terms [members, b] and "gradient" [members, 1].
      batch: arrays [members, parts, b / parts, ...], among them `index`.
      members: their names.
      name: (member, index) -> an example's name.
      folder: where the batch goes, as an `.npz` of its arrays, names and terms.
      step: updates done before this one.

    Raises:
      ValueError: always; it names the step, the term, the example and the file.
    """
    # "total" is made from the other terms and the gradient from it: name the original cause.
    late = {"total": 1, "gradient": 2}
    order = sorted(values, key=lambda term: late.get(term, 0))
    term = next(term for term in order if not np.isfinite(values[term]).all())
    place = int(np.flatnonzero(~np.isfinite(values[term]).all(1))[0])
    flat = {key: value[place].reshape(-1, *value.shape[3:]) for key, value in batch.items()}
    names = [name(place, index) if index >= 0 else "" for index in flat["index"].tolist()]
    file = folder / f"not_finite_{members[place]}_step{step}.npz"
    if hosts.first():
        folder.mkdir(parents=True, exist_ok=True)
        terms: dict[str, Any] = {f"term_{key}": value[place] for key, value in values.items()}
        with file.open("wb") as opened:
            np.savez(opened, names=np.array(names), **flat, **terms)
        buckets.push(file)
    hosts.barrier()  # a host that ends early would end the writing one
    first = int(np.flatnonzero(~np.isfinite(values[term][place]))[0])
    which = "" if term == "gradient" else f" of {names[first]}"
    raise ValueError(
        f"{members[place]}: the term {term!r}{which} is not finite at step {step}; its batch is in "
        f"{file}; {CURE}"
    )
