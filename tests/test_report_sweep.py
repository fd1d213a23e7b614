"""Reading rows back: order, joined runs, and every way in which runs do not fit together."""

import json

import numpy as np
import pytest

from rival_jax.report.sweep import Sweep
from rival_jax.runtime import row_files
from tests.fake_runs import CLASSES, invented, write_run

LEVELS = [0.1, 0.2]
LABELS = np.array([0, 0, 1, 3])


def small(path, models=("a", "b"), seed=0, labels=LABELS, levels=LEVELS, trials=2, **options):
    """A run of random numbers that depend on the model's name and the example's only."""
    names = options.setdefault("names", [f"{i}.jpg" for i in range(len(labels))])
    draws = {
        (m, n): np.random.default_rng([seed, *map(ord, m + n)]).random((5, 2, 3))
        for m in models
        for n in names
    }
    noisy = np.array([[draws[m, n][: len(levels), :, :trials] for n in names] for m in models])
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
    assert (one.models, one.classes, one.names) == (other.models, other.classes, other.names)
    np.testing.assert_array_equal(one.probability, other.probability)
    np.testing.assert_array_equal(one.correct, other.correct)
    for name in ("levels", "probability", "correct", "by_trial"):
        np.testing.assert_array_equal(*(getattr(s.noise["linf"], name) for s in (one, other)))


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
    sweep = Sweep.read(run)
    assert sweep.classes == tuple(CLASSES[i] for i in (0, 1, 3)), "classes with images"
    assert sweep.labels.tolist() == [0, 0, 1, 2]
    noise = sweep.noise["linf"]
    assert (noise.trials, noise.regions) == (3, ("foreground", "background"))
    np.testing.assert_allclose(noise.probability, probability.mean(3), atol=1e-7)
    np.testing.assert_allclose(noise.correct, correct.mean(3), atol=1e-7)
    assert noise.by_trial.shape == (3, 1, 2, 2, 3)
    first_class = np.moveaxis(correct[..., :2].mean(-1), 3, 0)
    np.testing.assert_allclose(noise.by_trial[..., 0], first_class, atol=1e-7)


def test_runs_join(tmp_path):
    whole = Sweep.read(small(tmp_path / "whole", models=("a", "b", "c")))
    parts = small(tmp_path / "one", models=("a", "b")), small(tmp_path / "two", models=("c",))
    joined = Sweep.read(*parts)
    assert_same(joined, whole)
    assert [run["path"] for run in joined.runs] == list(map(str, parts))


def test_examples_are_matched_by_name_not_by_position(tmp_path):
    order = [2, 0, 3, 1]
    names = [f"{i}.jpg" for i in order]
    one = small(tmp_path / "one", models=("a",))
    two = small(tmp_path / "two", models=("b",), labels=LABELS[order], names=names)
    assert_same(Sweep.read(one, two), Sweep.read(small(tmp_path / "whole")))


def test_a_model_in_two_runs_is_told_apart(tmp_path):
    one, two = (small(tmp_path / name, models=("a",), seed=s) for s, name in enumerate("xy"))
    sweep = Sweep.read(one, two)
    assert sweep.models == (f"a ({one})", f"a ({two})")
    assert [card["name"] for card in sweep.cards] == list(sweep.models)


def test_rows_that_units_json_does_not_list_are_left_alone(tmp_path):
    run = small(tmp_path)
    for file in (run / "rows" / "a").glob("linf_1*"):
        file.rename(file.with_name("earlier.parquet"))
    units = [unit for unit in json.loads((run / "units.json").read_text()) if "linf_1" not in unit]
    (run / "units.json").write_text(json.dumps(units))
    assert Sweep.read(run).noise["linf"].levels.tolist() == LEVELS[:1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:3]}, r"3 examples where the first model has 4 \(3.jpg"),
        ({"fingerprint": "beef"}, r"pictures \(fingerprint\): b has beef, a has 5e1f"),
        ({"trials": 1}, "trials under linf noise: b at level 0.1 has 1, a at level 0.1 has 2"),
        ({"levels": LEVELS[:1]}, "model b has no rows for linf noise of level 0.2"),
        ({"labels": np.array([0, 0, 1, 1])}, r"labels: b has \(.*\), a has"),
        ({"classes": CLASSES[::-1]}, "classes: b has"),
    ],
)
def test_runs_that_do_not_fit_are_refused(tmp_path, change, message):
    one = small(tmp_path / "one", models=("a",))
    two = small(tmp_path / "two", models=("b",), **change)
    with pytest.raises(ValueError, match=message):
        Sweep.read(one, two)


def test_a_unit_that_is_cut_short_is_refused(tmp_path):
    run = small(tmp_path)
    file = next((run / "rows" / "b").glob("linf_0*"))
    row_files.write([row_files.read(file).slice(1)], file, file.name)
    with pytest.raises(ValueError, match=r"linf_0.*model b, linf 0.1 has 15 of 16 rows"):
        Sweep.read(run)


def test_a_unit_with_rows_twice_is_refused(tmp_path):
    run = small(tmp_path)
    file = next((run / "rows" / "b").glob("clean*"))
    row_files.write([row_files.read(file).take([0, 0, 1, 2, 3])], file, file.name)
    with pytest.raises(ValueError, match="1 more than once; delete the file"):
        Sweep.read(run)


def test_missing_files_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="no runs to read"):
        Sweep.read()
    with pytest.raises(FileNotFoundError, match=r"data.json is missing; name the workdir of a fin"):
        Sweep.read(tmp_path)
    run = small(tmp_path)
    next((run / "rows" / "b").glob("clean*")).unlink()
    with pytest.raises(FileNotFoundError, match=r"clean.* is missing; run the same command again"):
        Sweep.read(run)


def test_a_label_of_another_run_is_refused(tmp_path):
    run = small(tmp_path)
    data = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps({**data, "classes": list(CLASSES[:3])}))
    with pytest.raises(ValueError, match=r"label 'ship' is not one of the classes in data.json"):
        Sweep.read(run)


def test_group_names(tmp_path):
    sweep = Sweep.read(invented(tmp_path, per_class=1, trials=1, groups=["ViT", "ViT", None]))
    vits, resnet = list(sweep.models[:2]), sweep.models[2]
    assert sweep.groups() == {"ViT": vits, resnet: [resnet]}
    assert sweep.groups({"all": list(sweep.models)}) == {"all": list(sweep.models)}
    with pytest.raises(ValueError, match="has the name of a model"):
        sweep.groups({resnet: vits})
    with pytest.raises(ValueError, match="'empty' names no model"):
        sweep.groups({"empty": []})
