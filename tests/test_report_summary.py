"""Results of rfs against numbers worked out by hand, and intervals against the bootstrap's."""

import json

import numpy as np
import pytest

from rival_jax import metrics, statistics
from rival_jax.experiments.rfs import joined, measures, page
from rival_jax.report import tables
from tests.fake_runs import invented, write_run
from tests.helpers import REFERENCE

OPTIONS = {"resamples": 20, "confidence": 0.95, "method": "bca", "seed": 0}
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
    return measures.tabled(joined.read(run), {}, **OPTIONS | {"resamples": 100})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return joined.read(invented(tmp_path_factory.mktemp("run")))


def estimates(found, measure, norm="linf", model="a", **wanted):
    return [row["estimate"] for row in found.rows(measure, norm, model=model, **wanted)]


def test_accuracies_by_hand(by_hand):
    assert estimates(by_hand, "accuracy", None) == pytest.approx([0.75], **NEAR)
    levels = [0.1, 0.2]
    for region, by_level, mean in (
        ("foreground", [0.625, 0.25], 0.4375),
        ("background", [1.0, 0.75], 0.875),
    ):
        got = estimates(by_hand, "accuracy", region=region, level=levels)
        assert got == pytest.approx(by_level, **NEAR)
        assert estimates(by_hand, "accuracy", region=region) == pytest.approx([mean], **NEAR)
    assert by_hand.results.of("region") == ["clean", "foreground", "background"]


def test_rfs_by_hand(by_hand):
    whole = estimates(by_hand, "rfs_of_means")
    assert whole == pytest.approx([0.4375 / 0.6875], **NEAR)
    assert estimates(by_hand, "rfs", level=[0.1, 0.2]) == pytest.approx([1.0, 0.5], **NEAR)
    assert estimates(by_hand, "mean_of_rfs") == pytest.approx([0.75], **NEAR)
    for label, value in (("cat", 0.5 / 0.75), ("dog", 0.375 / 0.625)):
        got = estimates(by_hand, "rfs_of_means", **{"class": label})
        assert got == pytest.approx([value], **NEAR)
    got = estimates(by_hand, "rfs_of_means", model="b", contrast="minus a")
    assert got == pytest.approx([-1 - 0.4375 / 0.6875], **NEAR)


def test_irfs_by_hand(by_hand):
    assert estimates(by_hand, "irfs") == pytest.approx([0.0], **NEAR)  # 0.5 and -0.5
    assert estimates(by_hand, "irfs_negative") == pytest.approx([0.5], **NEAR)


def test_differences_at_a_level_by_hand(by_hand):
    wanted = {"level": [0.1, 0.2], "contrast": "background minus foreground"}
    assert estimates(by_hand, "accuracy", **wanted) == pytest.approx([0.375, 0.5], **NEAR)
    got = estimates(by_hand, "relative_difference", **wanted)
    assert got == pytest.approx([0.375, 0.5 / 0.75], **NEAR)
    assert estimates(by_hand, "relative_difference", model="b", **wanted) == [], "a_bg is 0"


def test_noise_error_by_hand(by_hand):
    # RFS of the two trials: 1 and 1/2; accuracies 0.625 and 0.25, 1 and 0.75.
    errors = [
        ("rfs_of_means", {}, 0.25),
        ("accuracy", {"region": "foreground"}, 0.1875),
        ("accuracy", {"region": "background"}, 0.125),
        ("rfs_of_means", {"model": "b", "contrast": "minus a"}, 0.25),
    ]
    for measure, wanted, value in errors:
        got = estimates(by_hand, f"{measure}_noise_error", **wanted)
        assert got == pytest.approx([value], **NEAR)
    row = by_hand.rows("rfs_of_means_noise_error", "linf", model="a").one()
    assert np.isnan([row[end] for end in ("low", "high", "p")]).all()
    assert (row["images"], row["classes"]) == (4, 2)


