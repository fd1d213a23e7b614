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

from rival_jax.configs.groups import groups
from rival_jax.experiments import report as experiment
from rival_jax.experiments.rfs import examples, figures, joined, measures, page
from rival_jax.report import style
from rival_jax.report.document import write_document
from rival_jax.report.results import Results
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import Run
from tests.damaged_runs import saved
from tests.fake_runs import CLASSES, invented
from tests.helpers import REFERENCE, config_of, quiet

OPTIONS = {"resamples": 50, "confidence": 0.95, "method": "bca"}


def found_of(path, named=None, **options):
    return measures.tabled(joined.read(invented(path, **options)), named or {}, **OPTIONS)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return found_of(tmp_path_factory.mktemp("run"))


def pictures(name):
    """Invented photos: the name's number as brightness."""
    level = int(re.search(r"\d+", name)[0])
    photo = np.full((24, 32, 3), level % 256, np.uint8)
    return photo, photo // 2, 255 - photo, photo[..., 0]


def drawn(draw, folder):
    files = saved(draw, folder / "figure")
    assert files.png.read_bytes().startswith(b"\x89PNG")
    assert b"</svg>" in files.svg.read_bytes()[-20:]
    with files.csv.open() as file:
        return list(csv.DictReader(file))


def picture_of(found, name):
    """A figure of the page."""
    every = [p for section in page.page(found, None).sections for p in section.pictures]
    return next(picture for picture in every if picture.name == name)


def close(got, want):
    assert float(got) == pytest.approx(float(want), abs=REFERENCE)


def test_figure_2_csv_holds_its_points_and_intervals(found, tmp_path):
    rows = drawn(lambda: figures.accuracies(found, "linf"), tmp_path)
    for m, name in enumerate(found.runs.models):
        row, *classes = (row for row in rows if row["model"] == name)
        for side, region in (("fg", "foreground"), ("bg", "background")):
            want = found.rows("accuracy", "linf", model=name, region=region).one()
            close(row[f"accuracy_{side}"], want["estimate"])
            close(row[f"{side}_low"], want["low"])
            close(row[f"{side}_high"], want["high"])
        close(row["marker_area"], 1.5 * 5.7 * (m + 1))
        assert [c["class"] for c in classes] == list(CLASSES)
        members = found.runs.images.labels == 4
        noisy = found.runs.images.values["correct"].at(model=name, norm="linf", region="foreground")
        close(classes[4]["accuracy_fg"], noisy.values[members].mean())


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    return found_of(tmp_path_factory.mktemp("run"), {"both": ["scenes/vit_00", "scenes/vit_95"]})


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_figure_4_csv_holds_its_curves(grouped, tmp_path, norm):
    found = grouped
    rows = drawn(picture_of(found, f"fig4_{norm}").draw, tmp_path)
    assert {row["group"] for row in rows} == {"both", "scenes/resnet_00"}
    x, scale = ("level_255", 255) if norm == "linf" else ("level", 1)
    for measure, panel, region in (("rfs", "rfs", None), ("accuracy", "background", "background")):
        mine = [row for row in rows if (row["group"], row["panel"]) == ("both", panel)]
        wanted = {"level": found.levels(norm), "group": "both", "region": region}
        for row, want in zip(mine, found.rows(measure, norm, **wanted), strict=True):
            close(row[x], scale * want["level"])
            close(row["estimate"], want["estimate"])
            close(row["low"], want["low"])


def test_figure_5_csv_holds_densities_and_points(found, tmp_path):
    rows = drawn(lambda: figures.densities(found, "linf"), tmp_path)
    images = found.runs.images
    noisy = images.values["probability"].where(norm="linf")
    irfs = measures.rfs(noisy).values  # [n, m, l]
    means = [irfs[images.labels == c].mean() for c in range(10)]
    order = np.argsort(means)
    chosen = {images.classes[c] for c in (*order[:2], *order[-2:])}
    assert {row["class"] for row in rows} == chosen
    model, label = found.runs.models[0], images.classes[order[0]]
    mine = [row for row in rows if (row["model"], row["class"]) == (model, label)]
    density = [float(row["y"]) for row in mine if row["panel"] == "density"]
    members = images.labels == order[0]
    want = figures.density(irfs[members, 0].ravel())
    np.testing.assert_allclose(density, want, atol=REFERENCE)
    x = [float(row["x"]) for row in mine if row["panel"] == "probability"]
    want = noisy.at(model=model, region="foreground").values[members].T.ravel()
    np.testing.assert_allclose(x, want, atol=REFERENCE)


