"""Scenic's networks at small sizes, as twins and, where it can be imported, as they are."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
import warnings

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from rival_jax.interop import scenic
from tests import scenic_twins as twins
from tests.scenic_twins import SMALL_CLIP, SMALL_VIT

SEEN = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
VISION = {"vision_features": 12, "vision_num_layers": 2, "vision_head_dim": 4}
RESNET_VISION = {"vision_features": 8, "vision_num_layers": (2, 1, 1, 1), "vision_head_dim": 64}
CASES = {  # what Scenic calls it, its fields, the image size
    "token": ("ViT", {**SMALL_VIT, "classifier": "token"}, (8, 12)),
    "representation": (
        "ViT",
        {**SMALL_VIT, "classifier": "token", "representation_size": 7},
        (8, 8),
    ),
    "gap": ("ViT", {**SMALL_VIT, "classifier": "gap"}, (8, 12)),
    "gmp": ("ViT", {**SMALL_VIT, "classifier": "gmp"}, (8, 8)),
    "gsp": ("ViT", {**SMALL_VIT, "classifier": "gsp", "representation_size": 7}, (8, 8)),
    "resnet_8": ("ResNet", {"num_outputs": 5, "num_filters": 4, "num_layers": 8}, (36, 32)),
    "resnet_11": ("ResNet", {"num_outputs": 5, "num_filters": 4, "num_layers": 11}, (36, 32)),
    "resnet_18": ("ResNet", {"num_outputs": 5, "num_filters": 4, "num_layers": 18}, (36, 32)),
    "resnet_50": ("ResNet", {"num_outputs": 5, "num_filters": 4, "num_layers": 50}, (36, 32)),
    "clip_vit": ("CLIP", {**SMALL_CLIP, **VISION, "vision_patch_size": 4}, (12, 12)),
    "clip_resnet": ("CLIP", {**SMALL_CLIP, **RESNET_VISION}, (64, 64)),
}


HERE = bool(os.environ.get("RIVAL_JAX_SCENIC") or importlib.util.find_spec("scenic"))
SOURCES = ("twins", "scenic") if HERE else ("twins",)  # whose modules the tests run on
STOOD_FOR = ("gmp", "resnet_18", "resnet_50")  # by the twins of gsp, resnet_8, resnet_11
_BASELINES = tuple(f"projects.baselines.{name}" for name in ("vit", "resnet", "clip.layers"))


def google_scenic():
    """The classes of Scenic itself, or a skip that says what is missing."""
    path = os.environ.get("RIVAL_JAX_SCENIC")
    if path and path not in sys.path:
        sys.path.insert(0, path)
    try:
        scenic.check_installed()
    except ImportError as error:
        if path:
            raise
        pytest.skip(f"set RIVAL_JAX_SCENIC to a checkout of google-research/scenic ({error})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vit, resnet, clip, training = (
            importlib.import_module(f"scenic.{name}")
            for name in (*_BASELINES, "train_lib.train_utils")
        )
    return types.SimpleNamespace(
        ViT=vit.ViT,
        ResNet=resnet.ResNet,
        CLIP=clip.CLIP,
        TrainState=training.TrainState,
        save_checkpoint=training.save_checkpoint,
    )


def made(source, case: str):
    """A module of Scenic's, its variables, its configuration, and a call of it."""
    kind, fields, size = CASES[case]
    if "patches" in fields:
        fields = {**fields, "patches": ml_collections.ConfigDict(fields["patches"])}
    module = getattr(source, kind)(**fields)
    if kind == "CLIP":
        variables = twins.variables_of(module, size, text=jnp.ones((1, 4), jnp.int32))
        call = lambda v, x: module.apply(v, x, normalize=False, method=module.encode_image)  # noqa: E731
    else:
        variables = twins.variables_of(module, size, train=False)
        call = lambda v, x: module.apply(v, x, train=False)  # noqa: E731
    return module, variables, {"model": fields}, call


def images_for(size, n: int = 2):
    return np.random.default_rng(1).random((n, *size, 3), np.float32)


def seen(images):
    return (images - np.array(SEEN["mean"])) / np.array(SEEN["std"])


def leaves_of(tree) -> dict[str, np.ndarray]:
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(key.key for key in path): np.asarray(leaf) for path, leaf in found}


def converted(case: str):
    _, variables, config, _ = made(twins, case)
    return scenic.from_scenic(variables, config, name=case, image_size=CASES[case][2], **SEEN)


def assert_logits(got, expected):
    assert np.std(expected) > 0.01
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * scale)
