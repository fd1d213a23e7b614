import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import changes, metrics
from rival_jax.changes import CHANGES, REGIONS, TREATMENTS, PartChange, Treatment
from tests.helpers import EXACT, REFERENCE, golden, nhwc

KEY = jax.random.key(0)
SOFT = Treatment(grey=0.5, blur=0.1, patches=4, binary_mask=False)
KEPT = PartChange(grey=0.5, black_background=False, binary_mask=False)
_treated = jax.jit(changes.treated, static_argnums=0)
_changed = jax.jit(changes.part_changed, static_argnums=0)


def a_batch():
    rng = np.random.default_rng(0)
    image, other = rng.random((2, 3, 16, 16, 3)).astype(np.float32)
    mask, other_mask = np.zeros((2, 3, 16, 16), np.float32)
    mask[:, 4:12, 4:12], mask[:, 3, 4:12] = 1, 0.4
    other_mask[:, 6:, 6:] = 1
    return {
        "image": image, "mask": mask, "other_image": other, "other_mask": other_mask,
        "noise_id": np.arange(3, dtype=np.uint32), "label": np.array([2, 0, 1]),
    }  # fmt: skip


def test_golden_grey_background(shared):
    stored = golden(shared, "07a_ablation.npz")
    image, want = nhwc(stored["images"]), nhwc(stored["bg_grayed"])
    treatment, region = 1 + TREATMENTS.index("grey"), REGIONS.index("background")
    for channel, mask in enumerate(np.moveaxis(stored["masks"], 1, 0)):  # one mask differs in them
        batch = {"image": image, "mask": mask, "other_image": image, "other_mask": mask}
        batch["noise_id"] = np.zeros(len(image), np.uint32)
        got = _treated(SOFT, batch, KEY, treatment, region)
        np.testing.assert_allclose(got[..., channel], want[..., channel], atol=EXACT)


@pytest.mark.parametrize("treatment", range(1, 7))
@pytest.mark.parametrize("region", [0, 1])
def test_a_treatment_leaves_the_other_region(treatment, region):
    batch = a_batch()
    got = np.asarray(_treated(SOFT, batch, KEY, treatment, region))
    mask, image = batch["mask"], batch["image"]
    kept = mask == (1 if region == 0 else 0)
    np.testing.assert_allclose(got[kept], image[kept], atol=1e-6)
    changed = mask == (0 if region == 0 else 1)
    assert np.abs(got[changed] - image[changed]).mean() > 0.05
    name = TREATMENTS[treatment - 1]
    if name in ("grey", "black"):
        np.testing.assert_array_equal(got[changed], {"grey": 0.5, "black": 0.0}[name])
    if name == "swap":  # the lender's own region as it is, where it has it
        lends = changed & ((batch["other_mask"] == 1) == (region == 1))
        np.testing.assert_allclose(got[lends], batch["other_image"][lends], atol=1e-6)


def test_no_treatment_is_the_photo_and_masks_can_be_binary():
    batch = a_batch()
    np.testing.assert_array_equal(_treated(SOFT, batch, KEY, 0, 0), batch["image"])
    hard = dataclasses.replace(SOFT, binary_mask=True)
    grey = np.asarray(_treated(hard, batch, KEY, 1, 0))
    assert (grey[:, 3] == 0.5).all()  # a rim of 0.4 is background
    assert not (np.asarray(_treated(SOFT, batch, KEY, 1, 0))[:, 3, 4:12] == 0.5).all()


def test_shuffling_is_of_the_example_not_of_the_batch():
    batch = a_batch()
    shuffle = 1 + TREATMENTS.index("shuffle")
    whole = _treated(SOFT, batch, KEY, shuffle, 0)
    turned = {name: np.roll(value, 1, axis=0) for name, value in batch.items()}
    turned = np.roll(_treated(SOFT, turned, KEY, shuffle, 0), -1, axis=0)
    np.testing.assert_array_equal(whole, turned)
    batch["noise_id"] = batch["noise_id"] + 3
    other = np.asarray(_treated(SOFT, batch, KEY, shuffle, 0))
    assert (other != whole).any((1, 2, 3)).all()


