import numpy as np
import pytest

from rival_jax import metrics, statistics


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
    # One class: the stratified bootstrap is the ordinary one.
    from scipy import stats

    values = np.random.default_rng(1).exponential(size=60)
    want = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    got = statistics.bootstrap(accuracy, values, np.zeros(60, int), resamples=20000)
    np.testing.assert_allclose([got.low, got.high], want, atol=0.01)
    percentile = statistics.bootstrap(
        accuracy, values, np.zeros(60, int), resamples=20000, method="percentile"
    )
    assert got.low > percentile.low  # skewed to the right: BCa moves the interval to the right
    assert got.high > percentile.high


def test_resamples_stay_within_classes():
    labels = np.repeat([0, 1], 10)
    interval = statistics.bootstrap(accuracy, labels.astype(float), labels, resamples=50)
    assert interval == (0.5, 0.5, 0.5)


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
    monkeypatch.setattr(statistics, "_CHUNK", 12 * 64)
    same = statistics.bootstrap(accuracy, values, labels, resamples=64)
    np.testing.assert_allclose(whole.low, same.low, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "exact"}, "method got 'exact', expected 'percentile' or 'bca'"),
        ({"labels": np.zeros(3, int)}, "labels: got"),
        ({"values": np.array([1.0, np.nan])}, "NaN or infinity"),
    ],
)
def test_bad_input(change, message):
    import inspect

    arguments = {"values": np.zeros(2), "labels": np.zeros(2, int), "method": "bca", **change}
    values, labels, method = (arguments[name] for name in ("values", "labels", "method"))
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(statistics.bootstrap)(accuracy, values, labels, method=method)
