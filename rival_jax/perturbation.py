"""Pixels taken away in the order of a map: what a network still knows tells the map's worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from rival_jax import ablation, sorting
from rival_jax.metrics import check_same, true_class
from rival_jax.types import Forward, Variables

TESTS = ("positive", "negative", "deletion", "insertion")
FILLS = ("black", "mean", "network", "blur")  # what stands in for pixels, see `filled`
Setting = tuple[str, str, float]  # test, fill, and the share of pixels taken away or put back
Area = Literal["trapezoid", "from_zero", "mean"]


def curves(
    tests: Sequence[str],
    fills: Sequence[str],
    shares: Sequence[float],
    *,
    steps: int,
    deletion: str,
    insertion: str,
) -> dict[tuple[str, str], tuple[float, ...]]:
    """(test, fill) -> shares of every curve: what is to be measured beside the unchanged photo.

    Args:
      tests: of `TESTS`; "positive" and "negative" with each of `fills`, at `shares`.
      steps: of "deletion" and "insertion", with the fills of these names.

    >>> curves(("negative", "insertion"), ("mean",), (0.5,), steps=2, deletion="", insertion="blur")
    {('negative', 'mean'): (0.5,), ('insertion', 'blur'): (0.0, 0.5)}
    """
    fine = [k / steps for k in range(steps + 1)]
    own = {"deletion": (deletion, fine[1:]), "insertion": (insertion, fine[:-1])}
    found = [(test, fill, sorted(shares)) for test in tests if test not in own for fill in fills]
    found += [(test, *own[test]) for test in tests if test in own]
    return {(test, fill): tuple(some) for test, fill, some in found}


def descending(maps: Float[Array, "*b h w"]) -> Float[Array, "*b n"]:
    """All values of each map from high to low: what `highest` needs, sorted once for all counts."""
    return sorting.sort(-maps.reshape(*maps.shape[:-2], -1)) * -1


def highest(
    maps: Float[Array, "*b h w"], ordered: Float[Array, "*b n"], count: Shaped[Array, ""] | int
) -> Bool[Array, "*b h w"]:
    """The `count` pixels of the highest values; of equal ones those with the lowest index.

    As a stable sort has it, so that the same pixels are taken whatever the device: maps of 14 x 14
    patches tie where they are flat, and at the rim.

    Args:
      maps: [*, h, w], without NaN.
      ordered: `descending(maps)`.
      count: from 0 to h w; may be traced.

    >>> maps = jnp.array([[1.0, 2.0, 1.0, 1.0]])
    >>> highest(maps, descending(maps), 3)
    Array([[ True,  True,  True, False]], dtype=bool)
    """
    last = jnp.take(ordered, jnp.maximum(jnp.asarray(count) - 1, 0), axis=-1)[..., None]
    flat = maps.reshape(ordered.shape)
    above, tied = flat > last, flat == last
    room = count - above.sum(-1, keepdims=True)
    taken = above | (tied & (jnp.cumsum(tied, -1) <= room))
    return (taken & (jnp.asarray(count) > 0)).reshape(maps.shape)


def filled(
    image: Float[Array, "b h w c"], *, mean: Sequence[float], sigma: float
) -> Float[Array, "f b h w c"]:
    """What stands in for pixels that are taken away, in the order of `FILLS`.

    Args:
      image: [b, h, w, c] in [0, 1].
      mean: the network's mean colour.
      sigma: of the blur, in pixels, > 0.

    Returns:
      [4, b, h, w, c]: black, 0 before the network normalises it (as released with
      Transformer-Explainability); the photo's own mean colour; the network's mean colour, 0 for
      what comes after it (RISE's deletion); the photo blurred (RISE's insertion).
    """
    everywhere = jnp.ones(image.shape[:-1], image.dtype)
    colour = jnp.broadcast_to(jnp.asarray(mean, image.dtype), image.shape)
    blurred = ablation.blur(image, everywhere, sigma)
    return jnp.stack([0 * image, ablation.mean_colour(image, everywhere), colour, blurred])


def perturbed(
    forward: Forward,
    variables: Variables,
    image: Float[Array, "b h w c"],
    maps: Float[Array, "b h w"],
    settings: Sequence[Setting],
    *,
    mean: Sequence[float],
    sigma: float,
    mask: Float[Array, "b h w"] | None = None,
) -> tuple[Float[Array, "s b k"], Float[Array, "s b"]]:
    """A network's logits of photos whose pixels are taken away in the order of maps.

    Each setting begins with the whole photo. A share is rounded down to whole pixels: int(h w q).

    Args:
      forward, variables: the network.
      image: [b, h, w, c] in [0, 1].
      maps: [b, h, w], without NaN. "positive" and "deletion" take the highest away, "negative" the
        lowest; "insertion" takes all away and puts the highest back.
      settings: (test, fill, share) each; a share of 0 is the photo, for insertion nothing of it.
      mean, sigma: see `filled`.
      mask: the object.

    Returns:
      logits [s, b, k], and how much of the pixels taken away or put back is object [s, b] (NaN
      where there are none, or no mask).
    """
    fills = filled(image, mean=mean, sigma=sigma)
    both = jnp.stack([maps, -maps])
    ordered = descending(both)
    inside = jnp.full(maps.shape, jnp.nan) if mask is None else mask > 0.5

    def one(setting: tuple[Array, ...]) -> tuple[Array, Array]:
        lowest, keep, fill, count = setting
        taken = highest(both[lowest], ordered[lowest], count)
        shown = jnp.where((taken ^ keep)[..., None], fills[fill], image)
        share = jnp.where(taken, inside, 0).sum((1, 2)) / jnp.where(count > 0, count, jnp.nan)
        return forward(variables, shown, {})[0], share

    tests, names, shares = zip(*settings, strict=True)
    numbers = (
        jnp.array([int(test == "negative") for test in tests]),
        jnp.array([test == "insertion" for test in tests]),
        jnp.array([FILLS.index(name) for name in names]),
        jnp.array([int(maps[0].size * share) for share in shares]),
    )
    return jax.lax.map(one, numbers)


def scores(
    forward: Forward,
    variables: Variables,
    image: Float[Array, "b h w c"],
    labels: Int[Array, " b"],
    maps: Float[Array, "b h w"],
    settings: Sequence[Setting],
    *,
    explained: Int[Array, " b"],
    **how: Any,
) -> dict[str, Array]:
    """What a network says at each setting, [b, settings] each; arguments as for `perturbed`.

    Args:
      labels: true classes.
      explained: the classes that `maps` explain.

    Returns:
      `probability` of the true class, `correct`, `predicted`, `explained_probability`, `margins`
      against the unchanged photo, and `inside`, the object's share of the pixels taken away or put
      back.
    """
    before, _ = forward(variables, image, {})
    logits, inside = perturbed(forward, variables, image, maps, settings, **how)

    def told(one: Array) -> dict[str, Array]:
        probability, correct = true_class(one, labels)
        return {
            "probability": probability,
            "correct": correct,
            "predicted": jnp.argmax(one, axis=1).astype(jnp.int32),
            "explained_probability": true_class(one, explained)[0],
            **margins(one, before, labels),
        }

    return {name: value.T for name, value in {**jax.vmap(told)(logits), "inside": inside}.items()}


def area(values: Float[Array, "*b s"], shares: Sequence[float], rule: Area) -> Float[Array, "*b"]:
    """The area under curves over the share of pixels, per unit of share: a mean height.

    Args:
      values: [*, s], at each share.
      shares: ascending; the first is 0 if and only if the rule is "from_zero" or the curve has it.
      rule: "trapezoid": between the first share and the last (of a single one: its value).
        "from_zero": the same, of a curve that begins at the unchanged photo. "mean": of the values.

    Raises:
      ValueError: for shares that do not fit values or rule.

    >>> curve, shares = jnp.array([1.0, 0.5, 0.5]), (0.0, 0.5, 1.0)
    >>> [round(float(area(curve, shares, rule)), 3) for rule in ("trapezoid", "mean")]
    [0.625, 0.667]
    """
    steps = jnp.asarray(shares, jnp.float32)
    if not len(shares) or values.shape[-1] != len(shares):
        raise ValueError(f"shares: got {len(shares)} for values {values.shape}, rule {rule!r}")
    if rule == "from_zero" and shares[0] != 0:
        raise ValueError(f"shares: got {shares[0]} as the first, expected 0 by rule {rule!r}")
    if rule == "mean" or len(shares) == 1:
        return values.mean(-1)
    between = (values[..., 1:] + values[..., :-1]) / 2
    return (between * jnp.diff(steps)).sum(-1) / (steps[-1] - steps[0])


def curve_area(
    test: str, shares: Sequence[float], rule: Area, photo: Float[Array, "*b"], *values: Array
) -> Float[Array, "*b"]:
    """The `area` under a test's curve, with the unchanged photo where it belongs.

    Args:
      test: deletion's and insertion's curves reach from 0 to 1, by trapezoids; `rule` is the other
        tests'.
      shares, values: of pixels, and at each.
      photo: the value of the unchanged photo.
    """
    if test == "insertion":
        shares, values, rule = (*shares, 1.0), (*values, photo), "trapezoid"
    elif test == "deletion" or rule == "from_zero":
        shares, values = (0.0, *shares), (photo, *values)
        rule = "trapezoid" if test == "deletion" else rule
    return area(jnp.stack(values, axis=-1), shares, rule)


def margins(
    logits: Float[Array, "*b c"], before: Float[Array, "*b c"], labels: Int[Array, "*b"]
) -> dict[str, Array]:
    """What else is told of changed photos, [*] each (as released with Transformer-Explainability).

    Args:
      logits, before: of the changed photos, and of the unchanged ones.
      labels: true classes.

    Returns:
      `log_odds`, of the true class's probability to the second largest; `logit_difference` and
      `probability_difference`, of the largest, after minus before.
    """
    check_same("before", before, "logits", logits)
    after, first = (jax.nn.log_softmax(x.astype(jnp.float32)) for x in (logits, before))
    true = jnp.take_along_axis(after, labels[..., None], axis=-1)[..., 0]
    return {
        "log_odds": true - jax.lax.top_k(after, 2)[0][..., 1],
        "logit_difference": logits.max(-1) - before.max(-1),
        "probability_difference": jnp.exp(after.max(-1)) - jnp.exp(first.max(-1)),
    }
