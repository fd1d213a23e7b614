"""Draws keyed by level, and trials that are added until they are enough."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import noise_draws
from rival_jax import metrics, noise, trials
from rival_jax.configs.rfs import Noise, Round
from rival_jax.experiments import runner
from rival_jax.experiments.rfs import measures
from rival_jax.experiments.rfs import study as rfs
from rival_jax.noise_trials import Sweep, noised
from rival_jax.report.results import Results
from rival_jax.runtime import hosts
from rival_jax.runtime.results import Run, read_rows
from tests.fake_hosts import on_hosts
from tests.helpers import EXACT, QUICKLY, config_of, dry_run, quiet, row_bytes

LEVELS = st.floats(2**-10, 300, width=32)
BATCH = {
    "image": np.full((3, 8, 8, 3), 0.5, np.float32),
    "mask": np.tri(8, dtype=np.float32)[None].repeat(3, 0),
    "noise_id": np.array([7, 2**32 - 5, 0], np.uint32),
}
REGIONS = ("foreground", "background", "all")
SHAPE, IDS = (8, 8, 3), jnp.asarray(BATCH["noise_id"])


@functools.partial(QUICKLY, static_argnums=(0, 1))
def shown(count, draws, batch, level, first=0):
    """What networks are shown [b, trials, regions, h, w, 3]."""
    sweep = Sweep("linf", REGIONS, count, 1, binary_mask=True, draws=draws)
    return noised(sweep, batch, noise.key(3), level, first + jnp.arange(count))


@QUICKLY
def unit(level, trial):
    """The draws [b, h, w, 3] of a level."""
    return noise.gaussian(noise.level_key(noise.key(3), level), IDS, trial, SHAPE)


@given(one=LEVELS, other=LEVELS)
@settings(max_examples=25, deadline=None)
def test_a_level_has_draws_of_its_own_whatever_the_others_are(one, other):
    draws = [np.asarray(unit(level, trial)) for level in (one, other) for trial in (0, 1)]
    apart = np.abs(np.corrcoef([draw.ravel() for draw in draws]) - np.eye(4))
    if one == other:
        np.testing.assert_array_equal(draws[:2], draws[2:])
    else:
        assert apart.max() < 0.25
    assert apart[0, 1] < 0.25


@given(level=LEVELS, first=st.integers(0, 20), rows=st.permutations(range(3)))
@settings(max_examples=25, deadline=None)
def test_what_is_shown_depends_on_level_image_and_trial_alone(level, first, rows):
    part = {name: array[rows[:2]] for name, array in BATCH.items()}
    whole = np.asarray(shown(3, "by_level", BATCH, level, first))
    near = functools.partial(np.testing.assert_allclose, atol=EXACT)
    near(shown(3, "by_level", part, level, first), whole[rows[:2]])
    near(shown(1, "by_level", BATCH, level, first + 2), whole[:, 2:])
    inside = BATCH["mask"][:, None, ..., None] > 0
    fg, bg, every = (whole[:, :, place] for place in range(3))
    near(np.where(inside, fg, bg), every)  # one draw for all regions
    near(every[:, 0], np.clip(0.5 + np.float32(level) * np.asarray(unit(level, first)), 0, 1))


def test_shared_draws_are_the_same_at_all_levels():
    want = noise.gaussian(noise.key(3), IDS, 1, SHAPE)
    for level in (0.1, 0.2):
        got = np.asarray(shown(1, "shared", BATCH, level, 1))[:, 0, 2]
        np.testing.assert_allclose(got, np.clip(0.5 + level * want, 0, 1), atol=EXACT)


def test_a_level_is_its_float32_value():
    keys = [noise.level_key(noise.key(0), level) for level in (30 / 255, jnp.float32(30 / 255))]
    keys.append(jax.jit(noise.level_key)(noise.key(0), jnp.float32(30 / 255)))
    assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == 1


def simulated(images, most, seed, studies):
    """Right or wrong [studies, 2, images, most] under noise on either side, of two classes."""
    rng = np.random.default_rng([seed, images])
    ease = np.array([0.8, -0.3])[np.arange(images) % 2, None]
    ease = ease + rng.normal(0, 1, (studies, 1, images, 1))
    side = np.array([-0.4, 0.5])[:, None, None] + rng.normal(0, 0.7, (studies, 2, images, 1))
    return (ease + side + rng.logistic(0, 0.5, (studies, 2, images, most)) > 0) * 1.0


def test_widening_is_what_more_trials_would_take_from_the_spread_of_rfs():
    labels = np.arange(120) % 2
    every = simulated(120, 10, 0, 1500)
    found = {}
    for count in (2, 10):
        mean = every[..., :count].mean(-1)
        by_class = np.stack([mean[..., labels == c].mean(-1) for c in (0, 1)]).mean(0)
        found[count] = np.asarray(metrics.rfs(*map(jnp.asarray, by_class.T))).std()
    told = [trials.spread([one[..., :2]], labels).widening(10) for one in every[:200]]
    assert 1 + np.mean(told) == pytest.approx(found[2] / found[10], rel=0.02)
    assert found[2] / found[10] > 1.08  # there is something to see
    assert trials.spread([every[0]], labels).widening(10) == 0


def test_unequal_trials_of_levels_add_what_each_adds_over_its_own_number():
    """Of 3000 studies of the same images, whose trials alone differ."""
    rng, labels, counts = np.random.default_rng(1), np.arange(40) % 2, (2, 5)
    chance = rng.uniform(0.1, 0.9, (2, 40, 2)) * np.array([1, 0.3])
    every = [
        (rng.random((3000, 2, 40, n)) < chance[..., level, None]) * 1.0
        for level, n in enumerate(counts)
    ]
    means = np.mean([one.mean(-1) for one in every], axis=0)
    by_class = np.mean([means[..., labels == c].mean(-1) for c in (0, 1)], axis=0)
    variance = np.asarray(metrics.rfs(*map(jnp.asarray, by_class.T))).var()
    some = zip(*(one[:300] for one in every), strict=True)
    told = [(found.of_trials / counts).sum() for found in (trials.spread(r, labels) for r in some)]
    assert np.mean(told) == pytest.approx(variance, rel=0.06)


def test_trials_go_where_they_take_most_from_the_variance():
    spread = trials.Spread(1.0, np.array([4.0, 16.0, 1.0, 0.0]), np.full(4, 2))
    given = []
    while spread.widening(10) > 0.35:
        given.append(spread.neediest(10))
        spread = spread._replace(counts=spread.counts + (np.arange(4) == given[-1]))
    assert given == [1, 1, 1, 0, 1]  # 16/6, 16/12, 16/20, then 4/6 before 16/30
    full = spread._replace(counts=np.array([9, 10, 9, 2]))
    assert full.neediest(10) == 0  # none is left for the one with most variance
    assert spread._replace(counts=np.full(4, 10)).widening(10) == 0


def test_widening_where_nothing_or_only_noise_varies():
    def widening(fg, bg, labels):
        return trials.spread([np.stack([fg, bg])], labels).widening(10)

    one = np.ones((6, 2))
    labels = np.repeat([0, 1, 2], 2)
    assert widening(one, one, labels) == 0
    assert widening(one, 0 * one, labels) == 0
    coin = np.tile([[0.0, 1.0], [1.0, 0.0]], (3, 1))
    assert widening(coin, one, labels) == pytest.approx(np.sqrt(5) - 1)
    alone = np.repeat([[0.0], [1.0]], 2, 1).repeat([2, 4], 0)  # six classes of one image
    assert 0 < widening(coin, alone, np.arange(6)) < np.sqrt(5) - 1
    with pytest.raises(ValueError, match="got 1 trials, expected at least 2"):
        widening(one[:, :1], one[:, :1], labels)


def test_intervals_cover_where_their_width_decides_the_number_of_trials():
    found = noise_draws.coverage(noise_draws.model(0.0, 4), 600, 200)
    covers, width, count = found["auto"]
    assert 2.5 < count < 4  # it goes on, and it stops
    assert 0.93 < covers < 0.97
    assert found["5 trials"][1] < width < found["2 trials"][1]
    assert width < 1.08 * found["5 trials"][1]


def test_rounds_are_two_trials_and_then_one_by_one():
    assert Noise(trials=7).rounds() == [Round(0, 7)]
    assert Noise(most_trials=4).rounds() == [Round(0, 2), Round(2, 1), Round(3, 1)]
    assert Noise(most_trials=1).rounds() == [Round(0, 1)]
    both = Noise(norms=("linf", "l2"), sigmas=(0.1, 0.2), epsilons=(2.0,))
    assert both.judged() == [("linf", (0.1, 0.2)), ("l2", (2.0,))]
    alone = Noise(sigmas=(0.1, 0.2), enough_for="level")
    assert alone.judged() == [("linf", (0.1,)), ("linf", (0.2,))]


def test_rounds_of_all_lengths_are_passes_of_one_program(tmp_path):
    experiment = rfs.Experiment(auto(tmp_path), quiet())
    loaded = experiment.subject.load("scenes/vit_00")
    plan = {"images": 5, "trials": 2, "flops": 1.0}
    units = [experiment._noisy(loaded, plan, ("linf", 0.8), one) for one in experiment.rounds]
    passes = [unit.compute for unit in units]
    calls = [(one.args, *one.further) for one in passes]
    assert [[int(args[-1]) for args in some] for some in calls] == [[0, 1], [2], [3]]
    assert len({(one.fn, one.size) for one in passes}) == 1
    assert passes[0].size == 10  # as many forward passes at once as two trials of 5 images
    plan["images"] = 20  # all
    unit = experiment._noisy(loaded, plan, ("linf", 0.8), experiment.rounds[0])
    assert unit.compute.size == 20


def leave_out_reports(patch):
    patch.setattr(rfs.Experiment, "report", lambda *args: (Results([]), None))
    patch.setattr(runner, "write_document", lambda *args: None)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Results and figures have their own tests."""
    leave_out_reports(monkeypatch)


