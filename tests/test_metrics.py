import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rival_jax import alignment, metrics
from tests.helpers import EXACT, REFERENCE, golden

UNIT = st.floats(0, 1, width=32)
NEAR_ONE = np.float32(1) - np.float32(2**-24)
rfs, irfs = jax.jit(metrics.rfs), jax.jit(metrics.irfs)
average_precision = jax.jit(alignment.average_precision)


@jax.jit
def aligned(saliency, mask):
    """Every measure of maps [*, h, w] on masks; `tied`: pixels at the threshold count too."""
    return {
        "iou": alignment.iou(saliency, mask),
        "iou tied": alignment.iou(saliency, mask, ties_inside=True),
        "dice": alignment.dice(saliency, mask),
        "dice tied": alignment.dice(saliency, mask, ties_inside=True),
        "density_gap": alignment.saliency_density_gap(saliency, mask),
        "precision": alignment.saliency_precision(saliency, mask),
        "coverage": alignment.mask_coverage(saliency, mask),
        "average_precision": alignment.average_precision(jnp.nan_to_num(saliency), mask),
    }


def test_rfs_golden(shared):
    data = golden(shared, "02a_rfs_scalar.npz")
    got = np.asarray(rfs(data["a_fg"], data["a_bg"]))
    defined = np.isfinite(data["rfs"])
    np.testing.assert_allclose(got[defined], data["rfs"][defined], atol=REFERENCE)
    assert not defined.all()
    np.testing.assert_array_equal(got[~defined], 0)


def test_irfs_golden(shared):
    data = golden(shared, "02a_rfs_scalar.npz")
    got = np.asarray(irfs(data["p_fg"], data["p_bg"]))
    defined = np.isfinite(data["irfs"])
    np.testing.assert_allclose(got[defined], data["irfs"][defined], atol=REFERENCE)
    assert np.isfinite(got).all()


@given(fg=UNIT, bg=UNIT)
@settings(deadline=None)
def test_rfs_bounds_and_symmetries(fg, bg):
    fg, bg = np.float32(fg), np.float32(bg)
    value = rfs(fg, bg)
    assert -1 - EXACT <= float(value) <= 1 + EXACT
    np.testing.assert_allclose(rfs(bg, fg), -value, atol=EXACT)
    assert float(value) * (bg - fg) >= 0


def test_rfs_by_hand():
    fg = np.array([0.2, 0.0, 1.0, 0.0, 0.5, 1.0, 0.9])
    bg = np.array([0.6, 0.0, 1.0, 0.3, 0.5, 0.7, 1.0])
    np.testing.assert_allclose(rfs(fg, bg), [0.5, 0, 0, 1, 0, -1, 1], atol=EXACT)


def test_irfs_is_finite_one_step_below_certainty():
    fg = np.array([1.0, NEAR_ONE, NEAR_ONE, 1e-45, 0.0], np.float32)
    bg = np.array([NEAR_ONE, 1.0, NEAR_ONE, 0.0, 1e-45], np.float32)
    values = np.asarray(irfs(fg, bg))
    assert (np.abs(values) <= 1).all()
    np.testing.assert_array_equal(values[:3], [-1, 1, 0])


def test_rfs_shapes_must_agree():
    with pytest.raises(ValueError, match=r"acc_bg: got \(3,\), expected acc_fg's \(2,\)"):
        inspect.unwrap(metrics.rfs)(np.zeros(2), np.zeros(3))


def test_true_class():
    logits = np.array([[0.0, np.log(3.0)], [2.0, 1.0], [np.nan, 0.0]])
    probability, correct = jax.jit(metrics.true_class)(logits, np.array([1, 1, 0]))
    np.testing.assert_allclose(probability[:2], [0.75, 1 / (1 + np.e)], atol=EXACT)
    assert np.isnan(probability[2])
    # As released, a NaN row counts as class 0 and so as a correct truck; here it is not correct.
    np.testing.assert_array_equal(correct, [True, False, False])


def test_alignment_golden(shared):
    data = golden(shared, "06a_saliency_metrics.npz")
    cases = json.loads((shared / "golden/rival10/06_saliency_cases.json").read_text())
    assert cases
    saliency, mask = data["saliency"], data["mask"]
    got = {name: np.asarray(values) for name, values in aligned(saliency, mask).items()}
    for name, stored in (
        ("density_gap", "delta_density"),
        ("precision", "saliency_precision"),
        ("iou tied", "iou"),
        ("dice tied", "dice"),
        ("average_precision", "average_precision"),
    ):
        np.testing.assert_allclose(got[name], data[stored], atol=REFERENCE, err_msg=name)
    tied = (data["binarized_saliency"] == 0.5).any((1, 2))
    assert tied.any()
    for name in ("iou", "dice"):
        assert (got[name][tied] != data[name][tied]).all()
    # Where the mass lies in fewer pixels than energies the reference stops with an IndexError.
    read = data["coverage_raises_index_error"] == 0
    np.testing.assert_allclose(got["coverage"][read], data["mask_coverage"][read], atol=REFERENCE)
    assert np.isfinite(got["coverage"][~read]).all()
    ranked, inside = np.nan_to_num(saliency), (mask > 0).astype(np.float32)
    one = [average_precision(s.ravel(), m.ravel()) for s, m in zip(ranked, inside, strict=True)]
    np.testing.assert_allclose(one, got["average_precision"], atol=EXACT)
    alone = average_precision(ranked[0], inside[0])
    np.testing.assert_allclose(alone, got["average_precision"][0])


def test_alignment_by_hand():
    saliency = np.array([[4.0, 3.0], [1.0, 0.0]])
    mask = np.array([[1.0, 0.0], [1.0, 0.0]])
    got = aligned(saliency, mask)
    for name, expected in (
        ("iou", 1 / 3),
        ("dice", 1 / 2),
        ("density_gap", 1.0),
        ("precision", 5 / 8),
        ("coverage", [0.5, 0.5, 0.5]),
    ):
        np.testing.assert_allclose(got[name], expected, atol=EXACT, err_msg=name)
    alone = average_precision(saliency.ravel(), mask.ravel())
    np.testing.assert_allclose(alone, (1 + 2 / 3) / 2, atol=EXACT)


def test_alignment_edge_cases_are_defined():
    zero, one, nan = np.zeros((3, 3)), np.ones((3, 3)), np.full((3, 3), np.nan)
    got = aligned(np.stack([zero, one, one, zero, nan]), np.stack([zero, zero, one, one, one]))
    assert got["iou"].tolist()[:2] == [1, 0]
    assert got["dice"][0] == 1
    assert np.isnan(got["density_gap"][2])
    assert np.isnan(got["precision"][3])
    assert got["iou"][4] == 0
    assert float(average_precision(np.ones(4), np.zeros(4))) == 0


def test_segmentation_counts():
    prediction = np.array([[1.0, 0.0], [1.0, 0.0]])
    target = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert float(jax.jit(alignment.pixel_accuracy)(prediction, target)) == 0.5
    intersection, union = jax.jit(alignment.intersection_and_union)(prediction, target)
    np.testing.assert_array_equal(intersection, [1, 1])
    np.testing.assert_array_equal(union, [3, 3])
