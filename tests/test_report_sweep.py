"""Reading rows back: order, joined runs, and every way in which runs do not fit together."""

import json

import numpy as np
import pytest

from rival_jax.experiments.rfs import joined, measures
from rival_jax.runtime import row_files
from tests.fake_runs import CLASSES, REGIONS, invented, write_run

LEVELS = [0.1, 0.2]
LABELS = np.array([0, 0, 1, 3])


def small(
    path,
    models=("a", "b"),
    seed=0,
    labels=LABELS,
    levels=LEVELS,
    regions=2,
    trials=2,
    **options,
):
    """A run of random numbers that depend on the model's name and the example's only."""
    names = options.setdefault("names", [f"{i}.jpg" for i in range(len(labels))])
    draws = {
        (m, n): np.random.default_rng([seed, *map(ord, m + n)]).random((5, 2, 3))
        for m in models
        for n in names
    }
    noisy = np.array(
        [[draws[m, n][: len(levels), :regions, :trials] for n in names] for m in models]
    )
    noisy = np.moveaxis(noisy, 1, -1)  # [m, l, r, t, n]
    clean = np.array([[draws[m, n][-1, -1, -1] for n in names] for m in models])
    return write_run(
        path,
        models=models,
        labels=labels,
        clean=(clean, clean > 0.5),
        noise={"linf": (levels, noisy, noisy > 0.5)},
        **options,
    )


def assert_same(one, other):
    assert one.models == other.models
    assert one.images.names == other.images.names
    np.testing.assert_array_equal(one.images.labels, other.images.labels)
    arrays = [(run.by_trial, *run.images.values.values()) for run in (one, other)]
    for mine, theirs in zip(*arrays, strict=True):
        assert mine.axes == theirs.axes
        np.testing.assert_allclose(mine.values, theirs.values, atol=1e-7)


def test_trial_means_and_classes(tmp_path):
    probability = np.arange(2 * 2 * 3 * 4).reshape(1, 2, 2, 3, 4) / 48  # [m, l, r, t, n]
    correct = probability > 0.4
    run = write_run(
        tmp_path,
        models=["a"],
        labels=LABELS,
        clean=(np.full((1, 4), 0.5), np.array([[1, 0, 1, 1]])),
        noise={"linf": (LEVELS, probability, correct)},
    )
    runs = joined.read(run)
    assert runs.images.labels.tolist() == LABELS.tolist()
    assert runs.trials() == "3 trials"
    places = [("linf", level, region) for level in LEVELS for region in REGIONS[:2]]
    noisy = {k: v.without(norm="none").at(model="a") for k, v in runs.images.values.items()}
    assert noisy["correct"].axes[1].keys == tuple(places)
    for name, values in (("probability", probability), ("correct", correct)):
        want = values[0].mean(2).reshape(4, 4).T  # [n, places]
        np.testing.assert_allclose(noisy[name].values, want, atol=1e-7)
    by_class = [correct[0][..., label == LABELS].mean(-1) for label in (0, 1, 3)]
    want = np.mean(by_class, 0).reshape(4, 3).T  # [t, places]
    np.testing.assert_allclose(runs.by_trial.values[:, 0], want, atol=1e-7)


def test_runs_join(tmp_path):
    whole = joined.read(small(tmp_path / "whole", models=("a", "b", "c")))
    parts = small(tmp_path / "one", models=("a", "b")), small(tmp_path / "two", models=("c",))
    runs = joined.read(*parts)
    assert_same(runs, whole)
    assert runs.folders == [*parts]


def test_runs_of_different_numbers_of_trials_join(tmp_path):
    one = small(tmp_path / "one", models=("a",))
    two = small(tmp_path / "two", models=("b",), trials=1)
    alone, runs = (joined.read(*some) for some in ([two], [one, two]))
    assert (runs.trials(), runs.trials(norm="linf")) == ("1 to 2 trials",) * 2
    for name, both in runs.images.values.items():
        want = alone.images.values[name]
        np.testing.assert_array_equal(both.where(model="b").values, want.values)
    np.testing.assert_array_equal(runs.by_trial.values[:1, 1:], alone.by_trial.values)
    assert np.isnan(runs.by_trial.values[1, 1]).all()
    assert np.isfinite(runs.by_trial.values[:, 0]).all()


def test_levels_weigh_the_same_whatever_their_trials(tmp_path):
    whole, one = (joined.read(small(tmp_path / f"{n}", trials=n)) for n in (2, 1))
    run = small(tmp_path / "run")
    for file in sorted((run / "rows").glob("*/linf_1.parquet")):  # of level 0.2
        table = row_files.read(file)
        kept = np.array(table["trial"]) == 0
        row_files.write([table.filter(kept)], file, file.name)
    runs = joined.read(run)
    told = [runs.trials(norm="linf", level=level) for level in LEVELS]
    assert [runs.trials(), *told] == ["1 to 2 trials", "2 trials", "1 trial"]
    means = [one.images.values["correct"].at(norm="linf", level=level) for one, level in
             ((runs, 0.1), (whole, 0.1), (runs, 0.2), (one, 0.2))]  # fmt: skip
    np.testing.assert_array_equal(means[0].values, means[1].values)
    np.testing.assert_array_equal(means[2].values, means[3].values)
    overall = measures.STUDY.derived(runs.images.values)["overall"].values
    np.testing.assert_allclose(overall[..., 0], (means[0].values + means[2].values)[..., 0] / 2)


