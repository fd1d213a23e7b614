"""Every family, under every name that its weights come under, against plain NumPy."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rival_jax import models, weights
from rival_jax.models import clip_resnet, positions
from tests import network_weights, small_cnn
from tests.helpers import REFERENCE, nhwc
from tests.network_cases import CASES, VARIANTS, WRAPPED, load, of_file
from tests.network_wrappings import MEAN, STD, WRAPPINGS
from tests.numpy_networks import convolve, linear, relu

# The softmax cancels what all keys share.
UNREAD = ("num_batches_tracked", "attnpool.k_proj.bias", "attn.k_norm.bias")


@functools.cache
def _compiled(model):
    """Once for all wrappings of a network."""
    return jax.jit(model.forward)


def _normalised(images: np.ndarray) -> np.ndarray:
    return (images - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))


@pytest.mark.parametrize(("name", "wrapping"), [*WRAPPED, *((name, "bare") for name in VARIANTS)])
def test_a_network_is_the_one_in_numpy(name, wrapping):
    case = CASES[name]
    model, variables, said = load(of_file(WRAPPINGS[wrapping](case.tensors)), case.config)
    assert type(model.forward.module).__module__ == case.family.__name__
    assert said.keys() == ({"mean", "std"} if wrapping == "madry" else set())
    np.testing.assert_allclose([model.mean, model.std], [MEAN, STD], rtol=1e-6)
    images = np.random.default_rng(1).random((2, 3, *case.image_size))
    expected = case.reference(case.tensors, _normalised(images))
    given = jnp.asarray(nhwc(images), jnp.float32)
    logits, taps = jax.device_get(_compiled(model)(variables, given, {}))
    np.testing.assert_allclose(taps["features"], expected.features, rtol=0, atol=REFERENCE)
    np.testing.assert_allclose(logits, expected.logits, rtol=0, atol=REFERENCE)
    shown = [tap for tap in taps if tap.endswith("/attention") and not tap.startswith("pool/")]
    assert len(shown) == len(expected.attention)
    for i, reference in enumerate(expected.attention):
        tap = "attnpool/attention" if case.family is clip_resnet else f"block{i}/attention"
        np.testing.assert_allclose(taps[tap], reference, rtol=0, atol=REFERENCE, err_msg=tap)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_configuration_that_is_written_tells_the_same_network(name):
    case = CASES[name]
    model, variables, _ = load(case.tensors, case.config)
    said = dataclasses.replace(case.family.config(model), image_size=case.image_size)
    again, _, _ = load(case.family.export(variables, model), said)
    assert again.forward == model.forward


@pytest.mark.parametrize("name", CASES)
def test_the_numpy_networks_read_every_tensor(name):
    """A tensor that the reference ignores would be checked by nothing."""
    case = CASES[name]
    images = np.random.default_rng(1).random((1, 3, *case.image_size))
    before = case.reference(case.tensors, images).logits
    for tensor, values in case.tensors.items():
        after = case.reference({**case.tensors, tensor: values * 1.5}, images).logits
        unread = tensor.endswith(UNREAD)
        assert unread == (np.abs(after - before).max() < 1e-9), tensor


@pytest.mark.parametrize(
    ("tensors", "size"),
    [
        (network_weights.vit(patches=9), 12),
        (network_weights.vit("distilled", patches=9), 12),
        (network_weights.vit("registers", patches=9), 12),
        (network_weights.vit("registers no_embed_class", patches=9), 12),
        (network_weights.clip_vit(patches=9), 12),
        (network_weights.clip_resnet(patches=9), 96),
    ],
    ids=["vit", "distilled", "registers", "no_embed_class", "clip_vit", "clip_resnet"],
)
def test_the_size_of_square_images_follows_from_the_positions(tensors, size):
    assert load(tensors, weights.Config(model_args={"num_heads": 2}))[0].image_size == (size, size)


@pytest.mark.parametrize(("old", "new"), [((4, 6), (7, 9)), ((9, 8), (5, 3)), ((6, 6), (3, 12))])
def test_resampled_positions_are_those_of_pillow(old, new):
    """timm's method is PyTorch's antialiased bicubic resampling, which is Pillow's."""
    rng = np.random.default_rng(0)
    given = rng.normal(size=(2 + old[0] * old[1], 3)).astype(np.float32)
    resampled = positions.resample(jnp.asarray(given), old, new)
    np.testing.assert_array_equal(resampled[:2], given[:2])
    for channel in range(3):
        grid = Image.fromarray(given[2:, channel].reshape(old))
        expected = np.asarray(grid.resize(new[::-1], Image.Resampling.BICUBIC))
        got = np.asarray(resampled[2:, channel]).reshape(new)
        np.testing.assert_allclose(got, expected, rtol=0, atol=REFERENCE)


def test_a_family_is_one_file_outside_the_package(tmp_path):
    """tests/small_cnn.py, saved, found by its dotted name, and against NumPy."""
    model = small_cnn.build(
        name="mine", image_size=(10, 14), num_classes=3, widths=(4, 6), mean=MEAN, std=STD
    )
    variables = model.init(jax.random.key(0))
    models.save(tmp_path / "mine", model, variables)
    with pytest.raises(ValueError, match="no known family"):
        models.load(str(tmp_path / "mine"))
    for path in ("mine", "mine/model.safetensors"):
        loaded, back = models.load(f"tests.small_cnn:{tmp_path / path}")
        assert loaded == model
        jax.tree.map(np.testing.assert_array_equal, back, variables)
    images = np.random.default_rng(1).random((2, 3, 10, 14))
    logits = jax.jit(loaded.forward)(back, jnp.asarray(nhwc(images), jnp.float32), {})[0]
    tensors, x = small_cnn.export(variables, model), _normalised(images)
    for name in ("conv.0", "conv.1"):
        bias = tensors[f"{name}.bias"][:, None, None]
        x = relu(convolve(x, tensors[f"{name}.weight"], stride=2, pad=1) + bias)
    expected = linear(x.mean(axis=(2, 3)), tensors, "fc")
    np.testing.assert_allclose(logits, expected, rtol=0, atol=REFERENCE)


def test_a_family_outside_the_package_refuses_what_the_others_refuse(tmp_path):
    model = small_cnn.build(name="mine", image_size=(10, 14), num_classes=3, widths=(4, 6))
    tensors = small_cnn.export(model.init(jax.random.key(0)), model)
    weights.write_folder(tmp_path, {**tensors, "stray": np.zeros(1)}, small_cnn.config(model))
    with pytest.raises(ValueError, match=r"model\.safetensors: .*not in the network: stray"):
        models.load(f"tests.small_cnn:{tmp_path}")
    loaded, _ = models.load(
        f"tests.small_cnn:{_without_stray(tmp_path, tensors)}", image_size=(20, 8)
    )
    assert loaded.image_size == (20, 8)
    with pytest.raises(ValueError, match=r"cannot import 'tests\.smal_cnn'"):
        models.load(f"tests.smal_cnn:{tmp_path}")


def _without_stray(folder, tensors):
    weights.write_tensors(folder / weights.TENSORS, tensors)
    return folder
