import functools
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from rival_jax import data, metrics, models
from rival_jax.experiments import _attribute_labels, _parts, attributes
from rival_jax.experiments._parts import CHANGES, Plan
from rival_jax.experiments._subject import Subject
from rival_jax.report import attributes as numbers
from rival_jax.report import attributes_page
from rival_jax.runtime.results import Run, read_rows
from rival_jax.types import Geometry, Model
from tests.damaged_runs import NAMES, renamed, reported
from tests.helpers import EXACT, REFERENCE, config_of, golden, nhwc, save_tiny_vit

pytestmark = pytest.mark.usefixtures("drawn_once")
KEY = jax.random.key(0)
KEPT = Plan(grey=0.5, black_background=False, binary_mask=False)
change = jax.jit(functools.partial(_parts.changed, KEPT))


def quiet():
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A random ViT for scenes of 32 pixels."""
    folder = tmp_path_factory.mktemp("networks") / "tiny"
    return str(save_tiny_vit(folder, classes=10, size=32))


def tiny(network, cache, **changes):
    """A config of attributes that takes seconds: 20 scenes of 32 pixels."""
    config = config_of("attributes")
    config.models = (network,)
    config.statistics.resamples = 50
    config.cache = str(cache)
    with config.unlocked():
        config.data.scenes = {"per_class": 2, "size": 32, "background_correlation": 0.0}
        config.update_from_flattened_dict(changes)
    return config


def run_in(folder, config):
    run = Run(folder, config.to_dict())
    run.log("start", argv=[])
    return run, attributes.run(config, run, quiet())


@pytest.fixture
def no_figures(monkeypatch):
    """Summaries alone: drawing takes longer than measuring."""
    monkeypatch.setattr(attributes_page, "write_document", lambda *a: None)
    monkeypatch.setattr(_parts, "sheet", lambda *a: [])


def row_bytes(folder):
    return {p.name: p.read_bytes() for p in sorted((folder / "rows").rglob("*.parquet"))}


@pytest.fixture(scope="module")
def done(drawn_once, network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("attributes")
    return run_in(folder / "run", tiny(network, folder / "cache", **{"ablation.draws": 4}))


@pytest.fixture(scope="module")
def examples(drawn_once):
    """Ten scenes with attribute masks, one of each class."""
    source = data.load("scenes", "", "test", size=32, per_class=1, attributes=True)
    return data.Examples(source, Geometry((32, 32)), attributes=True)


@pytest.mark.parametrize("black", [False, True])
def test_golden_greyed_attributes_and_what_they_cost(shared, black):
    stored = golden(shared, "07a_ablation.npz")
    suffix = "_fgonly" if black else ""
    image, part = nhwc(stored["images"]), stored["attr_mask"][:, 0]
    plan = Plan(0.5, black, False)
    show = jax.jit(functools.partial(_parts.changed, plan))
    made = np.empty((2, *image.shape), np.float32)
    for channel, mask in enumerate(np.moveaxis(stored["masks"], 1, 0)):  # one mask differs in them
        batch = {"image": image, "mask": mask, "part": part, "other": image}
        batch |= {"other_part": part, "noise_id": np.zeros(6, np.uint32)}
        batch["attribute"] = np.zeros(6, np.int32)
        for step in range(2):
            made[step, ..., channel] = show(batch, KEY, step, 0)[..., channel]
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


def test_golden_pooled_table(shared):
    stored = golden(shared, "07b_attr_importance.npz")
    right, count = np.moveaxis(stored["correct_and_count"], -1, 0)  # [a, m, 2, classes]
    most = count.max()
    answers = np.where(np.arange(most) < right[..., None], 1.0, 0.0)
    answers[np.arange(most) >= count[..., None]] = np.nan
    for values, name in ((answers, "acc"), (stored["probs_padded"], "prob")):
        flat = values.reshape(*values.shape[:3], -1)
        table = numbers.pooled_drop(flat[:, :, 0], flat[:, :, 1])
        want = stored[f"heatmap_{name}_drop"]
        np.testing.assert_allclose(numbers.heat_map(table), want, atol=1e-4)  # percent, float32


def test_pairs_are_every_attribute_that_an_image_has(examples):
    pairs = _parts.find(examples, examples.attributes, seed=0)
    got = np.zeros_like(examples.attribute_labels)
    got[pairs.image, pairs.attribute] = 1
    np.testing.assert_array_equal(got, examples.attribute_labels)
    able = pairs.lender >= 0
    lenders = pairs.lender[able], pairs.attribute[able]
    assert (examples.attribute_labels[lenders] == 1).all()
    assert (examples.labels[pairs.lender[able]] != examples.labels[pairs.image[able]]).all()
    only = _parts.find(examples, ("wheels", "beak"), seed=0)
    assert set(only.attribute.tolist()) == {0, 1}


@pytest.mark.parametrize("size", [1, 4, 7, 100])
@pytest.mark.parametrize("swap", [False, True])
def test_batches_hold_every_pair_once_with_its_own_pixels(examples, size, swap):
    names = ("wheels", "ears", "metallic", "tail")
    pairs = _parts.find(examples, names, seed=0)
    seen = []
    for batch in _parts.batches(examples, names, pairs, size, swap=swap):
        assert len(batch["index"]) == size
        for k in np.flatnonzero(batch["index"] >= 0):
            pair = batch["index"][k]
            seen.append(pair)
            item = examples.example(int(pairs.image[pair]))
            column = examples.attributes.index(names[pairs.attribute[pair]])
            np.testing.assert_allclose(batch["image"][k], item["image"] / 255, atol=1e-6)
            np.testing.assert_allclose(
                batch["part"][k], item["attribute_masks"][column] / 255, atol=1e-6
            )
            assert batch["attribute"][k] == pairs.attribute[pair]
            lender = pairs.lender[pair] if swap and pairs.lender[pair] >= 0 else pairs.image[pair]
            other = examples.example(int(lender))
            np.testing.assert_allclose(batch["other"][k], other["image"] / 255, atol=1e-6)
            part = other["attribute_masks"][column] / 255
            np.testing.assert_allclose(batch["other_part"][k], part, atol=1e-6)
    assert sorted(seen) == list(range(len(pairs.image)))


def pair_batch():
    image, other = np.random.default_rng(0).random((2, 2, 16, 16, 3)).astype(np.float32)
    mask, part, other_part = np.zeros((3, 2, 16, 16), np.float32)
    mask[:, 2:14, 2:14], part[:, 3:6, 3:9], other_part[:, 8:14, 1:4] = 1, 1, 1
    return {
        "image": image, "other": other, "mask": mask, "part": part, "other_part": other_part,
        "noise_id": np.arange(2, dtype=np.uint32), "attribute": np.zeros(2, np.int32),
    }  # fmt: skip


def test_the_control_is_as_large_and_in_the_object_and_of_the_draw():
    batch = pair_batch()
    regions = []
    for draw in range(20):
        got = np.asarray(change(batch, KEY, CHANGES.index("control"), draw))
        region = np.abs(got - batch["image"]).max(-1) > 0
        assert (region <= (batch["mask"] > 0)).all()
        assert (region.sum((1, 2)) >= 18).all()
        assert (region.sum((1, 2)) <= 26).all()  # the last ring is partly grey
        regions.append(region)
    assert len({r[0].tobytes() for r in regions}) > 10
    assert (regions[0][0] != regions[0][1]).any()  # another image, another region
    batch["attribute"] = batch["attribute"] + 1
    other = np.asarray(change(batch, KEY, CHANGES.index("control"), 0))
    assert ((np.abs(other - batch["image"]).max(-1) > 0) != regions[0]).any()


def test_a_swap_shows_the_lenders_part_in_the_parts_place():
    batch = pair_batch()
    batch["other"][:] = 0.1
    batch["other"][:, 8:14, 1:4] = 0.9
    got = np.asarray(change(batch, KEY, CHANGES.index("swap"), 0))
    np.testing.assert_allclose(got[:, 3:6, 3:9], 0.9, atol=1e-5)
    outside = batch["part"] == 0
    np.testing.assert_array_equal(got[outside], batch["image"][outside])


def test_steps_hold_every_draw_once_and_units_are_of_one_size():
    for draws in (1, 3, 4, 9):
        found = attributes.all_steps(draws)
        assert {len(steps) for steps in found.values()} == {3}
        control = CHANGES.index("control")
        drawn = {d for steps in found.values() for c, d in steps if c == control}
        assert drawn == set(range(draws))


def test_rows_and_summary(done):
    run, summary = done
    rows = [r for p in (run.path / "rows" / "tiny").glob("*") for r in read_rows(p).to_pylist()]
    changes = {r["change"] for r in rows}
    assert changes == {"clean", "grey", "swap", *(f"control_{d}" for d in range(4))}
    wheels = [r for r in rows if r["attribute"] == "wheels"]
    value = {(r["example"], r["change"]): r["probability"] for r in wheels}
    labels = {r["example"]: r["label"] for r in wheels}
    control = lambda e: np.mean([value[e, f"control_{d}"] for d in range(4)])  # noqa: E731
    excess = {c: [] for c in labels.values()}
    for example, label in labels.items():
        excess[label].append(control(example) - value[example, "grey"])
    want = np.mean([np.mean(v) for v in excess.values()])
    entry = summary["attributes"]["wheels"]
    got = entry["models"]["tiny"]["probability_excess"]
    assert got["estimate"] == pytest.approx(want, abs=1e-6)
    assert entry["images"] == len(labels)
    for label, values in excess.items():
        one = entry["models"]["tiny"]["by_class"][label]["probability_excess"]["estimate"]
        assert one == pytest.approx(np.mean(values), abs=1e-6)
    whole = [e for e in summary["attributes"].values() if e["area"] > 0.9999]
    for entry in whole:  # its control is itself
        assert abs(entry["models"]["tiny"]["probability_excess"]["estimate"]) < 1e-5
    assert whole
    for name in ("ranks", "models", "classes", "fig3", "photos"):
        for ending in ("png", "svg", "csv"):
            assert (run.path / "figures" / f"{name}.{ending}").stat().st_size > 0
    assert "wheels" in (run.path / "report.html").read_text()


def test_the_rows_are_of_greyed_parts(done, network):
    """The photos with their tails greyed, scored by hand, are the rows."""
    run, _ = done
    subject = Subject(tiny(network, run.path.parent / "cache"), quiet())
    loaded = subject.load(network)
    examples = subject.examples(loaded.geometry, attributes=True)
    column = examples.attributes.index("tail")
    having = np.flatnonzero(examples.attribute_labels[:, column])
    items = [examples.example(int(i)) for i in having]
    image, part = (np.stack(x) / np.float32(255) for x in (
        [item["image"] for item in items], [item["attribute_masks"][column] for item in items]
    ))  # fmt: skip
    shown = jnp.asarray(image * (1 - part[..., None]) + 0.5 * part[..., None])
    logits, _ = jax.jit(functools.partial(loaded.model.forward, added={}))(loaded.variables, shown)
    want = np.asarray(jax.nn.softmax(logits))[np.arange(len(having)), examples.labels[having]]
    rows = [
        row
        for file in (run.path / "rows" / "tiny").glob("parts*")
        for row in read_rows(file).to_pylist()
        if (row["attribute"], row["change"]) == ("tail", "grey")
    ]
    assert [row["example"] for row in rows] == [examples.names[i] for i in having]
    np.testing.assert_allclose([row["probability"] for row in rows], want, atol=REFERENCE)


def test_a_deleted_unit_comes_back_the_same(done, network, no_figures):
    run, summary = done
    before = row_bytes(run.path)
    (gone,) = (run.path / "rows").rglob("controls_1*")
    gone.unlink()
    config = tiny(network, run.path.parent / "cache", **{"ablation.draws": 4})
    _, again = run_in(run.path, config)
    assert row_bytes(run.path) == before
    assert json.dumps(again, default=str) == json.dumps(summary, default=str)


def test_rows_do_not_depend_on_the_batch_size(done, network, tmp_path, no_figures):
    config = tiny(network, tmp_path, **{"ablation.draws": 4, "batch_size": 5})
    other, _ = run_in(tmp_path / "run", config)
    keys = ("attribute", "change", "example")

    def values(folder):
        files = (folder / "rows" / "tiny").glob("*")
        rows = [row for file in files for row in read_rows(file).to_pylist()]
        return {tuple(row[k] for k in keys): row["probability"] for row in rows}

    want, got = values(done[0].path), values(other.path)
    assert want.keys() == got.keys()
    np.testing.assert_allclose([got[k] for k in want], list(want.values()), atol=REFERENCE)


class Template:
    """A classifier that looks at one part alone: the class of the nearest of the photos it knows,
    compared where that photo has the part (everywhere, if it lacks it)."""

    def __init__(self, examples, part):
        items = [examples.example(i) for i in range(len(examples))]
        column = examples.attributes.index(part)
        masks = np.stack([item["attribute_masks"][column] for item in items]) / np.float32(255)
        masks[masks.max((1, 2)) < 0.5] = 1
        photos = np.stack([item["image"] for item in items]) / np.float32(255)
        self.variables = {"params": {"photos": jnp.asarray(photos), "masks": jnp.asarray(masks)}}
        self.labels = jnp.asarray(examples.labels)

    def forward(self, variables, images, added):
        photos, masks = variables["params"]["photos"], variables["params"]["masks"]
        gap = ((images[:, None] - photos) ** 2).mean(-1)  # [b, n, h, w]
        distance = (gap * masks).sum((-2, -1)) / masks.sum((-2, -1))
        nearest = jax.ops.segment_min(distance.T, self.labels, num_segments=10).T
        return -1000 * nearest, {"features": nearest}


def test_a_planted_decisive_part_ranks_first(network, tmp_path, monkeypatch, no_figures):
    """Ground truth: the decision hinges on the wheels; other attributes hold them too."""
    config = tiny(network, tmp_path, **{"ablation.draws": 6})
    with config.unlocked():
        config.data.scenes.per_class = 3
    subject = Subject(config, quiet())
    shown = subject.examples(Geometry((32, 32), "squash", "bilinear"), attributes=True)
    template = Template(shown, "wheels")
    init = lambda key: template.variables  # noqa: E731
    planted = Model("planted", template.forward, init, 10, "none", image_size=(32, 32))
    monkeypatch.setattr(models, "load", lambda *a, **k: (planted, template.variables))
    _, summary = run_in(tmp_path / "run", config)
    ranking = summary["ranking"]["planted"]
    entries = {name: summary["attributes"][name]["models"]["planted"] for name in ranking}
    assert ranking[0] == "wheels", {n: e["probability_excess"] for n, e in entries.items()}
    assert entries["wheels"]["probability_excess"]["low"] > 0.1
    # What is long is so as a whole, wheels included: without the control it would look decisive.
    assert entries["long"]["probability_drop"]["estimate"] > 0.3
    assert abs(entries["long"]["probability_excess"]["estimate"]) < 0.05


def test_attribute_labels_tell_classes_apart(examples):
    train = data.load("scenes", "", "train", size=32, per_class=8, attributes=True)
    train = data.Examples(train, Geometry((32, 32)), attributes=True)
    found = _attribute_labels.classified(train, examples)
    assert np.mean(found["correct"]) >= 0.8
    rows = _attribute_labels.labels(train)
    np.testing.assert_array_equal(rows["wheels"], train.attribute_labels[:, 2])


def test_correlations_are_pearsons():
    shown = np.random.default_rng(0).integers(0, 2, (30, 4)).astype(float)
    np.testing.assert_allclose(numbers.correlations(shown), np.corrcoef(shown.T), atol=1e-12)
    shown[:, 2] = 1
    found = numbers.correlations(shown)
    assert np.isnan(found[2]).all()
    assert np.isfinite(found[0, 1])


def forged(n=12):
    rng = np.random.default_rng(0)
    labels = np.array([0] * 6 + [1] * 3 + [2] * 3)
    draw = lambda: rng.random((2, 1, n, 2))  # noqa: E731
    found = numbers.Parts(
        ("m0", "m1"), ("wheels",), ("a", "b", "c"), labels, draw(), draw(), draw(), draw(), draw(),
        rng.random((1, n)),
    )  # fmt: skip
    for values in found[4:9]:
        values[:, 0, 9:] = np.nan  # class c lacks it
    return found


@pytest.mark.parametrize("pooling", ["classes", "images"])
def test_pooling_is_a_named_value(pooling):
    found = forged()
    entry = numbers.summarise(found, pooling=pooling, resamples=20)["attributes"]["wheels"]
    drop = found.clean[1, 0, :9, 1] - found.grey[1, 0, :9, 1]
    want = drop.mean() if pooling == "images" else (drop[:6].mean() + drop[6:].mean()) / 2
    got = entry["models"]["m1"]["probability_drop"]["estimate"]
    assert got == pytest.approx(want, abs=1e-6)
    if pooling == "images":
        pooled = numbers.pooled_drop(found.clean[..., 1], found.grey[..., 1])
        assert 100 * got == pytest.approx(pooled[1, 0], abs=1e-4)
    assert entry["classes"] == {"a": 6, "b": 3}
    assert entry["images"] == 9


def test_without_a_lender_there_is_no_swap():
    found = forged()
    found.swap[:] = np.nan
    entry = numbers.summarise(found, resamples=20)["attributes"]["wheels"]
    assert "swap" not in entry["models"]["m0"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ablation.attributes", ("wheel",), "config.ablation.attributes: no 'wheel'; did you mean"),
        ("ablation.background", "white", "config.ablation.background: no 'white'"),
        ("ablation.pooling", "class", "config.ablation.pooling: no 'class'"),
        ("ablation.draws", 0, "draws 0 from 1 up"),
        ("data.name", "masked_folder", "has no attribute masks"),
    ],
)
def test_bad_values_stop_before_any_work(study, network, tmp_path, key, value, message):
    changes = {key: value}
    if value == "masked_folder":
        changes |= {"data.root": str(study / "data")}
    with pytest.raises(ValueError, match=message):
        run_in(tmp_path / "run", tiny(network, tmp_path, **changes))
    assert not list((tmp_path / "run").rglob("*.parquet"))


def test_dry_run_prints_the_cost_and_runs_nothing(network, tmp_path):
    console = quiet()
    attributes.dry_run(tiny(network, tmp_path), console)
    assert "attributes of 20 images x 6 forwards" in console.file.getvalue()


def test_presets_hold_the_protocols():
    clean, released = (config_of("attributes", preset) for preset in ("clean", "released"))
    assert len(released.ablation.attributes) == 11
    assert tuple(released.ablation.attributes) == data.rival10.ATTRIBUTES[:11]
    assert released.ablation.pooling == "images"
    assert released.data.rival10.attribute_masks == "released"
    assert (clean.ablation.pooling, tuple(clean.ablation.attributes)) == ("classes", ())


def test_names_that_do_harm_are_text_on_page_and_console(done, tmp_path):
    run = done[0]
    words = [*run.read_json("data.json")["classes"], "wheels", "ears"]
    folder = renamed(run.path, tmp_path / "run", dict(zip(words, NAMES, strict=False)))

    def write(run, console):
        rows = sorted((run.path / "rows").rglob("*.parquet"))
        labels = {name: next(run.path.rglob(f"{name}-*")) for name in ("labels", "classifier")}
        paths = [path for path in rows if path not in labels.values()]
        picture = dict.fromkeys(NAMES, np.zeros((8, 8, 3), np.uint8))
        attributes_page.write(run, console, paths, labels, lambda: [("$_", "p", picture)])

    assert "\\u202eevil" in reported(folder, write)