@pytest.mark.parametrize("black", [False, True])
def test_golden_greyed_attributes_and_what_they_cost(shared, black):
    stored = golden(shared, "07a_ablation.npz")
    suffix = "_fgonly" if black else ""
    image, part = nhwc(stored["images"]), stored["attr_mask"][:, 0]
    how = dataclasses.replace(KEPT, black_background=black)
    made = np.empty((2, *image.shape), np.float32)
    for channel, mask in enumerate(np.moveaxis(stored["masks"], 1, 0)):  # one mask differs in them
        batch = {"image": image, "mask": mask, "part": part, "other_image": image}
        batch |= {"other_part": part, "noise_id": np.zeros(6, np.uint32)}
        batch["attribute"] = np.zeros(6, np.int32)
        for step in range(2):
            made[step, ..., channel] = _changed(how, batch, KEY, step, 0)[..., channel]
    np.testing.assert_allclose(made[1], nhwc(stored[f"attr_grayed{suffix}"]), atol=EXACT)
    want = nhwc(stored["fgonly_base"]) if black else image
    np.testing.assert_allclose(made[0], want, atol=EXACT)
    for images, name in zip(made, ("og", "no_attr"), strict=True):
        flat = jnp.moveaxis(jnp.asarray(images), -1, 1).reshape(6, -1)  # the probe is linear
        logits = flat @ jnp.asarray(stored["probe_weight"])
        probability, hit = metrics.true_class(logits, jnp.asarray(stored["labels"]))
        np.testing.assert_allclose(probability, stored[f"{name}_prob{suffix}"], atol=REFERENCE)
        correct, count = np.zeros((2, 10), int)
        np.add.at(correct, stored["labels"], np.asarray(hit))
        np.add.at(count, stored["labels"], 1)
        np.testing.assert_array_equal(np.stack([correct, count], 1), stored[f"{name}_cc{suffix}"])


def pair_batch():
    image, other = np.random.default_rng(0).random((2, 2, 16, 16, 3)).astype(np.float32)
    mask, part, other_part = np.zeros((3, 2, 16, 16), np.float32)
    mask[:, 2:14, 2:14], part[:, 3:6, 3:9], other_part[:, 8:14, 1:4] = 1, 1, 1
    return {
        "image": image, "other_image": other, "mask": mask, "part": part, "other_part": other_part,
        "noise_id": np.arange(2, dtype=np.uint32), "attribute": np.zeros(2, np.int32),
        "label": np.array([2, 0]), "other_label": np.array([1, 2]),
    }  # fmt: skip


def colours(variables, images, added):
    """A network whose logits are the photo's mean colour."""
    return variables["scale"] * images.mean((1, 2)), {}


def test_the_control_is_as_large_and_in_the_object_and_of_the_draw():
    batch = pair_batch()
    regions = []
    for draw in range(20):
        got = np.asarray(_changed(KEPT, batch, KEY, CHANGES.index("control"), draw))
        region = np.abs(got - batch["image"]).max(-1) > 0
        assert (region <= (batch["mask"] > 0)).all()
        assert (region.sum((1, 2)) >= 18).all()
        assert (region.sum((1, 2)) <= 26).all()  # the last ring is partly grey
        regions.append(region)
    assert len({r[0].tobytes() for r in regions}) > 10
    assert (regions[0][0] != regions[0][1]).any()  # another image, another region
    batch["attribute"] = batch["attribute"] + 1
    other = np.asarray(_changed(KEPT, batch, KEY, CHANGES.index("control"), 0))
    assert ((np.abs(other - batch["image"]).max(-1) > 0) != regions[0]).any()


def test_a_swap_shows_the_lenders_part_in_the_parts_place():
    batch = pair_batch()
    batch["other_image"][:] = 0.1
    batch["other_image"][:, 8:14, 1:4] = 0.9
    got = np.asarray(_changed(KEPT, batch, KEY, CHANGES.index("swap"), 0))
    np.testing.assert_allclose(got[:, 3:6, 3:9], 0.9, atol=1e-5)
    outside = batch["part"] == 0
    np.testing.assert_array_equal(got[outside], batch["image"][outside])