def test_every_interval_is_the_bootstrap_of_its_own_number(runs):
    options = {"resamples": 300, "method": "percentile", "confidence": 0.9, "seed": 3}
    found = measures.tabled(runs, {}, **options)
    first, model, last = runs.models
    labels, level = runs.images.labels, found.levels("l2")
    correct = runs.images.values["correct"]
    noisy = {
        region: correct.at(norm="l2", region=region).values  # [n, m, l]
        for region in ("foreground", "background", "all")
    }

    def check(got, statistic, values):
        want = statistics.bootstrap(statistic, values, labels, **options)
        ends = [got[end] for end in want._fields]
        assert ends == pytest.approx([float(x) for x in want], **NEAR)

    def row(measure, norm="l2", model=model, **wanted):
        return found.rows(measure, norm, model=model, **wanted).one()

    clean = correct.at(norm="none", level=0.0, region="clean", model=model).values
    check(row("accuracy", None), lambda m: m.mean(0), clean)
    bg = noisy["background"][:, 1]
    check(row("accuracy", region="background", level=level[1]), lambda m: m.mean(0), bg[:, 1])
    check(row("accuracy", region="background"), lambda m: m.mean(0), bg.mean(1))
    whole = noisy["all"][:, 1, 0]
    check(row("accuracy", region="all", level=level[0]), lambda m: m.mean(0), whole)

    def rfs(m):
        return metrics.rfs(*m.mean(0))

    levels = np.stack([noisy["foreground"], noisy["background"]], axis=1)  # [n, region, m, l]
    check(row("mean_of_rfs"), lambda m: rfs(m).mean(), levels[:, :, 1])
    ship = runs.images.classes.index("ship")
    of_class = row("rfs_of_means", **{"class": "ship"})
    check(of_class, lambda m: metrics.rfs(*m[ship].mean(-1)), levels[:, :, 1])
    means = levels.mean(-1)
    check(row("rfs_of_means", model=last), rfs, means[:, :, 2])
    both = np.stack([means[:, :, 0], means[:, :, 2]], axis=1)  # [n, model, region]
    difference = row("rfs_of_means", model=last, contrast=f"minus {first}")
    check(difference, lambda m: rfs(m[:, 1]) - rfs(m[:, 0]), both)


def test_intervals_hold_their_estimates(runs):
    found = measures.tabled(runs, {}, **OPTIONS | {"resamples": 200})
    rows = found.rows("rfs_of_means", found.norms)
    assert len(rows) == 6
    for row in rows:
        assert row["low"] < row["estimate"] < row["high"]


def test_one_image_per_class_is_collapsed_and_too_few(tmp_path):
    run = joined.read(invented(tmp_path, per_class=1, trials=1))
    found = measures.tabled(run, {}, **OPTIONS | {"resamples": 200})
    for name in ("rfs_of_means", "irfs"):
        row = found.rows(name, "linf", model=run.models[0]).one()
        assert row["low"] < row["high"]
    assert not found.rows("rfs_of_means_noise_error", "linf").rows, "of one trial"


def test_the_page_says_how_many_trials_were_enough_and_what_all_would_cost(tmp_path):
    parts = [
        invented(tmp_path / name, models=[name], norms={"linf": [0.1, 0.2]}, trials=trials)
        for name, trials in (("a", 2), ("b", 4))
    ]
    settings = {"trials": "auto", "most_trials": 10, "widening": 0.05, "draws": "by_level"}
    for run in parts:
        config = json.loads((run / "config.json").read_text())
        config["noise"] |= settings
        (run / "config.json").write_text(json.dumps(config))
    found = measures.tabled(joined.read(*parts), {}, **OPTIONS)
    images, places = len(found.runs.images.names), 2 * 3
    used, full = (images * (2 + places * trials) for trials in (2 + 4, 2 * 10))
    told = page.page(found, None).method[0]
    assert told.startswith("Noise is a function of the seed, the image, the level and the trial")
    assert "at most 5 % wider than 10 would make it, first at the level " in told
    assert (
        f": 2 to 4 trials, in {used:,} forward passes of the {full:,} that 10 trials take (31 %)"
        in told
    )
    assert "2 to 4 trials" in page.of_models(found, "linf", "results")[0].title
    config["noise"]["draws"] = "shared"
    (parts[1] / "config.json").write_text(json.dumps(config))
    assert "than 10 would make it: 2 to 4" in page.page(found, None).method[0]
    errors = [row["estimate"] for row in found.rows("rfs_of_means_noise_error", "linf")]
    first = found.runs.by_trial.where(trial=[0, 1]).mean("level")  # those that both have
    by_trial = np.asarray(measures.rfs(first).values).reshape(2, 2)
    assert errors == pytest.approx(by_trial.std(0, ddof=1) / np.sqrt(2), **NEAR)


