import functools
import json
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from rival_jax import data, heads, models, probe
from rival_jax.heads import _training_mode, imagenet, own
from rival_jax.heads import probe as probe_head
from rival_jax.heads._features import Seen, of_split
from rival_jax.models import resnet
from rival_jax.runtime.parallel import data_mesh
from rival_jax.types import Geometry
from tests.helpers import PARITY, golden, nhwc

OPTIONS = {"recipe": "converged", "epochs": 2, "select": "last", "seed": 0, "synsets": ""}


@pytest.mark.parametrize("rate", ["1e-5", "1e-2"])
def test_study_steps_golden(shared, rate):
    stored = golden(shared, f"07c_head_adam_lr{rate}.npz")
    optimiser = probe.study_optimiser(stored["lr"].item())
    head = probe.Head(jnp.asarray(stored["weight0"].T), jnp.asarray(stored["bias0"]))
    state = optimiser.init(head)
    update = jax.jit(functools.partial(probe.study_step, optimiser=optimiser))
    losses, correct = [], 0
    for step in range(3):
        features, labels = (jnp.asarray(stored[k][step]) for k in ("features", "labels"))
        correct += int((head(features).argmax(1) == labels).sum())
        head, state, loss = update(head, state, features, labels)
        losses.append(float(loss))
        # A step moves a weight by about the rate: a millionth of that is float32's own rounding.
        tolerance = max(1e-7, 1e-4 * stored["lr"].item())
        np.testing.assert_allclose(head.kernel.T, stored["weights"][step], atol=tolerance)
        np.testing.assert_allclose(head.bias, stored["biases"][step], atol=tolerance)
        adam = state[1][0]
        np.testing.assert_allclose(adam.mu.kernel.T, stored["exp_avg_w"][step], atol=1e-6)
        np.testing.assert_allclose(adam.nu.kernel.T, stored["exp_avg_sq_w"][step], atol=1e-6)
    samples = stored["labels"].size
    # The released loss adds batch means and divides by the number of samples.
    assert sum(losses) / samples == pytest.approx(stored["reported_epoch_loss"].item(), abs=1e-6)
    assert correct / samples == pytest.approx(stored["reported_epoch_acc"].item(), abs=1e-6)


def test_converged_head_is_the_optimum():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = (rng.normal(size=(60, 5)) + labels[:, None] * [1, 0, 2, 0, 0]) * [1, 10, 0.1, 1, 0]
    l2 = 0.01
    head = probe.fit_converged(
        jnp.asarray(features, jnp.float32), jnp.asarray(labels), l2, num_classes=3
    )
    scale = np.where(features.std(0) > 0, features.std(0), 1)
    standard = (features - features.mean(0)) / scale

    def loss(flat):
        kernel, bias = flat[:15].reshape(5, 3), flat[15:]
        logits = standard @ kernel + bias
        norm = np.log(np.exp(logits).sum(1))
        return (norm - logits[np.arange(60), labels]).mean() + l2 / 2 * (kernel**2).sum()

    best = optimize.minimize(loss, np.zeros(18), tol=1e-10).x
    want = standard @ best[:15].reshape(5, 3) + best[15:]
    got = np.asarray(head(jnp.asarray(features, jnp.float32)))
    centred = [logits - logits.mean(1, keepdims=True) for logits in (got, want)]
    np.testing.assert_allclose(*centred, atol=2e-3)


def test_split_is_stratified_and_seeded():
    labels = np.repeat([0, 1, 2], [20, 5, 2])
    held = probe_head.split(labels, 0.2, seed=1)
    np.testing.assert_array_equal(np.bincount(labels[held]), [4, 1, 1])
    np.testing.assert_array_equal(held, probe_head.split(labels, 0.2, seed=1))
    assert (held != probe_head.split(labels, 0.2, seed=2)).any()


@pytest.fixture
def context(study, tmp_path):
    source = data.load("masked_folder", study / "data", "test")
    geometry = Geometry((16, 16))
    examples = data.Examples(source, geometry)
    reported = []
    made = heads.Context(
        classes=examples.classes,
        class_wnids=None,
        geometry=geometry,
        train=lambda: examples,
        test=lambda: examples,
        batch_size=lambda: 8,
        options=dict(OPTIONS),
        cache=tmp_path,
        mesh=data_mesh(),
        report=reported.append,
    )
    return types.SimpleNamespace(made=made, reported=reported, examples=examples)


def replaced(context, **changes):
    import dataclasses

    return dataclasses.replace(context.made, **changes)


