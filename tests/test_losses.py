"""Losses of relevance maps: the reference's numbers, by hand, and what must hold for any map."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rival_jax
from rival_jax import losses, maps

REFERENCE = 2e-5  # of the largest value, as the reference data's README says
PIXELS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed))


@pytest.fixture(scope="module")
def reference(shared):
    """The first batch's relevance, masks and losses."""
    folder = shared / "golden/robustvit"
    with np.load(folder / "finetune_losses_batch0.npz") as file:
        found = dict(file)
    with np.load(folder / "finetune_batches.npz") as file:
        found |= {"mask": file["masks_0"][:, 0], "label": file["labels_0"].astype(np.int32)}
    return found | {"relevance": found["relevance"][:, 0]}


def close(got, expected):
    atol = REFERENCE * np.abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


def test_relevance_losses_are_the_reference(reference):
    relevance, mask = jnp.asarray(reference["relevance"]), jnp.asarray(reference["mask"])
    foreground, background = losses.regions(mask, "released")
    np.testing.assert_array_equal(background, reference["reverse_masks"][:, 0])
    np.testing.assert_array_equal(foreground, mask)
    released = {"border": "released"}
    loss_bg = losses.background_loss(relevance, mask, **released)
    loss_fg = losses.foreground_loss(relevance, mask, **released)
    equation_2 = losses.foreground_loss(relevance, mask, target="one", **released)
    assert loss_bg.shape == loss_fg.shape == (4,)
    close(loss_bg.mean(), reference["background_loss"])
    close(loss_fg.mean(), reference["foreground_loss"])
    close(equation_2.mean(), reference["foreground_loss_paper_eq2"])
    nothing = jnp.zeros(4)
    segmentation = losses.relevance_objective(loss_bg, loss_fg, nothing, relevance_weight=1.0)
    close(segmentation.mean(), reference["segmentation_loss"])


@pytest.mark.parametrize(("name", "temperature"), [("T1", 1.0), ("T065", 0.65)])
def test_classification_losses_are_the_reference(reference, name, temperature):
    logits, label = jnp.asarray(reference["logits"]), jnp.asarray(reference["label"])
    confidence = losses.confidence_loss(logits, temperature=temperature)
    with_label = losses.label_loss(logits, label, temperature=temperature)
    close(confidence.mean(), reference[f"classification_loss_{name}"])
    close(with_label.mean(), reference[f"classification_loss_groundtruth_{name}"])
    relevance, mask = jnp.asarray(reference["relevance"]), jnp.asarray(reference["mask"])
    loss_bg = losses.background_loss(relevance, mask, border="released")
    loss_fg = losses.foreground_loss(relevance, mask, border="released")
    total = losses.relevance_objective(loss_bg, loss_fg, confidence)
    close(total.mean(), reference[f"total_loss_{name}"])


def test_border_rules_by_hand():
    mask = jnp.array([[0.0, 0.2, 0.5, 1.0]])
    by_rule = {
        "complement": ([0, 0.2, 0.5, 1], [1, 0.8, 0.5, 0]),
        "released": ([0, 0.2, 0.5, 1], [1, 0.2, 0.5, 0]),
        "rebinarised": ([0, 0, 1, 1], [1, 1, 0, 0]),
    }
    assert set(by_rule) == set(losses.BORDERS)
    for rule, expected in by_rule.items():
        for got, wanted in zip(losses.regions(mask, rule), expected, strict=True):
            np.testing.assert_allclose(got[0], wanted, atol=1e-7, err_msg=rule)


@given(PIXELS)
@settings(max_examples=25, deadline=None)
def test_of_binary_masks_all_border_rules_are_one(rng):
    relevance = jnp.asarray(rng.random((2, 3, 4)), jnp.float32)
    mask = jnp.asarray(rng.integers(0, 2, (2, 3, 4)), jnp.float32)
    for loss in (losses.background_loss, losses.foreground_loss):
        found = [loss(relevance, mask, border=rule) for rule in losses.BORDERS]
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])
    # Equation 2 literally: 1 more for every background pixel, and the same gradient.
    outside = (1 - mask).mean((1, 2))
    loss, literal = (
        jax.value_and_grad(lambda r, t=t: losses.foreground_loss(r, mask, target=t).sum())(
            relevance
        )
        for t in losses.FOREGROUND_TARGETS
    )
    np.testing.assert_allclose(literal[0], loss[0] + outside.sum(), rtol=1e-5)
    np.testing.assert_allclose(literal[1], loss[1], atol=1e-7)


