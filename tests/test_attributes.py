import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from rival_jax import data, models
from rival_jax.changes import CHANGES
from rival_jax.experiments import runner
from rival_jax.experiments.attributes import page as attributes_page
from rival_jax.experiments.attributes import parts as _parts
from rival_jax.experiments.attributes import study as attributes
from rival_jax.experiments.subject import Subject
from rival_jax.images import Images, per_image
from rival_jax.named import Axis
from rival_jax.report.document import write_document
from rival_jax.report.grids import heat
from rival_jax.report.results import Results
from rival_jax.runtime.results import Run, read_rows
from rival_jax.types import Geometry, Model
from tests.damaged_runs import NAMES, renamed, reported
from tests.helpers import REFERENCE, config_of, frozen, golden, save_tiny_vit

pytestmark = pytest.mark.usefixtures("drawn_once")


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
    runner.run(attributes.Experiment(config, quiet()), run, quiet())
    return run, Results.read(run.path)


def over_classes(results, measure, **wanted):
    """Rows of a measure over the classes, of no difference."""
    return results.where(measure=measure, contrast="", **{"class": None}, **wanted)


@pytest.fixture
def no_figures(monkeypatch):
    """Results alone: drawing takes longer than measuring."""
    monkeypatch.setattr(runner, "write_document", lambda *a: None)


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


def found_of(changes, labels, classes="abc"):
    """Images as rows give them: `changes` are of [n, models, attributes, (correct, probability)],
    and under "other" the probability of the lender's class as they are and under swap."""
    other = changes.pop("other", None)
    n, models, parts, _ = next(iter(changes.values())).shape
    sizes = {"example": n, "model": models, "attribute": parts}
    axes = [
        Axis((field,), tuple((f"{field[0]}{i}",) for i in range(k))) for field, k in sizes.items()
    ]
    axes.append(Axis(("change",), tuple((name,) for name in changes)))
    both = np.moveaxis(np.stack(list(changes.values()), 3), -1, 0)
    lent = np.full(both[0].shape, np.nan)
    for place, name in enumerate(("clean", "swap") if other is not None else ()):
        lent[..., list(changes).index(name)] = other[..., place]
    columns = zip(attributes.STUDY.columns, (*both, lent), strict=True)
    read = {name: per_image(values, axes) for name, values in columns}
    return Images(attributes.paired(read), labels, tuple(classes))


def test_golden_pooled_table(shared):
    stored = golden(shared, "07b_attr_importance.npz")
    right, count = np.moveaxis(stored["correct_and_count"], -1, 0)  # [a, m, 2, classes]
    probability = stored["probs_padded"]
    most = np.arange(probability.shape[-1])
    correct = np.where(most < right[..., None], 1.0, 0.0)
    correct[most >= count[..., None]] = np.nan
    both = np.stack([correct, probability], axis=-1)  # [a, m, 2, classes, most, 2]
    both = both.reshape(*both.shape[:3], -1, 2).transpose(2, 3, 1, 0, 4)
    labels = np.repeat(np.arange(10), len(most))
    changes = {"clean": both[0], "grey": both[1], "control_0": both[1]}
    found = found_of(changes, labels, "0123456789")
    results = attributes.STUDY.results(found, "images", resamples=20)
    for measure, name in (("accuracy_drop", "acc"), ("probability_drop", "prob")):
        chosen = over_classes(results, measure)
        look = {"panel": "measure", "named": ("", "", ""), "scale": 100.0, "means": True}
        drawn = heat(chosen, "attribute", "model", **look)
        want = stored[f"heatmap_{name}_drop"]
        table = np.reshape([line[-1] for line in drawn.lines], want.shape)
        np.testing.assert_allclose(table, want, atol=1e-4)  # percent, float32


def test_pairs_are_every_attribute_that_an_image_has(examples):
    pairs = _parts.find(examples, examples.attributes, seed=0)
    got = np.zeros_like(examples.attribute_labels)
    column = np.array([examples.attributes.index(name) for name in pairs.names])[pairs.attribute]
    got[pairs.image, column] = 1
    np.testing.assert_array_equal(got, examples.attribute_labels)
    able = pairs.lender >= 0
    lenders = pairs.lender[able], column[able]
    assert (examples.attribute_labels[lenders] == 1).all()
    assert (examples.labels[pairs.lender[able]] != examples.labels[pairs.image[able]]).all()
    only = _parts.find(examples, ("wheels", "beak"), seed=0)
    assert only.names == ("wheels", "beak")
    assert set(only.attribute.tolist()) == {0, 1}


