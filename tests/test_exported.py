"""Exported networks: what they compute, without torch; names, roles and files."""

from __future__ import annotations

import collections
import copy
import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import models, saliency, taps, weights
from rival_jax.experiments.finetune import study as finetune
from rival_jax.heads import _features, probe
from rival_jax.models import aten, channels_last, exported, graph_file, vit
from rival_jax.models.channels_last import Last
from rival_jax.objectives import robustvit
from rival_jax.runtime import update
from tests import exported_networks as kept
from tests import finetune_cases, mutated_files
from tests.aten_cases import CASES, UNTESTED, Type, filled
from tests.helpers import PARITY, QUICKLY, REFERENCE, config_of, run_in
from tests.test_class_names import asked

ROLES = {  # of each network: tap of class maps, number of attention taps, grid of the class map
    "vit": ("blocks.1.norm1", 2, (2, 3)),
    "beit": ("blocks.1", 2, (4, 4)),
    "mixer": ("norm", 0, (3, 3)),
    "swin": ("norm", 0, (4, 6)),
    "convnext": ("stages", 0, (2, 3)),
    "resnet": ("layer4", 0, (2, 2)),
    "efficientnet": ("bn2", 0, (4, 6)),
    "regnet": ("s4", 0, (2, 2)),
    "awkward": ("attention.0", 0, (6, 8)),
}
LONG = ("beit", "mixer", "resnet", "regnet")  # compile for long, and have no kind of their own
NAMES = [pytest.param(n, marks=pytest.mark.whole) if n in LONG else n for n in ROLES]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Networks by name, each read once."""
    place, found = tmp_path_factory.mktemp("exported"), {}

    def load(name: str):
        if name not in found:
            found[name] = models.load(str(kept.folder(name, place)))
        return found[name]

    return load


def shown(value: np.ndarray, like) -> np.ndarray:
    """torch's value as its tap shows it."""
    return value if value.shape == like.shape else np.moveaxis(value, 1, -1).reshape(like.shape)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_and_its_gradients_are_those_of_torch(name, loaded):
    model, variables = loaded(name)
    expected, wanted = kept.expected(name), list(kept.TAPS[name])
    images = jnp.asarray(kept.pixels(model.image_size))
    score = taps.class_score(jnp.full(2, kept.CLASS))
    logits, _, values, gradients = QUICKLY(
        lambda v, x: taps.logits_and_grads(model.forward, v, x, score, wanted)
    )(variables, images)
    largest = np.abs(expected["logits"]).max()
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=PARITY * largest)
    for tap in wanted:
        for got, key in ((values, "value"), (gradients, "gradient")):
            theirs = shown(expected[f"{key}/{tap}"], got[tap])
            assert np.abs(theirs).max() > 1e-4, tap
            atol = PARITY * np.abs(theirs).max()
            np.testing.assert_allclose(got[tap], theirs, rtol=0, atol=atol, err_msg=tap)


@pytest.mark.parametrize("name", ROLES)
def test_roles_of_taps(name, loaded):
    model, variables = loaded(name)
    cam, attention, grid = ROLES[name]
    images = jax.ShapeDtypeStruct((4, *model.image_size, 3), jnp.float32)
    logits, shapes = jax.eval_shape(model.forward, variables, images, {})
    assert model.class_names == tuple("abcde")
    assert logits.shape == (4, 5)
    assert model.cam_tap == cam
    assert jax.eval_shape(model.to_grid, shapes[cam]).shape[:3] == (4, *grid)
    assert shapes[model.feature_tap].shape[0] == 4
    assert len(shapes[model.feature_tap].shape) == 2
    assert len(model.attention_taps) == attention
    assert all(len(set(shapes[tap].shape[2:])) == 1 for tap in model.attention_taps)
    assert all(shape.shape[0] == 4 for shape in shapes.values())


def test_features_are_what_the_classifier_reads(loaded):
    model, variables = loaded("vit")
    images = jnp.asarray(kept.pixels(model.image_size))
    logits, values = QUICKLY(model.forward)(variables, images, {})
    params = variables["params"]
    by_hand = values["features"] @ params["head.weight"].T + params["head.bias"]
    np.testing.assert_allclose(logits, by_hand, atol=REFERENCE)


def natively(model, variables):
    """The weights of an exported ViT of timm, read as a ViT."""
    tensors = exported.export(variables, model)
    config = weights.Config(model_args={"num_heads": 2}, image_size=model.image_size)
    treatment = {"mean": model.mean, "std": model.std}
    native = vit.build(name="native", **treatment, **vit.infer(tensors, config))
    return native, vit.convert(tensors, native)


