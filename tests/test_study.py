import csv
import dataclasses
import itertools
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rival_jax
from benchmarks import growth
from rival_jax import apart, blocks, pools, significance, statistics, strata
from rival_jax.images import Images, Made, Names, per_image
from rival_jax.named import Axis
from rival_jax.report import study, tables, verdicts
from rival_jax.report.document import Document, Section, write_document
from rival_jax.report.results import Results
from rival_jax.report.study import Measure, Study
from rival_jax.runtime.console import Terminal
from rival_jax.runtime.results import Category, Run

OPTIONS = {"resamples": 200, "seed": 3}
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])


def measures(means):
    level = means["correct"].mean("class")
    yield Measure("accuracy", level)
    yield Measure("accuracy", level.differences("model"))
    yield Measure("accuracy", means["correct"])


STUDY = Study("demo", axes=("model",), columns=("correct",), measures=measures)


def images(values, labels=LABELS):
    """Values [n, models] of named images."""
    axes = (
        Axis(("example",), tuple((f"i{k}",) for k in range(len(values)))),
        Axis(("model",), tuple((f"m{k}",) for k in range(np.shape(values)[1]))),
    )
    return Images({"correct": per_image(np.asarray(values, float), axes)}, labels, ("a", "b", "c"))


def test_numbers_are_those_of_the_statistics_alone():
    values = np.random.default_rng(0).random((9, 2))
    results = STUDY.results(images(values), **OPTIONS)
    alone = statistics.bootstrap(lambda m: m.mean(0), values, LABELS, **OPTIONS)
    paired = significance.findings(
        lambda m: m.mean(0)[1] - m.mean(0)[0], values, LABELS, bounds=(0.0, 1.0), **OPTIONS
    )
    overall = results.where(**{"class": None})
    for k, name in enumerate(("m0", "m1")):
        row = overall.one(model=name, contrast="")
        for end in ("estimate", "low", "high"):
            assert row[end] == pytest.approx(getattr(alone, end)[k], abs=1e-6)
        assert math.isnan(row["p"])  # nobody asks whether an accuracy is 0
        assert (row["images"], row["classes"]) == (9, 3)
    row = overall.one(contrast="minus m0")
    assert row["model"] == "m1"
    for end in ("estimate", "low", "high", "p"):
        assert row[end] == pytest.approx(float(getattr(paired, end)), abs=1e-6)
    row = results.one(**{"class": "b", "model": "m0"})
    assert row["estimate"] == pytest.approx(values[3:7, 0].mean(), abs=1e-6)
    assert (row["images"], row["classes"]) == (4, 1)


def test_missing_values_do_not_count():
    values = np.random.default_rng(1).random((9, 2))
    values[[0, 1, 2, 3, 4, 7], 0] = np.nan  # none of class a, one of class c
    results = STUDY.results(images(values), **OPTIONS)
    first = results.where(model="m0", contrast="")
    assert first.of("class") == ["b", "c"]
    alone = first.one(**{"class": "c"})
    assert alone["estimate"] == pytest.approx(values[8, 0], abs=1e-6)
    assert math.isnan(alone["low"])
    assert math.isnan(alone["high"])
    overall = first.one(**{"class": None})
    want = (np.nanmean(values[3:7, 0]) + values[8, 0]) / 2
    assert overall["estimate"] == pytest.approx(want, abs=1e-6)
    assert (overall["images"], overall["classes"]) == (3, 2)
    assert overall["low"] <= overall["estimate"] <= overall["high"]


def test_an_image_without_a_value_has_no_part_in_the_test():
    """Whatever the sizes of the classes: p is that of the images that have both values."""
    labels = np.repeat([0, 1], [3, 9])
    values = np.random.default_rng(4).random((12, 2))
    values[[1, 5, 6, 11], 0] = np.nan
    some = np.isfinite(values).all(1)

    def difference(means):
        later, earlier = (means["correct"].at(model=name) for name in ("m1", "m0"))
        yield Measure("difference", (later - earlier).mean("class"))

    found = images(np.where(some[:, None], values, np.nan), labels)
    study = dataclasses.replace(STUDY, measures=difference)
    mean = lambda m: m.mean(0)  # noqa: E731
    gaps = np.subtract(*values[some].T[::-1])
    want = significance.sign_flips(mean, gaps, labels[some])
    assert study.results(found, **OPTIONS).one()["p"] == pytest.approx(float(want), abs=1e-6)


