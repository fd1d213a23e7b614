"""Losses of relevance maps: the reference's numbers, by hand, and what must hold for any map."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

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
    released = {"border": "released"}

    @jax.jit
    def measured(relevance, mask):
        loss_bg = losses.background_loss(relevance, mask, **released)
        loss_fg = losses.foreground_loss(relevance, mask, **released)
        equation_2 = losses.foreground_loss(relevance, mask, target="one", **released)
        one = {"relevance_weight": 1.0}
        segmentation = losses.relevance_objective(loss_bg, loss_fg, jnp.zeros(4), **one)
        return losses.regions(mask, "released"), (loss_bg, loss_fg, equation_2, segmentation)

    mask = reference["mask"]
    (foreground, background), found = measured(reference["relevance"], mask)
    np.testing.assert_array_equal(background, reference["reverse_masks"][:, 0])
    np.testing.assert_array_equal(foreground, mask)
    assert found[0].shape == found[1].shape == (4,)
    kinds = "background_loss", "foreground_loss", "foreground_loss_paper_eq2", "segmentation_loss"
    for name, loss in zip(kinds, found, strict=True):
        close(np.mean(loss), reference[name])


@pytest.mark.parametrize(("name", "temperature"), [("T1", 1.0), ("T065", 0.65)])
def test_classification_losses_are_the_reference(reference, name, temperature):
    @jax.jit
    def measured(logits, label, relevance, mask):
        confidence = losses.confidence_loss(logits, temperature=temperature)
        with_label = losses.label_loss(logits, label, temperature=temperature)
        loss_bg = losses.background_loss(relevance, mask, border="released")
        loss_fg = losses.foreground_loss(relevance, mask, border="released")
        return confidence, with_label, losses.relevance_objective(loss_bg, loss_fg, confidence)

    found = measured(*(reference[key] for key in ("logits", "label", "relevance", "mask")))
    kinds = "classification_loss", "classification_loss_groundtruth", "total_loss"
    for kind, loss in zip(kinds, found, strict=True):
        close(np.mean(loss), reference[f"{kind}_{name}"])


def test_border_rules_by_hand():
    mask = np.array([[0.0, 0.2, 0.5, 1.0]], np.float32)
    by_rule = {
        "complement": ([0, 0.2, 0.5, 1], [1, 0.8, 0.5, 0]),
        "released": ([0, 0.2, 0.5, 1], [1, 0.2, 0.5, 0]),
        "rebinarised": ([0, 0, 1, 1], [1, 1, 0, 0]),
    }
    assert set(by_rule) == set(losses.BORDERS)
    for rule, expected in by_rule.items():
        found = jax.jit(losses.regions, static_argnums=1)(mask, rule)
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(got[0], wanted, atol=1e-7, err_msg=rule)


@jax.jit
def by_rule_and_target(relevance, mask):
    """Losses by each rule of borders; the sum by each target of the foreground, and its slope."""
    kinds = losses.background_loss, losses.foreground_loss
    rules = [[loss(relevance, mask, border=rule) for rule in losses.BORDERS] for loss in kinds]
    total = lambda r, t: losses.foreground_loss(r, mask, target=t).sum()  # noqa: E731
    slopes = [jax.value_and_grad(total)(relevance, t) for t in losses.FOREGROUND_TARGETS]
    return rules, slopes


@given(PIXELS)
@settings(max_examples=25, deadline=None)
def test_of_binary_masks_all_border_rules_are_one(rng):
    mask = rng.integers(0, 2, (2, 3, 4)).astype(np.float32)
    rules, (loss, literal) = by_rule_and_target(rng.random((2, 3, 4), np.float32), mask)
    for found in rules:
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])
    # Equation 2 literally: 1 more for every background pixel, and the same gradient.
    outside = (1 - mask).mean((1, 2))
    np.testing.assert_allclose(literal[0], loss[0] + outside.sum(), rtol=1e-5)
    np.testing.assert_allclose(literal[1], loss[1], atol=1e-7)


@jax.jit
def confidence_and_labels(logits, temperature):
    """The loss without labels, and with each of five classes as the label."""
    labels = [jnp.full(3, label) for label in range(5)]
    every = [losses.label_loss(logits, label, temperature=temperature) for label in labels]
    return losses.confidence_loss(logits, temperature=temperature), jnp.stack(every)


@given(PIXELS, st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_the_predicted_class_costs_least(rng, temperature):
    least, every = confidence_and_labels(rng.normal(size=(3, 5)), temperature)
    np.testing.assert_allclose(np.min(every, axis=0), least, rtol=1e-6)
    np.testing.assert_allclose(np.exp(-np.asarray(every)).sum(0), 1, rtol=1e-5)


def test_confidence_has_no_gradient_through_its_choice():
    """It is the cross-entropy's with the predicted label: (softmax - one_hot) / temperature."""
    logits = np.array([[0.3, 1.2, -0.4]])
    total = lambda x: losses.confidence_loss(x, temperature=0.5).sum()  # noqa: E731
    got = jax.jit(jax.grad(total))(logits)
    wanted = (special.softmax(logits / 0.5, axis=1) - [[0.0, 1.0, 0.0]]) / 0.5
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_scaling_to_the_image_is_the_reference(shared):
    """But for a constant map, whose rounding the reference blows up to 0 and 1: here it is 0."""
    with np.load(shared / "golden/robustvit/gae_upscale_edge.npz") as file:
        expected = dict(file)

    @jax.jit
    def scaled(tokens):
        upscaled = maps.upsample(tokens.reshape(3, 3, 3), (12, 12))
        return upscaled, maps.minmax_normalise(upscaled)

    upscaled, got = scaled(expected["tokens"])
    close(upscaled, expected["upscaled"][:, 0])
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
    assert np.isnan(jax.jit(maps.minmax_normalise)(np.array([[0.0, np.nan]]))).all()


