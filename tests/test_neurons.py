"""Neuron attribution: the reference's numbers, running tops, tests under their nulls."""

from __future__ import annotations

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from rival_jax import alignment, detectors, maps, neurons, saliency, significance, taps
from rival_jax.models import clip_resnet, clip_vit, resnet, vit
from tests.helpers import PARITY, golden
from tests.test_models import from_file

BUILDS = {
    "resnet": (resnet, "03_noise_e2e_resnet", {}),
    "vit": (vit, "03_noise_e2e_vit", {"num_heads": 4}),
    "clip_resnet": (clip_resnet, "04_clip_resnet", {"num_heads": 2}),
    "clip_vit": (clip_vit, "04_clip_vit", {"num_heads": 3}),
}

# Compiled as a whole: alone, each of their steps is a program of its own.
salient = jax.jit(neurons.salient, static_argnums=1, static_argnames="threshold")
cam_scaled = jax.jit(maps.cam_scaled, static_argnums=1)
attribute_iou = jax.jit(neurons.attribute_iou, static_argnames="empty")
score_of = jax.jit(neurons.score, static_argnames="absent")
merge_top = jax.jit(neurons.merge_top)


@pytest.fixture(scope="module")
def reference(shared):
    want = golden(shared, "08_node_attribution.npz")
    return want | golden(shared, "08_node_attribution_masks.npz")


def top_of(values, labels, k, classes=10):
    index = jnp.arange(len(values))
    return merge_top(
        neurons.no_top(classes, values.shape[1], k), jnp.asarray(values), jnp.asarray(labels), index
    )


def test_golden_search_on_the_training_pictures(reference):
    c, size = int(reference["class_label"]), int(reference["image_size"])
    top = top_of(reference["train_features"], reference["train_labels"].astype(np.int32), 10)
    index = np.asarray(top.index[c])
    np.testing.assert_array_equal(index, reference["top10_index"])
    raw = jnp.asarray(reference["train_layer4"])  # [n, f, h, w]
    inside = salient(raw, (size, size)).reshape(*raw.shape[:2], -1)
    masks = reference["train_attr_masks"].reshape(*reference["train_attr_masks"].shape[:2], -1)
    every = np.asarray(attribute_iou(inside, jnp.asarray(masks), empty=1.0))  # [n, f, a]
    iou = np.stack([every[index[f], f] for f in range(len(index))])  # [f, k, a]
    one_pixel = 1.5 / masks.sum(-1)[index].clip(20)
    assert (np.abs(iou - reference["top10_iou"].transpose(0, 2, 1)) <= one_pixel).all()
    present = jnp.asarray(reference["train_attr_labels"][index] > 0)
    for absent, name in (("empty", "all"), ("left_out", "present_only")):
        score = score_of(jnp.asarray(iou), present, jnp.ones(index.shape, bool), absent=absent)
        np.testing.assert_allclose(score, reference[f"score_{name}"], atol=1e-4)
        best = neurons.best_feature(score)
        np.testing.assert_array_equal(best, reference[f"best_feature_{name}"])


@pytest.mark.parametrize("name", ["all", "present_only"])
def test_golden_held_out_iou(reference, name):
    best, size = reference[f"best_feature_{name}"], int(reference["image_size"])
    raw = jnp.asarray(reference["test_layer4"][:, best])  # [n, a, h, w]
    inside = salient(raw, (size, size)).reshape(*raw.shape[:2], 1, -1)
    masks = reference["test_attr_masks"].reshape(*raw.shape[:2], 1, -1)
    iou = np.asarray(attribute_iou(inside, jnp.asarray(masks)))[..., 0, 0].T
    of_class = reference["test_labels"] == reference["class_label"]
    want = reference[f"test_iou_best_{name}"]
    known = np.isfinite(want)
    assert (known == (of_class & (reference["test_attr_labels"].T > 0))).sum() > 0.5 * known.size
    assert known.sum() > 20
    one_pixel = 1.5 / masks.sum((-2, -1)).T.clip(20)
    assert (np.abs(iou - want) <= one_pixel)[known].all()


def test_golden_saliency_of_a_pooled_feature_is_its_map(reference):
    assert neurons.is_pooled(
        jnp.moveaxis(reference["train_layer4"], 1, -1), jnp.asarray(reference["train_features"])
    )
    example = reference["example_saliency"]  # of the best features, on the first test picture
    raw = jnp.asarray(reference["test_layer4"][0, reference["best_feature_all"]])
    np.testing.assert_allclose(cam_scaled(raw, example.shape[1:]), example, atol=PARITY)


