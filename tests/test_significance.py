import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from rival_jax import metrics, significance
from rival_jax.significance import sign_flips


def mean(means):
    return means.mean(0)


def rfs(means):
    return metrics.rfs(*means.mean(0))


@pytest.mark.parametrize("count", [3, 6, 9])
def test_one_class_is_all_patterns_of_signs(count):
    differences = np.round(np.random.default_rng(count).normal(0.3, 1, count), 1)
    patterns = np.array(list(itertools.product([1, -1], repeat=count)))
    reached = np.abs(patterns @ differences) >= abs(differences.sum()) - 1e-9
    got = sign_flips(mean, differences, np.zeros(count, int))
    np.testing.assert_allclose(got, reached.mean(), atol=1e-12)
    one_way = sign_flips(mean, np.abs(differences) + 0.1, np.zeros(count, int))
    assert one_way == significance.smallest_p(count) <= got


def test_classes_weigh_alike_whatever_their_sizes():
    labels = np.repeat([0, 1, 2], [1, 3, 5])
    differences = np.random.default_rng(0).normal(0.5, 1, (9, 2))
    weights = 1 / np.array([1, 3, 5])[labels]
    patterns = np.array(list(itertools.product([1, -1], repeat=9)))
    sums = np.abs(patterns @ (weights[:, None] * differences))
    want = (sums >= np.abs((weights[:, None] * differences).sum(0)) - 1e-9).mean(0)
    np.testing.assert_allclose(sign_flips(mean, differences, labels), want, atol=1e-12)
    of_class = sign_flips(lambda m: m[1], differences, labels)  # of 3 images alone
    assert (of_class >= 0.25).all()


@pytest.mark.parametrize("count", [3, 5, 6, 10, 20])
@pytest.mark.parametrize("what", ["accuracies", "rfs"])
def test_a_true_null_is_called_a_difference_no_more_often_than_said(count, what):
    rng = np.random.default_rng(count)
    values = rng.binomial(10, rng.random((count, 1, 800)), (count, 2, 800)) / 10
    statistic = rfs if what == "rfs" else lambda m: (m[:, 1] - m[:, 0]).mean(0)
    p = sign_flips(statistic, values, np.zeros(count, int))
    called = (p <= 0.05).mean()
    assert called == 0 if count < 6 else called <= 0.07
    assert count < 10 or called > 0.01  # and not never


def test_few_and_many_images_meet():
    # The patterns that are counted below NORMAL images, and the limit taken from there on.
    differences = np.random.default_rng(4).normal(0.1, 1, (significance.NORMAL, 3))
    labels = np.arange(len(differences)) % 5
    limit = sign_flips(mean, differences, labels)
    counted = sign_flips(mean, differences[:-5], labels[:-5])
    shares = differences[:-5] / len(labels)
    near = 2 * special.ndtr(-np.abs(shares.sum(0)) / np.sqrt((shares**2).sum(0)))
    np.testing.assert_allclose(counted, near, atol=0.02)
    assert (np.abs(limit - near) < 0.2).all()


def test_the_sign_of_a_statistic_does_not_matter_and_zeros_are_no_difference():
    values = np.random.default_rng(5).random((12, 2))
    labels = np.arange(12) % 3
    one, other = sign_flips(rfs, values, labels), sign_flips(lambda m: -rfs(m), values, labels)
    assert one == other
    assert sign_flips(rfs, values[:, ::-1], labels) == pytest.approx(one)
    assert sign_flips(rfs, np.ones((12, 2)), labels) == 1
    assert sign_flips(mean, np.zeros(12), labels) == 1


def test_a_difference_of_rfs_is_found_and_chance_is_not():
    rng = np.random.default_rng(6)
    base = rng.uniform(0.4, 0.6, 30)
    fg, bg = base - 0.2, base + 0.2
    other = np.stack([base, base + 0.02 * rng.standard_normal(30)], 1)
    values = np.stack([np.stack([fg, bg], 1), other], 1)  # [n, model, region]

    def difference(means):
        level = means.mean(0)
        return metrics.rfs(level[0, 0], level[0, 1]) - metrics.rfs(level[1, 0], level[1, 1])

    labels = np.arange(30) % 3
    assert sign_flips(difference, values, labels) < 0.001
    assert sign_flips(lambda m: metrics.rfs(*m.mean(0)[1]), values, labels) > 0.01


def test_findings_test_what_can_be_negative():
    values = np.random.default_rng(7).random((20, 2))
    labels = np.arange(20) % 4
    found = significance.findings(
        lambda m: jnp.stack([*m.mean(0), rfs(m)]), values, labels, resamples=50
    )
    assert np.isnan(found.p[:2]).all()
    np.testing.assert_allclose(found.p[2], sign_flips(rfs, values, labels))
    assert (found.low < found.high).all()


def test_holm_controls_more_than_benjamini_and_hochberg():
    p = np.array([0.001, 0.01, np.nan, 0.02, 0.9])
    holm, rate = significance.holm(p), significance.benjamini_hochberg(p)
    np.testing.assert_allclose(holm, [0.004, 0.03, np.nan, 0.04, 0.9])
    assert (holm[~np.isnan(p)] >= rate[~np.isnan(p)]).all()
    assert significance.holm(np.zeros(0)).shape == (0,)
    np.testing.assert_allclose(significance.holm(np.array([0.6, 0.9])), [1, 1])


def test_few_that_differ_among_many_are_counted_not_taken_for_many():
    differences = np.zeros(600)
    differences[:6] = 1  # the normal limit would say 0.014
    assert sign_flips(mean, differences, np.arange(600) % 5) == pytest.approx(2 / 64)


def test_no_difference_but_rounding_has_p_one():
    """Drops that cancel class by class, of numbers that float32 cannot hold exactly."""
    rng = np.random.default_rng(0)
    correct = rng.random((50, 2)) < 0.9
    values = np.stack([correct, correct[::-1]], axis=-1).astype(float)
    labels = np.arange(50) // 5
    same = lambda m: (m[:, :, 0] - m[:, :, 0] * 3 / 3).mean((0, 1)) + 1e-9  # noqa: E731
    assert sign_flips(same, values, labels) == 1.0


def test_small_differences_of_many_images_are_no_rounding():
    """An image's own difference counts, not its share of the mean, which is smaller still."""
    labels = np.arange(600) % 3
    assert sign_flips(mean, np.full(600, 1e-3), labels) < 1e-6
    assert sign_flips(mean, np.full(600, 5e-5), labels) == 1


def test_p_does_not_depend_on_what_else_is_tested():
    rng = np.random.default_rng(1)
    values, labels = rng.normal(size=(40, 3)) * [1, 1, 0], np.arange(40) % 4
    values[::2, 2] = 0.25  # fewer images differ here
    together = sign_flips(lambda m: m.mean(0), values, labels)
    alone = [sign_flips(lambda m: m.mean(0), values[:, k], labels) for k in range(3)]
    np.testing.assert_array_equal(together, alone)
