"""Whether a prediction is right, by the protocols of evaluation sets.

`full`: the largest of all outputs is the class's. `subset`: the largest of the set's own outputs
is. `any` and `first`: if a class has several right outputs, each counts, or only the first listed.
`real`: the photo's reassessed labels count. All are computed by `hits`, with different `accepted`
and `columns`. `grouped`: the largest output stands for its group, see `grouped_hits`.

Removing rivals cannot make a right prediction wrong: `subset` is at least `full`, image by image.
Likewise `any` is at least `first`; and `grouped` is `any` on the grouped columns, except for ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special
from jaxtyping import Array, Bool, Float, Int

from rival_jax.metrics import check_same, check_unit

Columns = Sequence[int] | np.ndarray


class Calibration(NamedTuple):
    """How trustworthy the softmax is, float32 [*] each."""

    confidence: Array  # the largest probability
    nll: Array  # negative log likelihood of the accepted outputs
    brier: Array  # squared distance from certainty in the accepted outputs, in [0, 2]


class Fit(NamedTuple):
    """A line through networks' accuracies, as logits: accuracy = slope * base + intercept."""

    base: str  # the accuracy that predicts the other
    slope: float
    intercept: float
    r2: float

    def beyond(self, accuracy: Array, base: Array) -> Array:
        """`effective_robustness` by this line."""
        line = {"slope": self.slope, "intercept": self.intercept}
        return effective_robustness(accuracy, base, **line)

    def expected(self, base: Array) -> Array:
        """The accuracy of other networks with this base accuracy."""
        return -self.beyond(0 * base, base)


FITS = {
    "v2": Fit("val", 0.916, -0.486, 0.993),
    "real": Fit("val", 0.943, 0.467, 0.978),
    "sketch": Fit("val", 1.380, -2.722, 0.857),
    "a_200": Fit("val_a_200", 2.172, -7.842, 0.909),
    "r_200": Fit("val_r_200", 0.980, -2.961, 0.758),
}
"""Least squares over the 1,265 networks of timm's results at aa4b585, zero accuracies left out.

Keys are those of `data.class_maps.published`. Networks share data and weights, so the lines only
describe these networks.
"""


def accepts(outputs: Sequence[Sequence[int]], count: int) -> Bool[np.ndarray, "n count"]:
    """Lists of right outputs as a table, for every class or every photo.

    Args:
      outputs: n lists of numbers in [0, count); an empty one accepts nothing.

    Raises:
      ValueError: for a number that is not an output.

    >>> accepts([[0, 2], []], 3).tolist()
    [[True, False, True], [False, False, False]]
    """
    table = np.zeros((len(outputs), count), bool)
    for row, right in zip(table, outputs, strict=True):
        row[_checked("outputs", right, count)] = True
    return table


def hits(
    logits: Float[Array, "*b c"],
    accepted: Bool[Array, "*b c"],
    *,
    columns: Columns | None = None,
    k: int = 1,
) -> Bool[Array, "*b"]:
    """Whether one of the accepted outputs is among the k largest.

    Ties go to the lower index, as for `argmax`; `ties` says where that decided. With nothing
    accepted, or NaN in a row, there is no hit.

    Args:
      logits: [*, c]; compared in float32, or in float64 if they are.
      accepted: [*, c], the right outputs, see `accepts`.
      columns: the competing outputs, in any order; None: all. With fewer columns, being among the k
        largest is easier.

    Raises:
      ValueError: for shapes that differ, k below 1, and columns that are not outputs.

    >>> logits, accepted = jnp.array([3.0, 1.0, 2.0]), jnp.array([False, False, True])
    >>> bool(hits(logits, accepted)), bool(hits(logits, accepted, columns=(1, 2)))
    (False, True)
    """
    standing = _standing(logits, accepted, columns, k)
    return standing.counts & (standing.above + standing.before < k)


def ties(
    logits: Float[Array, "*b c"],
    accepted: Bool[Array, "*b c"],
    *,
    columns: Columns | None = None,
    k: int = 1,
) -> Bool[Array, "*b"]:
    """Whether the result of `hits` depends on the order of equal logits.

    Arguments and errors are those of `hits`. bfloat16 logits do tie.
    """
    standing = _standing(logits, accepted, columns, k)
    return standing.counts & (standing.above < k) & (standing.above + standing.rivals >= k)


class _Standing(NamedTuple):
    """The rank of the largest accepted output; int [*], except the last."""

    above: Array  # larger ones
    before: Array  # equal ones with lower index
    rivals: Array  # equal ones that are not accepted
    counts: Array  # bool: something is accepted, and no logit is NaN


def _standing(logits: Array, accepted: Array, columns: Columns | None, k: int) -> _Standing:
    check_same("accepted", accepted, "logits", logits)
    if k < 1:
        raise ValueError(f"k: got {k}, expected at least 1")
    inside, logits = _inside(columns, logits.shape[-1]), _wide(logits)
    right = accepted & inside
    best = jnp.where(right, logits, -jnp.inf).max(-1, keepdims=True)
    level = inside & (logits == best)
    first = jnp.argmax(right & level, axis=-1, keepdims=True)
    return _Standing(
        above=(inside & (logits > best)).sum(-1),
        before=(level & (jnp.arange(logits.shape[-1]) < first)).sum(-1),
        rivals=(level & ~accepted).sum(-1),
        counts=right.any(-1) & ~jnp.isnan(logits).any(-1),
    )