def test_a_step_of_finetuning_is_the_native_familys(loaded):
    """In float64: AdamW's first step divides gradients that are 0 up to rounding by themselves."""
    model, variables = loaded("vit")
    native, weighted = natively(model, variables)
    rng, recipe = np.random.default_rng(0), update.Recipe(trained="attn", weight_decay=0.1)
    height, width = model.image_size
    batch = {
        "image": kept.pixels(model.image_size).astype(np.float64),
        "mask": rng.random((2, height, width)).round(),
        "label": np.array([1, 4]),
    }

    def stepped(model, variables):
        with jax.enable_x64(True):
            variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
            params, optimiser = variables["params"], update.optimiser(recipe)

            def loss(params):
                found = robustvit.terms(model, {**variables, "params": params}, batch)
                return found["total"].mean()

            def step(params):
                changes, _ = optimiser.update(
                    jax.grad(loss)(params), optimiser.init(params), params
                )
                return jax.tree.map(lambda p, change: p - 0.1 * change, params, changes)

            return {**variables, "params": jax.device_get(QUICKLY(step)(params))}

    ours = exported.export(stepped(model, variables), model)
    theirs = vit.export(stepped(native, weighted), native)
    before, moved = exported.export(variables, model), 0
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=0, atol=1e-5, err_msg=name)
        moved += np.abs(value - before[name]).max() > 0.05
    assert moved == 8  # weights and biases of two blocks' qkv and proj


def test_class_maps_and_relevance_are_those_of_the_native_family(loaded):
    """The export of timm's ViT, and the same weights read as a ViT."""
    model, variables = loaded("vit")
    native, weighted = natively(model, variables)
    images = jnp.asarray(kept.pixels(model.image_size))
    for method in ("gradcam", "relevance", "rollout", "raw_attention"):
        ours, theirs = (
            QUICKLY(
                lambda v, x, m=m: saliency.explain(method, m, v, x, taps.predicted_score)  # noqa: B023
            )(v, images)
            for m, v in ((model, variables), (native, weighted))
        )
        assert np.ptp(theirs) > 0.5, method
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=REFERENCE, err_msg=method)


def test_equal_graphs_are_one_program(loaded, tmp_path):
    first, again = loaded("awkward")[0], models.load(str(kept.folder("awkward", tmp_path)))[0]
    assert first.forward == again.forward
    assert hash(first.forward) == hash(again.forward)
    assert first.forward != loaded("mixer")[0].forward


def test_a_saved_network_is_the_same(loaded, tmp_path):
    model, variables = loaded("swin")
    models.save(tmp_path / "swin", model, variables)
    back, same = models.load(str(tmp_path / "swin"))
    assert back == model
    jax.tree.map(np.testing.assert_array_equal, same, variables)


def test_bfloat16_leaves_indices_alone(loaded, tmp_path):
    model, variables = models.load(str(kept.folder("awkward", tmp_path)), dtype="bfloat16")
    assert variables["params"]["head.weight"].dtype == jnp.bfloat16
    assert variables["constants"]["order"].dtype == jnp.int32
    images = jnp.asarray(kept.pixels(model.image_size))
    found = [QUICKLY(model.forward)(v, images, {})[0] for v in (variables, loaded("awkward")[1])]
    assert found[0].dtype == jnp.float32
    np.testing.assert_allclose(*found, rtol=0, atol=0.05 * np.abs(found[1]).max())


def test_another_image_size_is_refused(tmp_path):
    folder = kept.folder("awkward", tmp_path)
    with pytest.raises(ValueError, match="exported for images of 12x16 and takes no others"):
        models.load(str(folder), image_size=(16, 16))


@pytest.mark.parametrize("place", range(len(CASES)), ids=[case.op for case in CASES])
def test_operations_are_those_of_torch(place):
    case = CASES[place]
    kinds = {"bool": jnp.bool_, "int32": jnp.int32, "float32": jnp.float32}
    kwargs = {k: kinds[v.name] if isinstance(v, Type) else v for k, v in case.kwargs.items()}
    made = jax.jit(lambda arrays: aten.OPERATIONS[case.op](*filled(case.args, arrays), **kwargs))(
        case.arrays()
    )
    listed = made if isinstance(made, list | tuple) else [made]
    expected = kept.results(place)
    assert expected
    for got, theirs in zip(listed, expected, strict=False):
        assert got.shape == theirs.shape
        assert got.dtype == theirs.dtype
        np.testing.assert_allclose(got, theirs, rtol=REFERENCE, atol=REFERENCE)