def test_parts_may_be_binary():
    batch = pair_batch()
    batch["part"][:, 3] = 0.4
    for binary in (False, True):
        how = dataclasses.replace(KEPT, binary_mask=binary)
        got = np.asarray(_changed(how, batch, KEY, CHANGES.index("grey"), 0))
        assert (got[:, 3] == batch["image"][:, 3]).all() == binary
        np.testing.assert_array_equal(got[:, 4:6, 3:9], 0.5)


def test_answers_are_to_the_changed_photos():
    """Each step's, and each treatment's, in its place; softmax by hand."""
    steps, batch = np.array([[1, 0], [0, 0], [2, 3], [2, 4], [3, 0]], np.int32), pair_batch()
    given = {"scale": 9.0}, batch, KEY
    got = jax.jit(changes.part_answers, static_argnums=(0, 1))(colours, KEPT, *given, steps)
    for place, step in enumerate(steps):
        shown = np.asarray(_changed(KEPT, batch, KEY, *step), float)
        share = np.exp(9 * shown.mean((1, 2)))
        share /= share.sum(1, keepdims=True)
        for name, label in (("probability", "label"), ("other_probability", "other_label")):
            want = share[[0, 1], batch[label]]
            np.testing.assert_allclose(got[name][:, place], want, atol=REFERENCE)
        np.testing.assert_array_equal(got["predicted"][:, place], share.argmax(1))
        np.testing.assert_array_equal(got["correct"][:, place], share.argmax(1) == batch["label"])
    np.testing.assert_allclose(got["area"], 18 / 144)
    given, place = ({"scale": 9.0}, a_batch(), KEY), changes.places("black", "foreground")
    got = jax.jit(changes.treated_answers, static_argnums=(0, 1))(colours, SOFT, *given, *place)
    shown = np.asarray(_treated(SOFT, a_batch(), KEY, 5, 1), float)
    share = np.exp(9 * shown.mean((1, 2)))
    want = share[range(3), a_batch()["label"]] / share.sum(1)
    np.testing.assert_allclose(got["probability"], want, atol=REFERENCE)
    np.testing.assert_array_equal(got["predicted"], share.argmax(1))


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Treatment, (1.5, 0.1, 4, True), "grey: got 1.5, expected a number from 0 to 1"),
        (PartChange, (-0.5, True, True), "grey: got -0.5, expected a number from 0 to 1"),
        (Treatment, (0.5, 0.0, 4, True), "blur: got 0, expected above 0"),
        (Treatment, (0.5, 0.1, 1, True), "patches: got 1, expected at least 2"),
        (
            changes.places,
            ("gray", "background"),
            "treatment got 'gray', expected one of none, grey",
        ),
        (changes.places, ("grey", "all"), "region got 'all', expected one of background, foregr"),
    ],
)
def test_values_beyond_their_ranges_are_refused(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(*values)


def test_treatments_and_regions_have_their_places():
    settings = [(treatment, region) for treatment in TREATMENTS for region in REGIONS]
    found = [changes.places(*setting) for setting in settings]
    assert [(TREATMENTS[place - 1], REGIONS[region]) for place, region in found] == settings
    assert changes.places("none", "none") == changes.places("none", "foreground") == (0, 0)


@pytest.mark.parametrize(("treatment", "region"), [(7, 0), (-1, 0), (1, 2)])
def test_places_that_there_are_not_are_refused(treatment, region):
    """Traced ones jax takes for the nearest."""
    name, got, last = ("region", 2, 1) if region else ("treatment", treatment, 6)
    with pytest.raises(ValueError, match=f"^{name}: got {got}, expected 0 to {last}"):
        changes.treated(SOFT, a_batch(), KEY, treatment, region)
    with pytest.raises(ValueError, match=r"^change: got 4, expected 0 to 3"):
        changes.part_changed(KEPT, pair_batch(), KEY, 4, 0)


@pytest.mark.parametrize("name", ["mask", "other_image", "other_mask", "part", "other_part"])
def test_shapes_that_do_not_match_are_named(name):
    part = name.endswith("part")
    batch = pair_batch() if part else a_batch()
    batch[name] = batch[name][:, :-1]
    with pytest.raises(ValueError, match=rf"^{name}: got \(., 15, 16.*expected .*\(., 16, 16"):
        (_changed if part else _treated)(KEPT if part else SOFT, batch, KEY, 0, 0)