def test_examples_are_matched_by_name_not_by_position(tmp_path):
    order = [2, 0, 3, 1]
    names = [f"{i}.jpg" for i in order]
    one = small(tmp_path / "one", models=("a",))
    two = small(tmp_path / "two", models=("b",), labels=LABELS[order], names=names)
    assert_same(joined.read(one, two), joined.read(small(tmp_path / "whole")))


def test_a_model_in_two_runs_is_told_apart(tmp_path):
    one, two = (small(tmp_path / name, models=("a",), seed=s) for s, name in enumerate("xy"))
    sweep = joined.read(one, two)
    assert sweep.models == ("a (x)", "a (y)")
    assert sweep.images.values["correct"].of("model") == sweep.models


def test_rows_that_units_json_does_not_list_are_left_alone(tmp_path):
    run = small(tmp_path)
    for file in (run / "rows" / "a").glob("linf_1*"):
        file.rename(file.with_name("earlier.parquet"))
    units = json.loads((run / "units.json").read_text())
    units = {name: file for name, file in units.items() if "linf_1" not in file}
    (run / "units.json").write_text(json.dumps(units))
    assert joined.read(run).by_trial.of("level") == tuple(LEVELS[:1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:3]}, r"3 examples where the first model has 4 \(3.jpg"),
        ({"fingerprint": "beef"}, r"pictures \(fingerprint\): b has beef, a has 5e1f"),
        ({"levels": LEVELS[:1]}, r"rows under linf noise: b at level 0.2 \(foreground\) has none"),
        ({"regions": 1}, r"rows under linf noise: b at level 0.1 \(background\) has none"),
        (
            {"labels": np.array([0, 0, 1, 1])},
            r"4 examples where the first model has 4 \(3.jpg of class car",
        ),
        ({"classes": CLASSES[::-1]}, "data's classes: b has"),
    ],
)
def test_runs_that_do_not_fit_are_refused(tmp_path, change, message):
    one = small(tmp_path / "one", models=("a",))
    two = small(tmp_path / "two", models=("b",), **change)
    with pytest.raises(ValueError, match=message):
        joined.read(one, two)


def test_a_unit_that_is_cut_short_is_refused(tmp_path):
    run = small(tmp_path)
    file = next((run / "rows" / "b").glob("linf_0*"))
    row_files.write([row_files.read(file).slice(1)], file, file.name)
    with pytest.raises(
        ValueError,
        match=r"model b, linf 0.1 foreground: trial 0 has 3 of 4 images; delete its file",
    ):
        joined.read(run)


def test_a_unit_with_rows_twice_is_refused(tmp_path):
    run = small(tmp_path)
    file = next((run / "rows" / "b").glob("clean*"))
    row_files.write([row_files.read(file).take([0, 0, 1, 2, 3])], file, file.name)
    with pytest.raises(ValueError, match=r"rows of .*/b are there twice; delete the folder"):
        joined.read(run)


def test_missing_files_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="no runs to read"):
        joined.read()
    with pytest.raises(FileNotFoundError, match=r"data.json is missing; name the workdir of a fin"):
        joined.read(tmp_path)
    run = small(tmp_path)
    next((run / "rows" / "b").glob("clean*")).unlink()
    with pytest.raises(FileNotFoundError, match=r"clean.* is missing; run the same command again"):
        joined.read(run)


def test_a_label_of_another_run_is_refused(tmp_path):
    run = small(tmp_path)
    data = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps({**data, "classes": list(CLASSES[:3])}))
    with pytest.raises(ValueError, match=r"label 'ship' is not one of the classes in data.json"):
        joined.read(run)


def test_units_of_an_earlier_version_are_told(tmp_path):
    run = small(tmp_path)
    (run / "units.json").write_text("[]")
    with pytest.raises(ValueError, match=r"units.json names no units; run the same command again"):
        joined.read(run)
    (run / "units.json").write_text("{}")
    with pytest.raises(ValueError, match="no rows for the clean images of model a"):
        joined.read(run)


def test_group_names(tmp_path):
    runs = joined.read(invented(tmp_path, per_class=1, trials=1))
    vits, resnet = list(runs.models[:2]), runs.models[2]
    assert runs.groups({}) == {}
    assert runs.groups({"ViT": vits}) == {"ViT": vits, resnet: [resnet]}
    assert runs.groups({"all": list(runs.models)}) == {"all": list(runs.models)}
    with pytest.raises(ValueError, match="has the name of a model"):
        runs.groups({resnet: vits})
    with pytest.raises(ValueError, match=r"group 'ViTs' names vit_huge; the models.*vit_00"):
        runs.groups({"ViTs": ["vit_huge"]})
