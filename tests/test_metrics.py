import inspect
import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rival_jax import alignment, metrics
from tests.helpers import EXACT, REFERENCE, golden

UNIT = st.floats(0, 1, width=32)
NEAR_ONE = np.float32(1) - np.float32(2**-24)


def test_rfs_golden(shared):
    data = golden(shared, "02a_rfs_scalar.npz")
    got = np.asarray(metrics.rfs(jnp.asarray(data["a_fg"]), jnp.asarray(data["a_bg"])))
    defined = np.isfinite(data["rfs"])
    np.testing.assert_allclose(got[defined], data["rfs"][defined], atol=REFERENCE)
    assert not defined.all()
    np.testing.assert_array_equal(got[~defined], 0)


def test_irfs_golden(shared):
    data = golden(shared, "02a_rfs_scalar.npz")
    got = np.asarray(metrics.irfs(jnp.asarray(data["p_fg"]), jnp.asarray(data["p_bg"])))
    defined = np.isfinite(data["irfs"])
    np.testing.assert_allclose(got[defined], data["irfs"][defined], atol=REFERENCE)
    assert np.isfinite(got).all()


@given(fg=UNIT, bg=UNIT)
@settings(deadline=None)
def test_rfs_bounds_and_symmetries(fg, bg):
    value = metrics.rfs(jnp.float32(fg), jnp.float32(bg))
    assert -1 - EXACT <= float(value) <= 1 + EXACT
    np.testing.assert_allclose(metrics.rfs(jnp.float32(bg), jnp.float32(fg)), -value, atol=EXACT)
    assert float(value) * (bg - fg) >= 0


def test_rfs_by_hand():
    fg = jnp.array([0.2, 0.0, 1.0, 0.0, 0.5, 1.0, 0.9])
    bg = jnp.array([0.6, 0.0, 1.0, 0.3, 0.5, 0.7, 1.0])
    np.testing.assert_allclose(metrics.rfs(fg, bg), [0.5, 0, 0, 1, 0, -1, 1], atol=EXACT)


def test_irfs_is_finite_one_step_below_certainty():
    fg = jnp.array([1.0, NEAR_ONE, NEAR_ONE, 1e-45, 0.0])
    bg = jnp.array([NEAR_ONE, 1.0, NEAR_ONE, 0.0, 1e-45])
    values = np.asarray(metrics.irfs(fg, bg))
    assert (np.abs(values) <= 1).all()
    np.testing.assert_array_equal(values[:3], [-1, 1, 0])


def test_rfs_shapes_must_agree():
    with pytest.raises(ValueError, match=r"acc_bg: got \(3,\), expected acc_fg's \(2,\)"):
        inspect.unwrap(metrics.rfs)(jnp.zeros(2), jnp.zeros(3))


def test_true_class():
    logits = jnp.array([[0.0, jnp.log(3.0)], [2.0, 1.0], [jnp.nan, 0.0]])
    probability, correct = metrics.true_class(logits, jnp.array([1, 1, 0]))
    np.testing.assert_allclose(probability[:2], [0.75, 1 / (1 + np.e)], atol=EXACT)
    assert np.isnan(probability[2])
    # As released, a NaN row counts as class 0 and so as a correct truck; here it is not correct.
    np.testing.assert_array_equal(correct, [True, False, False])


def test_alignment_golden(shared):
    data = golden(shared, "06a_saliency_metrics.npz")
    cases = json.loads((shared / "golden/rival10/06_saliency_cases.json").read_text())
    assert cases
    saliency, mask = jnp.asarray(data["saliency"]), jnp.asarray(data["mask"])
    for name, function in (
        ("delta_density", alignment.saliency_density_gap),
        ("saliency_precision", alignment.saliency_precision),
    ):
        np.testing.assert_allclose(function(saliency, mask), data[name], atol=REFERENCE)
    tied = (data["binarized_saliency"] == 0.5).any((1, 2))
    assert tied.any()
    for name, function in (("iou", alignment.iou), ("dice", alignment.dice)):
        got = function(saliency, mask, ties_inside=True)
        np.testing.assert_allclose(got, data[name], atol=REFERENCE)
        assert (np.asarray(function(saliency, mask))[tied] != data[name][tied]).all()
    # Where the mass lies in fewer pixels than energies the reference stops with an IndexError.
    read = data["coverage_raises_index_error"] == 0
    got = np.asarray(alignment.mask_coverage(saliency, mask))
    np.testing.assert_allclose(got[read], data["mask_coverage"][read], atol=REFERENCE)
    assert np.isfinite(got[~read]).all()
    ranked, inside = jnp.nan_to_num(saliency), (mask > 0).astype(jnp.float32)
    got = alignment.average_precision(ranked, inside)
    np.testing.assert_allclose(got, data["average_precision"], atol=REFERENCE)
    one = [
        alignment.average_precision(s.ravel(), m.ravel())
        for s, m in zip(ranked, inside, strict=True)
    ]
    np.testing.assert_allclose(one, got, atol=EXACT)
    np.testing.assert_allclose(alignment.average_precision(ranked[0], inside[0]), got[0])


def test_alignment_by_hand():
    saliency = jnp.array([[4.0, 3.0], [1.0, 0.0]])
    mask = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(alignment.iou(saliency, mask), 1 / 3, atol=EXACT)
    np.testing.assert_allclose(alignment.dice(saliency, mask), 1 / 2, atol=EXACT)
    np.testing.assert_allclose(alignment.saliency_density_gap(saliency, mask), 1.0, atol=EXACT)
    np.testing.assert_allclose(alignment.saliency_precision(saliency, mask), 5 / 8, atol=EXACT)
    np.testing.assert_allclose(alignment.mask_coverage(saliency, mask), [0.5, 0.5, 0.5], atol=EXACT)
    np.testing.assert_allclose(
        alignment.average_precision(saliency.ravel(), mask.ravel()), (1 + 2 / 3) / 2, atol=EXACT
    )


def test_alignment_edge_cases_are_defined():
    zero, one = jnp.zeros((3, 3)), jnp.ones((3, 3))
    assert float(alignment.iou(zero, zero)) == 1
    assert float(alignment.dice(zero, zero)) == 1
    assert float(alignment.iou(one, zero)) == 0
    assert np.isnan(alignment.saliency_density_gap(one, one))
    assert np.isnan(alignment.saliency_precision(zero, one))
    assert float(alignment.average_precision(jnp.ones(4), jnp.zeros(4))) == 0
    nan = jnp.full((3, 3), jnp.nan)
    assert float(alignment.iou(nan, one)) == 0


def test_segmentation_counts():
    prediction = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    target = jnp.array([[1.0, 1.0], [0.0, 0.0]])
    assert float(alignment.pixel_accuracy(prediction, target)) == 0.5
    intersection, union = alignment.intersection_and_union(prediction, target)
    np.testing.assert_array_equal(intersection, [1, 1])
    np.testing.assert_array_equal(union, [3, 3])
