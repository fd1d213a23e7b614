import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rival_jax import ablation, noise

RNG = np.random.default_rng(0)
IMAGE = RNG.random((3, 12, 10, 3)).astype(np.float32)
MASK = np.zeros((3, 12, 10), np.float32)
MASK[0, 3:8, 2:7] = 1
MASK[1, 5:, :4] = 1
MASK[2] = RNG.random((12, 10))  # soft everywhere
DRAW = RNG.random((3, 3 * 2)).astype(np.float32)  # for patches of 4: 3 x 2, a rim of 2 columns
IMAGE, MASK, DRAW = jnp.asarray(IMAGE), jnp.asarray(MASK), jnp.asarray(DRAW)

ALL = {
    "composite": jax.jit(lambda image, region: ablation.composite(image, region, 1 - image)),
    "mean_colour": jax.jit(ablation.mean_colour),
    "blur": jax.jit(lambda image, region: ablation.blur(image, region, 2.0)),
    "shuffle": jax.jit(
        lambda image, region: ablation.shuffle_patches(image, region, DRAW, patch=4)
    ),
}
fill, fit_onto = jax.jit(ablation.fill), jax.jit(ablation.fit_onto)
random_region = jax.jit(ablation.random_region)


@pytest.mark.parametrize("name", ALL)
def test_what_lies_outside_the_region_stays(name):
    got = np.asarray(ALL[name](IMAGE, MASK))
    outside = np.asarray(MASK) == 0
    np.testing.assert_allclose(got[outside], np.asarray(IMAGE)[outside], atol=1e-6)
    assert np.abs(got - np.asarray(IMAGE)).max() > 0.05
    assert got.min() >= 0
    assert got.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", ["mean_colour", "blur", "shuffle"])
def test_nothing_from_outside_comes_into_the_region(name):
    hard = jnp.round(MASK)
    other = noise.grey_out(IMAGE, 1 - hard, 0.9)  # another picture outside
    inside = np.asarray(hard) == 1
    got, same = (np.asarray(ALL[name](x, hard))[inside] for x in (IMAGE, other))
    np.testing.assert_allclose(got, same, atol=1e-5)


@pytest.mark.parametrize("name", ["mean_colour", "blur", "shuffle"])
def test_an_empty_region_leaves_the_image(name):
    np.testing.assert_allclose(ALL[name](IMAGE, 0 * MASK), IMAGE, atol=1e-6)


def test_mean_colour_is_the_weighted_mean():
    got = np.asarray(ALL["mean_colour"](IMAGE, MASK))
    for x, m, y in zip(IMAGE, MASK, got, strict=True):
        want = np.average(np.asarray(x).reshape(-1, 3), axis=0, weights=np.asarray(m).ravel())
        m = np.asarray(m)[..., None]
        np.testing.assert_allclose(y, x * (1 - m) + want * m, atol=1e-5)


def test_blur_of_everything_is_a_gaussian_filter():
    got = jax.jit(ablation.blur, static_argnums=2)(IMAGE, np.ones_like(MASK), 1.5)
    options = {"sigma": (0, 1.5, 1.5, 0), "mode": "constant", "truncate": 20}
    want = ndimage.gaussian_filter(np.asarray(IMAGE, float), **options)
    want /= ndimage.gaussian_filter(np.ones(IMAGE.shape), **options)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_blur_refuses_no_width():
    with pytest.raises(ValueError, match="sigma got 0"):
        ablation.blur(IMAGE, MASK, 0.0)


def patches(image, side):
    rows, columns = image.shape[0] // side, image.shape[1] // side
    return {
        image[r * side : (r + 1) * side, c * side : (c + 1) * side].tobytes()
        for r in range(rows)
        for c in range(columns)
    }


def test_every_patch_moves_to_one_place_and_the_rim_stays():
    before = RNG.random((1, 8, 9, 3)).astype(np.float32)
    shuffle = jax.jit(functools.partial(ablation.shuffle_patches, patch=4))
    got = np.asarray(shuffle(before, np.ones((1, 8, 9)), np.array([[0.3, 0.1, 0.9, 0.2]])))
    assert patches(got[0], 4) == patches(before[0], 4)
    # In the order of the draws: place 0 shows the patch with the lowest one, and so on.
    for place, source in enumerate([1, 3, 0, 2]):
        (r, c), (i, j) = divmod(place, 2), divmod(source, 2)
        np.testing.assert_array_equal(
            got[0, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4],
            before[0, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4],
        )
    np.testing.assert_array_equal(got[:, :, 8], before[:, :, 8])