@pytest.mark.parametrize("recipe", ["converged", "study"])
def test_probe_replaces_the_head_and_is_cached(study, context, recipe):
    model, variables = models.load(str(study / "tiny"))
    asked = replaced(context, options={**OPTIONS, "recipe": recipe})
    with_head, both, facts = probe_head.attach(model, variables, asked)
    assert with_head.num_classes == 3
    assert facts["head"] == "probe"
    logits, taps = jax.jit(with_head.forward)(both, context.examples.images / 255, {})
    want = both["head"](taps["features"])
    np.testing.assert_allclose(logits, want, rtol=1e-6)
    if recipe == "converged":  # random features of 15 images are separable
        assert (np.asarray(logits).argmax(1) == context.examples.labels).mean() > 0.9
    said = len(context.reported)
    _, again, _ = probe_head.attach(model, variables, asked)
    assert len(context.reported) == said  # read, not fitted
    np.testing.assert_array_equal(again["head"].kernel, both["head"].kernel)


def test_released_selection_names_the_test_split(study, context):
    model, variables = models.load(str(study / "tiny"))
    asked = replaced(context, options={**OPTIONS, "recipe": "study", "select": "test"})
    _, _, facts = probe_head.attach(model, variables, asked)
    assert "TEST split" in facts["selected"]


def test_a_head_for_grey_backgrounds_sees_grey_backgrounds(study, context):
    model, variables = models.load(str(study / "tiny"))
    images, masks = (
        np.float32(part / 255) for part in (context.examples.images, context.examples.masks)
    )
    grey = images * masks[..., None] + 0.5 * (1 - masks[..., None])
    seen = Seen("foreground", "soft")
    values, labels = of_split(model, variables, context.examples, context.made, seen)
    _, taps = jax.jit(model.forward)(variables, grey, {})
    np.testing.assert_allclose(values, taps["features"], atol=1e-5)
    np.testing.assert_array_equal(labels, context.examples.labels)
    asked = replaced(context, options={**OPTIONS, "region": "foreground"})
    _, fitted, facts = probe_head.attach(model, variables, asked)
    assert facts["fitted on"] == "photos with a grey background"
    _, other, _ = probe_head.attach(model, variables, context.made)
    assert np.abs(fitted["head"].kernel - other["head"].kernel).max() > 1e-3


def load_drift(all_shared, folder, moment):
    file = all_shared / "golden" / "rival10" / f"07d_bn_drift_{moment}.safetensors"
    (folder / moment).mkdir()
    shutil.copy(file, folder / moment / "model.safetensors")
    config = {"architecture": "resnet", "pretrained_cfg": {"input_size": [3, 40, 40]}}
    config["pretrained_cfg"] |= {"mean": [0, 0, 0], "std": [1, 1, 1]}
    (folder / moment / "config.json").write_text(json.dumps(config))
    return models.load(str(folder / moment))


def test_batch_norms_drift_as_released_golden(all_shared, tmp_path):
    stored = golden(all_shared, "07d_bn_drift.npz")
    images = jax.device_put(nhwc(stored["images"]))  # [batch, image, h, w, 3]
    model, variables = load_drift(all_shared, tmp_path, "before")
    _, after = load_drift(all_shared, tmp_path, "after")
    head = probe.Head(variables["params"]["fc"]["kernel"], variables["params"]["fc"]["bias"])
    optimiser = probe.study_optimiser()
    state, losses, correct = optimiser.init(head), [], 0
    trained = jax.jit(functools.partial(_training_mode.features, model))
    step = jax.jit(functools.partial(probe.study_step, optimiser=optimiser))
    for batch, labels in zip(images, stored["labels"], strict=True):
        features, variables = trained(variables, batch)
        correct += int((head(features).argmax(1) == labels).sum())
        head, state, loss = step(head, state, features, jnp.asarray(labels))
        losses.append(float(loss))
    count = stored["labels"].size
    assert sum(losses) / count == pytest.approx(stored["reported_train_loss"].item(), abs=1e-5)
    assert correct / count == pytest.approx(stored["reported_train_acc"].item(), abs=1e-6)
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, atol=1e-5),
        variables["batch_stats"],
        after["batch_stats"],
    )
    np.testing.assert_allclose(head.kernel, after["params"]["fc"]["kernel"], atol=1e-6)
    _, taps = jax.jit(functools.partial(model.forward, added={}))(variables, images[0])
    want = stored["eval_logits_first_batch_after"]
    np.testing.assert_allclose(head(taps["features"]), want, atol=PARITY)


