import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from rival_jax import ablation, noise
from rival_jax.runtime.parallel import data_mesh
from tests.helpers import EXACT, golden, nhwc

KEY = jax.random.key(0, impl="threefry2x32")
IDS = jnp.arange(32, dtype=jnp.uint32) * 7919
gaussian = jax.jit(noise.gaussian, static_argnums=3)
corrupt = jax.jit(noise.corrupt, static_argnames=("region", "norm"))


def bits(values):
    return np.asarray(values).view(np.uint32)


@pytest.mark.parametrize(
    ("norm", "levels", "region", "expected"),
    [
        ("linf", "linf_sigma", "foreground", "linf_noisy_fg"),
        ("linf", "linf_sigma", "background", "linf_noisy_bg"),
        ("l2", "l2_eps", "foreground", "l2_noisy_fg"),
        ("l2", "l2_eps", "background", "l2_noisy_bg"),
        ("l2", "l2small_eps", "foreground", "l2small_noisy_fg"),
        ("l2", "l2small_eps", "background", "l2small_noisy_bg"),
    ],
)
def test_corrupt_golden(shared, norm, levels, region, expected):
    data = golden(shared, "01_noise_corruption.npz")
    images, unit = (nhwc(data[name]) for name in ("images", "noise"))
    mask = data["masks"][:, 0]
    for level, want in zip(data[levels], nhwc(data[expected]), strict=True):
        got = corrupt(images, mask, unit, region=region, level=level.item(), norm=norm)
        defined = np.isfinite(want)
        np.testing.assert_allclose(np.asarray(got)[defined], want[defined], atol=EXACT)
        # Where the reference divides 0 by 0 the region is empty: the image is left as it is.
        np.testing.assert_array_equal(np.asarray(got)[~defined], images[~defined])
    assert norm == "linf" or not defined.all()


@given(
    level=st.floats(0, 300),
    norm=st.sampled_from(noise.NORMS),
    region=st.sampled_from(noise.REGIONS),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_corrupt_stays_in_range_and_region(level, norm, region, seed):
    rng = np.random.default_rng(seed)
    image = rng.random((2, 5, 4, 3), np.float32)
    mask = rng.integers(0, 2, (2, 5, 4)).astype(np.float32)
    unit = rng.normal(size=image.shape)
    out = np.asarray(corrupt(image, mask, unit, region=region, level=level, norm=norm))
    assert np.isfinite(out).all()
    assert ((out >= 0) & (out <= 1)).all()
    outside = np.asarray(noise.region_weight(jnp.asarray(mask), region)) == 0
    np.testing.assert_array_equal(out[outside], image[outside])


def test_corrupt_l2_has_the_length_asked_for():
    image, mask = np.full((3, 8, 8, 3), 0.5), np.tri(8)[None].repeat(3, 0)
    unit = gaussian(KEY, IDS[:3], 0, (8, 8, 3))
    for region in noise.REGIONS:
        out = corrupt(image, mask, unit, region=region, level=0.3, norm="l2")
        length = np.sqrt(((np.asarray(out) - 0.5) ** 2).sum((1, 2, 3)))
        np.testing.assert_allclose(length, 0.3, rtol=1e-5)


def test_corrupt_level_may_differ_by_example():
    image, mask = np.full((2, 4, 4, 3), 0.5), np.ones((2, 4, 4))
    unit, level = np.ones((2, 4, 4, 3)), np.array([0.1, 0.2])
    out = corrupt(image, mask, unit, region="all", level=level, norm="linf")
    np.testing.assert_allclose(np.asarray(out)[:, 0, 0, 0], [0.6, 0.7], atol=EXACT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": jnp.ones((2, 5, 5))}, r"mask: got \(2, 5, 5\), expected \(2, 4, 4\)"),
        ({"noise": jnp.ones((2, 4, 4, 1))}, r"noise: got \(2, 4, 4, 1\), expected"),
        ({"norm": "l1"}, "norm got 'l1', expected one of linf, l2"),
        ({"region": "fg"}, "region got 'fg', expected one of foreground"),
    ],
)
def test_corrupt_names_what_is_wrong(change, message):
    arguments = {
        "image": jnp.ones((2, 4, 4, 3)),
        "mask": jnp.ones((2, 4, 4)),
        "noise": jnp.ones((2, 4, 4, 3)),
        "region": "all",
        "level": 0.1,
        "norm": "linf",
    }
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(noise.corrupt)(**{**arguments, **change})


def test_grey_out_blends_by_the_region():
    image = jnp.ones((1, 3, 1))
    got = noise.grey_out(image, jnp.array([[0.0, 0.5, 1.0]]), value=0.2)[..., 0]
    np.testing.assert_allclose(got, [[1.0, 0.6, 0.2]], atol=EXACT)


def test_threefry_is_jax_random():
    words = jax.random.key_data(jax.random.fold_in(KEY, 5))
    counter = jnp.arange(1001, dtype=jnp.uint32)
    word0, word1 = noise.threefry(words[0], words[1], jnp.zeros_like(counter), counter)
    want = jax.random.bits(jax.random.fold_in(KEY, 5), (1001,))
    np.testing.assert_array_equal(word0 ^ word1, want)


