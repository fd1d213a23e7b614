"""Figures, page and the report experiment: files that hold the numbers they show."""

import csv
import functools
import io
import json
import re
from html.parser import HTMLParser

import jax
import numpy as np
import pytest
from rich.console import Console

from rival_jax import report
from rival_jax.experiments import report as experiment
from rival_jax.report import captions, examples, figures, instances, numbers, style, words
from rival_jax.report.page import write_page
from rival_jax.report.summary import summarise
from rival_jax.report.sweep import Sweep
from rival_jax.runtime.results import Run
from tests.fake_runs import CLASSES, invented
from tests.helpers import REFERENCE, config_of

GROUPS = ["ViT", "ViT", "ResNet"]


def material_of(path, groups=None, **options):
    sweep = Sweep.read(invented(path, **options))
    return figures.Material(sweep, summarise(sweep, groups, resamples=50), sweep.groups(groups))


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return material_of(tmp_path_factory.mktemp("run"), groups=None)


def pictures(name):
    """Invented photos: the name's number as brightness."""
    level = int(re.search(r"\d+", name)[0])
    photo = np.full((24, 32, 3), level % 256, np.uint8)
    return photo, photo // 2, 255 - photo


def drawn(draw, folder):
    files = style.save(draw, folder / "figure")
    assert files.png.read_bytes().startswith(b"\x89PNG")
    assert b"</svg>" in files.svg.read_bytes()[-20:]
    with files.csv.open() as file:
        return list(csv.DictReader(file))


def close(got, want):
    assert float(got) == pytest.approx(float(want), abs=REFERENCE)


def test_figure_2_csv_holds_its_points_and_intervals(material, tmp_path):
    rows = drawn(lambda: figures.accuracies(material, "linf"), tmp_path)
    noise = material.sweep.noise["linf"]
    points = numbers.scatter(noise.accuracy[:, :, :2])
    for m, name in enumerate(material.sweep.models):
        row, *classes = (row for row in rows if row["model"] == name)
        close(row["accuracy_fg"], points.models[m, 0])
        close(row["accuracy_bg"], points.models[m, 1])
        interval = material.summary["models"][name]["linf"]["accuracy_bg"]["mean"]
        close(row["bg_low"], interval["low"])
        close(row["bg_high"], interval["high"])
        close(row["marker_area"], 1.5 * 5.7 * (m + 1))
        assert [c["class"] for c in classes] == list(material.sweep.classes)
        close(classes[4]["accuracy_fg"], points.classes[m, 4, 0])


def test_figure_4_csv_holds_its_curves(tmp_path):
    groups = {"both": ["scenes/vit_00", "scenes/vit_95"]}
    material = material_of(tmp_path / "run", groups)
    rows = drawn(lambda: figures.curves(material, "l2"), tmp_path)
    assert {row["group"] for row in rows} == {"both", "scenes/resnet_00"}
    curves = numbers.group_curves(
        material.sweep.noise["l2"], material.sweep.models, material.groups
    )
    for k, row in enumerate(rows[:2]):
        close(row["level"], material.sweep.noise["l2"].levels[k])
        close(row["rfs"], curves.rfs[0, k])
        interval = material.summary["groups"]["both"]["l2"]["rfs_by_level"][k]
        close(row["rfs"], interval["estimate"])
        close(row["rfs_low"], interval["low"])


def test_figure_5_csv_holds_densities_and_points(material, tmp_path):
    rows = drawn(lambda: instances.densities(material, "linf"), tmp_path)
    sweep, noise = material.sweep, material.sweep.noise["linf"]
    irfs = numbers.irfs(noise)
    order = np.argsort(numbers.class_means(sweep, irfs.mean(1)).mean(0))
    chosen = {sweep.classes[c] for c in (*order[:2], *order[-2:])}
    assert {row["class"] for row in rows} == chosen
    model, label = sweep.models[0], sweep.classes[order[0]]
    mine = [row for row in rows if (row["model"], row["class"]) == (model, label)]
    density = [float(row["y"]) for row in mine if row["panel"] == "density"]
    members = sweep.labels == order[0]
    np.testing.assert_allclose(
        density, numbers.density(irfs[0][:, members].ravel()), atol=REFERENCE
    )
    x = [float(row["x"]) for row in mine if row["panel"] == "probability"]
    np.testing.assert_allclose(x, noise.probability[0, :, 0, members].T.ravel(), atol=REFERENCE)


def test_figure_6_csv_holds_every_model_and_norm(material, tmp_path):
    rows = drawn(lambda: figures.bars(material), tmp_path)
    assert len(rows) == 6
    for row in rows:
        interval = material.summary["models"][row["model"]][row["norm"]]["rfs_of_means"]
        close(row["rfs_of_means"], interval["estimate"])
        close(row["high"], interval["high"])


