import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rival_jax import blocks, metrics, statistics, strata


def accuracy(means):
    return means.mean(0)


def test_class_means():
    values = np.array([1.0, 3.0, 10.0])
    got = statistics.class_means(values, np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(got, [2.0, np.nan, 10.0])


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_interval_covers_the_truth_as_often_as_it_says(method):
    labels = np.repeat([0, 1], [20, 40])
    rate = np.array([0.3, 0.7])[labels]
    repeats = np.random.default_rng(0).binomial(10, rate[:, None], (60, 400)) / 10
    interval = statistics.bootstrap(accuracy, repeats, labels, resamples=500, method=method)
    covered = (interval.low <= 0.5) & (interval.high >= 0.5)
    assert 0.91 <= covered.mean() <= 0.98


def test_intervals_agree_with_scipy():
    # One class of many images: the stratified bootstrap is the ordinary one.
    from scipy import stats

    values = np.random.default_rng(1).exponential(size=300)
    want = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    got = statistics.bootstrap(accuracy, values, np.zeros(300, int), resamples=20000)
    np.testing.assert_allclose([got.low, got.high], want, atol=0.01)
    percentile = statistics.bootstrap(
        accuracy, values, np.zeros(300, int), resamples=20000, method="percentile"
    )
    assert got.low > percentile.low  # skewed to the right: BCa moves the interval to the right
    assert got.high > percentile.high


@pytest.mark.parametrize("sizes", [[2, 3, 4, 3, 2, 4, 3], [3, 4] * 5, [9]])
def test_few_images_are_covered_as_often_as_it_says(sizes):
    # By resamples that vary as classes of n seem to, without Student's tails: 84, 88 and 88 %.
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(1)
    rate = np.clip(0.7 + 0.15 * rng.standard_normal((len(labels), 600)), 0, 1)
    values = rng.binomial(10, rate) / 10
    truth = np.clip(0.7 + 0.15 * rng.standard_normal(10**6), 0, 1).mean()
    interval = statistics.bootstrap(accuracy, values, labels, resamples=500)
    covered = (interval.low <= truth) & (truth <= interval.high)
    assert 0.93 <= covered.mean() <= 0.975


def test_resamples_vary_as_much_as_class_means_do():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], [2, 3, 5])
    values = rng.random((10, 4))
    draws = strata.Strata.of(accuracy, values, labels).resampled(40_000, seed=0)
    of_classes = [values[labels == c].var(0, ddof=1) / (labels == c).sum() for c in range(3)]
    np.testing.assert_allclose(draws.var(0), np.sum(of_classes, 0) / 9, rtol=0.05)
    means = np.stack([values[labels == c].mean(0) for c in range(3)])
    np.testing.assert_allclose(draws.mean(0), means.mean(0), atol=0.005)


@pytest.mark.parametrize("right", [1, 3, 6, 50])
def test_a_share_without_variation_has_clopper_and_pearsons_interval(right):
    from scipy import stats

    want = stats.binomtest(right, right).proportion_ci(method="exact").low
    got = statistics.bootstrap(accuracy, np.ones(right), np.zeros(right, int), resamples=50)
    np.testing.assert_allclose(got, (1, want, 1), rtol=1e-5)
    none = statistics.bootstrap(accuracy, np.zeros(right), np.zeros(right, int), resamples=50)
    np.testing.assert_allclose(none, (0, 0, 1 - want), rtol=1e-5)


def test_what_does_not_vary_is_as_wide_as_its_number_of_images():
    labels = np.repeat([0, 1], [2, 6])
    both = statistics.bootstrap(
        lambda m: jnp.stack([m.mean(), m[0], m[1], 0 * m[0] + 3]), np.ones(8), labels, resamples=50
    )
    # A mean of classes of 2 and 6 varies as one of 1 / (1/8 + 1/24) = 6 images.
    want = [0.025 ** (1 / n) for n in (6, 2, 6)]
    np.testing.assert_allclose(both.low[:3], want, rtol=1e-5)
    assert both.low[3] == both.high[3] == 3  # whatever the images are
    rfs = statistics.bootstrap(lambda m: metrics.rfs(*m.mean(0)), np.ones((8, 2)), labels)
    np.testing.assert_allclose(rfs, (0, -1, 1))
    gap = statistics.bootstrap(lambda m: (m[:, 1] - m[:, 0]).mean(), np.ones((6, 2)), labels[2:])
    np.testing.assert_allclose(gap.high, 1 - 0.025 ** (1 / 6), rtol=1e-5)
    far = statistics.bootstrap(accuracy, np.full(6, 7.0), labels[2:])
    assert np.isnan([far.low, far.high]).all()
    bounded = statistics.bootstrap(accuracy, np.full(6, 7.0), labels[2:], bounds=(0.0, 10.0))
    assert 0 < bounded.low < 7 < bounded.high < 10