@pytest.mark.parametrize("op", sorted({*channels_last.KNOWN, "mul.Tensor", "where.self"}))
def test_operations_are_the_same_channels_last(op):
    for case in (case for case in CASES if case.op == op and "dtype" not in case.kwargs):

        def both(arrays, case=case):
            lasts = [Last.of(a) if a.ndim == 4 else a for a in arrays]
            args, given = filled([*case.args], arrays), filled([*case.args], lasts)
            wanted = aten.OPERATIONS[op](*args, **case.kwargs)
            got = channels_last.computed(op, given, case.kwargs)
            assert got.shape == wanted.shape
            return channels_last.plain(got), wanted

        got, wanted = jax.jit(both)(case.arrays())
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_every_operation_has_a_case():
    assert {case.op for case in CASES} == aten.OPERATIONS.keys() - UNTESTED


def content() -> dict:
    """A small graph: the mean of each channel, times a matrix."""
    return {
        "version": 1,
        "origin": "a test",
        "image_size": [4, 6],
        "tensors": {"w": {"dtype": "float32", "shape": [3, 5], "trained": True}},
        "nodes": [
            {"op": "input"},
            {"op": "relu.default", "args": [{"node": 0}], "module": "act"},
            {"op": "mean.dim", "args": [{"node": 1}, [2, 3]], "module": "pool"},
            {"op": "mm.default", "args": [{"node": 2}, {"tensor": "w"}], "module": "fc"},
        ],
        "logits": 3,
        "taps": {
            "act": {"node": 1, "layout": "nchw"},
            "features": {"node": 2, "layout": "flat"},
        },
        "cam_tap": "act",
        "feature_tap": "features",
        "attention_taps": [],
        "grids": {},
    }


def read(said: dict):
    """As `models.load` does."""
    config = weights.Config(graph=said)
    return exported.build(name="x", **exported.infer({}, config))


def test_a_graph_by_hand():
    model = read(content())
    image = np.random.default_rng(0).random((2, 4, 6, 3)).astype(np.float32)
    w = np.arange(15, dtype=np.float32).reshape(3, 5)
    logits, _ = model.forward({"params": {"w": jnp.asarray(w)}}, jnp.asarray(image), {})
    np.testing.assert_allclose(logits, image.mean((1, 2)) @ w, rtol=1e-5)


FAULTS = {
    "version": (lambda c: {**c, "version": 2}, "version is 2, and 1 is read; export again"),
    "no nodes": (lambda c: {**c, "nodes": []}, "nodes: 0 of them"),
    "missing": (lambda c: {k: v for k, v in c.items() if k != "taps"}, "taps is missing"),
    "operation": (
        lambda c: at(c, "nodes", 1, "op", "os.system"),
        r"nodes\[1\]: no operation 'os.system', which is in act; known are: .*relu\.default",
    ),
    "two inputs": (lambda c: at(c, "nodes", 1, "op", "input"), "the image is node 0 and no other"),
    "cycle": (
        lambda c: at(c, "nodes", 1, "args", [{"node": 3}]),
        r"nodes\[1\]\.args\[0\] refers to node 3, expected 0 to 0",
    ),
    "itself": (lambda c: at(c, "nodes", 2, "args", [{"node": 2}, [2, 3]]), "refers to node 2"),
    "negative": (lambda c: at(c, "nodes", 1, "args", [{"node": -1}]), "refers to node -1"),
    "truth": (lambda c: at(c, "nodes", 1, "args", [{"node": True}]), "refers to node True"),
    "text": (
        lambda c: at(c, "nodes", 1, "args", ["a"]),
        r"nodes\[1\]\.args\[0\] is 'a'; expected a number, a list, or a reference",
    ),
    "huge": (lambda c: at(c, "nodes", 1, "args", [10**30]), "a number beyond"),
    "few arguments": (
        lambda c: at(c, "nodes", 3, "args", [{"tensor": "w"}]),
        r"node 3, mm\.default in fc: ",
    ),
    "keyword": (lambda c: at(c, "nodes", 1, "kwargs", {"x": 1}), r"node 1, relu\.default in act: "),
    "shapes": (
        lambda c: at(c, "nodes", 2, "args", [{"node": 1}, [2]]),
        r"node 3, mm\.default in fc: .*",
    ),
    "unknown tensor": (
        lambda c: at(c, "nodes", 3, "args", [{"node": 2}, {"tensor": "v"}]),
        "v: used, but not among tensors",
    ),
    "unused tensor": (
        lambda c: at(c, "tensors", "v", {"dtype": "int32", "shape": [], "trained": False}),
        "v: among tensors, but not used",
    ),
    "dtype": (lambda c: at(c, "tensors", "w", "dtype", "object"), "dtype is 'object'"),
    "huge tensor": (lambda c: at(c, "tensors", "w", "shape", [2**20, 2**20]), "more than"),
    "logits": (lambda c: {**c, "logits": 9}, "logits refers to node 9, expected 0 to 3"),
    "no logits": (lambda c: {**c, "logits": 1}, r"returns \[1, 3, 4, 6\] for one image"),
    "tap": (lambda c: {**c, "cam_tap": "pool"}, "no tap named 'pool' is among taps"),
    "layout": (lambda c: at(c, "taps", "act", "layout", "chwn"), "layout is 'chwn'; known are"),
    "no grid": (lambda c: {**c, "cam_tap": "features"}, "cam_tap 'features': .*has no grid"),
    "no features": (lambda c: {**c, "feature_tap": "act"}, r"'act' is .*, expected \[b, f\]"),
    "attention": (lambda c: {**c, "attention_taps": ["act"]}, r"expected \[b, heads, n, n\]"),
    "grids": (lambda c: {**c, "grids": {"7": [1, 2, 2]}}, "not as many tokens"),
    "bomb": (
        lambda c: at(c, "nodes", 1, {"op": "mul.Tensor", "args": [[0], 10**12]}),
        "a list in place of a number or an array",
    ),
    "large": (
        lambda c: at(c, "nodes", 1, {"op": "repeat.default", "args": [{"node": 0}, [10**6] * 4]}),
        "node 1, repeat.default in the network itself: ",
    ),
    "range": (
        lambda c: at(c, "nodes", 1, {"op": "arange.start_step", "args": [0, 1e15, 0.5]}),
        r"a range from 0 to 1\d+\.0 by 0\.5",
    ),
}