def test_figure_1_csv_holds_the_worst_images(material, tmp_path):
    rows = drawn(lambda: examples.worst(material, "linf", pictures), tmp_path)
    sweep, noise = material.sweep, material.sweep.noise["linf"]
    level = examples.level_shown(noise)
    assert noise.levels[level] == pytest.approx(30 / 255), "of 30 and 90, the first nearest to 60"
    ships = [r for r in rows if (r["model"], r["class"]) == (sweep.models[2], "ship")]
    fg, bg = noise.probability[2, level, :2]
    members = np.flatnonzero(sweep.labels == CLASSES.index("ship"))
    want = sorted(members, key=lambda i: bg[i] - fg[i])[:5]
    assert [row["example"] for row in ships] == [sweep.names[i] for i in want]
    close(ships[0]["p_fg"], fg[want[0]])
    close(ships[0]["p_clean"], sweep.probability[2, want[0]])


def test_extremes_take_one_image_of_a_class(material):
    for found in examples.extremes(material, "linf").values():
        gaps = [example.bg - example.fg for example in found.background]
        assert gaps == sorted(gaps)
        assert len({example.label for example in found.background}) == 3
        gaps = [example.fg - example.bg for example in found.foreground]
        assert gaps == sorted(gaps)


def test_the_same_numbers_give_the_same_bytes(material, tmp_path):
    one, two = (
        style.save(functools.partial(figures.accuracies, material, "linf"), tmp_path / name)
        for name in ("one", "two")
    )
    for kind in ("png", "svg", "csv"):
        assert getattr(one, kind).read_bytes() == getattr(two, kind).read_bytes()


@pytest.mark.parametrize(
    ("models", "classes", "options"),
    [
        (1, 2, {"norms": {"linf": [0.24]}, "trials": 1}),
        (1, 1, {"norms": {"l2": [10.0, 20.0]}, "per_class": 1}),
        (21, 3, {"norms": {"linf": [0.1, 0.2]}, "per_class": 3}),
        (3, 60, {"norms": {"linf": [0.1, 0.2]}, "per_class": 2}),
    ],
)
def test_figures_at_the_edges(tmp_path, models, classes, options):
    names = [f"model_{i}" for i in range(models)]
    material = material_of(
        tmp_path / "run", models=names, classes=[f"class_{i}" for i in range(classes)], **options
    )
    norm = next(iter(options["norms"]))
    for number, draw in enumerate((figures.accuracies, figures.curves, instances.densities)):
        assert drawn(functools.partial(draw, material, norm), tmp_path / str(number))
        for kind in ("fig2", "fig4", "fig5", "fig6", "examples"):
            assert all(captions.caption(material, kind, norm))
    assert drawn(functools.partial(figures.bars, material), tmp_path / "bars")
    assert drawn(functools.partial(examples.contact, material, norm, pictures), tmp_path / "sheet")
    assert words.headline(material.summary)


def test_equal_images_have_no_density_but_a_line(tmp_path):
    material = material_of(tmp_path / "run", per_class=1, norms={"linf": [0.1]})
    rows = drawn(lambda: instances.densities(material, "linf"), tmp_path)
    assert {row["y"] for row in rows if row["panel"] == "density"} == {"nan"}


def test_spread_keeps_order_and_gap():
    before = np.array([3.0, 1.0, 1.1, 1.05])
    got = style.spread(before, 0.5)
    assert np.diff(np.sort(got)).min() >= 0.5 - 1e-9
    np.testing.assert_array_equal(np.argsort(got), np.argsort(before))
    assert got[0] == 3.0