def grouped_hits(
    logits: Float[Array, "*b c"], groups: Int[Array | np.ndarray, " c"], group: Int[Array, "*b"]
) -> Bool[Array, "*b"]:
    """Whether the group with the largest logit is the right one; ungrouped outputs do not compete.

    Ties go to the lower group. With NaN in a row there is no hit. (ImageNet-9 lets
    all outputs compete, so it is `hits` with a whole group accepted.)

    Args:
      groups: each output's group, -1 for none.
      group: the right group; -1 or a group without outputs is never hit.

    Raises:
      ValueError: for shapes that do not fit.

    Source: wise-ft's and FLYP's ObjectNet, 113 ways.

    >>> bool(grouped_hits(jnp.array([1.0, 3.0, 9.0]), np.array([0, 0, -1]), jnp.array(0)))
    True
    """
    logits, groups, right = _wide(logits), jnp.asarray(groups), jnp.asarray(group)[..., None]
    if groups.shape != logits.shape[-1:] or right.shape[:-1] != logits.shape[:-1]:
        raise ValueError(
            f"groups and group: got {groups.shape} and {right.shape[:-1]}, expected "
            f"{logits.shape[-1:]} and {logits.shape[:-1]}"
        )
    own = (groups == right) & (groups >= 0)
    best = jnp.where(own, logits, -jnp.inf).max(-1, keepdims=True)
    beats = (logits > best) | ((logits == best) & (groups < right))
    beaten = ((groups >= 0) & ~own & beats).any(-1)
    return own.any(-1) & ~beaten & ~jnp.isnan(logits).any(-1)


def calibration(
    logits: Float[Array, "*b c"],
    accepted: Bool[Array, "*b c"],
    *,
    columns: Columns | None = None,
) -> Calibration:
    """Confidence, negative log likelihood and Brier score of the softmax over the columns.

    The accepted outputs count as one class with the sum of their probabilities. If nothing is
    accepted, the likelihood is 0, so `nll` is infinite; a NaN logit makes all three NaN.

    Args and raises: as for `hits`.

    Source: Brier, Monthly Weather Review 1950, for the score of several classes.
    """
    check_same("accepted", accepted, "logits", logits)
    inside = _inside(columns, logits.shape[-1])
    right = accepted & inside
    log_probability = jax.nn.log_softmax(jnp.where(inside, _wide(logits), -jnp.inf))
    probability = jnp.exp(log_probability)
    wrong = jnp.where(right, 0, probability)
    likelihood = jax.nn.logsumexp(jnp.where(right, log_probability, -jnp.inf), axis=-1)
    return Calibration(
        confidence=probability.max(-1),
        nll=jnp.maximum(-likelihood, 0),  # a sum of probabilities may round to above 1
        brier=wrong.sum(-1) ** 2 + (wrong**2).sum(-1),
    )


def effective_robustness(
    accuracy: Float[Array, "*s"], base: Float[Array, "*s"], *, slope: float, intercept: float
) -> Float[Array, "*s"]:
    """Accuracy beyond that of other networks with the same base accuracy, in [-1, 1].

    `accuracy - sigmoid(slope * logit(base) + intercept)`, elementwise. Use a line that was not
    fitted to the networks in question. For a cure, report the change from original to finetuned.

    Args:
      accuracy: on the shifted set, in [0, 1].
      base: on the set that the line predicts it from, in [0, 1]; see `FITS`.
      slope, intercept: the line's, see `FITS`.

    Raises:
      ValueError: for shapes that differ, and for percent.

    Source: Taori et al., NeurIPS 2020, section 2.

    >>> fit = FITS["v2"]
    >>> line = {"slope": fit.slope, "intercept": fit.intercept}
    >>> print(f"{effective_robustness(jnp.array(0.70), jnp.array(0.80), **line):.4f}")
    0.0135
    """
    accuracy, base = jnp.asarray(accuracy), jnp.asarray(base)
    check_same("base", base, "accuracy", accuracy)
    check_unit("accuracy", accuracy)
    check_unit("base", base)
    # Intervals take steps from means that may leave [0, 1], where there is no logit.
    expected = special.expit(slope * special.logit(jnp.clip(base, 0, 1)) + intercept)
    return accuracy - expected


def _wide(logits: Array) -> Array:
    """At least float32, the same for all uses: else XLA may round only some uses to bfloat16."""
    logits = jnp.asarray(logits)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def _inside(columns: Columns | None, count: int) -> np.ndarray:
    """bool [count], the competing outputs."""
    inside = np.full(count, columns is None)
    if columns is not None:
        chosen = _checked("columns", columns, count)
        if not len(chosen):
            raise ValueError("columns: got none, expected some outputs or None for all")
        inside[chosen] = True
    return inside


def _checked(name: str, outputs: Columns, count: int) -> np.ndarray:
    numbers = np.asarray(outputs, np.int64)
    wrong = numbers[(numbers < 0) | (numbers >= count)]
    if len(wrong):
        raise ValueError(f"{name}: got {wrong[0]}, expected outputs 0 to {count - 1}")
    return numbers