def test_classes_of_one_image_are_collapsed():
    values = np.random.default_rng(3).random(10)
    singles = statistics.bootstrap(accuracy, values, np.arange(10), resamples=20_000)
    together = statistics.bootstrap(accuracy, values, np.zeros(10, int), resamples=20_000)
    np.testing.assert_allclose(singles.estimate, together.estimate, rtol=1e-6)
    np.testing.assert_allclose(singles.high - singles.low, together.high - together.low, rtol=0.1)
    lone = np.array([0, 1, 1, 1, 1])
    interval = statistics.bootstrap(lambda m: m[0], values[:5], lone, resamples=500)
    assert interval.low < interval.high  # from the images of the other class
    one = statistics.bootstrap(accuracy, np.ones(1), np.zeros(1, int))
    np.testing.assert_allclose(one, (1, 0.025, 1), rtol=1e-5)


def test_resamples_stay_within_classes():
    labels = np.repeat([0, 1], 1000)
    interval = statistics.bootstrap(accuracy, labels.astype(float), labels, resamples=50)
    np.testing.assert_allclose(interval, (0.5, 0.5, 0.5), atol=0.001)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["bca", "percentile"]),
    st.booleans(),
)
@settings(max_examples=10, deadline=None)
def test_every_interval_holds_its_estimate_and_stays_within_bounds(sizes, seed, method, binary):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    values = np.random.default_rng(seed).random((len(labels), 2))
    values = np.round(values) if binary else values
    got = statistics.bootstrap(_both, values, labels, resamples=50, method=method)
    assert np.isfinite(got).all()
    assert (got.low <= got.estimate).all()
    assert (got.estimate <= got.high).all()
    assert (got.low < got.high).all()  # never a point
    assert (np.abs([got.low, got.high]) <= 1 + 1e-6).all()
    assert (got.low[:2] >= 0).all()


def _both(means):
    fg, bg = means.mean(0)
    return jnp.stack([fg, bg, metrics.rfs(fg, bg)])


def test_seeded_and_shaped_like_the_statistic():
    values = np.random.default_rng(2).random((30, 4, 2))
    labels = np.arange(30) % 3
    options = {"resamples": 100, "seed": 5}
    one = statistics.bootstrap(lambda m: metrics.rfs(*m.mean(0).T), values, labels, **options)
    again = statistics.bootstrap(lambda m: metrics.rfs(*m.mean(0).T), values, labels, **options)
    other = statistics.bootstrap(
        lambda m: metrics.rfs(*m.mean(0).T), values, labels, resamples=100, seed=6
    )
    assert one.low.shape == (4,)
    np.testing.assert_array_equal(one.low, again.low)
    assert (one.low != other.low).any()
    assert ((one.low <= one.estimate) & (one.estimate <= one.high)).all()


def test_order_of_images_and_labels_names_do_not_matter_to_the_estimate():
    rng = np.random.default_rng(3)
    values, labels = rng.random(24), np.repeat([4, 9, 11], 8)
    order = rng.permutation(24)
    a = statistics.bootstrap(accuracy, values, labels, resamples=10)
    b = statistics.bootstrap(accuracy, values[order], labels[order], resamples=10)
    np.testing.assert_allclose(a.estimate, b.estimate, rtol=1e-6)


def test_paired_difference_uses_the_same_images_for_both():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 50)
    hard = rng.random(100)
    better = hard + 0.05 + 0.01 * rng.random(100)
    paired = statistics.bootstrap_difference(accuracy, hard, better, labels, resamples=500)
    alone = [statistics.bootstrap(accuracy, v, labels, resamples=500) for v in (hard, better)]
    assert paired.low > 0  # certain, although each model's own interval is wide
    assert alone[0].high > alone[1].low


def test_chunks_do_not_change_the_result(monkeypatch):
    values, labels = np.random.default_rng(5).random((40, 3)), np.arange(40) % 4
    whole = statistics.bootstrap(accuracy, values, labels, resamples=64)
    monkeypatch.setattr(strata, "CHUNK", 12 * 64)
    monkeypatch.setattr(blocks, "DRAWS", 70)  # 7 resamples of 10 images
    same = statistics.bootstrap(accuracy, values, labels, resamples=64)
    np.testing.assert_allclose(whole.low, same.low, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "exact"}, "method got 'exact', expected 'percentile' or 'bca'"),
        ({"labels": np.zeros(3, int)}, "labels: got"),
        ({"values": np.array([1.0, np.nan])}, "NaN or infinity"),
        ({"values": np.zeros(0), "labels": np.zeros(0, int)}, "no image"),
    ],
)
def test_bad_input(change, message):
    import inspect

    arguments = {"values": np.zeros(2), "labels": np.zeros(2, int), "method": "bca", **change}
    values, labels, method = (arguments[name] for name in ("values", "labels", "method"))
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(statistics.bootstrap)(accuracy, values, labels, method=method)