class Resources(HTMLParser):
    """Collects what a page loads and what it says."""

    def __init__(self, text):
        super().__init__()
        self.images, self.alts, self.tags, self.words = [], [], set(), []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        if tag == "img":
            self.images.append(found["src"])
            self.alts.append(found["alt"])

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A whole report with pictures: (its folder, its summary, its console output)."""
    path = invented(tmp_path_factory.mktemp("whole"), groups=GROUPS)
    config = json.loads((path / "config.json").read_text())
    console = Console(file=io.StringIO())
    summary = report.write(Run(path, config), console, pictures)
    return path, summary, console.file.getvalue()


def test_page_opens_offline(written):
    page = Resources((written[0] / "report.html").read_text())
    assert len(page.images) > 20
    assert all(source.startswith("data:image/") for source in page.images)
    assert all(page.alts)
    assert not page.tags & {"script", "link", "iframe", "object"}
    text = re.sub(r"data:image/[^\"]+", "", (written[0] / "report.html").read_text())
    assert "http" not in text
    assert "url(" not in text


def test_page_says_what_was_measured(written):
    path, summary, _ = written
    page = Resources((path / "report.html").read_text())
    for name, entry in summary["models"].items():
        interval = entry["linf"]["rfs_of_means"]
        shown = (f"{interval[end]:+.2f}" for end in ("estimate", "low", "high"))
        assert "{} [{}, {}]".format(*shown).replace("-", "\N{MINUS SIGN}") in page.text, name
    for key in ("noise.trials", "noise.sigmas", "head", "normalise", "data.mask", "seed"):
        assert f" {key} " in page.text
    assert "0.117647, 0.352941" in page.text
    assert "python -m rival_jax.main --config=configs/rfs.py" in page.text
    assert "What these figures do not establish" in page.text
    assert "mask is empty" in page.text
    assert "squash to 224 x 224, mean 0.5, std 0.5" in page.text
    assert "ResNet minus ViT" in page.text
    assert f"jax {jax.__version__}" in page.text


def test_write_leaves_every_file(written):
    path, summary, printed = written
    assert json.loads((path / "summary.json").read_text()) == summary
    figure_names = {file.stem for file in (path / "figures").glob("*.csv")}
    per_norm = {f"fig{n}_{norm}" for n in (2, 4, 5) for norm in ("linf", "l2")}
    assert figure_names == per_norm | {"fig6", "fig1_linf", "examples_linf"}
    assert (path / "tables.md").read_text().count("###") == 8
    assert "scenes/vit_00" in printed
    assert "report.html" in printed
    longest = max(map(len, printed.splitlines()[:20]))
    assert 80 < longest < 200, "tables are not squeezed into 80 columns where nobody looks"


def test_page_without_pictures_is_text(material, tmp_path):
    files = {
        name: style.save(draw, tmp_path / name)
        for name, draw in report._drawings(material, None).items()
    }
    write_page(tmp_path / "page.html", material, files)
    page = Resources((tmp_path / "page.html").read_text())
    assert len(page.images) == len(files)
    assert "Lowest" in page.text


def test_names_are_escaped(tmp_path):
    material = material_of(tmp_path / "run", models=["<b>&co"], per_class=2, trials=1)
    files = {
        name: style.save(draw, tmp_path / name)
        for name, draw in report._drawings(material, None).items()
    }
    write_page(tmp_path / "page.html", material, files)
    assert "<b>" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("p", "sign"), [(0.01, "foreground"), (0.06, "do not tell")])
def test_headline_claims_no_more_than_the_test(material, p, sign):
    name = material.sweep.models[0]
    summary = json.loads(json.dumps(material.summary))
    summary["models"] = {name: summary["models"][name]}
    summary["differences"] = {"linf": []}
    interval = {"estimate": 0.2, "low": 0.1, "high": 0.4, "p": p}
    summary["models"][name]["linf"]["rfs_of_means"] = interval
    assert sign in words.headline(summary)[0].split(": ")[-1]


def test_caveats_know_the_run(material, tmp_path):
    told = dict(words.caveats(material.sweep, material.summary))
    assert "Anything about photographs." not in told
    assert "6 differences" in told["That every difference marked is real."]
    one = material_of(tmp_path, models=["a"], norms={"linf": [0.2]}, per_class=2, trials=1)
    told = dict(words.caveats(one.sweep, one.summary))
    assert "Only one of the two common choices" in " ".join(told.values())
    assert "That every difference marked is real." not in told


def test_the_report_experiment_joins_runs(tmp_path, monkeypatch):
    shared = {"per_class": 2, "trials": 1, "norms": {"linf": [0.1, 0.2]}}
    one = invented(tmp_path / "runs" / "one", models=["a", "b"], **shared)
    two = invented(tmp_path / "runs" / "two", models=["c"], **shared)
    config = config_of("report")
    config.runs, config.groups = (str(one), str(two)), ("ab=a,b",)
    config.statistics.resamples = 20
    run = Run(tmp_path / "joined", config.to_dict())
    console = Console(file=io.StringIO())
    summary = experiment.run(config, run, console)
    assert set(summary["models"]) == {"a", "b", "c"}
    assert summary["groups"]["ab"]["members"] == ["a", "b"]
    assert str(two) in Resources((run.path / "report.html").read_text()).text
    experiment.dry_run(config, console)
    assert "3 models x 2 levels x 20 images x 1 trials" in console.file.getvalue()
    monkeypatch.chdir(tmp_path)
    assert experiment.chosen(()) == ["runs/two"], "the newest"


def test_without_any_run_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no finished rfs run below .*--config.runs="):
        experiment.chosen(())


@pytest.mark.parametrize("line", ["ViTs", "=a", "ViTs="])
def test_a_group_of_another_form_is_refused(line):
    with pytest.raises(ValueError, match="expected 'name=model,model'"):
        experiment.groups([line])