def test_drift_is_a_named_value_and_is_saved_with_the_head(study, context):
    model = resnet.build(name="small", image_size=(16, 16), num_classes=3, depths=(1, 1), width=8)
    variables = model.init(jax.random.key(0))
    asked = replaced(
        context, options={**OPTIONS, "recipe": "study", "batch_norm": "drifting", "epochs": 1}
    )
    _, drifted, facts = probe_head.attach(model, variables, asked)
    assert "batch norm" in facts
    before, after = (v["batch_stats"]["bn1"]["mean"] for v in (variables, drifted["network"]))
    # One batch of 15: a tenth of the way from 0 to its mean.
    rows = next(context.examples.augmented_batches(15, epoch=0, seed=0))
    kernel = variables["params"]["conv1"]["kernel"]
    shown = jax.lax.conv_general_dilated(
        jnp.asarray(rows["image"]), kernel, (2, 2), [(3, 3)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    np.testing.assert_allclose(after, before + 0.1 * (shown.mean((0, 1, 2)) - before), atol=1e-5)
    _, again, _ = probe_head.attach(model, variables, asked)
    read = again["network"]["batch_stats"]
    jax.tree.map(np.testing.assert_array_equal, read, drifted["network"]["batch_stats"])
    _, frozen, facts = probe_head.attach(
        model, variables, replaced(context, options={**OPTIONS, "recipe": "study", "epochs": 1})
    )
    assert frozen["network"] is variables
    assert "batch norm" not in facts


def test_drift_needs_batches(study, context):
    model, variables = models.load(str(study / "tiny"))
    asked = replaced(context, options={**OPTIONS, "batch_norm": "drifting"})
    with pytest.raises(ValueError, match=r"needs --config\.probe\.recipe=study"):
        probe_head.attach(model, variables, asked)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recipe", "converge"),
        ("select", "best"),
        ("region", "background"),
        ("batch_norm", "drift"),
    ],
)
def test_unknown_probe_options(study, context, key, value):
    model, variables = models.load(str(study / "tiny"))
    with pytest.raises(ValueError, match=f"probe.{key}: no '{value}'"):
        probe_head.attach(model, variables, replaced(context, options={**OPTIONS, key: value}))


def test_own_head_must_have_the_classes(study, context):
    model, variables = models.load(str(study / "tiny"))
    assert own.attach(model, variables, context.made)[0] is model
    asked = replaced(context, classes=("a", "b"))
    with pytest.raises(ValueError, match=r"3 outputs, the data set 2 classes.*head=probe"):
        own.attach(model, variables, asked)


def fake_imagenet(logits):
    forward = lambda variables, images, added: (logits, {})  # noqa: E731
    from rival_jax.types import Model

    return Model("fake", forward, lambda key: {}, 1000, "none")


def test_imagenet_head_sums_probabilities_of_synsets(context):
    logits = np.random.default_rng(0).normal(size=(4, 1000)).astype(np.float32)
    synsets = (("n02123394", "n02124075"), ("n02099712", "n02099601"))  # cats; dogs
    asked = replaced(context, classes=("cat", "dog"), class_wnids=synsets)
    members = imagenet.membership(asked)
    assert [list(np.flatnonzero(row)) for row in members] == [[283, 285], [207, 208]]
    model, variables, facts = imagenet.attach(fake_imagenet(jnp.asarray(logits)), {}, asked)
    grouped, _ = jax.jit(model.forward)(variables, np.zeros((4, 1, 1, 3)), {})
    probability = special.softmax(logits, axis=1)
    want = np.stack([probability[:, [283, 285]].sum(1), probability[:, [207, 208]].sum(1)], 1)
    np.testing.assert_allclose(np.exp(grouped), want, rtol=1e-5)
    assert facts["head"] == "imagenet (4 synsets)"


def test_imagenet_head_refuses_what_it_cannot_know(context, tmp_path):
    model = fake_imagenet(jnp.zeros((1, 1000)))
    with pytest.raises(ValueError, match=r"--config\.probe\.synsets"):
        imagenet.attach(model, {}, context.made)
    asked = replaced(context, class_wnids=(("n02123394",), ("n99999999",), ()))
    with pytest.raises(ValueError, match="n99999999"):
        imagenet.attach(model, {}, asked)
    (tmp_path / "synsets.json").write_text('{"class0": ["n02123394"]}')
    asked = replaced(context, options={"synsets": str(tmp_path / "synsets.json")})
    with pytest.raises(ValueError, match="no synsets for class 'class1'"):
        imagenet.attach(model, {}, asked)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('["n02123394"]', "holds a list"),
        ('{"class0": 3}', "class 'class0' has 3"),
        ('{"class0": "n02123394"}', "class 'class0' has n02123394"),
        ('{"class0": [3]}', r"class 'class0' has \[3\]"),
    ],
)
def test_a_table_of_synsets_that_is_none_is_named(context, tmp_path, text, told):
    (tmp_path / "synsets.json").write_text(text)
    asked = replaced(context, options={"synsets": str(tmp_path / "synsets.json")})
    with pytest.raises(ValueError, match=rf"synsets\.json.*{told}"):
        imagenet.attach(fake_imagenet(jnp.zeros((1, 1000))), {}, asked)