def test_figure_6_csv_holds_every_model_and_norm(found, tmp_path):
    rows = drawn(picture_of(found, "fig6").draw, tmp_path)
    assert len(rows) == 6
    for row in rows:
        want = found.rows("rfs_of_means", row["norm"], model=row["model"]).one()
        close(row["estimate"], want["estimate"])
        close(row["high"], want["high"])


def test_figure_1_and_its_table_hold_the_first_and_last_of_the_ranked_images(found, tmp_path):
    models = found.runs.models
    rows = drawn(lambda: examples.figure_1(found.runs, models, pictures), tmp_path)
    (table,) = measures.WORDS.tables(examples.tabled(found.runs, models), "extremes")
    assert [row["example"] for row in rows] == [row[3] for row in table.rows]
    assert len(rows) == 3 * 2 * examples.EACH
    ranked = [*examples.ranked(found.runs, models[2])]
    mine = [row for row in rows if row["model"] == models[2]]
    for side, side_rows in ((ranked, mine[:3]), (ranked[::-1], mine[3:])):
        first = {line["class"]: line for line in reversed(side)}
        want = sorted(first.values(), key=side.index)[:3]
        assert [row["example"] for row in side_rows] == [line["example"] for line in want]
        close(side_rows[0]["p_fg"], want[0]["p_fg"])


def test_ranked_images_hold_what_the_rows_hold(found):
    probability = found.runs.images.values["probability"].at(model=found.runs.models[2])
    level = found.levels("linf")[0]
    assert level == pytest.approx(30 / 255), "of 30 and 90, the first nearest to 60"
    noisy = probability.at(norm="linf", level=level)
    fg, bg = (noisy.at(region=region).values for region in measures.SIDES)
    lines = [*examples.ranked(found.runs, found.runs.models[2])]
    order = np.argsort(bg - fg, kind="stable")
    assert [line["example"] for line in lines] == [found.runs.images.names[i] for i in order]
    clean = probability.at(norm="none").values[:, 0]
    for line, i in zip(lines[::20], order[::20], strict=True):
        want = (clean[i], fg[i], bg[i])
        assert [line[p] for p in examples.PROBABILITIES] == pytest.approx(want)
        assert (line["irfs"] > 0) == (bg[i] > fg[i])


def test_the_same_numbers_give_the_same_bytes(found, tmp_path):
    one, two = (
        saved(functools.partial(figures.accuracies, found, "linf"), tmp_path / name)
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
    labels = [f"class_{i}" for i in range(classes)]
    found = found_of(tmp_path / "run", models=names, classes=labels, **options)
    document = page.page(found, pictures)
    drawings = [picture for section in document.sections for picture in section.pictures]
    assert len(drawings) == 6
    for picture in drawings:
        assert picture.caption
        assert picture.alt
        assert drawn(picture.draw, tmp_path / picture.name)
    assert document.headline
    assert ("In colour" in drawings[2].caption) == (models == 21)
    assert ("small dots" in drawings[1].caption) == (models < 21 and classes < 60)


def test_equal_images_have_no_density_but_a_line(tmp_path):
    found = found_of(tmp_path / "run", per_class=1, norms={"linf": [0.1]})
    rows = drawn(lambda: figures.densities(found, "linf"), tmp_path)
    assert {row["y"] for row in rows if row["panel"] == "density"} == {"nan"}


class Resources(HTMLParser):
    """Collects what a page loads and what it says."""

    def __init__(self, text):
        super().__init__()
        self.images, self.alts, self.tags, self.words = [], [], set(), []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag if tag != "script" or found else "script of the page itself")
        if tag == "img":
            self.images.append(found["src"])
            self.alts.append(found["alt"])

    def handle_data(self, data):
        self.words.append(data)