def auto(folder, **changes):
    """A config of noise at two levels on 20 bundled images, of four trials at most."""
    config = config_of("rfs")
    config.models, config.data.scenes.per_class, config.batch_size = ("scenes/vit_00",), 2, 20
    config.noise.update({"sigmas": (0.4, 0.8), "most_trials": 4, **changes})
    config.cache = str(folder)
    return config


def run_in(folder, config):
    run = Run(folder, config.to_dict())
    runner.run(rfs.Experiment(config, quiet()), run, quiet())
    return run


def trials_of(run):
    """The numbers of the trials under each level of noise."""
    table, found = read_rows(run.path / "rows"), {}
    for level, trial in zip(table["level"].to_pylist(), table["trial"].to_pylist(), strict=True):
        found.setdefault(round(level, 3), set()).add(trial)
    assert found.pop(0.0) == {-1}
    return {level: sorted(numbers) for level, numbers in found.items()}


def found(run, counts, shared=False):
    """`trials.spread` of the first trials under some levels, from a run's rows."""
    right, labels = {}, {}
    for row in read_rows(run.path / "rows").to_pylist():
        right[row["region"], row["example"], round(row["level"], 3), row["trial"]] = row["correct"]
        labels[row["example"]] = row["label"]
    names, classes = sorted(labels), sorted(set(labels.values()))
    every = [
        np.array(
            [
                [[right[side, name, level, trial] for trial in range(count)] for name in names]
                for side in measures.SIDES
            ],
            float,
        )
        for level, count in counts.items()
    ]
    places = np.array([classes.index(labels[name]) for name in names])
    return trials.spread([np.mean(every, 0)] if shared else every, places)