def test_images_are_never_all_held(monkeypatch):
    """Their numbers are made a few classes at a time, with the same results to the last bit."""
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 40, 600)
    values = np.where(rng.random((600, 2)) < 0.1, np.nan, rng.random((600, 2)) < 0.6)
    classes, asked = tuple(map(str, range(40))), []
    whole = images(values, labels)._replace(classes=classes)
    want = STUDY.results(whole, resamples=50)
    monkeypatch.setattr(pools, "HELD", 200)  # 50 images of two measures, two columns each

    def rows(some):
        asked.append(len(some))
        return values[some], np.ones(1, np.int8)

    lazy = Made(whole.values["correct"].axes, rows)
    found = STUDY.results(whole._replace(values={"correct": lazy}), resamples=50)
    assert str(found.rows) == str(want.rows)
    assert max(asked) <= 100, "weights alone take half the room"
    np.testing.assert_array_equal(lazy.values, values)


@pytest.mark.parametrize("kind", ["rfs", "saliency", "attributes", "perturbation"])
def test_numbers_of_many_classes_are_those_of_all_computed_at_once(kind, monkeypatch):
    """Classes of one image too, groups of models, missing values; and draws in several parts."""
    rng = np.random.default_rng(8)
    labels = np.sort(np.r_[np.arange(23), rng.integers(0, 20, 80)])  # three of one image
    example = images(np.zeros((103, 1)), labels).values["correct"].axes[0]
    found, declared, given = growth.STUDIES[kind](rng, example)
    if kind in ("rfs", "saliency"):
        given = ({"both": growth.MODELS},)
    first = next(iter(found))
    if kind == "rfs":
        found["overall"].values[labels == 1] = 1  # nothing varies
    if kind in ("attributes", "tokencut"):
        found[first].values[labels == 2] = np.nan  # a class without any value
        found[first] = per_image(found[first].values, found[first].axes)
    every = Images(found, labels, tuple(map(str, range(23))))
    tables = []
    for many in (23, 22):
        monkeypatch.setattr(study, "MANY", many)
        if many < 23:  # draws do not depend on how many are made at once
            monkeypatch.setattr(strata, "CHUNK", 23 * 80)
            monkeypatch.setattr(blocks, "HELD", 23 * 80)
            monkeypatch.setattr(blocks, "DRAWS", 40)
            monkeypatch.setattr(apart, "ROWS", 64)
            monkeypatch.setattr(apart, "TOGETHER", 5)
        tables.append(declared.results(every, *given, resamples=50))
    want, got = tables
    assert len(want) == len(got) > 1
    for row, same in zip(want, got, strict=True):
        numbers = {name: same.pop(name) for name in ("estimate", "low", "high", "p")}
        exact = 1e-12 if row.get("class") and kind == "rfs" else 2e-6  # the order of float32 sums
        for name, value in numbers.items():
            # Signs are random patterns: rounding may change which of them are tried.
            near = 0.02 if name == "p" and exact > 1e-12 else exact
            assert row.pop(name) == pytest.approx(value, abs=near, nan_ok=True)
        assert row == same


@pytest.mark.parametrize("names", [pa.array(["a", "b", "c"] * 1500), range(4500)])
def test_names_of_many_images_are_keys(names):
    words = names if isinstance(names, range) else names.to_pylist()
    got, keys = Names(names), tuple((word,) for word in words)
    assert len(got) == len(keys)
    assert tuple(got) == keys
    assert got == keys
    assert got == Names(names)
    assert (got[0], got[-1], got[np.int64(7)], got[2:5]) == (keys[0], keys[-1], keys[7], keys[2:5])
    assert got != keys[1:]
    with pytest.raises(IndexError):
        got[len(keys)]


def test_rows_are_read_by_name_averaged_and_refused_twice(tmp_path):
    run = Run(tmp_path, {})
    example, trial = (grid.ravel() for grid in np.meshgrid(range(3), range(2), indexing="ij"))

    def columns(model, correct):
        return {
            "model": Category(0 * example, [model]),
            "example": Category(example, ["x", "y", "z"]),
            "label": Category(example % 2, ["a", "b"]),
            "trial": trial.astype(np.int16),
            "correct": np.asarray(correct),
        }

    said = {"m1": [1, 0, 1, 1, 0, 0], "m0": [0, 0, 1, 0, 1, 1]}
    for model, correct in said.items():
        run.rows(model, {}, lambda m=model, c=correct: columns(m, np.array(c, bool)))
    files = [run.unit_path(model, {}) for model in said]
    study = Study("demo", ("model",), ("correct",), measures, averaged=("trial",))
    found = study.read(files, ("b", "a"))
    assert found.names == ("x", "y", "z")
    assert found.labels.tolist() == [1, 0, 1]
    assert found.values["correct"].of("model") == ("m1", "m0")
    assert found.values["correct"].values.tolist() == [[0.5, 0], [1, 0.5], [0, 1]]
    with pytest.raises(ValueError, match="are there twice; delete the folder"):
        study.read([files[0], files[0]], ("b", "a"))
    with pytest.raises(ValueError, match=r"label 'b' is not one of the classes in data\.json"):
        study.read(files, ("a", "c"))