def test_a_feature_that_is_flat_where_the_attribute_is_absent_is_no_detector():
    """By the study's metric it is: both are empty, which counts as a perfect match."""
    inside = jnp.zeros((10, 2, 16), bool).at[:, 1].set(True)  # [k, f, p]; the first is flat
    masks = jnp.zeros((10, 1, 16)).at[0].set(1)
    present = jnp.broadcast_to(jnp.arange(10)[:, None] == 0, (2, 10, 1))
    found = jnp.ones((2, 10), bool)
    for empty, best in ((0.0, 1), (1.0, 0)):
        iou = jnp.moveaxis(attribute_iou(inside, masks, empty=empty), 1, 0)
        assert neurons.best_feature(score_of(iou, present, found)).tolist() == [best]
    flat = attribute_iou(inside[1:, :1], masks[1:], empty=1.0)
    assert flat.min() == 1
    assert attribute_iou(inside[1:, :1], masks[1:]).max() == 0


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_running_top_is_the_sorted_top(data):
    n, f, k = 8, 2, 5
    # few distinct values, so that there are ties
    values = data.draw(arrays.arrays(np.float32, (n, f), elements=st.sampled_from([-1, 0, 0.5, 2])))
    labels = data.draw(arrays.arrays(np.int32, n, elements=st.integers(0, 2)))
    order = np.array(data.draw(st.permutations(range(n))), int)
    top = neurons.no_top(3, f, k)
    padded = np.concatenate([order, [-1]])  # the last is padding
    for rows in np.split(padded, 3):
        top = merge_top(top, *map(jnp.asarray, (values[rows], labels[rows], rows)))
    for c in range(3):
        mine = np.flatnonzero(labels == c)
        for feature in range(f):
            want = mine[np.argsort(-values[mine, feature], kind="stable")][:k]
            got = np.asarray(top.index[c, feature])
            np.testing.assert_array_equal(got[: len(want)], want)
            assert (got[len(want) :] == -1).all()
            assert (top.value[c, feature, len(want) :] == -np.inf).all()


def test_a_nan_is_in_nobodys_top():
    top = top_of(np.array([[1.0], [np.nan], [3.0]], np.float32), np.zeros(3, np.int32), 3, 1)
    assert top.index[0, 0].tolist() == [2, 0, -1]


RAW = arrays.arrays(np.float32, (5, 4, 3), elements=st.floats(-1, 4, width=32))


@pytest.mark.parametrize("size", [(8, 9), (13, 7), (3, 2)])
def test_salient_pixels_are_those_of_the_scaled_map(size):
    @settings(max_examples=30, deadline=None)
    @given(RAW, st.sampled_from([0.25, 0.5, 0.8]))
    def check(raw, threshold):
        scaled = np.asarray(cam_scaled(jnp.asarray(raw), size), np.float64)
        scaled = scaled / np.maximum(scaled.max((1, 2), keepdims=True), 1e-30)
        inside = np.asarray(salient(jnp.asarray(raw), size, threshold=threshold))
        clear = np.abs(scaled - threshold) > 1e-3
        # a range next to 0 is left to rounding by the package's 1e-7
        clear &= (np.ptp(np.maximum(raw, 0), axis=(1, 2)) > 1e-2)[:, None, None]
        np.testing.assert_array_equal(inside[clear], scaled[clear] > threshold)

    check()


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, np.nan])
def test_a_flat_map_has_no_salient_pixel_and_no_iou(value):
    inside = salient(jnp.full((1, 3, 3), value), (6, 6))
    assert not inside.any()
    masks = jnp.stack([jnp.zeros(36), jnp.ones(36)])
    np.testing.assert_array_equal(attribute_iou(inside.reshape(1, -1), masks), [[0, 0]])


def test_attribute_iou_is_the_metric_of_every_pair():
    rng = np.random.default_rng(0)
    inside, masks = rng.random((2, 3, 5, 7)) > 0.6, rng.random((2, 4, 5, 7)) > 0.5
    got = attribute_iou(jnp.asarray(inside.reshape(2, 3, -1)), jnp.asarray(masks.reshape(2, 4, -1)))
    pairs = np.broadcast_arrays(inside[:, :, None], masks[:, None])
    want = alignment.iou(*(jnp.asarray(pair, jnp.float32) for pair in pairs))
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_score_by_hand():
    iou = jnp.array([[[0.6], [0.0], [0.9]]])
    present, found = jnp.array([[[True], [False], [True]]]), jnp.array([[True, True, False]])
    assert score_of(iou, present, found)[0, 0] == pytest.approx(0.3)
    assert score_of(iou, present, found, absent="left_out")[0, 0] == pytest.approx(0.6)
    assert np.isnan(score_of(iou, ~present, found & False)).all()
    with pytest.raises(ValueError, match="absent: got 'full', expected one of empty, left_out"):
        score_of(iou, present, found, absent="full")