def test_what_does_not_fit_is_refused():
    relevance = jnp.asarray(np.ones((2, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"border='soft'; expected one of \('complement'"):
        losses.background_loss(relevance, relevance, border="soft")
    with pytest.raises(ValueError, match=r"target='1'; expected one of \('mask', 'one'\)"):
        losses.foreground_loss(relevance, relevance, target="1")
    with pytest.raises(ValueError, match=r"mask: got \(2, 4, 5\), expected \(2, 4, 4\)"):
        losses._check_shapes(relevance, jnp.ones((2, 4, 5)))


@jax.jit
def of_logits(logits, teacher, label):
    """Losses of logits among all outputs, few and the label's alone; divergences, and a slope."""
    classes = logits.shape[1]
    everything = jnp.tile(jnp.arange(classes), (4, 1))
    hidden = jnp.arange(classes) == jnp.where(label == classes - 1, 0, classes - 1)[:, None]
    divergence = losses.distillation_loss
    return {
        "plain": losses.label_loss(logits, label),
        "everything": losses.label_loss(logits, label, outputs=everything),
        "few": losses.label_loss(logits, label, outputs=everything[:, :1]),
        "alone": losses.label_loss(logits + 50 * hidden, label, outputs=label[:, None]),
        "divergence": divergence(logits, teacher),
        "shifted": divergence(logits, logits + 2),
        "wide": divergence(2 * logits, 2 * teacher, temperature=2),
        "slope": jax.grad(lambda t: divergence(logits, t).sum())(teacher),
    }


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([2, 5]), st.integers(0, 2**16))
def test_losses_of_logits(classes, seed):
    """Over all outputs it is the plain loss; a divergence is >= 0, and 0 of itself alone."""
    draw = np.random.default_rng(seed)
    logits, teacher = (3 * draw.normal(size=(4, classes)) for _ in "12")
    got = jax.device_get(of_logits(logits, teacher, draw.integers(0, classes, 4)))
    np.testing.assert_allclose(got["everything"], got["plain"])
    assert (got["few"] <= got["plain"] + 1e-6).all()
    np.testing.assert_allclose(got["alone"], 0, atol=1e-6)  # the label alone
    assert (got["divergence"] > 0).all()
    np.testing.assert_allclose(got["shifted"], 0, atol=1e-5)
    np.testing.assert_allclose(got["wide"], got["divergence"], rtol=1e-5)
    np.testing.assert_array_equal(got["slope"], 0)


@jax.jit
def energies(saliency, mask):
    """Of maps as they are, 30,000 times as large and on the inverted mask; of a map of zeros."""
    zeros = jnp.zeros(saliency.shape[1:])
    value, slope = jax.value_and_grad(losses.energy_loss)(zeros, mask[0])
    some = [(saliency, mask), (3e4 * saliency, mask), (saliency, 1 - mask)]
    return [losses.energy_loss(*given) for given in some], value, slope


@given(PIXELS)
@settings(max_examples=25, deadline=None)
def test_energy_is_the_share_off_the_object(rng):
    saliency, mask = rng.random((5, 6, 7)), (rng.random((5, 6, 7)) > 0.5).astype(np.float32)
    expected = (saliency * (1 - mask)).sum((1, 2)) / saliency.sum((1, 2))
    (got, larger, inverted), nothing, slope = energies(saliency, mask)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(larger, expected, atol=1e-6)
    np.testing.assert_allclose(inverted, 1 - expected, atol=1e-6)
    assert nothing == 1
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
