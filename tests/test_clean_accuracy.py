"""Clean accuracy is in every headline, and a network that knows nothing is called so."""

from __future__ import annotations

import io
import json
import shutil
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from rival_jax import models
from rival_jax.experiments import clean as _clean
from rival_jax.experiments import runner
from rival_jax.experiments.rfs import joined
from rival_jax.experiments.rfs import study as rfs
from rival_jax.experiments.subject import Subject
from rival_jax.report import html
from rival_jax.report.results import Results
from rival_jax.runtime.results import Run, read_rows
from tests.fake_runs import invented
from tests.helpers import config_of, draw_study, save_tiny_vit

TEN = tuple("abcdefghij")


def answers(right, each=10):
    """Of every class `each` photos, of which `right[i]` are right; the others take the next."""
    label = np.repeat(np.arange(len(right)), each)
    correct = np.concatenate([np.arange(each) < count for count in right])
    said = np.where(correct, label, (label + 1) % len(TEN))
    return _clean.Answers(*(np.array(TEN)[codes] for codes in (label, said)))


@pytest.mark.parametrize(
    ("right", "near", "never"),
    [
        ([9] * 10, False, ""),
        ([2] * 10, True, ""),
        ([3] * 10, False, ""),
        ([0] + [9] * 9, False, "a (10 photos, 10 of them taken for b)"),
        ([9, 0, 9, 9], False, "b (10 photos, 10 of them taken for c)"),
        ([8, 8], False, ""),
        ([6, 6], True, ""),
        ([5, 6], True, ""),
        ([0, 10], True, "a (10 photos, 10 of them taken for b)"),
        (
            [0, 0],
            True,
            "a (10 photos, 10 of them taken for b), b (10 photos, 10 of them taken for c)",
        ),
        ([7, 6, 6], True, ""),
        ([9], False, ""),
    ],
)
def test_what_is_doubtful(right, near, never):
    told = _clean.doubts("net", answers(right), TEN[: len(right)])
    assert any("net is near chance: right on" in text for text in told) == near
    assert any("never right" in text for text in told) == bool(never)
    assert any(f"net is never right on photos of {never}." in text for text in told) == bool(never)


def test_a_class_that_is_taken_for_another_is_named():
    predicted = np.array(["b"] * 6 + ["c"] * 4 + ["b"] * 10 + ["c"] * 10)
    told = _clean.doubts("net", answers([0, 10, 10])._replace(predicted=predicted), TEN[:3])
    assert "a (10 photos, 6 of them taken for b)" in told[-1]


@pytest.mark.parametrize(
    ("column", "words"),
    [("norm", ("none", "linf")), ("treatment", ("none", "grey")), ("change", ("clean", "swap"))],
)
def test_only_unchanged_photos_count_each_once(tmp_path, column, words):
    rows = {
        "example": ["x", "x", "y", "y", "x"],
        "label": ["a", "a", "b", "b", "a"],
        "predicted": ["b", "a", "a", "b", "b"],
        column: [words[1], words[0], words[0], words[1], words[1]],
    }
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    found = _clean.read(tmp_path / "rows.parquet")
    assert found.label.tolist() == ["a", "b"]
    assert found.correct.tolist() == [True, False]


def test_predictions_tell_what_is_right(tmp_path):
    rows = {"example": ["x", "y"], "label": ["a", "b"], "predicted": ["a", "a"]}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    found = _clean.read(tmp_path / "rows.parquet")
    assert found.correct.tolist() == [True, False]
    assert found.predicted is not None
    assert found.predicted.tolist() == ["a", "a"]


def test_columns_of_models_that_say_nothing_are_left_out():
    cards = [{"name": "a", "parameters": 2e6, "head": ""}, {"name": "b", "parameters": None}]
    found = html.models_table(cards, {"some": ["b"], "others": ["b"]})
    assert found.header == ("model", "group", "parameters, M")
    assert found.rows == [("a", "", "2"), ("b", "some", "")]


def test_the_sentence_names_every_network_and_its_count():
    shares = {"net": _clean.share(29, 36)}
    assert html.clean(shares) == [
        "Right on the photos as they are: net 80.6 [65.0, 90.2] % (29 of 36 images)."
    ]
    many = {f"net{i}": {"estimate": 0.5, "low": 0.4, "high": 0.6} for i in range(10)}
    assert html.clean(many)[0].endswith("net7 50.0 [40.0, 60.0] %, and 2 more.")
    assert html.clean({}) == []


