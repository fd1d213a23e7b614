"""Every example outside the package, run by the command in its docstring, on few pictures.

What a command names but a user would put there ("path/to/model") and sizes are changed, no more.
"""

import csv
import functools
import importlib
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from PIL import Image

from examples import csv_photos, gradcam_pp, mirror, nearest_mean, objective, squeezenet
from rival_jax import data, losses, models, saliency, taps, weights
from rival_jax.data.scenes import CLASSES
from rival_jax.experiments import runner
from rival_jax.objectives import energy
from rival_jax.report.results import Results
from rival_jax.runtime.config_flag import DEFINE_config, check_config_keys
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run, read_rows
from rival_jax.types import Geometry
from tests.helpers import PARITY, QUICKLY, REFERENCE, dry_run, nhwc, quiet, row_bytes, run_in
from tests.multihost import finish, launch, printed
from tests.numpy_networks import convolve, relu

pytestmark = pytest.mark.usefixtures("drawn_once")
ROOT = Path(__file__).parent.parent
RESNET = "--config.models=('scenes/resnet_00',)"
SMALL = {"fires": ((3, 8),), "image_size": (32, 32)}
FEW = ("--config.data.scenes.per_class=1", "--config.statistics.resamples=20")


def commands(module) -> list[list[str]]:
    """The words after `python -m rival_jax.main` of every command in a docstring."""
    found = re.findall(r"^  python -m rival_jax\.main (.*)$", module.__doc__, re.MULTILINE)
    assert found, module
    return [shlex.split(line) for line in found]


@pytest.fixture
def config_of_command(monkeypatch, tmp_path):
    """Gives the config of a command line, as the program reads it; later words count."""
    monkeypatch.chdir(ROOT)

    def config(words, *more):
        given = ["=".join(pair) for pair in dict(w.split("=", 1) for w in (*words, *more)).items()]
        check_config_keys(given)
        monkeypatch.setattr("sys.argv", ["main", *given])
        values = flags.FlagValues()
        DEFINE_config("config", "", values)
        values(["main", *given])
        if "cache" in values.config:
            values.config.cache = str(tmp_path / "cache")
        return values.config

    return config


def rows_of(folder, config, console=None, part=""):
    """Runs a config's experiment: (the run, its rows).

    But for table and page, which are not the example's, and the units without `part` in the name.
    """
    made, run = plugin("experiments", config.experiment), Run(folder, config.to_dict())
    experiment = made.Experiment(config, console or quiet())
    experiment.report = lambda run, files: (Results([]), None)
    if part:
        work = experiment.work
        experiment.work = lambda bench: (unit for unit in work(bench) if part in unit.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "write_document", lambda *a: None)
        runner.run(experiment, run, quiet())
    files = sorted((run.path / "rows").rglob("*.parquet"))
    return run, [row for file in files for row in read_rows(file).to_pylist()]


@functools.cache
def resnet():
    """A bundled network: (model, variables, its forward pass compiled)."""
    model, variables = models.load("scenes/resnet_00")
    return model, variables, QUICKLY(lambda images: model.forward(variables, images, {}))


def pictures(split="test", size=64):
    """Two photos of each class as an experiment's config has them: (names, batch)."""
    source = data.load("scenes", "", split, per_class=2, background_correlation=0.95)
    examples = data.Examples(source, Geometry((size, size)))
    return source.names, next(examples.batches(len(source)))


@functools.cache
def a_network(**changes):
    """A small network of the family, of random weights."""
    fields = {"num_classes": 10, "stem": 6, "fires": ((3, 8), (4, 12)), **changes}
    model = squeezenet.build(name="mine", mean=(0.5,) * 3, std=(0.25,) * 3, **fields)
    return model, model.init(jax.random.key(0))


def saved(folder, **changes) -> str:
    """`a_network` in a folder; the flag that names it."""
    models.save(folder / "mine", *a_network(**changes))
    return f"--config.models=('examples.squeezenet:{folder / 'mine'}',)"


# What CONTRIBUTING.md says.


def test_contributing_names_the_examples_and_what_is_in_them():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*) \| `examples/(\w+)\.py`.* \| (.*) \|$", text, re.MULTILINE)
    files = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert {name for _, name, _ in rows} == files - {"__init__", "mirror_config"}
    for _, name, exports in rows:
        module = importlib.import_module(f"examples.{name}")
        words = re.findall(r"`(\w+)", exports)
        assert words
        assert not [word for word in words if not hasattr(module, word)], name


