"""A report is written whatever the names are, however little was measured, and without a figure."""

import functools
import itertools
import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from rival_jax.experiments.rfs import figures, joined, page
from rival_jax.report import html, style
from rival_jax.report.document import Document, Picture, Section, write_document
from rival_jax.report.grids import with_means
from rival_jax.report.tables import Table
from rival_jax.runtime.console import Terminal
from rival_jax.runtime.results import Run
from tests.damaged_runs import NAMES, reported
from tests.fake_runs import invented, write_run

OPTIONS = {"resamples": 20, "confidence": 0.95, "method": "percentile"}


def pictures(name):
    return (np.zeros((24, 32, 3), np.uint8),) * 3


def sweep(run, console, shown=pictures):
    results, document = page.told(run, joined.read(run.path), {}, shown)
    results.write(run.path)
    write_document(run, console, document)


def test_names_that_do_harm_are_text_on_page_and_console(tmp_path):
    small = {"per_class": 2, "trials": 1, "norms": {"linf": [0.1]}}
    names = [f"{NAMES[i // 2 % 7]}/{i}" for i in range(2 * len(NAMES))]
    path = invented(tmp_path / "run", models=NAMES[3:8], classes=NAMES, names=names, **small)
    printed = reported(path, sweep)
    assert "[red]x[/red]" in printed
    assert "\\x1b[31m\\x07" in printed
    assert "\\u202eevil" in (path / "tables.md").read_text() + (path / "report.html").read_text()
    assert "'=1+1" in (path / "summary.csv").read_text()
    assert "1 trial" in printed
    assert "1 trials" not in printed


@pytest.mark.parametrize(("models", "classes", "per_class"), [(1, 1, 1), (2, 1, 2), (1, 300, 1)])
def test_little_and_much_is_reported(tmp_path, models, classes, per_class):
    path = invented(
        tmp_path / "run",
        models=[f"m{i}" for i in range(models)],
        classes=[f"class {i}" for i in range(classes)],
        per_class=per_class,
        trials=1,
        norms={"l2": [10.0]},
    )
    reported(path, sweep)
    text = (path / "report.html").read_text()
    assert not re.search(r"\b1 (models|images|classes|trials)\b", text)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_accuracies_are_reported(tmp_path, value):
    shape = (2, 1, 3, 1, 6)
    same = np.full(shape, value, np.float32), np.full(shape, value > 0)
    clean = np.full((2, 6), value, np.float32), np.full((2, 6), value > 0)
    labels, noise = np.arange(6) % 2, {"linf": ([0.1], *same)}
    path = write_run(tmp_path / "run", models=["a", "b"], labels=labels, clean=clean, noise=noise)
    reported(path, sweep)


def failing(*_):
    raise RuntimeError("no \x1b[31mink\nleft.")


def test_a_figure_that_cannot_be_drawn_is_named_in_its_place(tmp_path, monkeypatch):
    path = invented(tmp_path / "run", per_class=2, trials=1, norms={"linf": [0.1]})
    run = Run(path, json.loads((path / "config.json").read_text()), extend=True)
    names = "fig5_linf", "fig1_linf", "examples_linf"
    (path / "figures").mkdir()
    for name, ending in itertools.product(names, ("png", "svg", "csv")):
        (path / "figures" / f"{name}.{ending}").touch()  # of the report before
    monkeypatch.setattr(figures, "densities", failing)
    with (path / "printed").open("w") as file:
        sweep(run, Terminal(file=file, soft_wrap=True), failing)
    reason = "RuntimeError: no \\x1b[31mink left"
    text = (path / "report.html").read_text()
    for name in names:
        assert not list((path / "figures").glob(f"{name}.*")), "of the report before"
        assert (
            f"note: figure {name} could not be drawn: {reason}\n" in (path / "printed").read_text()
        )
    assert text.count(f"This figure could not be drawn: {reason}.") == 3
    assert "figures/fig5_linf.csv" not in text
    assert "figures/fig2_linf.csv" in text
    assert (path / "summary.parquet").exists()
    events = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    found = {event["name"]: event["error"] for event in events if event["event"] == "figure"}
    assert found == dict.fromkeys(("fig5_linf", "fig1_linf", "examples_linf", "explorer"), reason)


def test_any_report_outlives_its_figures(tmp_path):
    path = invented(tmp_path / "run", per_class=2, trials=1, norms={"linf": [0.1]})
    run = Run(path, json.loads((path / "config.json").read_text()), extend=True)
    seen = []

    def draw():
        seen.append((path / "tables.md").read_text())
        failing()

    picture = Picture("broken", draw, "What it shows.", "alt")
    section = Section("Part", (), [picture], [Table("Numbers", ("a",), [("0.5",)])])
    with (path / "printed").open("w") as file:
        write_document(
            run, Terminal(file=file), Document("t", "s", ["h"], [section], [], [], "source")
        )
    assert "0.5" in seen[0], "tables are there before a figure is drawn"
    text = (path / "report.html").read_text()
    assert "What it shows. This figure could not be drawn: RuntimeError: no \\x1b" in text
    assert '<img src=""' not in text


def test_a_full_disk_is_no_missing_figure(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("disk is full")

    monkeypatch.setattr(style, "_write", full)
    draw = functools.partial(lambda: (Figure(), ("a",), [(1,)]))
    with pytest.raises(OSError, match="disk is full"):
        style.attempt(draw, tmp_path / "figure", Run(tmp_path, {}), Terminal(quiet=True))


def test_a_large_figure_is_drawn_coarser(tmp_path):
    draw = functools.partial(lambda: (Figure((500, 1)), ("a",), [(1,)]))
    files = style.attempt(draw, tmp_path / "wide", Run(tmp_path, {}), Terminal(quiet=True))
    assert html.inlined(files, "", "", photos=True)["source"].startswith("data:image/jpeg")


def test_an_attribute_without_numbers_has_no_cells():
    nothing = np.full((2, 1), np.nan)
    assert np.isnan(with_means(nothing)).all()
