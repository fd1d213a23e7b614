"""The summary against numbers worked out by hand, and its intervals against the bootstrap's."""

import json

import numpy as np
import pytest

from rival_jax import metrics, statistics
from rival_jax.report import tables
from rival_jax.report.summary import summarise
from rival_jax.report.sweep import Sweep
from tests.fake_runs import invented, write_run
from tests.helpers import REFERENCE

NEAR = {"abs": REFERENCE}


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """Two classes of two images, two levels, two trials; model b is right under fg noise only."""
    fg = np.array(  # [l, t, n]
        [[[1, 1, 1, 0], [1, 0, 1, 0]], [[0, 0, 1, 1], [0, 0, 0, 0]]],
    )
    bg = np.array([[[1, 1, 1, 1], [1, 1, 1, 1]], [[1, 1, 1, 1], [1, 0, 1, 0]]])
    correct = np.stack(
        [np.stack([fg, bg], 1), np.stack([0 * fg + 1, 0 * bg], 1)]
    )  # [m, l, r, t, n]
    probability = np.empty(correct.shape)
    probability[:, :, 0], probability[:, :, 1] = [0.2, 0.2, 0.8, 0.8], [0.6, 0.6, 0.4, 0.4]
    clean = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    run = write_run(
        tmp_path_factory.mktemp("by_hand"),
        models=("a", "b"),
        classes=("cat", "dog"),
        labels=np.array([0, 0, 1, 1]),
        clean=(clean * 0.9, clean),
        noise={"linf": ([0.1, 0.2], probability, correct)},
    )
    return summarise(Sweep.read(run), resamples=100)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return Sweep.read(invented(tmp_path_factory.mktemp("run")))


def estimates(items):
    return [item["estimate"] for item in items]


def test_accuracies_by_hand(by_hand):
    a = by_hand["models"]["a"]
    assert a["accuracy_clean"]["estimate"] == pytest.approx(0.75, **NEAR)
    fg, bg = a["linf"]["accuracy_fg"], a["linf"]["accuracy_bg"]
    assert estimates(fg["by_level"]) == pytest.approx([0.625, 0.25], **NEAR)
    assert estimates(bg["by_level"]) == pytest.approx([1.0, 0.75], **NEAR)
    assert fg["mean"]["estimate"] == pytest.approx(0.4375, **NEAR)
    assert bg["mean"]["estimate"] == pytest.approx(0.875, **NEAR)
    assert "accuracy_all" not in a["linf"]


def test_rfs_by_hand(by_hand):
    a = by_hand["models"]["a"]["linf"]
    assert a["rfs_of_means"]["estimate"] == pytest.approx(0.4375 / 0.6875, **NEAR)
    assert estimates(a["rfs_by_level"]) == pytest.approx([1.0, 0.5], **NEAR)
    assert a["mean_of_rfs"]["estimate"] == pytest.approx(0.75, **NEAR)
    by_class = a["rfs_by_class"]
    assert by_class["cat"]["estimate"] == pytest.approx(0.5 / 0.75, **NEAR)
    assert by_class["dog"]["estimate"] == pytest.approx(0.375 / 0.625, **NEAR)
    (pair,) = by_hand["differences"]["linf"]
    assert (pair["model"], pair["minus"]) == ("b", "a")
    assert pair["rfs_of_means"]["estimate"] == pytest.approx(-1 - 0.4375 / 0.6875, **NEAR)


def test_irfs_by_hand(by_hand):
    a = by_hand["models"]["a"]["linf"]
    assert a["irfs_mean"]["estimate"] == pytest.approx(0.0, **NEAR)  # 0.5 and -0.5
    assert a["irfs_negative"]["estimate"] == pytest.approx(0.5, **NEAR)


def test_noise_error_by_hand(by_hand):
    # RFS of the two trials: 1 and 1/2; accuracies 0.625 and 0.25, 1 and 0.75.
    error = by_hand["models"]["a"]["linf"]["noise_error"]
    assert error["rfs_of_means"] == pytest.approx(0.25, **NEAR)
    assert error["accuracy_fg"] == pytest.approx(0.1875, **NEAR)
    assert error["accuracy_bg"] == pytest.approx(0.125, **NEAR)
    assert by_hand["differences"]["linf"][0]["noise_error"] == pytest.approx(0.25, **NEAR)