def test_contributing_names_all_that_the_package_looks_for():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    of = r"module|family|head|experiment|source|plugin\(.*\)"
    asked = rf'(?:(?:get|has)attr|\bmember)\((?:{of}), "(\w+)"'
    found = set()
    for path in (ROOT / "rival_jax").rglob("*.py"):
        others = path.parent.name == "interop" or path.name in ("assumed.py", "exporting.py")
        wanted = asked.replace("module|", "") if others else asked  # modules of flax and torch
        found |= set(re.findall(wanted, path.read_text(encoding="utf-8")))
    assert {"NEEDS", "UNTOLD", "DEFAULTS", "maps_and_logits", "notices", "work"} <= found
    assert not [name for name in found if not re.search(rf"`{name}\b", text)]


def test_an_experiment_takes_150_lines():
    assert len((ROOT / "examples/mirror.py").read_text().splitlines()) <= 150


# A saliency method.


def test_gradcam_pp_by_hand():
    """The paper's formula, place by place; the third derivative is the gradient's cube."""
    rng = np.random.default_rng(0)
    activations, gradients = rng.random((2, 3, 2, 4)), rng.normal(size=(2, 3, 2, 4))
    gradients[0, ..., 1], gradients[1, ..., 2] = 0, -0.5
    want = np.zeros((2, 3, 2))
    for image in range(2):
        for channel in range(4):
            a, g = activations[image, ..., channel], gradients[image, ..., channel]
            weight = 0.0
            for i, j in np.ndindex(3, 2):
                if g[i, j] > 0:
                    alpha = g[i, j] ** 2 / (2 * g[i, j] ** 2 + sum(a.ravel()) * g[i, j] ** 3)
                    weight += alpha * g[i, j]
            want[image] += weight * a
    got = gradcam_pp.gradcam_pp(*map(jnp.float32, (activations, gradients)))
    np.testing.assert_allclose(got, np.maximum(want, 0), rtol=REFERENCE)
    assert np.asarray(got).max() > 0.1
    below = jnp.array([1.0, 1.0, 1.0, -9.0]).reshape(1, 2, 2, 1)  # 2 + 0.5 * -6 is below 0
    np.testing.assert_array_equal(gradcam_pp.gradcam_pp(below, jnp.full((1, 2, 2, 1), 0.5)), 0)


def test_gradcam_pp_of_a_network_whose_gradient_is_known():
    """Behind a mean over places a class's gradient is its weight over their number, everywhere."""
    model, variables = a_network(**SMALL)
    images, labels = (jnp.asarray(pictures(size=32)[1][key][:8]) for key in ("image", "label"))
    score = taps.class_score(labels)

    def explained(variables, images):
        given = ("examples.gradcam_pp", model, variables, images, score)
        logits, values = model.forward(variables, images, {})
        found = saliency.explain_with_logits(*given, scaling="none")
        return *found, logits, values["fire0"]

    got, same, logits, a = map(np.asarray, QUICKLY(explained)(variables, images))
    w = np.asarray(variables["params"]["conv10"]["kernel"])[0, 0][:, labels].T  # [b, c]
    weights_of = np.maximum(w, 0) / (2 + a.mean((1, 2)) * w)
    want = np.maximum((a * weights_of[:, None, None]).sum(-1), 0)
    want = saliency.SCALINGS["none"](jnp.asarray(want), (32, 32))
    np.testing.assert_allclose(got, want, atol=PARITY)
    np.testing.assert_allclose(same, logits, atol=PARITY)
    assert np.asarray(want).max() > 100 * PARITY


def test_gradcam_pp_says_whether_its_gradients_are_differentiated():
    """Head weights move the map through the gradient alone, so held constant they get nothing."""
    model, variables = a_network(**SMALL)
    batch = {key: jnp.asarray(pictures(size=32)[1][key][:2]) for key in ("image", "mask", "label")}
    found = {}
    for through in (True, False):

        def total(params, through=through):
            options = {"method": "examples.gradcam_pp", "through_grads": through}
            return energy.terms(
                model, {"params": params}, batch, classification_weight=0.0, **options
            )["total"].sum()

        found[through] = QUICKLY(jax.grad(total))(variables["params"])["conv10"]["kernel"]
    np.testing.assert_array_equal(found[False], 0)
    assert np.abs(found[True]).max() > 1e-6
    assert np.isfinite(found[True]).all()