def test_best_feature_takes_the_first_of_equals_and_no_dead_one():
    scores = jnp.array([[0.2, 0.0, jnp.nan], [0.5, 0.0, 0.1], [0.5, jnp.nan, jnp.nan]])
    assert neurons.best_feature(scores).tolist() == [1, -1, 1]


def roughly_uniform(p):
    """Not above the uniform distribution anywhere by more than 150 draws explain, and spread."""
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.01 < np.mean(np.asarray(p) <= 0.05) < 0.11


def test_pairing_is_uniform_under_its_null_and_small_for_a_detector():
    rng = np.random.default_rng(0)
    p = [
        significance.pairing_p_value(rng.random((12, 12)), permutations=199, seed=i)
        for i in range(300)
    ]
    roughly_uniform(p)
    cross = rng.random((12, 12)) * 0.4 + 0.5 * np.eye(12)
    assert significance.pairing_p_value(cross, permutations=199) == 1 / 200
    assert significance.pairing_p_value(np.ones((5, 5)), permutations=199) == 1
    assert significance.pairing_p_value(np.ones((1, 1))) == 1


def test_pairing_forgives_a_map_that_sits_where_the_attribute_usually_is():
    rng = np.random.default_rng(1)
    shift = rng.integers(0, 3, 20)
    rows = np.arange(24)[None]
    masks = (rows >= 8 + shift[:, None]) & (rows < 16 + shift[:, None])
    still = np.tile((rows >= 9) & (rows < 17), (20, 1))
    cross = np.asarray(attribute_iou(jnp.asarray(still), jnp.asarray(masks)))
    assert np.diag(cross).mean() > 0.6
    assert significance.pairing_p_value(cross) == 1
    follows = np.asarray(attribute_iou(jnp.asarray(masks), jnp.asarray(masks)))
    assert significance.pairing_p_value(follows) < 0.001


def test_shuffled_weights_are_uniform_under_their_null_and_a_detector_stands_out():
    rng = np.random.default_rng(2)
    level = rng.random(30)  # some attributes are easier for any network
    p, alarms = [], 0
    for _ in range(60):
        own = 0.05 * rng.normal(size=(21, 1))  # a network's tasks hang together
        scores = level + own + 0.1 * rng.normal(size=(21, 30))
        found = significance.shuffled_p_values(scores)
        p.append(found[rng.integers(30)])
        alarms += (significance.benjamini_hochberg(found) <= 0.05).any()
        scores[0, 7] += 1.0
        q = significance.benjamini_hochberg(significance.shuffled_p_values(scores))
        assert q[7] <= 0.05
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
    assert alarms <= 9  # 5 % of 60 is 3
    assert significance.shuffled_p_values(np.ones((1, 3))).tolist() == [1, 1, 1]


