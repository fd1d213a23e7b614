"""Two finished runs in pairs: the numbers are those of one run of both networks."""

import io
import json
import re
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

from rival_jax.experiments import paired, report, runner
from rival_jax.experiments.rfs import page
from rival_jax.images import Images, per_image
from rival_jax.named import Axis
from rival_jax.report import paired as changed
from rival_jax.report.results import NUMBERS, Results
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Run, parsed
from tests.fake_runs import write_run
from tests.finetune_cases import one_block_study, save_one_block
from tests.helpers import config_of, run_in

NETS = ("tiny", "other")
STATISTICS = {"resamples": 60, "confidence": 0.95, "method": "bca"}
CHANGES = {
    "background": {"ablation.treatments": ("grey",), "head": "own"},
    "saliency": {"saliency.methods": ("gradcam", "rollout"), "saliency.hits": 2},
}


@pytest.fixture(scope="module", autouse=True)
def quick():
    """One device, little optimisation, results alone: most of the time goes into compiling."""
    mesh = parallel.data_mesh(jax.devices()[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "data_mesh", lambda devices=None: mesh)
        patch.setattr(runner, "write_document", lambda *_: None)
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = one_block_study(tmp_path_factory.mktemp("study"), seed=15)
    save_one_block(folder / "other", seed=9)
    return folder


def configured(study, name, nets):
    config = config_of(name).unlock()
    config.models = tuple(str(study / net) for net in nets)
    config.data.name, config.data.root = "masked_folder", str(study / "data")
    config.cache = str(study / "cache")
    config.statistics.resamples = STATISTICS["resamples"]
    config.update_from_flattened_dict(CHANGES[name])
    return config


@pytest.fixture(scope="module", params=[*CHANGES])
def runs(request, study, tmp_path_factory):
    """Folders: a run of each network, and one of both."""
    folder = tmp_path_factory.mktemp(request.param)
    for place, nets in (("a", NETS[:1]), ("b", NETS[1:]), ("both", NETS)):
        run_in(folder / place, configured(study, request.param, nets))
    return folder


def numbers(row):
    return [row[name] for name in NUMBERS]


def place(row, *left_out):
    told = {k: v for k, v in row.items() if k not in (*NUMBERS, "study", *left_out)}
    return {k: v for k, v in told.items() if v is not None}


def test_changes_are_the_differences_of_one_run_of_both(runs):
    both = paired.read([runs / "a", runs / "b"])
    assert both.pairs == [NETS]
    found = changed.changes(both.study, both.pairs, *both.given).results(both.images, **STATISTICS)
    assert set(found.of("study")) == {"before_after"}
    assert not found.of("class")
    names = found.of("measure")
    assert {*names} >= ({"accuracy", "probability_drop"} if "background" in str(runs) else {"iou"})
    every, compared = Results.read(runs / "both").where(contrast=f"minus {NETS[0]}"), 0
    for row in every:
        left_out = ("filed", "subset")
        if row.get("filed") in (None, "true") and not row.get("group"):
            (mine,) = [one for one in found if place(one) == place(row, *left_out)]
            np.testing.assert_allclose(numbers(mine), numbers(row), atol=1e-6)
            compared += 1
    assert compared > 3
    assert len(found) >= compared


def test_each_runs_own_numbers_stand_beside_them(runs):
    both = paired.read([runs / "a", runs / "b"])
    found = both.study.results(both.images, *both.given, **STATISTICS).where(contrast="")
    usual = {"group": None, "filed": (None, "true"), "subset": (None, "all")}
    for folder, net in zip("ab", NETS, strict=True):
        own = Results.read(runs / folder).where(contrast="", model=net, **usual)
        assert len(own) > 3
        for row in own:
            (mine,) = [one for one in found if place(one) == place(row, "filed", "subset")]
            np.testing.assert_allclose(numbers(mine), numbers(row), atol=1e-6)


def test_the_report_has_every_measure_and_its_table_as_latex(runs, tmp_path):
    config, console = config_of("report"), Console(file=io.StringIO(), width=300)
    config.runs, config.statistics.resamples = (str(runs / "a"), str(runs / "b")), 20
    report.dry_run(config, console)
    assert console.file.getvalue() == "other after tiny; nothing was written\n"
    run = Run(tmp_path / "ab", config.to_dict())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "DRAWN", 2 if "background" in str(runs) else 0)
        report.run(config, run, console)
    drawn = [*run.path.glob("figures/before_after_*.png")]
    assert len(drawn) == (2 if "background" in str(runs) else 0), "those of few lines"
    results = Results.read(run.path)
    measures = results.where(study="before_after").of("measure")
    tex = (run.path / changed.FILE).read_text()
    for measure in measures:
        assert f"{measure.replace('_', ' ')}, other after tiny" in tex
    assert " & tiny & other & difference & differs & p " in tex
    text = (run.path / "report.html").read_text()
    assert str(runs / "a") in text
    assert str(runs / "b") in text
    assert [card["name"] for card in parsed(run.path / "models.json")] == [*NETS]
    assert "before_after.tex" in console.file.getvalue()


@pytest.fixture
def copies(runs, tmp_path):
    return [shutil.copytree(runs / name, tmp_path / "in" / name / "model") for name in "ab"]