def test_joined_runs_show_what_all_have_to_say(tmp_path):
    folders = []
    for model, notices in (("a", ["1", "2"]), ("b", ["2", "3"])):
        path = invented(tmp_path / model, models=[model], per_class=1, trials=1)
        data = json.loads((path / "data.json").read_text())
        (path / "data.json").write_text(json.dumps({**data, "notices": notices}))
        folders.append(path)
    assert joined.read(*folders).data["notices"] == ["1", "2", "3"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Photos of three classes, and a network on them, unnamed, named, and turned round."""
    folder = draw_study(tmp_path_factory.mktemp("study"))
    save_tiny_vit(folder / "net")
    model, variables = models.load(str(folder / "net"))
    head = variables["params"]["head"]
    turned = {"kernel": head["kernel"][:, ::-1], "bias": head["bias"][::-1]}
    turned = {**variables, "params": {**variables["params"], "head": turned}}
    models.save(folder / "turned" / "net", model, turned)
    shutil.copytree(folder / "turned" / "net", folder / "named" / "net")
    file = folder / "named" / "net" / "config.json"
    names = {"id2label": {"0": "Class2", "1": "Class1", "2": "Class0"}}
    file.write_text(json.dumps(json.loads(file.read_text()) | names))
    return folder


def configured(study, model, **more):
    c: Any = config_of("rfs")
    c.models = (str(study / model),)
    c.data.name, c.data.root = "masked_folder", str(study)
    c.noise.trials, c.noise.sigmas, c.batch_size = 1, (0.3,), 16
    c.update(more)
    return c


def test_turned_outputs_with_names_give_the_same_numbers(study, tmp_path, monkeypatch):
    """Rows of the network as it was, turned round with names, and turned round without."""
    monkeypatch.setattr(rfs.Experiment, "report", lambda *args: (Results([]), None))
    monkeypatch.setattr(runner, "write_document", lambda *args: None)
    found = {}
    for model in ("net", "named/net", "turned/net"):
        c = configured(study, model)
        run = Run(tmp_path / model.replace("/", "_"), c.to_dict())
        out = io.StringIO()
        console = Console(file=out, width=500)
        runner.run(rfs.Experiment(c, console), run, console)
        keys = [(key, "ascending") for key in ("norm", "example", "region")]
        rows = read_rows(run.path / "rows").sort_by(keys)
        found[model] = (rows["probability"].to_numpy(), run.read_json("data.json"))
        for notice in found[model][1]["notices"]:
            assert f"note: {notice}" in out.getvalue()
    np.testing.assert_allclose(found["net"][0], found["named/net"][0], atol=1e-6)
    assert np.abs(found["net"][0] - found["turned/net"][0]).max() > 1e-3
    told = {model: " ".join(data["notices"]) for model, (_, data) in found.items()}
    assert "outputs 0 to 2 are taken to be class0, class1, class2" in told["turned/net"]
    assert "outputs 0 to 2" not in told["named/net"]
    assert "net is near chance" in told["net"]  # its weights are random
    assert found["net"][1]["clean"]["net"]["images"] == 15


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": ("scenes/resnet_00",)}, "10 outputs, the data set 3 classes"),
        ({"head": "imagenet"}, "3 outputs, head 'imagenet' needs ImageNet's 1000"),
        ({"head": "probe"}, "15 photos are in both 'train' and 'test'"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(study, monkeypatch, change, said):
    monkeypatch.setattr(Subject, "examples", lambda *args: pytest.fail("photos were read"))
    with pytest.raises(ValueError, match=said):  # as both a run and a dry run begin
        rfs.Experiment(configured(study, "net", **change), Console(file=io.StringIO()))


def test_a_head_needs_the_same_classes_in_both_splits(study, tmp_path):
    for split, kept in (("train", "01"), ("test", "012")):
        for kind in ("images", "masks"):
            for label in kept:
                for file in (study / kind / f"class{label}").iterdir():
                    place = tmp_path / split / kind / f"class{label}" / f"{split}_{file.name}"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, place)
    c = configured(study, "net", head="probe")
    c.data.root = str(tmp_path)
    with pytest.raises(ValueError, match=r"'train', which the head is fitted on.*class2 differs"):
        Subject(c, Console(file=io.StringIO()))
    c.data.train_split = "test"
    out = io.StringIO()
    Subject(c, Console(file=out, width=300))
    assert "fitted on split 'test' and scored on the same photos" in out.getvalue()
