"""Sorting floats as integers, and running maxima: as NumPy, for every float there is."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rival_jax import sorting

FLOATS = st.floats(width=32, allow_subnormal=False)  # XLA takes subnormal numbers for 0
WITHOUT_NAN = st.floats(width=32, allow_subnormal=False, allow_nan=False)
SORT, KEYS, RANKED, RUNNING = (
    jax.jit(f) for f in (sorting.sort, sorting.order_keys, sorting.ranked, sorting.running_max)
)


@settings(deadline=None)
@given(hnp.arrays(np.float32, 12, elements=FLOATS))
def test_sorted_as_numpy_sorts(values):
    np.testing.assert_array_equal(SORT(values), np.sort(values))


@settings(deadline=None)
@given(hnp.arrays(np.float32, 12, elements=FLOATS))
def test_keys_compare_as_the_values_do(values):
    keys, values = np.asarray(KEYS(values), np.int64), np.where(values == 0, 0, values)
    known = ~np.isnan(values)
    np.testing.assert_array_equal(
        np.sign(keys[known][:, None] - keys[known]),
        np.where(values[known][:, None] > values[known], 1, 0)
        - np.where(values[known][:, None] < values[known], 1, 0),
    )
    assert (keys[~known] >= keys.max(initial=-(2**31))).all()


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([1, 2, 5, 9]).flatmap(
        lambda n: hnp.arrays(np.float32, (3, n), elements=WITHOUT_NAN)
    )
)
def test_running_max_of_any_length(values):
    np.testing.assert_array_equal(RUNNING(values), np.maximum.accumulate(values, axis=-1))


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, 12, elements=st.integers(-3, 3).map(float) | st.floats(-1, 1, width=16)),
    hnp.arrays(bool, 12),
    st.sampled_from([2.0**-60, 0.3, 1.0, 2.0**90]),
)
def test_ranked_from_high_to_low_with_its_ties(score, positive, scale):
    score = score * np.float32(scale)
    keys, flags = (np.asarray(part) for part in RANKED(score, positive))
    order = np.lexsort((~positive, -score))  # of ties the positives first
    np.testing.assert_array_equal(flags, positive[order])
    np.testing.assert_array_equal(np.diff(keys) == 0, np.diff(score[order]) == 0)


def test_infinities_rank_at_the_ends_and_nan_last():
    score = jnp.array([jnp.nan, 0.5, -jnp.inf, jnp.inf, -jnp.nan, -7e3])
    _, flags = RANKED(score, jnp.arange(6) == 3)
    assert flags.tolist() == [True] + [False] * 5
    for place, row in enumerate([3, 1, 5, 2]):
        assert bool(RANKED(score, jnp.arange(6) == row)[1][place])