def test_files_hold_the_table(tmp_path):
    results = STUDY.results(images(np.random.default_rng(2).random((9, 2))), **OPTIONS)
    results.write(tmp_path)
    header = ["study", "measure", "model", "class", "contrast", "estimate", "low", "high", "p",
              "images", "classes"]  # fmt: skip
    assert pq.read_schema(tmp_path / "summary.parquet").names == header
    again = Results.read(tmp_path)
    assert len(again) == len(results) == 2 + 1 + 6
    for mine, theirs in zip(results, again, strict=True):
        np.testing.assert_equal({k: mine.get(k) for k in header}, theirs)
    with (tmp_path / "summary.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert float(lines[0]["estimate"]) == results.rows[0]["estimate"]
    assert lines[0]["class"] == lines[0]["p"] == ""
    assert rival_jax.read_results(tmp_path).num_rows == 9
    with pytest.raises(FileNotFoundError, match="name the workdir of a finished run"):
        Results.read(tmp_path / "none")


def test_filters_and_tables():
    rows = [
        {"measure": "m", "model": model, "kind": kind, "contrast": "", "p": p, "images": 20}
        | dict.fromkeys(("estimate", "low", "high"), value)
        for model, kind, value, p in (
            ("a", "x", 0.1, 0.01), ("a", "y", 0.2, 0.04), ("b", "x", 0.3, 0.5), ("b", "y", 0.0, 0.9)
        )
    ]  # fmt: skip
    results = Results(rows)
    assert results.where(model=("a", "b"), kind="x").of("model") == ["a", "b"]
    assert results.where(kind="x").ranked("model") == ["b", "a"]
    mixed = Results([*rows[:2], {**rows[2], "contrast": "minus a"}, {"measure": "n"}])
    assert mixed.where(contrast=bool).rows == [mixed.rows[2]], "neither empty nor missing"
    assert tables.differences("d", Results([]), ("model",), tables.percent, 0.95).rows == []
    with pytest.raises(KeyError, match="2 results"):
        results.one(model="a")
    shown = tables.pivot("t", Results(rows[:3]), ("model",), "kind", tables.percent)
    assert shown.header == ("model", "x", "y")
    assert shown.rows == [("a", "10.0 [10.0, 10.0]", "20.0 [20.0, 20.0]"),
                          ("b", "30.0 [30.0, 30.0]", "")]  # fmt: skip
    told = tables.differences("d", results, ("model", "kind"), tables.percent, 0.95)
    assert [row[3:] for row in told.rows] == [
        ("yes", "0.040"), ("no", "0.120"), ("no", "1.000"), ("no", "1.000")
    ]  # fmt: skip
    few = Results({**row, "images": 5} for row in rows)
    assert {v.word for v in verdicts.of_rows(few, 0.95)} == {"too few images"}
    tex = tables.as_latex(tables.Table("50 % of a_b", ("a & b", "c"), [("x_1", "-3")]))
    assert tex.splitlines() == [
        r"% 50 \% of a\_b", r"\begin{tabular}{lr}", r"\toprule", r"a \& b & c \\", r"\midrule",
        r"x\_1 & $-$3 \\", r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip


def test_p_of_missing_values_is_that_of_the_images_that_have_one():
    """One class, 8 of 20 images with a value: all 2^8 patterns of signs, by hand."""
    rng = np.random.default_rng(4)
    values = np.full((20, 2), np.nan)
    values[::3] = rng.random((7, 2)) * [1, 0.7]
    results = STUDY.results(images(values, np.zeros(20, int)), **OPTIONS)
    own = values[::3, 1] - values[::3, 0]
    signs = np.array(list(itertools.product((1, -1), repeat=len(own))))
    want = np.mean(np.abs(signs @ own) >= abs(own.sum()) - 1e-9)
    row = results.one(contrast="minus m0", **{"class": None})
    assert row["p"] == pytest.approx(want)
    assert row["estimate"] == pytest.approx(own.mean(), abs=1e-6)


def test_p_of_missing_values_weighs_classes_alike():
    """Of three classes 4, 3 and no images have a value: a class counts as much as another."""
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1, 2], 10)
    values = np.full((30, 2), np.nan)
    chosen = [0, 1, 2, 3, 10, 13, 17]
    values[chosen] = rng.random((7, 2)) * [1, 0.6]
    results = STUDY.results(images(values, labels), **OPTIONS)
    share = np.where(labels[chosen] == 0, 1 / 4, 1 / 3) / 2
    own = share * (values[chosen, 1] - values[chosen, 0])
    signs = np.array(list(itertools.product((1, -1), repeat=len(own))))
    want = np.mean(np.abs(signs @ own) >= abs(own.sum()) - 1e-9)
    assert results.one(contrast="minus m0", **{"class": None})["p"] == pytest.approx(want)