def at(said: dict, *path) -> dict:
    """The content with another value at a path; the last of the path is the value."""
    *keys, last, value = path
    node = said
    for key in keys:
        node = node[key]
    node[last] = value
    return said


@pytest.mark.parametrize("fault", FAULTS)
def test_a_malformed_graph_is_refused_in_words(fault):
    change, message = FAULTS[fault]
    with pytest.raises(ValueError, match=message):
        read(change(copy.deepcopy(content())))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    folder = kept.folder("awkward", tmp_path)
    tensors = {k: np.array(v) for k, v in weights.read_tensors(folder / weights.TENSORS).items()}
    for change, message in {
        "missing": r"1 missing from the file: head\.weight",
        "constant": "missing from the file: order",
        "more": "1 in the file but not in the network: more",
        "shape": r"1 of another shape: head\.weight",
        "kind": r"order: got float32 .*, expected int32 \(8,\)",
        "nan": r"head\.weight holds 40 of 40 numbers that are NaN",
    }.items():
        held = dict(tensors)
        if change == "missing":
            del held["head.weight"]
        elif change == "constant":
            del held["order"]
        elif change == "more":
            held["more"] = np.zeros(2, np.float32)
        elif change == "kind":
            held["order"] = held["order"].astype(np.float32)
        else:
            held["head.weight"] = (
                held["head.weight"].T if change == "shape" else held["head.weight"] * np.nan
            )
        weights.write_tensors(folder / weights.TENSORS, held)
        with pytest.raises(ValueError, match=message):
            models.load(str(folder))


def mutated(said, rng: np.random.Generator):
    """JSON with one to three places changed to something else."""
    said = copy.deepcopy(said)
    strange = [None, True, -1, 0, 1, 3, 10**12, 1e300, "x", [], {}, [[]], {"node": 2}, {"x": 1}]
    for _ in range(int(rng.integers(1, 4))):
        node, steps = said, int(rng.integers(1, 6))
        for _ in range(steps):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = keys[int(rng.integers(len(keys)))]
            deeper = isinstance(node[key], dict | list) and len(node[key])
            if deeper and rng.random() < 0.85:
                node = node[key]
                continue
            kind = int(rng.integers(3))
            if kind == 0:
                del node[key]
            elif kind == 1:
                node[key] = copy.deepcopy(strange[int(rng.integers(len(strange)))])
            else:
                node[key] = copy.deepcopy(node[keys[int(rng.integers(len(keys)))]])
            break
    return said


def test_mutated_graphs_are_read_or_refused_in_one_line(tmp_path):
    folder = kept.folder("awkward", tmp_path)
    file, rng = folder / "graph.json", np.random.default_rng(0)
    whole, outcomes = json.loads(file.read_text()), collections.Counter()
    for _ in range(300):
        file.write_text(json.dumps(mutated(whole, rng)))
        outcomes[mutated_files.outcome(lambda _: models.load(str(folder)), folder)] += 1
    assert outcomes.keys() == {"read", "refused"}, outcomes
    assert outcomes["refused"] > 150
    assert outcomes["read"] > 10


