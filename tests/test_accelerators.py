"""What accelerators are asked to compute: programs lowered for them, without one being here."""

import collections
import functools
import re
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from rival_jax import data, noise, taps
from rival_jax.data.training import Images, Training
from rival_jax.experiments.runner import Pass
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.models import network, vit
from rival_jax.noise_trials import Sweep, noise_trials
from rival_jax.objectives import robustvit
from rival_jax.runtime import parallel, placement, update
from rival_jax.saliency import gradcam, relevance
from rival_jax.types import Geometry
from tests.pictures import Drawn

SIDE, IMAGES, DEPTH, TOKENS = 16, 4, 2, 17
SIZE = {"image_size": (SIDE, SIDE), "patch_size": 4, "width": 32, "depth": DEPTH, "heads": 2}
MODEL = vit.build(name="small", num_classes=3, **SIZE)
OF = jax.ShapeDtypeStruct
INDEX = {name: OF((IMAGES,), np.int32) for name in ("label", "index")}
PICTURES = {
    "image": OF((IMAGES, SIDE, SIDE, 3), np.uint8),
    "mask": OF((IMAGES, SIDE, SIDE), np.uint8),
}
BATCH = {**PICTURES, **INDEX, "noise_id": OF((IMAGES,), np.uint32)}
COUNTED = ("dot_general", "convolution", "transpose", "exponential", "gather", "while")


def sensitivity(dtype):
    """A unit of config rfs: two trials in two regions at once."""
    sweep = Sweep("linf", ("foreground", "background"), 2, 2, False)
    fn = parallel.Bound(parallel.of_bytes, (parallel.Bound(noise_trials, (MODEL.forward, sweep)),))
    key = OF((), noise.key(0).dtype)
    return jax.jit(fn), (weights(dtype), BATCH, key, OF((), np.float32), OF((), np.int32))


def explained(method, dtype):
    """Maps of the predicted class."""

    def maps(variables, batch):
        return {"map": method.maps(MODEL, variables, batch["image"], taps.predicted_score)}

    fn = parallel.Bound(parallel.of_bytes, (maps,))
    return jax.jit(fn), (weights(dtype), BATCH)


def finetuning(dtype):
    """An update by RobustViT's objective."""
    terms = parallel.Bound(update.bound_terms, (robustvit.terms, MODEL, ()))
    mesh = parallel.data_mesh(jax.devices()[:1])
    recipe = update.Recipe(batch_size=IMAGES, dtype=dtype)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), weights("float32"))
    state = update.begin(recipe, zeros, ["total"], 1, mesh)
    state = jax.tree.map(lambda leaf: OF(leaf.shape, leaf.dtype), state)
    batch = {name: OF((1, 1, *one.shape), one.dtype) for name, one in BATCH.items()}
    rates = OF((1,), np.float32)
    return update.compiled(terms, recipe, mesh, 1), (state, {}, batch, rates, {})


PROGRAMS = {
    "rfs": sensitivity,
    "gradcam": functools.partial(explained, gradcam),
    "relevance": functools.partial(explained, relevance),
    "finetune": finetuning,
}


def weights(dtype):
    return jax.tree.map(lambda leaf: OF(leaf.shape, dtype), network.shapes(MODEL.init))


@functools.cache
def lowered(name, dtype, platform):
    program, given = PROGRAMS[name](dtype)
    return export.export(program, platforms=[platform])(*given)


def counts(text):
    """Operations, those of called functions as often as they are called; bodies of loops once."""
    bodies = {re.match(r"[^@]*@([\w.]+)", part)[1]: part for part in text.split("func.func ")[1:]}

    @functools.cache
    def inside(name):
        found = collections.Counter(re.findall(r"stablehlo\.(\w+)", bodies[name]))
        called = re.findall(r"call @([\w.]+)", bodies[name])
        return sum((inside(one) for one in called if one in bodies), found)

    found = inside("main")
    return tuple(found[operation] for operation in COUNTED)


# Of one network of two blocks: six products each, patches and the head. Maps add products with
# values, not weights; an update takes the maps' derivative.
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rfs", (6 * DEPTH + 2, 0, 15, DEPTH + 2, 2, 1)),
        ("gradcam", (24, 0, 12, DEPTH + 1, 0, 0)),
        ("relevance", (29, 0, 13, 2 * DEPTH, 0, 0)),
        ("finetune", (95, 0, 38, 3 * DEPTH + 1, 2, 0)),
    ],
)
def test_accelerators_compute_no_more_than_is_needed(name, expected, platform):
    found = counts(lowered(name, "bfloat16", platform).mlir_module())
    assert dict(zip(COUNTED, found, strict=True)) == dict(zip(COUNTED, expected, strict=True))


@pytest.mark.parametrize(("name", "wide"), [("rfs", 0), ("gradcam", 0), ("relevance", 2)])
def test_products_are_in_the_precision_of_the_weights(name, wide):
    """All but those of the maps themselves; the exponentials of attention are float32."""
    text = lowered(name, "bfloat16", "tpu").mlir_module()
    products = re.findall(r"stablehlo\.dot_general.*-> tensor<[\dx]*x(\w+)>", text)
    assert products.count("f32") == wide
    assert products.count("bf16") == len(products) - wide
    exponentials = re.findall(rf"stablehlo\.exponential.*x{TOKENS}x([a-z]\w+)>", text)
    assert exponentials == ["f32"] * DEPTH


def test_an_update_consumes_the_state_it_is_given():
    text = lowered("finetune", "float32", "cuda").mlir_module()
    state = finetuning("float32")[1][0]
    parts = jax.tree.leaves({name: state[name] for name in ("params", "moments")})
    assert len(re.findall(r"tf\.aliasing_output|jax\.buffer_donor", text)) >= len(parts)


def test_photos_are_sent_as_bytes(monkeypatch):
    """And a pass over images gets the float32 values that they always had, to the last bit."""
    every = np.arange(256, dtype=np.uint8)
    exact = np.divide(every, 255, dtype=np.float32)
    np.testing.assert_array_equal(jax.jit(parallel.floats)({"image": every})["image"], exact)
    np.testing.assert_array_equal(parallel.floats({"image": every})["image"], exact)
    examples = data.Examples(Drawn(3), Geometry((8, 8)))
    mesh, sent = parallel.data_mesh(jax.devices()[:1]), []
    subject = mock.Mock(Subject, mesh=mesh, sharding="replicated")
    subject.examples = lambda geometry: examples
    loaded = mock.Mock(Loaded, geometry=None, variables={})
    spread = placement.spread

    def watched(rows, *given):
        sent.append({name: rows[name].dtype for name in PICTURES})
        return spread(rows, *given)

    monkeypatch.setattr(placement, "spread", watched)
    told = Pass(subject, loaded, 2, pictures, (), lambda rows: rows)(lambda images: None)
    assert sent == [dict.fromkeys(PICTURES, np.uint8)] * 2
    for name, held in (("image", examples.images), ("mask", examples.masks)):
        np.testing.assert_array_equal(told[name], np.divide(held, 255, dtype=np.float32))
    training = Training({0: Images((), examples, examples)}, np.arange(2), 2, 3, binary=True)
    batch = training.sample(("other",))
    assert {batch[name].dtype for name in (*PICTURES, "other_image", "other_mask")} == {
        np.dtype(np.uint8)
    }
    np.testing.assert_array_equal(batch["mask"], 255 * (examples.masks[:2] > 127))


def pictures(variables, batch):
    return {name: jnp.asarray(batch[name]) for name in PICTURES}