def test_shuffle_wants_a_number_for_each_patch():
    with pytest.raises(ValueError, match=r"expected \(3, 6\), one number for each whole patch"):
        ablation.shuffle_patches(IMAGE, MASK, DRAW[:, :5], patch=4)


def test_fill_keeps_what_is_known_and_spreads_it():
    known = 1 - jnp.round(MASK)
    got = np.asarray(fill(IMAGE, known))
    np.testing.assert_allclose(got[np.asarray(known) == 1], IMAGE[known == 1], atol=1e-6)
    assert got.min() >= 0
    assert got.max() <= 1 + 1e-6
    flat = jnp.broadcast_to(jnp.array([0.2, 0.4, 0.6]), IMAGE.shape)
    hidden = noise.grey_out(flat, 1 - known, 0.0)
    np.testing.assert_allclose(fill(hidden, known), flat, atol=1e-5)


def test_fill_is_nearer_to_the_near():
    image, known = np.zeros((16, 16, 1)), np.zeros((16, 16))
    image[:, :4], known[:, :4], known[:, 12:] = 1, 1, 1
    row = np.asarray(fill(image, known))[8, :, 0]
    assert row[5] > 0.5 > row[10]
    assert not np.asarray(fill(image, 0 * known)).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 0.999))
def test_random_region_has_the_area_and_stays_inside(seed, share, draw):
    rng = np.random.default_rng(seed)
    within = rng.random((9, 7)).astype(np.float32) * (rng.random((9, 7)) < rng.random())
    area = share * 63
    got = np.asarray(random_region(jnp.asarray(within), jnp.float32(area), jnp.float32(draw)))
    assert (got[within == 0] == 0).all()
    assert got.min() >= 0
    assert (got <= within + 1e-6).all()
    assert got.sum() == pytest.approx(min(area, within.sum()), abs=1e-3)


def test_random_region_is_compact_and_every_pixel_can_be_its_centre():
    within = np.zeros((11, 11), np.float32)
    within[2:10, 1:9] = 1
    tiled, draws = np.tile(within, (64, 1, 1)), (np.arange(64) + 0.5) / 64
    alone = np.asarray(random_region(tiled, np.ones(64), draws))
    np.testing.assert_array_equal(alone.sum(0), within)
    disc, nothing = random_region(
        np.stack([within, 0 * within]), np.array([13.0, 5.0]), np.array([27.5 / 64, 0.5])
    )
    y, x = np.nonzero(disc)
    assert max(np.ptp(y), np.ptp(x)) <= 4
    assert not np.asarray(nothing).any()


def test_random_region_of_a_whole_object_is_the_object():
    for extra in (0, 100):
        got = random_region(MASK, np.asarray(MASK).sum((1, 2)) + extra, np.zeros(3))
        np.testing.assert_allclose(got, MASK, atol=1e-5)  # soft rims and all


def test_fit_onto_moves_and_stretches_box_to_box():
    image, (source, to, target) = np.zeros((10, 12, 1)), np.zeros((3, 10, 12))
    image[1:3, 2:4, 0] = [[0.1, 0.2], [0.3, 0.4]]
    source[1:3, 2:4], to[6:8, 9:11], target[4:8, 4:10] = 1, 1, 1
    moved = np.asarray(fit_onto(image, source, to))
    np.testing.assert_allclose(moved[6:8, 9:11, 0], [[0.1, 0.2], [0.3, 0.4]], atol=1e-6)
    wide = np.asarray(fit_onto(image, source, target))[4:8, 4:10, 0]
    assert wide[1, 1] < wide[1, 4]
    assert wide[1, 1] < wide[2, 1]
    np.testing.assert_allclose(fit_onto(image, source, source), image, atol=1e-6)
    nothing = fit_onto(image, 0 * source, 0 * source)
    np.testing.assert_allclose(nothing, image, atol=1e-6)


def test_keys_are_of_the_example_alone():
    key, ids = jax.random.key(3), np.array([5, 9, 5], np.uint32)
    draw = jax.jit(lambda ids: jax.vmap(jax.random.uniform)(ablation.example_keys(key, ids)))
    draws = draw(ids).tolist()
    assert draws[0] == draws[2] != draws[1]
    assert draw(ids[1:2]).tolist() == draws[1:2]


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"region: got \(3, 12, 9\), expected \(3, 12, 10\)"):
        inspect.unwrap(ablation.composite)(IMAGE, MASK[..., :9], IMAGE)
    with pytest.raises(ValueError, match=r"other: got \(3, 12, 10, 1\), expected the image's"):
        inspect.unwrap(ablation.composite)(IMAGE, MASK, IMAGE[..., :1])