def write(run, console, shown=None, named=None):
    """As the runner does at the end of a run."""
    results, document = page.told(run, joined.read(run.path), named or {}, shown)
    results.write(run.path)
    write_document(run, console, document)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A whole report with pictures: (its folder, its results, its console output)."""
    path = invented(tmp_path_factory.mktemp("whole"))
    config = json.loads((path / "config.json").read_text())
    console = Console(file=io.StringIO())
    named = {"ViT": ["scenes/vit_00", "scenes/vit_95"], "ResNet": ["scenes/resnet_00"]}
    write(Run(path, config), console, pictures, named)
    return path, Results.read(path), console.file.getvalue()


def test_page_opens_offline(written):
    seen = Resources((written[0] / "report.html").read_text())
    assert len(seen.images) == 9
    assert all(source.startswith("data:image/") for source in seen.images)
    assert all(seen.alts)
    assert not seen.tags & {"script", "link", "iframe", "object"}
    text = re.sub(r"data:image/[^\"]+", "", (written[0] / "report.html").read_text())
    assert "http" not in text
    assert "url(" not in text


def test_page_says_what_was_measured(written):
    path, results, _ = written
    text = Resources((path / "report.html").read_text()).text
    wanted = {
        "measure": "rfs_of_means",
        "norm": "linf",
        "class": None,
        "contrast": "",
        "group": None,
    }
    rows = results.where(**wanted)
    assert len(rows) == 3
    for row in rows:
        shown = (f"{row[end]:+.2f}" for end in ("estimate", "low", "high"))
        assert "{} [{}, {}]".format(*shown).replace("-", "\N{MINUS SIGN}") in text, row["model"]
    for key in ("noise.trials", "noise.sigmas", "head", "normalise", "data.mask", "seed"):
        assert f" {key} " in text
    assert "0.117647, 0.352941" in text
    assert "python -m rival_jax.main --config=configs/rfs.py" in text
    assert "What these figures do not establish" in text
    assert "mask is empty" in text
    assert "squash to 224 x 224, mean 0.5, std 0.5" in text
    assert "ResNet minus ViT" in text
    assert f"jax {jax.__version__}" in text
    clean = results.one(measure="accuracy", region="clean", model="scenes/vit_00")
    assert f"as they are: scenes/vit_00 {100 * clean['estimate']:.1f} [" in text


def test_a_report_leaves_every_file(written):
    path, _, printed = written
    names = {file.stem for file in (path / "figures").glob("*.csv")}
    per_norm = {f"fig{n}_{norm}" for n in (2, 4, 5) for norm in ("linf", "l2")}
    assert names == per_norm | {"fig6", "fig1_linf", "examples_linf"}
    # of each norm results, others, differences between models and groups, classes; and examples
    assert (path / "tables.md").read_text().count("###") == 11
    with (path / "ranked_images.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * 80
    assert "scenes/vit_00" in printed
    assert "report.html" in printed
    longest = max(map(len, printed.splitlines()[:20]))
    assert 80 < longest < 200, "tables are not squeezed into 80 columns where nobody looks"


def test_page_without_pictures_is_text(tmp_path):
    norms = {"linf": [0.1, 0.2], "l2": [25.0]}
    path = invented(tmp_path / "run", models=["<b>&co"], per_class=2, trials=1, norms=norms)
    write(Run(path, json.loads((path / "config.json").read_text())), quiet())
    text = (path / "report.html").read_text()
    assert len(Resources(text).images) == 7
    assert "lowest" in Resources(text).text
    assert "<b>" not in text, "names are escaped"


@pytest.mark.parametrize(("p", "sign"), [(0.01, "foreground"), (0.06, "do not tell")])
def test_headline_claims_no_more_than_the_test(tmp_path, p, sign):
    found = found_of(tmp_path, models=["a"], norms={"linf": [0.2]}, per_class=3, trials=1)
    ends = {"estimate": 0.2, "low": 0.1, "high": 0.4, "p": p}
    results = found.results.changed(
        lambda row: {**row, **ends} if row["measure"] == "rfs_of_means" else row
    )
    (sentence,) = page.headline(found._replace(results=results))
    assert sign in sentence.split(": ")[-1]


def test_caveats_know_the_run(found, tmp_path):
    told = dict(page.page(found, None).caveats)
    assert "Anything about photographs." not in told
    assert "6 differences" in told["That every difference marked is real."]
    one = found_of(tmp_path, models=["a"], norms={"linf": [0.2]}, per_class=2, trials=1)
    told = dict(page.page(one, None).caveats)
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
    experiment.run(config, run, console)
    results = Results.read(run.path)
    assert results.of("model") == ["a", "b", "c"]
    assert results.of("group") == ["ab", "c"]
    text = Resources((run.path / "report.html").read_text()).text
    for one_of_both in (one, two):
        assert f"--workdir={one_of_both.name}" in text
        assert str(one_of_both) in text
    assert " c c " in text, "a group of its own among the models"
    experiment.dry_run(config, console)
    assert "3 models x 2 levels x 20 images x 1 trial;" in console.file.getvalue()
    other = tmp_path / "runs" / "three"
    other.mkdir()
    for name, value in (("config", {"experiment": "background"}), ("units", {})):
        (other / f"{name}.json").write_text(json.dumps(value))
    monkeypatch.chdir(tmp_path)
    assert experiment.chosen(()) == ["runs/two"], "the newest of rfs"


def test_two_runs_are_compared_in_pairs_for_a_paper(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_of_norm", lambda *_: [])  # its figures are drawn elsewhere
    shared = {"per_class": 2, "trials": 1, "norms": {"linf": [0.1, 0.2]}}
    one = invented(tmp_path / "before" / "run", models=["net"], **shared)
    two = invented(tmp_path / "after" / "run", models=["x", "net"], **shared)
    config = config_of("report")
    config.runs, config.statistics.resamples = (str(one), str(two)), 20
    said: list[str] = []
    monkeypatch.setattr(Meter, "say", lambda meter, text, *_: said.append(text))
    run = Run(tmp_path / "joined", config.to_dict())
    run.pdf, console = tmp_path / "paper", Console(file=io.StringIO(), width=200)
    experiment.run(config, run, console)
    assert "drawing before_after" in said
    results = Results.read(run.path)
    changes = results.where(study="before_after", measure="accuracy", region="foreground",
                            level=None)  # fmt: skip
    change = changes.one(model="net (after)", contrast="minus net (before)")
    both = [
        results.one(model=name, norm="linf", level=None, contrast="", study="rfs",
                    measure="accuracy", region="foreground", **{"class": None})["estimate"]
        for name in ("net (before)", "net (after)")
    ]  # fmt: skip
    close(change["estimate"], both[1] - both[0])
    assert change["low"] < change["estimate"] < change["high"]
    tex = (run.path / "before_after.tex").read_text()
    ends = (f"{100 * change[end]:.1f}".replace("-", "$-$") for end in ("estimate", "low", "high"))
    assert "accuracy, noise in foreground, linf & " in tex
    assert " & {} [{}, {}] & ".format(*ends) in tex
    assert " & net (before) & net (after) & difference & " in tex
    told = console.file.getvalue()
    for name in ("joined/before_after.tex", "joined/figures/before_after.png"):
        assert str(tmp_path / name) in told
    for name, inches in style.COLUMNS.items():
        drawn = (tmp_path / "paper" / f"before_after_{name}.pdf").read_bytes()
        assert f"/MediaBox [ 0 0 {72 * inches:g} ".encode() in drawn
        assert b"/FontFile2" in drawn, "a TrueType font, embedded"
        assert b"/Type3" not in drawn


def test_without_any_run_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no finished rfs run below .*--config.runs="):
        experiment.chosen(())


@pytest.mark.parametrize("line", ["ViTs", "=a", "ViTs="])
def test_a_group_of_another_form_is_refused(line):
    with pytest.raises(ValueError, match="expected 'name=model,model'"):
        groups([line])