def test_benjamini_hochberg_is_the_papers_step_up_and_leaves_gaps():
    p = np.random.default_rng(0).random(50) ** 3
    ranked = np.sort(p)  # adjusted: the smallest rate at which a procedure of step-up rejects it
    want = [
        min(1, *(50 * q / (1 + np.flatnonzero(ranked == q)[0]) for q in p[p >= one])) for one in p
    ]
    np.testing.assert_allclose(significance.benjamini_hochberg(p), want)
    with_gap = np.insert(p, 4, np.nan)
    got = significance.benjamini_hochberg(with_gap)
    assert np.isnan(got[4])
    np.testing.assert_allclose(np.delete(got, 4), want)
    assert significance.benjamini_hochberg(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("name", BUILDS)
def test_unit_maps_are_gradcam_of_the_unit(shared, name):
    family, file, args = BUILDS[name]
    model, variables = from_file(family, shared / f"golden/rival10/{file}.safetensors", **args)
    image = jax.random.uniform(jax.random.key(0), (3, *model.image_size, 3))
    _, found = jax.jit(lambda v, x: model.forward(v, x, {}))(variables, image)
    features = found[model.feature_tap]
    pooled = neurons.is_pooled(model.to_grid(found[model.cam_tap]), features)
    assert pooled == (name == "resnet")
    units = jnp.array([[0, 5], [7, 5], [1, 2]])
    unit_maps = jax.jit(neurons.unit_maps, static_argnums=0, static_argnames="pooled")
    values, raw = unit_maps(model, variables, image, units, pooled=pooled)
    np.testing.assert_allclose(
        values, jnp.take_along_axis(features, units, axis=1), atol=PARITY, rtol=0
    )
    got = cam_scaled(raw, model.image_size)

    @jax.jit
    def alone(unit):
        score = lambda logits, values: values[model.feature_tap][:, unit]  # noqa: E731
        return saliency.explain("gradcam", model, variables, image, score, scaling="cam")

    assert taps.unit_score("x", 5)(image, {"x": features}).tolist() == features[:, 5].tolist()
    for i, u, unit in ((0, 0, 0), (0, 1, 5), (1, 1, 5), (2, 1, 2)):
        np.testing.assert_allclose(got[i, u], alone(unit)[i], atol=PARITY, rtol=0)


def test_every_wanted_pair_is_looked_at_once():
    rng = np.random.default_rng(0)
    index = rng.integers(-1, 7, (2, 2 * 3, 4))  # [c, networks x f, k] of 7 images
    images, units, slots = neurons.wanted(index, 2)
    assert units.shape == slots.shape
    assert slots.shape[:2] == (len(images), 2)
    assert len(images) > 7, "some image has two rows"
    assert (np.diff(images) >= 0).all()
    assert ((units < 0) == (slots < 0)).all()
    for row, network, place in zip(*np.nonzero(slots >= 0), strict=True):
        c, column, k = np.unravel_index(slots[row, network, place], index.shape)
        assert index[c, column, k] == images[row]
        assert divmod(column, 3) == (network, units[row, network, place])
    assert sorted(slots[slots >= 0]) == np.flatnonzero(index.ravel() >= 0).tolist()


def test_maps_of_images_against_masks_of_others():
    rng = np.random.default_rng(0)
    inside, masks = rng.random((2, 5, 40)) > 0.7
    inside[0] = masks[1] = False
    got = neurons.cross_iou(np.packbits(inside, axis=1), np.packbits(masks, axis=1))
    want = np.asarray(attribute_iou(jnp.asarray(inside), jnp.asarray(masks)))
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_features_are_chosen_for_pairs_that_count():
    """Two networks, a class, three features, two images, two attributes of which one counts."""
    iou = np.zeros((2, 1, 3, 2, 2), np.float32)
    iou[0, 0, 1, :, 0], iou[0, 0, 2, :, 1], iou[1, 0, 0, 0, 0] = 0.6, 0.9, 0.4
    present, found = np.ones(iou.shape, bool), np.ones(iou.shape[:4], bool)
    found[:, :, 0, 1] = False
    pairs = np.array([[True, False]])
    score, best, kept = detectors.chosen(iou, present, found, pairs, "empty")
    assert best[:, 0].tolist() == [[1, -1], [0, -1]]
    assert score[0, 0, 1].tolist() == pytest.approx([0.6, 0])
    assert score[1, 0, 0, 0] == pytest.approx(0.4)
    assert not kept[..., 1].any()
    np.testing.assert_array_equal(kept[0, ..., 0], found[0])
    assert np.argwhere(kept[1, 0, ..., 0]).tolist() == [[0, 0]]


def test_maps_are_crossed_within_a_class_and_attribute():
    labels, some = np.array([1, 0, 1]), np.array([[True, True], [False, False], [True, False]])
    bits = np.packbits(np.array([[1, 1, 0, 0], [0, 1, 1, 0]]), axis=1)
    pairs = {(0, 0): (bits[0], bits[1]), (2, 0): (bits[1], bits[1]), (0, 1): (bits[0], bits[0])}
    got = detectors.crossed(labels, some, pairs)
    columns = (got.label, got.attribute, got.of_map, got.of_mask)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    assert rows == [(1, 0, 0, 0), (1, 0, 0, 2), (1, 0, 2, 0), (1, 0, 2, 2), (1, 1, 0, 0)]
    np.testing.assert_allclose(got.iou, [1 / 3, 1 / 3, 1, 1, 1], rtol=1e-6)
    assert detectors.crossed(labels, some & False, {}).iou.shape == (0,)


def test_a_detector_passes_both_tests():
    rng = np.random.default_rng(0)
    scores = 0.3 + 0.05 * rng.normal(size=(21, 30))
    scores[0, :2] += 0.5
    follows, still = 0.1 + 0.8 * np.eye(12), np.full((12, 12), 0.5)
    cross = [follows, still, *[follows] * 28]
    each, whole = detectors.assessed(scores, cross, 0.05, permutations=999)
    assert np.flatnonzero(each["reported"]).tolist() == [0]
    assert (each["p_pairing"][1], each["p_shuffled"][1]) == (1, each["p_shuffled"][0])
    assert (whole["tested"], whole["reported"]) == (30, 1)
    assert whole["shuffled_iou"] == pytest.approx(scores[1:].mean())
    alone, few = detectors.assessed(scores[:1], cross, 0.05, permutations=999)
    assert alone["reported"].sum() == 29
    assert set(few) == {"tested", "reported"}
