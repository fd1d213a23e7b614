"""Tables, figures and sections as a words.toml declares them."""

import numpy as np
import pytest

from rival_jax.report import declared, figures, grids
from rival_jax.report.results import Results
from rival_jax.report.words import Words

NAN = float("nan")


def row(measure, model, estimate, **words):
    ends = {"low": NAN, "high": NAN, "p": NAN, "images": 40, "classes": 2}
    base = {"study": "s", "measure": measure, "model": model, "class": None, "contrast": ""}
    return {**base, "estimate": estimate, **ends, **words}


RESULTS = Results([
    row("iou", "a", 0.25),
    row("iou", "b", 0.5),
    row("iou", "a", 0.875, **{"class": "cat"}),
    row("iou", "b", 0.75, **{"class": "cat"}),
    row("iou", "b", 0.25, contrast="minus a", p=0.001),
    row("area", "a", 0.125, p=0.2),
    row("area", "b", 0.5, p=0.001),
])  # fmt: skip


def told(look, results=RESULTS):
    look = {"lines": ["model"], "column": "measure", "cell": "ratio", **look}
    return declared.table(look, results, "title", 0.95, {})[0]


def test_a_filter_takes_rows_without_a_value_with_any_or_with_one():
    classes = [declared.chosen(RESULTS, {"class": value}) for value in ("", "*", "cat", "dog")]
    assert [len(some) for some in classes] == [5, 2, 2, 0]
    assert len(declared.chosen(RESULTS, {"class": ["", "cat"], "measure": "iou"})) == 5


def test_lines_are_ranked_and_measures_written_in_their_own_way():
    look = {"where": {"class": ""}, "columns": ["area", "iou"], "cells": {"area": "whole"}}
    assert told(look).rows == [("a", "12", "+0.25"), ("b", "50", "+0.50")]
    look["cells"]["iou"] = "plain"
    assert [line[2] for line in told(look).rows] == ["0.25", "0.50"]
    look["cells"] = {"area": "whole"}
    look["ranked"] = {"measure": "iou"}
    assert told(look).rows == [("b", "50", "+0.50"), ("a", "12", "+0.25")]
    look["ranked"] = {"measure": "iou", "class": "*"}
    assert [line[0] for line in told(look).rows] == ["a", "b"]
    look["ranked"] = {"measure": "area", "estimate": 0.5}
    assert [line[0] for line in told(look).rows] == ["b", "a"], "those without are last"


def test_columns_leave_out_lines_that_have_none_of_them():
    more = RESULTS + Results([row("other", "c", 1.0)])
    assert [line[0] for line in told({"columns": ["iou"], "where": {"class": ""}}, more).rows] == [
        "a",
        "b",
    ]


def test_numbers_that_differ_get_a_star_and_words_none():
    words = Results([row("area", "c", 0.0, cell="none", p=0.0)])
    look = {"starred": True, "columns": ["area"]}
    assert told(look, words + RESULTS).rows == [("c", "none"), ("a", "+0.12"), ("b", "+0.50*")]
    assert [line[1] for line in told({**look, "starred": False}).rows] == ["+0.12", "+0.50"]


def test_differences_are_a_table_of_their_own():
    found = told({"tested": "difference", "titles": {"model": "models"}})
    assert found.header == ("models", "difference", "differs", "p")
    assert found.rows == [("b minus a", "+0.25", "yes", "0.001")]


def words(**tables):
    made = Words.__new__(Words)
    made._all = tables
    return made


def test_sections_hold_what_belongs_in_them():
    draw = {"kind": "dots", "where": {"measure": "{of}", "class": "{some}"}, "y": "model"}
    figures = {
        "level": {"caption": "{of}", "alt": "", "draw": draw},
        "photos": {"caption": "", "alt": "", "photos": True, "file": "{of}_photos"},
    }
    page = words(
        text={"first": "About {of}; {star}."},
        figures=figures,
        tables={"all": {"title": "{of}", "lines": ["model"], "where": {"measure": "{of}"}}},
        sections={
            "one": {"title": "{of}", "text": ["first"], "figures": ["level"], "tables": ["all"]},
            "two": {"title": "Photos", "figures": ["photos"]},
        },
    )
    fields = {"of": "iou", "some": ["", "cat"], "photos": True}  # which says nothing of figures
    one, two = page.sections(RESULTS, fields, pictures={"photos": lambda: None})
    assert one.title == "iou"
    assert one.text[0].startswith("About iou; * differs from 0")
    assert [(picture.caption, picture.photos) for picture in one.pictures] == [("iou", False)]
    drawn = one.pictures[0].draw()
    assert len(drawn.lines) == 5, "a list given for a text is a list"
    assert [table.title for table in one.tables] == ["iou"]
    assert [(picture.name, picture.photos) for picture in two.pictures] == [("iou_photos", True)]
    (nothing,) = page.sections(RESULTS, fields, "two")
    assert nothing.pictures == [], "neither given nor drawn of results"
    other = RESULTS.where(model="b")
    (told,) = page.sections(RESULTS, fields, "one", of={"all": other, "level": other})
    assert [line[0] for line in told.tables[0].rows] == ["b"]
    assert len(told.pictures[0].draw().lines) == 3
    (nothing,) = page.sections(RESULTS, {**fields, "of": "dice"}, "one")
    assert (nothing.pictures, nothing.tables) == ([], [])


def test_a_legend_names_all_lines_but_faint_ones_and_panels_of_shares_have_one_scale():
    rows = [
        row("accuracy", model, value, test=test, level=level)
        for model, test, level, value in (
            ("a", "x", 1, 0.1), ("a", "x", 2, 0.2), ("b", "x", 1, 0.3),
            ("c", "y", 1, 0.9), ("a", "z", 1, 5.0),
        )
    ]  # fmt: skip
    look = {"by": "model", "panel": "test", "faint": ["b"], "shares": ["x", "y"], "across": 2}
    figure, _, lines = figures.curves(Results(rows), "level", titles={"a": "A"}, **look)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["A", "c"]
    x, y, z = figure.axes
    assert x.get_ylim() == y.get_ylim() != z.get_ylim()
    assert x.get_ylim()[1] > 0.9
    assert len(lines) == 5


@pytest.mark.parametrize("means", [True, False])
def test_a_heat_map_shows_the_columns_with_the_lowest_and_the_highest_means(means):
    rows = [
        row("iou", model, value + shift, **{"class": name})
        for model, shift in (("a", 0.0), ("b", 0.25))
        for name, value in zip("wxyz", (0.5, 0.0, NAN, 0.25), strict=True)
    ]
    look = {"panel": "measure", "named": ("m", "r", "c"), "most": 2, "means": means}
    drawn = grids.heat(Results(rows), "model", "class", **look)
    table = {(r, c): value for _, r, c, value in drawn.lines}
    assert {c for _, c in table} == {"w", "x", *(["mean"] if means else [])}
    assert table["b", "w"] == 0.75
    (image,) = drawn.figure.axes[0].images
    assert image.get_array().shape == ((3, 3) if means else (2, 2))
    if means:
        assert table["a", "mean"] == pytest.approx(np.mean([0.5, 0.0, 0.25])), "of all columns"
        assert table["mean", "x"] == pytest.approx(0.125)