def test_the_commands_of_gradcam_pp(config_of_command, tmp_path):
    saliencies, finetuned = commands(gradcam_pp)
    few = (*FEW, "--config.saliency.draws=1")
    config = config_of_command(saliencies, saved(tmp_path, **SMALL), *few)
    assert config.saliency.methods == ("examples.gradcam_pp",)
    _, rows = rows_of(tmp_path / "run", config)
    assert len({row["example"] for row in rows}) == len(rows) == 10
    iou = [row["iou"] for row in rows if not row["flat"]]
    assert len(iou) > 5
    assert all(0 <= value <= 1 for value in iou)
    assert len(set(iou)) > 1
    config = config_of_command(finetuned)
    assert config.loss.method == "examples.gradcam_pp"


# A family of networks.


def test_the_family_against_numpy(tmp_path):
    model, variables = a_network(fires=((3, 8), (4, 8), (4, 12)))
    tensors = squeezenet.export(variables, model)
    for name, value in tensors.items():  # biases are 0 at first
        if name.endswith("bias"):
            tensors[name] = np.random.default_rng(len(name)).normal(size=value.shape) / 4
    variables = squeezenet.convert({n: np.float32(t) for n, t in tensors.items()}, model)
    images = np.random.default_rng(1).random((2, 3, 32, 16))
    logits, got = QUICKLY(model.forward)(variables, jnp.float32(nhwc(images)), {})

    def layer(x, name, **options):
        bias = tensors[f"{name}.bias"][:, None, None]
        return convolve(x, tensors[f"{name}.weight"], **options) + bias

    x = relu(layer((images - 0.5) / 0.25, "conv1", stride=2, pad=1))
    for i in range(3):
        if i != 1:
            x = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max((3, 5))
        x = relu(layer(x, f"fire.{i}.squeeze"))
        sides = (layer(x, f"fire.{i}.expand{n}x{n}", pad=n // 2) for n in (1, 3))
        x = relu(np.concatenate(list(sides), axis=1))
    np.testing.assert_allclose(got["fire2"], nhwc(x), atol=PARITY)
    np.testing.assert_allclose(logits, layer(x, "conv10").mean((2, 3)), atol=PARITY)
    np.testing.assert_allclose(got["features"], x.mean((2, 3)), atol=PARITY)


def test_weights_of_the_family_are_read_back(tmp_path):
    model, variables = a_network(pool_every=1)
    saved(tmp_path, pool_every=1)
    loaded, back = models.load(f"examples.squeezenet:{tmp_path / 'mine'}", image_size=(32, 32))
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    assert loaded.forward == model.forward
    assert (loaded.image_size, loaded.settings) == ((32, 32), ("pool_every=1",))
    with pytest.raises(ValueError, match="no known family"):
        models.load(str(tmp_path / "mine"))


def test_a_lone_file_of_the_family(tmp_path):
    """Its head is called neither "head" nor "fc": `DEFAULTS` keeps it from counting as none."""
    model, variables = a_network()
    tensors = squeezenet.export(variables, model)
    weights.write_tensors(tmp_path / weights.TENSORS, tensors)
    named = f"examples.squeezenet:{tmp_path / weights.TENSORS}"
    loaded, _ = models.load(named)
    assert (loaded.num_classes, loaded.std) == (10, (0.5,) * 3)
    assert "pool_every 2" in loaded.notices[0]
    weights.write_tensors(tmp_path / weights.TENSORS, {**tensors, "stray": np.zeros(1)})
    with pytest.raises(ValueError, match="not in the network: stray"):
        models.load(named)


def test_the_command_of_the_family(config_of_command, tmp_path):
    (words,) = commands(squeezenet)
    config, console = config_of_command(words, saved(tmp_path)), quiet()
    module = plugin("experiments", config.experiment)
    found = module.run(config, Run(tmp_path / "run", config.to_dict()), console)
    assert found["models"][0]["taps"]["fire1"] == (16, 16, 12)
    assert "class maps read 'fire1'" in console.file.getvalue()


# A data set.


def photos_in(folder, change=lambda line: line):
    """Two classes of photos and their boxes in `photos.csv`."""
    lines, rng = [], np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 4)):
        for i in range(2 * count):
            name = f"{split}/{i}.png"
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            picture = rng.integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(picture).save(folder / name)
            box = {"left": 2 + i, "top": 3, "right": 15 + i, "bottom": 12}
            line = {"image": name, "class": ("cat", "ant")[i % 2], "split": split, **box}
            lines.append(change(line))
    with (folder / "photos.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, csv_photos.COLUMNS)
        table.writeheader()
        table.writerows(lines)
    return folder


def test_photos_of_a_csv_file(tmp_path):
    source = data.load("examples.csv_photos", photos_in(tmp_path), "test")
    assert isinstance(source, data.Source)
    assert source.classes == ("ant", "cat")
    assert source.names == [f"test/{i}.png" for i in range(8)]
    assert source.labels.tolist() == [1, 0] * 4
    item = source[3]
    np.testing.assert_array_equal(item["image"], Image.open(tmp_path / "test/3.png"))
    mask = np.zeros((20, 30), np.uint8)
    mask[3:12, 5:18] = 255
    np.testing.assert_array_equal(item["mask"], mask)


def test_what_is_wrong_with_a_csv_file_is_named(tmp_path):
    bad = photos_in(tmp_path / "bad", lambda v: v | {"left": "x" if "4" in v["image"] else "1"})
    with pytest.raises(ValueError, match=r"photos\.csv: boxes are .*line 6: .*line 12: "):
        data.load("examples.csv_photos", bad, "test")
    with pytest.raises(ValueError, match="no line of split 'val'; there are: test, train"):
        data.load("examples.csv_photos", photos_in(tmp_path / "good"), "val")
    (tmp_path / "good/empty.csv").write_text("image,class\n")
    with pytest.raises(ValueError, match=r"empty\.csv: no column image, class"):
        data.load("examples.csv_photos", tmp_path / "good", "test", table="empty.csv")
    with pytest.raises(ValueError, match="no 'tabel'; did you mean 'table'"):
        data.load("examples.csv_photos", tmp_path / "good", "test", tabel="empty.csv")


def test_the_command_of_the_data_set(config_of_command, tmp_path):
    """With an option of its own, from a config file; and a network of the family."""
    photos_in(tmp_path / "photos")
    (tmp_path / "photos/photos.csv").rename(tmp_path / "photos/mine.csv")
    (tmp_path / "mine.py").write_text(
        "from rival_jax.configs import background\n"
        "def get_config():\n"
        "    config = background.get_config()\n"
        "    config.data.examples_csv_photos = {'table': 'photos.csv'}\n"
        "    return config\n"
    )
    (words,) = commands(csv_photos)
    assert words[0] == "--config=configs/background.py"
    assert words[-1] == "--config.head=own"
    config = config_of_command(
        [f"--config={tmp_path / 'mine.py'}", *words[1:]],
        "--config.data.examples_csv_photos.table=mine.csv",
        f"--config.data.root={tmp_path / 'photos'}",
        saved(tmp_path, num_classes=2, **SMALL),
        "--config.ablation.treatments=('grey',)",
        "--config.statistics.resamples=20",
    )
    console = quiet()
    run, rows = rows_of(tmp_path / "run", config, console)
    assert {row["example"] for row in rows} == {f"test/{i}.png" for i in range(8)}
    assert "note: masks are boxes" in console.file.getvalue()
    assert run.read_json("data.json")["classes"] == ["ant", "cat"]


# An objective.


def test_the_terms_of_the_objective():
    model, variables = a_network(**SMALL)
    _, given = pictures(size=32)
    batch = {key: jnp.asarray(given[key][:3]) for key in ("image", "mask", "label")}
    batch["other_image"] = jnp.asarray(given["image"][3:6])
    found = QUICKLY(functools.partial(objective.terms, model))(
        variables, batch, swapped_weight=2.0, temperature=2.0
    )
    object_, ground = batch["mask"][..., None], batch["other_image"]
    shown = (batch["image"], batch["image"] * object_ + ground * (1 - object_))
    logits = [QUICKLY(model.forward)(variables, images, {})[0] for images in shown]
    want = [losses.label_loss(each, batch["label"], temperature=2.0) for each in logits]
    np.testing.assert_allclose(found["classification"], want[0], atol=PARITY)
    np.testing.assert_allclose(found["swapped"], want[1], atol=PARITY)
    np.testing.assert_allclose(found["total"], want[0] + 2 * want[1], atol=PARITY)
    assert np.abs(want[0] - want[1]).max() > 10 * PARITY
    np.testing.assert_array_equal(found["correct"], logits[0].argmax(-1) == batch["label"])


def test_the_command_of_the_objective(config_of_command, tmp_path):
    (words,) = commands(objective)
    config = config_of_command(
        words,
        saved(tmp_path, **SMALL),
        "--config.train.trained=",
        "--config.evaluate.method=gradcam",
        "--config.data.scenes.per_class=2",
        "--config.shifted.name=",
        "--config.split.num_classes=2",
        "--config.split.per_class=1",
        "--config.split.validation_per_class=1",
        "--config.train.epochs=1",
        "--config.train.batch=2",
        "--config.noise.sigmas=(0.3,)",
        "--config.noise.trials=1",
        "--config.statistics.resamples=20",
        "--config.evaluate.alphas=()",
    )
    assert config.settings == ("", "swapped_weight=0 learning_rate=1e-3")
    config.settings = config.settings[1:]  # half the time
    config.unlock().examples_objective = {"temperature": 1e6}
    _, rows = rows_of(tmp_path / "run", config, part="/training")
    name = "examples.objective+swapped_weight=0+learning_rate=1e-3"
    assert {row["variant"] for row in rows} == {name}
    values = {(row["part"], row["epoch"], row["term"]): row["value"] for row in rows}
    for part, epoch in (("held_out", -1), ("train", 0), ("held_out", 0)):
        for term in ("total", "classification", "swapped"):  # the last is told but not trained
            assert values[part, epoch, term] == pytest.approx(np.log(10), abs=REFERENCE)


# A head.


def test_the_nearest_mean_by_hand():
    head = nearest_mean.Nearest(lambda v, x, added: (x, {"features": x}), "features")
    means = jnp.array([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    features = jnp.array([[1.0, 1.0], [3.0, 3.0], [0.2, 0.1]])
    logits, _ = head({"means": means}, features, {})
    squares = np.square(np.asarray(features)[:, None] - np.asarray(means)).sum(-1)
    np.testing.assert_allclose(
        jax.nn.log_softmax(logits), jax.nn.log_softmax(-squares / 2), atol=REFERENCE
    )


def test_the_command_of_the_head(config_of_command, tmp_path):
    (words,) = commands(nearest_mean)
    config = config_of_command(
        words,
        saved(tmp_path, **SMALL),
        "--config.data.scenes.per_class=2",
        "--config.statistics.resamples=20",
        "--config.ablation.treatments=('grey',)",
        "--config.ablation.regions=('background',)",
    )
    run, rows = rows_of(tmp_path / "run", config)
    model, variables = a_network(**SMALL)
    forward = QUICKLY(model.forward)
    features = {}
    for split in ("train", "test"):
        names, batch = pictures(split, 32)
        _, values = forward(variables, jnp.asarray(batch["image"]), {})
        features[split] = np.asarray(values["features"]), batch["label"]
    (train, of_train), (test, of_test) = features.values()
    means = np.stack([train[of_train == k].mean(0) for k in range(10)])
    nearest = np.square(test[:, None] - means).sum(-1).argmin(1)
    got = {row["example"]: row["correct"] for row in rows if row["treatment"] == "none"}
    want = dict(zip(names, nearest == of_test, strict=True))
    assert got == want
    assert sum(want.values()) > 0
    (card,) = run.read_json("models.json")
    assert card["head"] == "nearest mean"


def test_a_head_is_asked_before_photos_are_read(config_of_command, tmp_path):
    (words,) = commands(nearest_mean)
    photos_in(tmp_path / "photos", lambda v: v | {"class": "cat", "image": f"no{v['image']}"})
    named = ("--config.data.name=examples.csv_photos", f"--config.data.root={tmp_path / 'photos'}")
    config = config_of_command(words, saved(tmp_path, **SMALL), *named)
    with pytest.raises(ValueError, match="mine: one class, cat, is always the nearest"):
        dry_run(config)


# An experiment.


MIRROR = (RESNET, "--config.data.scenes.per_class=2", "--config.statistics.resamples=50")


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """A finished run of the experiment: (the run, its results)."""
    with pytest.MonkeyPatch.context() as patch:
        config = config_of_command.__wrapped__(patch, tmp_path_factory.mktemp("cache"))
        found = config(commands(mirror)[0], *MIRROR)
        return run_in(tmp_path_factory.mktemp("mirror") / "run", found)


def test_rows_of_the_experiment_are_those_of_pictures_turned_by_hand(mirrored):
    run, results = mirrored
    names, batch = pictures()
    _, _, forward = resnet()
    rows = read_rows(run.path / "rows").to_pylist()
    turns = {"none": (), "mirrored": (2,), "turned": (1, 2)}
    share = {}
    for treatment, axes in turns.items():
        logits, _ = forward(jnp.asarray(np.flip(batch["image"], axes)))
        right = np.asarray(logits).argmax(-1) == batch["label"]
        chances = np.asarray(jax.nn.softmax(logits))[np.arange(20), batch["label"]]
        mine = {row["example"]: row for row in rows if row["treatment"] == treatment}
        assert set(mine) == set(names)
        for name, chance, sure in zip(names, chances, right, strict=True):
            assert mine[name]["correct"] == sure
            assert mine[name]["probability"] == pytest.approx(chance, abs=PARITY)
            assert mine[name]["model"] == "scenes/resnet_00"
        share[treatment] = right.mean()  # classes have two photos each
        row = results.one(measure="accuracy", treatment=treatment)
        assert row["estimate"] == pytest.approx(share[treatment])
    assert len(set(share.values())) > 1
    drop = results.one(measure="accuracy_drop", treatment="turned")
    assert drop["estimate"] == pytest.approx(share["none"] - share["turned"])


def test_the_experiment_has_intervals_and_a_page(mirrored):
    run, results = mirrored
    assert len(results) == 5
    for row in results:
        assert row["low"] <= row["estimate"] <= row["high"]
        assert row["low"] < row["high"]
        assert (row["study"], row["images"], row["classes"]) == ("mirror", 20, 10)
    page = (run.path / "report.html").read_text()
    for words in ("Photos mirrored and turned", "points on photos turned", "scenes/resnet_00"):
        assert words in page
    assert (run.path / "summary.parquet").stat().st_size
    assert {p.suffix for p in (run.path / "figures").iterdir()} == {".png", ".svg", ".csv"}
    assert "Accuracy, percent" in (run.path / "tables.md").read_text()
    assert run.read_json("data.json")["clean"].keys() == {"scenes/resnet_00"}


def test_a_file_that_is_gone_is_computed_again_to_the_byte(mirrored, config_of_command):
    run, _ = mirrored
    before = row_bytes(run.path)
    summary = (run.path / "summary.csv").read_bytes()
    assert len(before) == 3
    next(run.path.glob("rows/**/turned*.parquet")).unlink()
    config = config_of_command(
        commands(mirror)[0], *MIRROR, f"--config.cache={run.config['cache']}"
    )
    console = quiet()
    run_in(run.path, config, console)
    assert "1 of 3 units computed, the others were there" in console.file.getvalue()
    assert row_bytes(run.path) == before
    assert (run.path / "summary.csv").read_bytes() == summary


def test_the_dry_run_of_the_experiment_tells_the_cost(config_of_command):
    told = " ".join(dry_run(config_of_command(commands(mirror)[0], *MIRROR)).split())
    assert re.search(r"scenes/resnet_00: 20 images x 3 = 60 forwards, [\d.]+ TFLOP, about ", told)
    assert "nothing was run" in told
    _, own = commands(mirror)
    assert own.pop() == "--dry_run"
    assert config_of_command(own).data.name == "masked_folder"


def test_wrong_changes_stop_at_once(config_of_command):
    for value, words in (
        ("('mirored',)", "config.changes: no 'mirored'; did you mean 'mirrored'"),
        ("('turned','turned')", "config.changes: .*no two alike"),
    ):
        config = config_of_command(commands(mirror)[0], f"--config.changes={value}")
        with pytest.raises(ValueError, match=words):
            dry_run(config)


def test_two_hosts_give_the_rows_of_one(config_of_command, tmp_path):
    """The command itself, on two processes."""
    few = [saved(tmp_path, **SMALL), *FEW]
    words = [f"--workdir={tmp_path / 'run'}", f"--config.cache={tmp_path}", *few]
    command = ["rival_jax.main", *commands(mirror)[0], *words]
    assert finish(launch(2, 1, command, tmp_path / "logs")) == [0, 0], printed(tmp_path / "logs")
    assert (tmp_path / "run/report.html").stat().st_size
    _, one = rows_of(tmp_path / "one", config_of_command(commands(mirror)[0], *few))
    two = read_rows(tmp_path / "run/rows").to_pylist()
    key = lambda row: (row["treatment"], row["example"])  # noqa: E731
    for a, b in zip(sorted(one, key=key), sorted(two, key=key), strict=True):
        assert (key(a), a["correct"]) == (key(b), b["correct"])
        assert a["probability"] == pytest.approx(b["probability"], abs=REFERENCE)
    assert len({row["label"] for row in two}) == len(CLASSES)