@pytest.mark.parametrize("size", [1, 4, 7, 100])
@pytest.mark.parametrize("swap", [False, True])
def test_batches_hold_every_pair_once_with_its_own_pixels(examples, size, swap):
    names = ("wheels", "ears", "metallic", "tail")
    pairs = _parts.find(examples, names, seed=0)
    seen = []
    for batch in _parts.batches(pairs, size, swap=swap):
        assert len(batch["index"]) == size
        for k in np.flatnonzero(batch["index"] >= 0):
            pair = batch["index"][k]
            seen.append(pair)
            item = examples.example(int(pairs.image[pair]))
            column = examples.attributes.index(pairs.names[pairs.attribute[pair]])
            np.testing.assert_allclose(batch["image"][k], item["image"] / 255, atol=1e-6)
            np.testing.assert_allclose(
                batch["part"][k], item["attribute_masks"][column] / 255, atol=1e-6
            )
            assert batch["attribute"][k] == pairs.attribute[pair]
            lender = pairs.lender[pair] if swap and pairs.lender[pair] >= 0 else pairs.image[pair]
            other = examples.example(int(lender))
            np.testing.assert_allclose(batch["other_image"][k], other["image"] / 255, atol=1e-6)
            part = other["attribute_masks"][column] / 255
            np.testing.assert_allclose(batch["other_part"][k], part, atol=1e-6)
    assert sorted(seen) == list(range(len(pairs.image)))


def test_steps_hold_every_draw_once_and_units_are_of_one_size():
    for draws in (1, 3, 4, 9):
        found = _parts.all_steps(draws)
        assert {len(steps) for steps in found.values()} == {3}
        control = CHANGES.index("control")
        drawn = {d for steps in found.values() for c, d in steps if c == control}
        assert drawn == set(range(draws))


def test_rows_and_results(done):
    run, results = done
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
    got = over_classes(results, "probability_excess").one(attribute="wheels")
    assert got["estimate"] == pytest.approx(want, abs=1e-6)
    assert (got["images"], got["classes"]) == (len(labels), len(excess))
    for label, values in excess.items():
        wanted = {"measure": "probability_excess", "attribute": "wheels", "class": label}
        assert results.one(**wanted)["estimate"] == pytest.approx(np.mean(values), abs=1e-6)
    area = results.one(measure="area", attribute="wheels")["estimate"]
    assert area == pytest.approx(np.mean([r["area"] for r in wheels if r["change"] == "grey"]))
    whole = [r["attribute"] for r in results.where(measure="area") if r["estimate"] > 0.9999]
    for row in over_classes(results, "probability_excess", attribute=whole):
        assert abs(row["estimate"]) < 1e-5  # its control is itself
    assert whole
    for name in ("ranks", "models", "classes", "fig3", "photos"):
        for ending in ("png", "svg", "csv"):
            assert (run.path / "figures" / f"{name}.{ending}").stat().st_size > 0
    assert "wheels" in (run.path / "report.html").read_text()


def test_what_labels_tell_is_in_the_results(done):
    run, results = done
    files = {name: next(run.path.rglob(f"{name}-*")) for name in ("labels", "classifier")}
    correct = read_rows(files["classifier"]).column("correct").to_numpy()
    got = results.one(measure="classifier_accuracy")
    assert got["estimate"] == pytest.approx(correct.mean())
    assert 0 < got["low"] <= got["estimate"]
    rows = read_rows(files["labels"]).to_pylist()
    cars = [row["wheels"] for row in rows if row["label"] == "car"]
    share = results.one(measure="label_share", attribute="wheels", **{"class": "car"})
    assert (share["estimate"], share["images"]) == (np.mean(cars), len(cars))
    both = [(row["wheels"], row["metallic"]) for row in rows]
    want = np.corrcoef(np.array(both).T)[0, 1]
    wanted = {"attribute": "wheels", "other_attribute": "metallic"}
    assert results.one(measure="label_correlation", **wanted)["estimate"] == pytest.approx(want)


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
    run, _ = done
    before, numbers = row_bytes(run.path), (run.path / "summary.csv").read_bytes()
    (gone,) = (run.path / "rows").rglob("controls_1*")
    gone.unlink()
    config = tiny(network, run.path.parent / "cache", **{"ablation.draws": 4})
    run_in(run.path, config)
    assert row_bytes(run.path) == before
    assert (run.path / "summary.csv").read_bytes() == numbers


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
    _, results = run_in(tmp_path / "run", config)
    excess = over_classes(results, "probability_excess")
    assert excess.ranked("attribute")[0] == "wheels", excess.rows
    assert excess.one(attribute="wheels")["low"] > 0.1
    # What is long is so as a whole, wheels included: without the control it would look decisive.
    assert over_classes(results, "probability_drop").one(attribute="long")["estimate"] > 0.3
    assert abs(excess.one(attribute="long")["estimate"]) < 0.05