@pytest.fixture(scope="module")
def most(tmp_path_factory):
    """A finished run that needed all trials."""
    folder = tmp_path_factory.mktemp("most")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_reports(patch)
        run = run_in(folder / "run", auto(folder, widening=1e-9))
    assert trials_of(run) == {0.4: [0, 1, 2, 3], 0.8: [0, 1, 2, 3]}
    return run


def files(run):
    return {name.rpartition("-")[0]: found for name, found in row_bytes(run.path).items()}


def test_trials_are_added_to_the_level_that_needs_them_until_they_are_enough(most, tmp_path):
    stages, spreads = [{0.4: 2, 0.8: 2}], []
    while (spread := found(most, stages[-1])).widening(4) > 0:
        spreads.append(spread)
        level = [*stages[-1]][spread.neediest(4)]
        stages.append({**stages[-1], level: stages[-1][level] + 1})
    assert len(spreads) == 4
    for stage in (0, 1, 3):
        bound = spreads[stage].widening(4)
        run = run_in(tmp_path / f"{stage}", auto(tmp_path, widening=bound))
        want = {level: [*range(count)] for level, count in stages[stage].items()}
        assert trials_of(run) == want
        got, every = files(run), files(most)
        assert {name: every[name] for name in got} == got


def test_levels_that_share_draws_have_the_same_trials(tmp_path):
    shared = functools.partial(auto, tmp_path, draws="shared")
    every = run_in(tmp_path / "most", shared(widening=1e-9))
    bound = found(every, {0.4: 3, 0.8: 3}, shared=True).widening(4)
    run = run_in(tmp_path / "run", shared(widening=bound))
    assert trials_of(run) == {0.4: [0, 1, 2], 0.8: [0, 1, 2]}