@pytest.mark.whole
@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        ("rfs", "efficientnet"),
        ("background", "convnext"),
        ("saliency", "convnext"),
        ("linear_probe", "swin"),
    ],
)
def test_experiments_run_on_exported_networks_without_torch(
    experiment, name, tmp_path, monkeypatch
):
    for package in ("torch", "timm"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it raises
    config = config_of(experiment)
    config.models, config.head = (str(kept.folder(name, tmp_path)),), "probe"
    config.data.scenes.per_class, config.statistics.resamples = 2, 50
    if experiment == "linear_probe":
        config.probe.tap = "layers.0.blocks.1"
    config.cache = str(tmp_path / "cache")
    if experiment == "rfs":
        config.noise.trials, config.noise.sigmas = 1, (0.3,)
    if experiment == "saliency":
        config.saliency.methods = ("input_gradient",)  # finetuning has gradcam
        config.saliency.draws = 1
    run, results = run_in(tmp_path / "run", config)
    assert results is not None
    assert (run.path / "report.html").stat().st_size > 10_000


@pytest.mark.whole
@pytest.mark.parametrize("name", ["efficientnet", "swin"])  # whose second derivatives compile soon
def test_exported_networks_are_finetuned_without_torch(name, tmp_path, monkeypatch):
    for package in ("torch", "timm"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it raises
    monkeypatch.setattr(jax, "jit", QUICKLY)
    monkeypatch.setattr(finetune_cases, "CLASSES", tuple("abcde"))
    monkeypatch.setattr(finetune.Experiment, "report", finetune_cases.no_report)
    for split, per_class in (("data/train", 7), ("data/test", 3), ("shifted/test", 3)):
        finetune_cases.draw(tmp_path / split, split[0] + split[-2], per_class, size=24)
    options = {"models": (str(kept.folder(name, tmp_path)),), "noise.sigmas": (0.3,)}
    options |= {"evaluate.method": "gradcam", "evaluate.alphas": ()}
    options |= {"variants": ("energy_swap",), "train.trained": "", "train.epochs": 1}
    config = finetune_cases.config(tmp_path, **options)
    run = finetune_cases.run_in(tmp_path / "run", config)
    before = weights.read_tensors(tmp_path / name / weights.TENSORS)
    (card,) = (card for card in run.read_json("networks.json") if "last" in card)
    model, variables = models.load(card["last"])
    after, facts = exported.export(variables, model), exported.graph_of(model).tensors
    moved = {key for key, value in before.items() if not np.array_equal(value, after[key])}
    assert moved
    assert moved <= {key for key, fact in facts.items() if fact.trained}


def test_statistics_that_are_constants_do_not_drift(loaded):
    context, _ = asked(("a", "b"), batch_norm="drifting", recipe="study")
    with pytest.raises(ValueError, match=r"efficientnet is an exported network, .*bn1, \.\.\.\)"):
        probe.check(loaded("efficientnet")[0], context)
    probe.check(loaded("swin")[0], context)


def test_features_of_another_tap_are_its_mean(loaded):
    model, variables = loaded("swin")
    other = _features.at(model, "layers.0.blocks.1")
    assert other.settings == ("features=layers.0.blocks.1",)
    images = jnp.asarray(kept.pixels(model.image_size))
    values = QUICKLY(other.forward)(variables, images, {})[1]
    wanted = np.asarray(values["layers.0.blocks.1"]).mean((1, 2))
    np.testing.assert_allclose(values[other.feature_tap], wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"no tap named layers\.9; this model has: .*layers\.0"):
        probe.check(model, asked(("a", "b"), tap="layers.9")[0])


def test_what_torch_is_for_is_said_where_it_is_missing(tmp_path, monkeypatch):
    """A folder of timm that no family reads."""
    monkeypatch.setitem(sys.modules, "torch", None)
    tensors = {"stem.0.weight": np.zeros((2, 3, 4, 4), np.float32)}
    config = weights.Config(architecture="convnext_atto", num_classes=3)
    weights.write_folder(tmp_path, tensors, config)
    with pytest.raises(ValueError, match=r"no known family .* torch is needed to export") as caught:
        models.load(str(tmp_path))
    assert "pip install torch timm" in str(caught.value)


def test_origin_is_kept(tmp_path):
    said = json.loads((kept.folder("awkward", tmp_path) / "graph.json").read_text())
    assert graph_file.read(said).origin == "Awkward"
    assert dataclasses.asdict(graph_file.read(said))["image_size"] == (12, 16)