def test_every_interval_is_the_bootstrap_of_its_own_number(sweep):
    options = {"resamples": 300, "method": "percentile", "confidence": 0.9, "seed": 3}
    summary = summarise(sweep, **options)
    noise, model = sweep.noise["l2"], 1
    entry = summary["models"][sweep.models[model]]

    def check(got, statistic, values):
        want = statistics.bootstrap(statistic, values, sweep.labels, **options)
        assert [got[end] for end in want._fields] == pytest.approx([float(x) for x in want], **NEAR)

    check(entry["accuracy_clean"], lambda m: m.mean(0), sweep.correct[model])
    bg = noise.region(noise.correct, "background")[model]
    check(entry["l2"]["accuracy_bg"]["by_level"][1], lambda m: m.mean(0), bg[1])
    check(entry["l2"]["accuracy_bg"]["mean"], lambda m: m.mean(0), bg.mean(0))
    whole = noise.region(noise.correct, "all")[model]
    check(entry["l2"]["accuracy_all"]["by_level"][0], lambda m: m.mean(0), whole[0])

    def rfs(m):
        return metrics.rfs(*m.mean(0))

    pair = [noise.region(noise.correct, r) for r in ("foreground", "background")]
    levels = np.stack(pair).transpose(1, 3, 0, 2)  # [m, n, region, level]
    check(entry["l2"]["mean_of_rfs"], lambda m: rfs(m).mean(), levels[model])
    check(
        entry["l2"]["rfs_by_class"]["ship"],
        lambda m: metrics.rfs(*m[sweep.classes.index("ship")].mean(-1)),
        levels[model],
    )
    first, last = levels[0].mean(-1).T, levels[2].mean(-1).T
    check(summary["models"][sweep.models[2]]["l2"]["rfs_of_means"], rfs, last.T)
    pair = summary["differences"]["l2"][1]
    assert (pair["model"], pair["minus"]) == (sweep.models[2], sweep.models[0])
    both = np.stack([first, last]).transpose(2, 0, 1)  # [n, model, region]
    check(pair["rfs_of_means"], lambda m: rfs(m[:, 1]) - rfs(m[:, 0]), both)


def test_intervals_hold_their_estimates(sweep):
    summary = summarise(sweep, resamples=200)
    for entry in summary["models"].values():
        for norm in sweep.noise:
            interval = entry[norm]["rfs_of_means"]
            assert interval["low"] < interval["estimate"] < interval["high"]


def test_one_image_per_class_is_collapsed_and_too_few(tmp_path):
    sweep = Sweep.read(invented(tmp_path, per_class=1, trials=1))
    summary = summarise(sweep, resamples=200)
    entry = summary["models"][sweep.models[0]]["linf"]
    for name in ("rfs_of_means", "irfs_mean"):
        assert entry[name]["low"] < entry[name]["high"]
    assert entry["noise_error"]["rfs_of_means"] is None


def test_groups_are_averaged_before_rfs(sweep):
    first, second, third = sweep.models
    summary = summarise(sweep, {"pair": [first, third]}, resamples=20)
    assert set(summary["groups"]) == {"pair", second}
    fg, bg = (
        np.mean([summary["models"][name]["linf"][f"accuracy_{side}"]["mean"]["estimate"]
                 for name in (first, third)])
        for side in ("fg", "bg")
    )  # fmt: skip
    want = (bg - fg) / min(fg + bg, 2 - fg - bg)
    group = summary["groups"]["pair"]["linf"]
    assert group["rfs_of_means"]["estimate"] == pytest.approx(want, **NEAR)
    assert "irfs_mean" not in group
    alone, model = (summary[kind][second]["linf"] for kind in ("groups", "models"))
    assert alone["rfs_of_means"] == model["rfs_of_means"]
    (difference,) = summary["group_differences"]["linf"]
    assert (difference["model"], difference["minus"]) == (second, "pair")


def test_without_groups_there_are_none(sweep):
    summary = summarise(sweep, resamples=20)
    assert summary["groups"] == {}
    assert summary["group_differences"] == {"linf": [], "l2": []}


def test_summary_is_json(by_hand):
    assert json.loads(json.dumps(by_hand, allow_nan=False)) == by_hand


def test_tables_show_the_summary(by_hand):
    table = tables.results(by_hand, "linf")
    assert table.header == ("model", "clean", "foreground noise", "background noise", "RFS")
    assert [row[0] for row in table.rows] == ["a", "b"], "highest RFS first"
    assert table.rows[0][1].startswith("75.0 [")
    assert table.rows[0][-1].startswith("+0.64 [")
    assert table.rows[1][-1] == "-1.00 [-1.00, +0.20]", "nothing varies in 4 images"
    text = tables.markdown(by_hand)
    assert "| b minus a | -1.64 [" in text
    assert tables.differences(by_hand, "linf").rows[0][2:4] == ("too few images", "")
    assert "sigma 0.1 to 0.2 (2 levels), 2 trials" in text
    assert "95 % BCa bootstrap intervals over 4 images" in text


def test_csv_holds_every_number_unrounded(by_hand):
    lines = [line.split(",") for line in tables.to_csv(by_hand).splitlines()]
    rows = {tuple(line[:7]): [float(x) for x in line[7:] if x] for line in lines[1:]}
    assert lines[0][7:] == ["estimate", "low", "high", "p"]
    a = by_hand["models"]["a"]["linf"]
    assert rows["model", "a", "", "linf", "rfs", "0.2", ""] == list(a["rfs_by_level"][1].values())
    assert rows["model", "a", "", "linf", "rfs_of_means", "", "dog"] == list(
        a["rfs_by_class"]["dog"].values()
    )
    pair = by_hand["differences"]["linf"][0]["rfs_of_means"]
    assert rows["difference", "b", "a", "linf", "rfs_of_means", "", ""] == list(pair.values())


@pytest.mark.parametrize(
    ("sigma", "text"), [(30 / 255, "30/255"), (0.24, "0.24"), (1 / 3, "85/255"), (0.5, "0.5")]
)
def test_levels_in_words(sigma, text):
    assert tables.levels_text("linf", [sigma]) == f"sigma {text}"