def test_trials_of_rounds_are_those_of_a_fixed_number(most, tmp_path):
    run = run_in(tmp_path / "run", auto(tmp_path, trials=4, sigmas=(0.8,)))
    columns = ["example", "region", "trial", "correct", "predicted"]
    every = [(column, "ascending") for column in columns[:3]]
    fixed, rounds = (
        read_rows(*one.path.rglob("linf_0.8*")).select(columns).sort_by(every)
        for one in (run, most)
    )
    assert fixed.to_pylist() == rounds.to_pylist()
    assert len(fixed) == 20 * 2 * 4


def test_levels_may_be_judged_one_by_one(most, tmp_path):
    after = {level: found(most, {level: 2}).widening(4) for level in (0.4, 0.8)}
    low, high = sorted(after, key=after.__getitem__)
    assert after[low] < after[high]
    bound = (after[low] + after[high]) / 2
    config = auto(tmp_path, widening=bound, enough_for="level", most_trials=4)
    numbers = trials_of(run_in(tmp_path / "run", config))
    assert numbers[low] == [0, 1]
    assert len(numbers[high]) == 3 + (found(most, {high: 3}).widening(4) > bound)


@pytest.mark.parametrize("after", [2, 4, 6])
def test_a_run_killed_after_any_unit_goes_on_to_the_same_bytes(most, tmp_path, monkeypatch, after):
    config, done, rows = auto(tmp_path, widening=1e-9), [], Run.rows

    def dying(self, *args, **options):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(args)
        return rows(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "rows", dying)
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path / "run", config)
    assert len(row_bytes(tmp_path / "run")) == after
    assert row_bytes(run_in(tmp_path / "run", config).path) == row_bytes(most.path)


def test_process_0_decides_for_all_hosts(tmp_path, monkeypatch):
    experiment = rfs.Experiment(auto(tmp_path), quiet())
    experiment.bench = SimpleNamespace(files={"a": tmp_path})
    told = {0: [0.8], 1: [0.1]}
    monkeypatch.setattr(rfs, "wanting", lambda *args: told[hosts.index()])
    wanting = functools.partial(experiment._wanting, {0.1: ["a"], 0.8: ["a"]})
    assert on_hosts(monkeypatch, 2, wanting) == [[0.8], [0.8]]
    told[0] = []
    assert on_hosts(monkeypatch, 2, wanting) == [[], []]


def test_a_dry_run_tells_the_range_of_cost(tmp_path):
    assert "20 images x 9 to 17 = 180 to 340 forwards" in dry_run(auto(tmp_path))