def change(folder, name, **changes):
    file = folder / f"{name}.json"
    found = json.loads(file.read_text())
    file.write_text(json.dumps({**found, **changes}))


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("data", {"fingerprint": "0"}, "the pictures (fingerprint in data.json) of the two differ"),
        ("data", {"classes": ["a"]}, "the classes (classes in data.json) of the two differ"),
        ("config", {"experiment": "knn"}, "one is of {kind}, the other of knn"),
        ("config", {"seed": 5}, "their configs differ: seed: 0 there, 5 now"),
    ],
)
def test_runs_that_are_not_alike_are_refused(copies, name, changes, said):
    change(copies[1], name, **changes)
    kind = parsed(copies[0] / "config.json")["experiment"]
    assert paired.apart(copies) == said.format(kind=kind)
    with pytest.raises(ValueError, match=re.escape(said.format(kind=kind))):
        paired.read(copies)


def test_networks_may_differ_and_what_older_runs_did_not_know(copies):
    change(copies[1], "config", dtype="bfloat16", preset="clean")
    config = parsed(copies[0] / "config.json")
    del config["data"]["masked_folder"]["masks_per_photo"]
    (copies[0] / "config.json").write_text(json.dumps(config))
    assert paired.apart(copies) == ""
    assert "there are 3 runs" in paired.apart([*copies, copies[0]])


def test_networks_of_one_name_are_called_by_their_folders(copies, runs):
    assert paired.titled([(folder, "net") for folder in copies]) == ["net (a)", "net (b)"]
    both = runs / "both"
    assert paired.pairs([(copies[0], "tiny"), (both, "tiny"), (both, "other")])[0][0].startswith(
        "tiny ("
    )
    assert paired.pairs([(copies[0], "one"), (both, "tiny"), (both, "other")]) == []


def test_both_networks_accuracy_on_photos_is_told_by_their_titles(copies):
    """With what stands behind a name in brackets, and of names that begin alike the whole one."""
    called = {"tiny": "tiny (a)", "tiny two": "tiny two (a)"}
    assert paired._retitled("tiny (grey head)", called) == "tiny (a) (grey head)"
    assert paired._retitled("tiny two", called) == "tiny two (a)"
    clean = paired.read(copies).data["clean"]
    want = [parsed(folder / "data.json")["clean"] for folder in copies]
    assert list(clean) == ["tiny", "other"]
    assert [clean["tiny"], clean["other"]] == [want[0]["tiny"], want[1]["other"]]


def test_what_one_run_lacks_is_named_or_has_no_change(copies):
    background = parsed(copies[0] / "config.json")["experiment"] == "background"
    lost = "grey_foreground" if background else "rollout"  # methods go with networks
    units = parsed(copies[1] / "units.json")
    units = {name: file for name, file in units.items() if not name.endswith(lost)}
    (copies[1] / "units.json").write_text(json.dumps(units))
    if background:
        said = "treatment, region grey foreground is in one of the runs only"
        with pytest.raises(ValueError, match=said):
            paired.read(copies)
    else:
        both = paired.read(copies)
        found = changed.changes(both.study, both.pairs, *both.given)
        assert found.results(both.images, **STATISTICS).of("method") == ["gradcam"]


def test_images_are_joined_by_name():
    rng = np.random.default_rng(0)
    names, values = tuple((f"{i}.png",) for i in range(5)), rng.random((2, 5, 1, 3))
    axes = [(Axis(("model",), ((net,),)), Axis(("level",), ((0,), (1,), (2,)))) for net in NETS]
    order = rng.permutation(5)
    first, second = (
        Images({"x": per_image(some, (Axis(("example",), keys), *rest))}, np.arange(5), tuple("ab"))
        for some, keys, rest in (
            (values[0], names, axes[0]),
            (values[1][order], tuple(names[i] for i in order), axes[1]),
        )
    )
    joined = paired._joined(first, second)
    assert joined.names == first.names
    np.testing.assert_array_equal(joined.values["x"].values, np.concatenate(values, 1))
    lost = second.at(np.arange(4))
    with pytest.raises(ValueError, match=r"example .*png is in one of the runs only"):
        paired._joined(first, lost)


def test_runs_of_rfs_with_many_classes(tmp_path, monkeypatch):
    """Of many classes the study's numbers are computed class by class; changes are of none."""
    monkeypatch.setattr(page, "_of_norm", lambda *_: [])
    monkeypatch.setattr(report, "write_document", lambda *_: None)
    labels, rng = np.repeat(np.arange(40), 2), np.random.default_rng(0)
    drawn = lambda *shape: (rng.random(shape), 1.0 * (rng.random(shape) > 0.5))  # noqa: E731
    for name in "ab":
        noise = {"linf": ([0.1, 0.2], *drawn(1, 2, 3, 1, 80))}
        classes = [f"c{label}" for label in range(40)]
        given = {"labels": labels, "clean": drawn(1, 80), "noise": noise, "classes": classes}
        write_run(tmp_path / name, models=[name], **given)
    config = config_of("report")
    config.runs, config.statistics.resamples = (str(tmp_path / "a"), str(tmp_path / "b")), 20
    report.run(config, Run(tmp_path / "ab", config.to_dict()), Console(file=io.StringIO()))
    found = Results.read(tmp_path / "ab").where(study="before_after", measure="rfs_of_means")
    assert found.one(model="b", contrast="minus a", level=None)["classes"] == 40


def test_every_study_that_may_be_compared_says_what_its_measures_take():
    names = "attributes background knn linear_probe perturbation saliency segmentation sis"
    for name in names.split():
        config = config_of(name)
        study = paired.plugin("experiments", name).STUDY
        assert isinstance(study.alone(paired._typed(config.to_dict())), tuple)
    assert not hasattr(paired.plugin("experiments", "robustness"), "STUDY")