@given(PIXELS, st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_the_predicted_class_costs_least(rng, temperature):
    logits = jnp.asarray(rng.normal(size=(3, 5)), jnp.float32)
    least = losses.confidence_loss(logits, temperature=temperature)
    every = [
        losses.label_loss(logits, jnp.full(3, label), temperature=temperature) for label in range(5)
    ]
    np.testing.assert_allclose(np.min(every, axis=0), least, rtol=1e-6)
    np.testing.assert_allclose(np.exp(-np.stack(every)).sum(0), 1, rtol=1e-5)


def test_confidence_has_no_gradient_through_its_choice():
    """It is the cross-entropy's with the predicted label: (softmax - one_hot) / temperature."""
    logits = jnp.array([[0.3, 1.2, -0.4]])
    got = jax.grad(lambda x: losses.confidence_loss(x, temperature=0.5).sum())(logits)
    wanted = (jax.nn.softmax(logits / 0.5) - jnp.array([[0.0, 1.0, 0.0]])) / 0.5
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_scaling_to_the_image_is_the_reference(shared):
    """But for a constant map, whose rounding the reference blows up to 0 and 1: here it is 0."""
    with np.load(shared / "golden/robustvit/gae_upscale_edge.npz") as file:
        expected = dict(file)
    upscaled = maps.upsample(jnp.asarray(expected["tokens"]).reshape(3, 3, 3), (12, 12))
    close(upscaled, expected["upscaled"][:, 0])
    got = maps.minmax_normalise(upscaled)
    close(got[:2], expected["relevance"][:2, 0])
    assert np.ptp(expected["tokens"][2]) == 0
    assert not (expected["relevance"][2] == 0).all()
    assert (got[2] == 0).all()


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("what", ["flat", "uneven"])
def test_gradients_of_scaled_maps_are_finite(what, scale):
    """Of a flat map 0; of another one they do not depend on its unit but for that unit."""
    coarse = np.full((2, 3, 3), 0.7, np.float32)
    if what == "uneven":
        coarse += np.random.default_rng(0).random(coarse.shape, np.float32)
    mask = jnp.ones((2, 12, 12)).at[:, :, :5].set(0)

    @jax.jit
    def gradient(raw):
        def loss(raw):
            relevance = maps.minmax_normalise(maps.upsample(raw, (12, 12)))
            return losses.background_loss(relevance, mask).sum()

        return jax.grad(loss)(raw)

    got = np.asarray(gradient(jnp.asarray(coarse * scale)), np.float64)
    assert np.isfinite(got).all()
    if what == "flat" or not scale:
        assert (got == 0).all()
    else:
        wanted = np.asarray(gradient(jnp.asarray(coarse)), np.float64)
        np.testing.assert_allclose(got * scale, wanted, atol=1e-5 * np.abs(wanted).max())


def test_a_map_that_is_not_a_number_stays_so():
    """Training stops on it; as 0 it would go on with a network that is broken."""
    assert jnp.isnan(maps.minmax_normalise(jnp.array([[0.0, jnp.nan]]))).all()


def test_what_does_not_fit_is_refused():
    relevance = jnp.ones((2, 4, 4))
    with pytest.raises(ValueError, match=r"border='soft'; expected one of \('complement'"):
        losses.background_loss(relevance, relevance, border="soft")
    with pytest.raises(ValueError, match=r"target='1'; expected one of \('mask', 'one'\)"):
        losses.foreground_loss(relevance, relevance, target="1")
    with pytest.raises(ValueError, match=r"mask: got \(2, 4, 5\), expected \(2, 4, 4\)"):
        losses._check_shapes(relevance, jnp.ones((2, 4, 5)))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([2, 5]), st.integers(0, 2**16))
def test_losses_of_logits(classes, seed):
    """Over all outputs it is the plain loss; a divergence is >= 0, and 0 of itself alone."""
    draw = np.random.default_rng(seed)
    logits, teacher = (jnp.asarray(3 * draw.normal(size=(4, classes)), jnp.float32) for _ in "12")
    label = jnp.asarray(draw.integers(0, classes, 4), jnp.int32)
    everything = jnp.tile(jnp.arange(classes), (4, 1))
    plain = losses.label_loss(logits, label)
    np.testing.assert_allclose(losses.label_loss(logits, label, outputs=everything), plain)
    few = losses.label_loss(logits, label, outputs=everything[:, :1])
    assert (few <= plain + 1e-6).all()
    hidden = jnp.arange(classes) == jnp.where(label == classes - 1, 0, classes - 1)[:, None]
    kept = losses.label_loss(logits + 50 * hidden, label, outputs=label[:, None])
    np.testing.assert_allclose(kept, 0, atol=1e-6)  # the label alone
    divergence = losses.distillation_loss(logits, teacher)
    assert (divergence > 0).all()
    np.testing.assert_allclose(losses.distillation_loss(logits, logits + 2), 0, atol=1e-5)
    wide = losses.distillation_loss(2 * logits, 2 * teacher, temperature=2)
    np.testing.assert_allclose(wide, divergence, rtol=1e-5)
    slope = jax.grad(lambda t: losses.distillation_loss(logits, t).sum())(teacher)
    np.testing.assert_array_equal(slope, 0)


@given(PIXELS)
@settings(max_examples=25, deadline=None)
def test_energy_is_the_share_off_the_object(rng):
    saliency, mask = rng.random((5, 6, 7)), rng.random((5, 6, 7)) > 0.5
    saliency, mask = jnp.asarray(saliency, jnp.float32), jnp.asarray(mask, jnp.float32)
    expected = [(s * (1 - m)).sum() / s.sum() for s, m in zip(saliency, mask, strict=True)]
    np.testing.assert_allclose(losses.energy_loss(saliency, mask), expected, atol=1e-6)
    np.testing.assert_allclose(losses.energy_loss(3e4 * saliency, mask), expected, atol=1e-6)
    np.testing.assert_allclose(
        losses.energy_loss(saliency, 1 - mask), 1 - np.array(expected), atol=1e-6
    )
    slope = jax.grad(lambda s: losses.energy_loss(s, mask[0]))(jnp.zeros((6, 7)))
    assert losses.energy_loss(jnp.zeros((6, 7)), mask[0]) == 1
    assert not np.asarray(slope).any()


def test_the_facade_has_them():
    for name in (
        "background_loss",
        "energy_loss",
        "foreground_loss",
        "confidence_loss",
        "relevance_objective",
    ):
        assert getattr(rival_jax, name) is getattr(losses, name)