def test_attribute_labels_tell_classes_apart(examples):
    train = data.load("scenes", "", "train", size=32, per_class=8, attributes=True)
    train = data.Examples(train, Geometry((32, 32)), attributes=True)
    found = attributes.classified(train, examples)
    assert np.mean(found["correct"]) >= 0.8
    rows = attributes.labels(train)
    np.testing.assert_array_equal(rows["wheels"], train.attribute_labels[:, 2])


LABELS = np.array([0] * 6 + [1] * 3 + [2] * 3)


def forged():
    """Two models, one attribute that class c lacks."""
    rng = np.random.default_rng(0)
    names = ("clean", "grey", "control_0", "control_1", "swap", "other")
    changes = {name: rng.random((12, 2, 1, 2)) for name in names}
    for values in changes.values():
        values[9:] = np.nan
    return changes


@pytest.mark.parametrize("pooling", ["classes", "images"])
def test_pooling_is_a_named_value(pooling):
    changes = forged()
    clean, grey, *controls, swap, _ = (values[:9, 1, 0, 1] for values in changes.values())
    lent = changes["other"][:9, 1, 0]
    results = attributes.STUDY.results(found_of(changes, LABELS), pooling, resamples=20)
    for measure, values in {
        "probability_drop": clean - grey,
        "control_probability_drop": clean - np.mean(controls, 0),
        "probability_excess": np.mean(controls, 0) - grey,
        "swap_probability_drop": clean - swap,
        "swap_beyond_grey": grey - swap,
        "swap_lender_rise": lent[:, 1] - lent[:, 0],
    }.items():
        means = values[:6].mean(), values[6:].mean()
        want = values.mean() if pooling == "images" else np.mean(means)
        row = over_classes(results, measure).one(model="m1")
        assert row["estimate"] == pytest.approx(want, abs=1e-6)
        assert (row["images"], row["classes"]) == (9, 2)
        assert row["low"] <= row["estimate"] <= row["high"]
        classes = results.where(measure=measure, model="m1", **{"class": ["a", "b", "c"]})
        if not measure.startswith("swap"):
            got = [(row["class"], row["images"], row["estimate"]) for row in classes]
            assert [g[:2] for g in got] == [("a", 6), ("b", 3)]
            np.testing.assert_allclose([g[2] for g in got], means, atol=1e-6)
    excess = over_classes(results, "probability_excess")
    difference = results.one(measure="probability_excess", contrast="minus m0")
    want = excess.one(model="m1")["estimate"] - excess.one(model="m0")["estimate"]
    assert difference["model"] == "m1"
    assert difference["estimate"] == pytest.approx(want, abs=1e-6)


def test_a_control_that_is_the_part_but_for_rounding_costs_nothing_more():
    changes = forged()
    changes["control_0"] = changes["grey"] + 5e-7
    changes["control_1"] = changes["grey"] + 5e-7
    results = attributes.STUDY.results(found_of(changes, LABELS), "classes", resamples=20)
    assert {row["estimate"] for row in results.where(measure="probability_excess")} == {0.0}


@pytest.mark.parametrize("left_out", [False, True])
def test_without_a_lender_there_is_no_swap(left_out):
    changes = forged()
    changes["swap"][:] = changes["other"][..., 1] = np.nan
    if left_out:
        del changes["swap"], changes["other"]
    results = attributes.STUDY.results(found_of(changes, LABELS), "classes", resamples=20)
    assert not [name for name in results.of("measure") if name.startswith("swap")]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ablation.attributes", ("wheel",), "config.ablation.attributes: no 'wheel'; did you mean"),
        ("ablation.background", "white", "config.ablation.background: no 'white'"),
        ("ablation.pooling", "class", "config.ablation.pooling: no 'class'"),
        ("ablation.draws", 0, "config.ablation.draws: got 0, expected a whole number from 1 up"),
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
    runner.dry_run(attributes.Experiment(tiny(network, tmp_path), console), console)
    assert "attributes of 20 images x 6 = " in console.file.getvalue()


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
        files = {name: run.path / path for name, path in run.read_json("units.json").items()}
        classes, options = run.read_json("data.json")["classes"], run.config["statistics"]
        results = attributes.results_of(files, classes, "classes", **options)
        results.write(run.path)
        picture = dict.fromkeys(NAMES, np.zeros((8, 8, 3), np.uint8))
        shown = lambda: [("$_", "p", picture)]  # noqa: E731
        write_document(
            run, console, attributes_page.page(frozen(config_of("attributes")), results, shown)
        )

    assert "\\u202eevil" in reported(folder, write)