def test_gaussian_is_standard_normal():
    values = np.asarray(gaussian(KEY, IDS, 0, (64, 64, 3)), np.float64)
    n = values.size
    assert np.isfinite(values).all()
    assert abs(values.mean()) < 4 / np.sqrt(n)
    assert abs(values.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((values**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((values**4).mean() - 3) < 4 * np.sqrt(96 / n)
    neighbours = (values[:, :, 1:] * values[:, :, :-1]).mean()
    halves = (values.reshape(len(IDS), 2, -1)[:, 0] * values.reshape(len(IDS), 2, -1)[:, 1]).mean()
    assert max(abs(neighbours), abs(halves)) < 4 / np.sqrt(n / 2)


def test_gaussian_differs_by_seed_image_and_trial():
    draws = [
        np.asarray(gaussian(jax.random.key(seed), IDS[image : image + 1], trial, (9, 9, 3)))
        for seed, image, trial in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    for i, one in enumerate(draws):
        for other in draws[:i]:
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.3


@pytest.mark.parametrize("batch", [1, 7, 32])
@pytest.mark.parametrize("shape", [(16, 16, 3), (7, 5, 3)])
def test_gaussian_bits_do_not_depend_on_the_batch(batch, shape):
    whole = bits(gaussian(KEY, IDS, 2, shape))
    parts = [bits(gaussian(KEY, IDS[i : i + batch], 2, shape)) for i in range(0, len(IDS), batch)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_gaussian_bits_do_not_depend_on_devices_or_order(devices):
    split = NamedSharding(data_mesh(jax.devices()[:devices]), PartitionSpec("data"))
    draw = jax.jit(lambda ids: noise.gaussian(KEY, ids, 1, (12, 12, 3)), out_shardings=split)
    order = np.random.default_rng(0).permutation(len(IDS))
    shuffled = bits(draw(jax.device_put(IDS[order], split)))
    alone = bits(jax.jit(lambda ids: noise.gaussian(KEY, ids, 1, (12, 12, 3)))(IDS))
    np.testing.assert_array_equal(shuffled, alone[order])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 2, 3), np.uint8), "image: got uint8, expected floats"),
        (np.full((2, 2, 3), 255.0, np.float32), r"image: got 255 to 255, expected \[0, 1\]"),
        (np.full((2, 2, 3), -0.5, np.float32), "image: got -0.5"),
        (np.full((2, 2, 3), np.nan, np.float32), "image: got nan"),
    ],
)
def test_images_that_are_no_images_are_refused(image, message):
    inside = np.eye(2, dtype=np.float32)
    unit = np.zeros(image.shape, np.float32)
    arguments = {"region": "all", "level": 0.1, "norm": "linf"}
    for call in (
        lambda: inspect.unwrap(noise.corrupt)(
            *map(jnp.asarray, (image, inside, unit)), **arguments
        ),
        lambda: inspect.unwrap(noise.grey_out)(jnp.asarray(image), jnp.asarray(inside)),
        lambda: inspect.unwrap(ablation.mean_colour)(jnp.asarray(image), jnp.asarray(inside)),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_the_type_is_looked_at_where_the_numbers_are_not_known():
    bytes_ = jnp.zeros((2, 2, 3), jnp.uint8)
    with pytest.raises(ValueError, match="uint8"):
        jax.jit(lambda x: inspect.unwrap(noise.grey_out)(x, jnp.eye(2)))(bytes_)
    far = jnp.full((2, 2, 3), 7.0)
    jax.jit(lambda x: noise.grey_out(x, jnp.eye(2)))(far)  # not known under jit


DRAWS = """
import jax, jax.numpy as jnp
from rival_jax import noise
ids = jnp.array([7], jnp.uint32)
print(jax.config.jax_default_prng_impl)
print(noise.gaussian(noise.key(0), ids, 0, (4, 4, 3)).ravel()[:3].tolist())
noise.gaussian(jax.random.key(0), ids, 0, (4, 4, 3))
"""


def test_draws_do_not_follow_the_generator_that_the_environment_names():
    environment = {**os.environ, "JAX_DEFAULT_PRNG_IMPL": "unsafe_rbg", "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", DRAWS], env=environment, capture_output=True, text=True, check=False
    )
    here = np.ravel(gaussian(noise.key(0), np.array([7], np.uint32), 0, (4, 4, 3)))[:3]
    assert found.stdout.splitlines() == ["unsafe_rbg", str(here.tolist())]
    assert "ValueError: key: got one of 'unsafe_rbg', expected 'threefry2x32'" in found.stderr


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg", "threefry2x32"])
def test_a_key_of_another_generator_is_refused(kind):
    with jax.default_prng_impl(kind):
        assert str(jax.random.key_impl(noise.key(0))) == noise.GENERATOR
        if kind != noise.GENERATOR:
            with pytest.raises(ValueError, match=rf"got one of '{kind}'.*noise\.key\(seed\)"):
                noise.gaussian(jax.random.key(0), IDS[:1], 0, (2, 2, 3))


@pytest.mark.parametrize(
    "told",
    [
        lambda: jax.default_prng_impl("rbg"),
        lambda: jax.threefry_partitionable(False),
        lambda: jax.enable_x64(True),
    ],
    ids=["rbg", "not partitionable", "64 bits"],
)
def test_draws_do_not_follow_what_jax_was_told(told):
    def draw():
        drawn = jax.jit(lambda ids: noise.gaussian(noise.key(3), ids, 2, (5, 4, 3)))
        return np.asarray(drawn(np.array([7, 2**32 - 5], np.uint32)))

    want = draw()
    with told():
        got = draw()
    assert got.dtype == np.float32
    np.testing.assert_array_equal(bits(got), bits(want))


def test_keys_are_made_in_one_place():
    package = Path(noise.__file__).parent
    for path in package.rglob("*.py"):
        if path.name != "noise.py":
            assert not re.search(r"random\.(key|PRNGKey)\(", path.read_text()), path