def test_what_was_not_seen_of_few_values_is_a_binomial_share():
    """All 6 of the 6 images that have a value are right, of 40: as 6 of 6, within [0, 1]."""
    values = np.full((40, 2), np.nan)
    values[::7] = 1
    results = STUDY.results(images(values, np.zeros(40, int)), **OPTIONS)
    six = statistics.bootstrap(lambda m: m.mean(0), np.ones(6), np.zeros(6, int))
    row = results.one(model="m0", contrast="", **{"class": None})
    assert (row["estimate"], row["high"]) == (1, 1)
    assert row["low"] == pytest.approx(float(six.low), abs=1e-6)
    gap = results.one(contrast="minus m0", **{"class": None})
    assert (gap["estimate"], gap["p"]) == (0, 1)
    assert -1 <= gap["low"] < 0 < gap["high"] <= 1


def test_rows_of_any_run_are_one_table(tmp_path):
    """Units of other columns, and a column that is bool in one and float in another."""
    run = Run(tmp_path, {})
    names = Category(np.arange(2), ["x", "y"])
    run.rows("m/a", {}, lambda: {"example": names, "correct": np.array([True, False])})
    run.rows(
        "m/b", {}, lambda: {"example": names, "correct": np.float32([0.5, 1]), "level": [1, 2]}
    )
    found = rival_jax.read_rows(tmp_path)
    assert found["correct"].to_pylist() == [1, 0, 0.5, 1]
    assert found["level"].to_pylist() == [None, None, 1, 2]
    assert rival_jax.read_rows(tmp_path, "m/b").num_rows == 2
    with pytest.raises(FileNotFoundError, match="no rows of other in"):
        rival_jax.read_rows(tmp_path, "other")


def test_an_image_that_was_not_measured_under_all_settings_is_refused(tmp_path):
    """Such as one that is skipped at the size of one network alone; attributes may lack rows."""
    run = Run(tmp_path, {})
    for model, names in (("big", "xyz"), ("small", "xz")):
        rows = np.arange(len(names))
        columns = {
            "model": Category(0 * rows, [model]),
            "example": Category(rows, list(names)),
            "label": Category(0 * rows, ["a"]),
            "correct": np.ones(len(names)),
        }
        run.rows(model, {}, lambda columns=columns: columns)
    files = [run.unit_path(model, {}) for model in ("big", "small")]
    with pytest.raises(ValueError, match="small: no row of image y, which others have"):
        STUDY.read(files, ("a",))
    found = dataclasses.replace(STUDY, sparse=True).read(files, ("a",))
    assert np.isnan(found.values["correct"].values).sum() == 1


def test_columns_of_several_types_are_text(tmp_path):
    end = {"estimate": 1.0, "low": 1.0, "high": 1.0, "p": math.nan, "images": 1, "classes": 1}
    told = {"study": "s", "measure": "m", "contrast": "", **end}
    Results([{**told, "level": level} for level in (0.5, "mean")]).write(tmp_path)
    assert Results.read(tmp_path).of("level") == ["0.5", "mean"]


def test_tables_of_an_earlier_report_and_those_without_rows_are_left_out(tmp_path):
    run = Run(tmp_path, {})
    facts = {"name": "d", "split": "test", "classes": ["a"], "counts": [1], "images": 1}
    run.save_json("data.json", {**facts, "fingerprint": "f"})
    run.save_json("models.json", [])
    for titles in (["First", "Second"], ["Second"]):
        told = [tables.Table(title, ("a",), [("1",)]) for title in titles]
        empty = tables.Table("Empty", ("a",), [])
        sections = [Section("S", tables=[empty, *told]), Section("Nothing", tables=[empty])]
        document = Document("t", "s", ["h"], sections, ["m"], [], "source")
        write_document(run, Terminal(quiet=True), document)
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["01_second.csv"]
    text = (tmp_path / "report.html").read_text()
    assert "Empty" not in text
    assert "Nothing" not in text