def test_one_kind_of_draws_is_told(by_hand):
    (told, _) = page.page(by_hand, None).method
    assert "every model, level, region and norm sees the same draws" in told
    assert "wider than" not in told


def test_groups_are_averaged_before_rfs(runs):
    first, second, third = runs.models
    found = measures.tabled(runs, {"pair": [first, third]}, **OPTIONS)
    assert found.results.of("group") == ["pair", second]
    fg, bg = (
        np.mean([estimates(found, "accuracy", model=name, region=region)
                 for name in (first, third)])
        for region in ("foreground", "background")
    )  # fmt: skip
    want = (bg - fg) / min(fg + bg, 2 - fg - bg)
    group = found.rows("rfs_of_means", "linf", group=("pair", second))
    assert group.one(group="pair")["estimate"] == pytest.approx(want, **NEAR)
    assert not found.rows(("irfs", "irfs_negative"), "linf", group="pair").rows
    model = found.rows("rfs_of_means", "linf", model=second).one()
    ends = ("estimate", "low", "high", "p")
    assert [group.one(group=second)[end] for end in ends] == [model[end] for end in ends]
    difference = found.pairs("linf", "group").one()
    assert (difference["group"], difference["contrast"]) == (second, "minus pair")
    error = found.pairs("linf", "group", "rfs_of_means_noise_error").one()
    assert error["estimate"] > 0
    assert page.differences(found, "linf", "group").rows[0][0] == f"{second} minus pair"


def test_without_groups_there_are_none(runs):
    assert measures.tabled(runs, {}, **OPTIONS).results.of("group") == []


def test_tables_show_the_results(by_hand):
    (table,) = page.of_models(by_hand, "linf", "results")
    assert table.header == ("model", "clean", "foreground noise", "background noise", "RFS")
    assert [row[0] for row in table.rows] == ["a", "b"], "highest RFS first"
    assert table.rows[0][1].startswith("75.0 [")
    assert table.rows[0][-1].startswith("+0.64 [")
    assert table.rows[1][-1] == "-1.00 [-1.00, +0.20]", "nothing varies in 4 images"
    assert "sigma 0.1 to 0.2 (2 levels), 2 trials" in table.title
    pairs = page.differences(by_hand, "linf")
    assert "| b minus a | -1.64 [" in tables.as_markdown(pairs)
    assert pairs.rows[0][2:] == ("too few images", "", "0.250")
    assert page.of_models(by_hand, "linf", "further")[0].rows[0][0::4] == ("a", "0.250")
    assert [row[0] for row in page.by_class(by_hand, "linf").rows] == ["dog", "cat"]
    brackets = page.page(by_hand, None).sections[0].text[1]
    assert "95 % BCa bootstrap intervals over 4 images" in brackets


@pytest.mark.parametrize(
    ("sigma", "text"), [(30 / 255, "30/255"), (0.24, "0.24"), (1 / 3, "85/255"), (0.5, "0.5")]
)
def test_levels_in_words(sigma, text):
    assert measures.levels_text("linf", [sigma]) == f"sigma {text}"
