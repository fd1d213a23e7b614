"""The forms that are quick on CPUs give what the plain ones do, and the same gradients."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from rival_jax.models import depthwise
from rival_jax.models.convolution import convolved, max_pool
from tests.helpers import QUICKLY

AXES = ("NHWC", "HWIO", "NHWC")


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("side", "channels", "size", "stride", "pad"),
    [
        *((7, 128, 3, 1, 1), (14, 128, 3, 2, 1), (5, 128, 5, 1, 2), (9, 128, 3, 2, 0)),
        *((9, 8, 3, 1, 1), (15, 3, 7, 2, 3), (15, 3, 3, 2, 1), (14, 3, 7, 2, 3), (15, 3, 5, 2, 2)),
        *((15, 3, 7, 2, 2), (15, 3, 7, 1, 3)),
    ],
)
def test_a_convolution_however_it_is_computed(side, channels, size, stride, pad):
    x, kernel = normal(0, 2, side, side + 1, channels), normal(1, size, size, channels, 6)

    def squares(convolve):
        def total(x, kernel):
            strides, padding = (stride, stride), [(pad, pad), (pad, pad)]
            y = convolve(x, kernel, strides, padding, dimension_numbers=AXES)
            return jnp.square(y).sum() / channels, y

        return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(x, kernel)

    got, expected = (jax.tree.leaves(squares(f)) for f in (convolved, lax.conv_general_dilated))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_a_small_map_is_one_product_on_a_cpu():
    def lines(side):
        x, kernel = normal(0, 1, side, side, 128), normal(1, 3, 3, 128, 8)
        padding = [(1, 1), (1, 1)]
        call = jax.jit(lambda x, k: convolved(x, k, (1, 1), padding, dimension_numbers=AXES))
        return call.lower(x, kernel).as_text().count("stablehlo.convolution")

    assert (lines(8), lines(9)) == (0, 1)


def test_images_go_in_by_pairs_of_columns_on_a_cpu():
    def text(width):
        x, kernel = normal(0, 1, 16, width, 3), normal(1, 7, 7, 3, 8)
        padding = [(3, 3), (3, 3)]
        call = jax.jit(lambda x, k: convolved(x, k, (2, 2), padding, dimension_numbers=AXES))
        return call.lower(x, kernel).as_text()

    assert "tensor<1x16x8x6xf32>" in text(16)
    assert "tensor<1x16x8x6xf32>" not in text(15)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 8), (5, 5), (8, 3), (1, 2), (1, 1)])
def test_max_pool_is_that_of_flax_with_a_border_of_one(height, width):
    x, edge = normal(0, 2, height, width, 3), ((1, 1), (1, 1))

    def squares(pool):
        return jax.jit(jax.grad(lambda x: (jnp.square(pool(x)).sum(), pool(x)), has_aux=True))(x)

    got = squares(max_pool)
    expected = squares(lambda x: nn.max_pool(x, (3, 3), strides=(2, 2), padding=edge))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("window", "stride", "pads", "dilation"),
    [
        ((7, 7), (1, 1), (3, 3), (1, 1)),
        ((5, 3), (2, 3), (0, 2), (1, 2)),
        ((3, 5), (3, 1), (4, 5), (2, 1)),
    ],
)
def test_depthwise_convolutions_and_two_derivatives_are_those_of_xla(
    window, stride, pads, dilation
):
    x, weight = normal(0, 2, 11, 13, 4), normal(1, 4, 1, *window)
    pads = tuple((p, p) for p in pads)

    def by_xla(x, weight):
        forms = ("NHWC", "OIHW", "NHWC")
        return lax.conv_general_dilated(
            *(x, weight, stride, pads),
            rhs_dilation=dilation,
            feature_group_count=4,
            dimension_numbers=forms,
        )

    def ours(x, weight):
        return depthwise.shifted(x, weight, stride, pads, dilation)

    def derived(convolve, x, weight):
        def loss(x, weight):
            return jnp.sin(convolve(x, weight)).sum()

        def of_gradients(x, weight):
            to_image, to_weight = jax.grad(loss, (0, 1))(x, weight)
            return (to_image**3).sum() + jnp.cos(to_weight).sum()

        second = jax.grad(of_gradients, (0, 1))(x, weight)
        return convolve(x, weight), jax.grad(loss, (0, 1))(x, weight), second

    with jax.enable_x64(True):
        given = jax.tree.map(lambda a: np.asarray(a, np.float64), (x, weight))
        found, wanted = (QUICKLY(derived, static_argnums=0)(f, *given) for f in (ours, by_xla))
    for got, expected in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
