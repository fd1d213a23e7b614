"""Protocols against brute force in NumPy, their order, and calibration and error measures."""

import inspect
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import rival_jax
from rival_jax import calibration, data, models, protocols, relative_errors, significance
from rival_jax.data import class_maps
from rival_jax.data.transforms import resize_photo
from rival_jax.protocols import accepts, hits, ties
from rival_jax.types import Geometry
from tests.helpers import EXACT, REFERENCE

QUICK = settings(deadline=None, max_examples=25)
FEW = 12  # outputs of drawn logits
# As one program each. Drawn columns would be a program each, so tests of those take the functions.
hits_of = jax.jit(hits, static_argnames="k")
ties_of = jax.jit(ties)
grouped_hits = jax.jit(protocols.grouped_hits)
calibration_of = jax.jit(protocols.calibration, static_argnames="columns")


def reference_hits(logits, accepted, columns=None, k=1, among_equals=0):
    """By sorting. Of equals: the lower number first (0), the right one first (1) or last (-1)."""
    found = []
    for row, right in zip(np.float64(logits), accepted, strict=True):
        outputs = sorted(range(len(row)) if columns is None else set(columns))
        order = sorted(outputs, key=lambda i: (-row[i], -among_equals * right[i], i))
        found.append(any(right[i] for i in order[:k]))
    return np.array(found)


@st.composite
def drawn(draw):
    """Logits of few values, so that many are equal, right outputs and the columns of a set."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = rng.integers(0, draw(st.sampled_from([3, 6, 1000])), (20, FEW)).astype(np.float32)
    accepted = rng.random((20, FEW)) < draw(st.sampled_from([0.1, 0.3]))
    columns = tuple(rng.permutation(FEW)[: draw(st.integers(1, FEW))].tolist())
    dtype = draw(st.sampled_from([jnp.float32, jnp.bfloat16, jnp.float16]))
    return jnp.asarray(logits, dtype), jnp.asarray(accepted), columns


@given(case=drawn(), k=st.sampled_from([1, 2, 5]))
@QUICK
def test_hits_and_ties_are_those_of_sorting(case, k):
    logits, accepted, columns = case
    for chosen in (None, columns):
        expected = reference_hits(logits, accepted, chosen, k)
        np.testing.assert_array_equal(hits(logits, accepted, columns=chosen, k=k), expected)
        kind, strict = (reference_hits(logits, accepted, chosen, k, how) for how in (1, -1))
        got = ties(logits, accepted, columns=chosen, k=k)
        np.testing.assert_array_equal(got, kind & ~strict)
        np.testing.assert_array_equal(
            hits(logits[0], accepted[0], columns=chosen, k=k), expected[0]
        )


@given(case=drawn())
@QUICK
def test_fewer_rivals_and_more_right_outputs_only_help(case):
    logits, accepted, columns = case
    first = jnp.arange(FEW) == jnp.argmax(accepted, -1, keepdims=True)
    first &= accepted
    only = np.isin(np.arange(FEW), columns)  # a set's classes accept its columns alone
    for right in (first & only, accepted & only):
        full, subset = hits(logits, right), hits(logits, right, columns=columns)
        assert (subset >= full).all()
    for chosen in (None, columns):
        assert (hits(logits, accepted, columns=chosen) >= hits(logits, first, columns=chosen)).all()
        better = [hits(logits, accepted, columns=chosen, k=k) for k in (1, 2, 5)]
        assert (better[0] <= better[1]).all()
        assert (better[1] <= better[2]).all()


@given(seed=st.integers(0, 2**32 - 1), values=st.sampled_from([4, 10_000_000]))
@QUICK
def test_grouped_is_any_on_the_columns_but_for_ties(seed, values):
    rng = np.random.default_rng(seed)
    logits = rng.integers(0, values, (60, FEW)).astype(np.float32)
    groups = rng.integers(-1, 4, FEW)
    groups[:4] = np.arange(4)
    label = rng.integers(0, 4, 60)
    grouped = np.asarray(grouped_hits(logits, groups, label))
    largest = np.stack([logits[:, groups == g].max(1) for g in range(4)], 1)
    np.testing.assert_array_equal(grouped, largest.argmax(1) == label)
    right, columns = jnp.asarray(groups == label[:, None]), np.flatnonzero(groups >= 0)
    logits = jnp.asarray(logits)
    tied = np.asarray(ties(logits, right, columns=columns))
    same = grouped == np.asarray(hits(logits, right, columns=columns))
    assert same[~tied].all()
    assert tied.any() or values > 4


def test_groups_that_are_none_are_never_hit():
    logits, groups = np.array([[1.0, 2.0, 3.0]] * 3), np.array([0, 1, -1])
    got = grouped_hits(logits, groups, np.array([1, -1, 7]))
    assert got.tolist() == [True, False, False]
    nowhere = grouped_hits(logits, np.array([-1, -1, -1]), np.array([0, -1, 7]))
    assert not np.asarray(nowhere).any()


def test_top_k_of_reassessed_labels_is_by_brute_force():
    """ReaL: right if any of the k largest is among the photo's labels, of which some have none."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 1000)).astype(np.float32)
    counts = rng.choice([0, 1, 2, 9], 200)
    labels = [rng.choice(1000, n, replace=False).tolist() for n in counts]
    for row in range(0, 200, 2):  # else hardly one is right
        labels[row] = [*labels[row][1:], int(np.argsort(logits[row])[-3])] if labels[row] else []
    order = np.argsort(-logits, axis=1)
    for k in (1, 3, 5):
        expected = [bool(set(order[i, :k]) & set(labels[i])) for i in range(200)]
        got = np.asarray(hits_of(logits, accepts(labels, 1000), k=k))
        assert got.tolist() == expected
    assert 0.2 < got.mean() < 0.8
    assert not got[counts == 0].any()


def test_imagenet_9_counts_outputs_of_no_class_as_wrong():
    groups = class_maps.imagenet9()
    logits = np.random.default_rng(1).normal(size=(300, 1000)).astype(np.float32)
    label = np.random.default_rng(2).integers(9, size=300)
    expected = groups[np.argmax(logits, 1)] == label
    np.testing.assert_array_equal(hits_of(logits, groups == label[:, None]), expected)
    grouped = np.asarray(grouped_hits(logits, groups, label))
    assert (grouped >= expected).all()
    assert grouped.sum() > expected.sum()


def test_bfloat16_ties_are_counted_and_the_same_under_jit():
    rng = np.random.default_rng(3)
    logits = jnp.asarray(rng.normal(size=(500, 1000)), jnp.bfloat16)
    accepted = jnp.asarray(np.eye(1000, dtype=bool)[np.argmax(np.float32(logits), 1)])
    assert hits(logits, accepted).all()
    assert 0 < ties(logits, accepted).sum() < 500
    other = jnp.asarray(np.eye(1000, dtype=bool)[999 - np.argmax(np.float32(logits[:, ::-1]), 1)])
    lost = ~hits(logits, other)  # the last of the largest
    np.testing.assert_array_equal(lost, ties(logits, other))

    def scored(wide, right):  # XLA may keep more digits than bfloat16 has, but then everywhere
        return hits(wide.astype(jnp.bfloat16), right)

    wide = jnp.asarray(rng.normal(size=(500, 1000)), jnp.float32)
    best = jnp.asarray(np.eye(1000, dtype=bool)[np.argmax(wide, 1)])
    rounded = np.asarray(scored(wide, best) | ties(wide.astype(jnp.bfloat16), best))
    assert rounded.all()
    kept = jax.jit(scored)(wide, best)
    assert (kept | ties(wide.astype(jnp.bfloat16), best)).all()


def test_nothing_accepted_nan_and_infinities():
    logits = np.array([[1.0, np.nan, 3.0], [-np.inf] * 3, [1.0, 2.0, 3.0], [-np.inf, 0.0, 0.0]])
    accepted = np.array([[0, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
    assert hits_of(logits, accepted, k=3).tolist() == [False, True, False, True]
    assert hits_of(logits, accepted).tolist() == [False] * 4
    assert ties_of(logits, accepted).tolist() == [False, True, False, False]
    assert not grouped_hits(logits, np.zeros(3, int), np.zeros(4, int)).tolist()[0]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"accepted": np.ones((2, 4), bool)},
            r"accepted: got \(2, 4\), expected logits's \(2, 3\)",
        ),
        ({"columns": (0, 3)}, "columns: got 3, expected outputs 0 to 2"),
        ({"columns": (-1,)}, "columns: got -1"),
        ({"columns": ()}, "columns: got none"),
        ({"k": 0}, "k: got 0, expected at least 1"),
    ],
)
def test_what_fits_not_is_refused(changed, words):
    arguments = {"accepted": np.ones((2, 3), bool), **changed}
    accepted = jnp.asarray(arguments.pop("accepted"))
    with pytest.raises(ValueError, match=words):
        inspect.unwrap(hits)(jnp.zeros((2, 3)), accepted, **arguments)


def test_shapes_and_outputs_of_tables_are_checked():
    with pytest.raises(ValueError, match="outputs: got 1000, expected outputs 0 to 999"):
        accepts([[3], [1000]], 1000)
    with pytest.raises(ValueError, match=r"groups and group: got \(4,\)"):
        inspect.unwrap(protocols.grouped_hits)(jnp.zeros((2, 3)), np.zeros(4), jnp.zeros(2))
    inside = accepts([one.outputs for one in class_maps.objectnet()], 1000)
    assert inside.shape == (313, 1000)
    assert inside.sum() == 125


def reference_calibration(logits, accepted, columns):
    """In float64, of each row."""
    wide = np.asarray(logits, np.float64)
    outside = ~np.isin(np.arange(wide.shape[1]), columns)
    power = np.exp(wide - wide.max(1, keepdims=True)) * ~outside
    probability = power / power.sum(1, keepdims=True)
    right = accepted & ~outside
    likely = (probability * right).sum(1)
    merged = np.concatenate([probability * ~right, likely[:, None]], 1)
    target = np.zeros_like(merged)
    target[:, -1] = 1
    return probability.max(1), -np.log(likely), ((merged - target) ** 2).sum(1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("columns", [None, (0, 3, 4, 7)])
@pytest.mark.parametrize("several", [False, True])
def test_calibration_is_the_references(columns, several, dtype):
    rng = np.random.default_rng(4)
    logits = jnp.asarray(5 * rng.normal(size=(100, 8)), dtype)
    accepted = np.eye(8, dtype=bool)[rng.choice([0, 3, 4], 100)]
    accepted[:, 7] |= several
    got = calibration_of(logits, accepted, columns=columns)
    expected = reference_calibration(logits, accepted, columns or range(8))
    for name, value in zip(got._fields, expected, strict=True):
        np.testing.assert_allclose(
            getattr(got, name), value, rtol=REFERENCE, atol=EXACT, err_msg=name
        )
    assert got.nll.dtype == jnp.float32


def test_calibration_at_the_ends():
    logits = np.array([[900.0, 0.0, 0.0], [0.0, 900.0, 0.0], [0.0, np.nan, 0.0]])
    accepted = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0]], bool)
    got = calibration_of(logits, accepted)
    np.testing.assert_array_equal(got.nll, [0, 900, np.nan])
    np.testing.assert_array_equal(got.brier, [0, 2, np.nan])
    np.testing.assert_array_equal(got.confidence, [1, 1, np.nan])
    assert calibration_of(logits, ~accepted & False).nll.tolist()[0] == np.inf
    drawn = np.random.default_rng(0).normal(size=(100, 1000))
    everything = np.asarray(calibration_of(drawn, np.ones(drawn.shape, bool)).nll)
    assert 0 <= everything.min() <= everything.max() < EXACT


def test_expected_calibration_error_is_by_bins():
    rng = np.random.default_rng(5)
    confidence = rng.random(5000)
    confidence[:48] = np.repeat(np.linspace(0, 1, 16), 3)  # the edges
    up = 0.3 * (-1) ** np.floor(15 * confidence)  # so that neighbouring bins do not cancel
    correct = rng.random(5000) < confidence + up
    for bins in (1, 10, 15):
        edges, expected = np.linspace(0, 1, bins + 1), 0.0
        for k, (low, high) in enumerate(itertools.pairwise(edges)):
            inside = (confidence > low) & (confidence <= high) | (k == 0) & (confidence == 0)
            if inside.any():
                gap = correct[inside].mean() - confidence[inside].mean()
                expected += inside.mean() * abs(gap)
        got = calibration.expected_calibration_error(confidence, correct, bins)
        assert got == pytest.approx(expected, abs=1e-12)
    assert 0.2 < got < 0.3  # less at the ends, where there is no room
    assert np.isnan(calibration.expected_calibration_error(np.array([0.5, np.nan]), correct[:2]))
    with pytest.raises(ValueError, match=r"confidence: got 70, expected \[0, 1\]"):
        calibration.expected_calibration_error(np.array([70.0]), correct[:1])
    with pytest.raises(ValueError, match=r"correct: got \(2,\), expected confidence's \(1,\)"):
        inspect.unwrap(calibration.expected_calibration_error)(np.array([0.7]), correct[:2])
    with pytest.raises(ValueError, match="not empty"):
        calibration.expected_calibration_error(np.zeros(0), correct[:0])


def test_effective_robustness_is_zero_on_the_line_and_a_gain_beyond_it():
    fit = protocols.FITS["a_200"]
    line = {"slope": fit.slope, "intercept": fit.intercept}
    base = np.linspace(0.01, 0.99, 99)
    expected = 1 / (1 + np.exp(-(fit.slope * np.log(base / (1 - base)) + fit.intercept)))
    gained = jax.jit(lambda accuracy, b: protocols.effective_robustness(accuracy, b, **line))
    np.testing.assert_allclose(gained(expected, base), 0, atol=EXACT)
    np.testing.assert_allclose(gained(expected / 2 + 0.5, base), 0.5 - expected / 2, atol=EXACT)
    ends = gained(np.array([0.0, 0.9]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(ends, [0, -0.1], atol=EXACT)
    beyond = np.array([-0.1, 1.1])  # where an interval's steps lead
    assert np.isfinite(gained(beyond, beyond)).all()
    with pytest.raises(ValueError, match=r"accuracy: got 75\.57 .*expected \[0, 1\]"):
        protocols.effective_robustness(jnp.array(75.57), jnp.array(0.85), **line)
    assert rival_jax.effective_robustness is protocols.effective_robustness


def test_published_networks_lie_about_the_v2_line():
    fit, rows = protocols.FITS["v2"], class_maps.published().values()
    pairs = jnp.array([(row["v2"], row[fit.base]) for row in rows])
    off = protocols.effective_robustness(*pairs.T, slope=fit.slope, intercept=fit.intercept)
    assert abs(float(off.mean())) < 0.005
    assert float(jnp.abs(off).max()) < 0.05


def test_errors_as_shares_of_others():
    ratio = jax.jit(relative_errors.error_ratio)
    corruption_error = jax.jit(relative_errors.mean_corruption_error)
    got = ratio(np.array([0.5, 1, 1, 0.9]), np.array([0.75, 1, 0.5, 1]))
    np.testing.assert_allclose(got, [2, 1, 0, np.inf], rtol=EXACT)
    names = relative_errors.ALEXNET_ERROR
    assert len(names) == 15
    alexnet = {name: np.array([1 - error, 1.0]) for name, error in names.items()}
    np.testing.assert_allclose(corruption_error(alexnet), [1, 0], atol=EXACT)
    half = {name: np.array(1 - error / (1 + (name == "fog"))) for name, error in names.items()}
    assert corruption_error(half) == pytest.approx((14 + 0.5) / 15)
    del alexnet["glass_blur"]
    with pytest.raises(ValueError, match=r"missing \['glass_blur'\]"):
        corruption_error(alexnet)
    with pytest.raises(ValueError, match=r"unknown \['spatter'\]"):
        corruption_error({**half, "spatter": np.array(0.5)})


def test_alexnets_errors_are_the_published(shared):
    facts = (shared / "reference" / "evaluation_facts.md").read_text()
    told = re.search(r"mCE over AlexNet errors: ([\w .]+\d)\.", facts)[1]
    expected = dict(re.findall(r"(\w+) (\.\d+)", told))
    got = {name.split("_")[0]: error for name, error in relative_errors.ALEXNET_ERROR.items()}
    assert got == {name: float(error) for name, error in expected.items()}


def test_fits_are_the_published(shared):
    facts = (shared / "reference" / "evaluation_facts.md").read_text()
    titles = ("v2 matched-frequency", "ReaL", "Sketch", "A (200)", "R (200)")
    for (name, fit), title in zip(protocols.FITS.items(), titles, strict=True):
        line = re.search(rf"^\| {re.escape(title)} \|.*$", facts, re.MULTILINE)[0]
        assert list(fit[1:]) == [float(cell) for cell in line.split("|")[3:6]], name


@given(first=st.integers(0, 60), second=st.integers(0, 60))
@QUICK
def test_mcnemar_is_the_two_sided_binomial_test(first, second):
    got = significance.mcnemar(np.array([first, second]), np.array([second, first]))
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_mcnemar_of_few_images_is_all_patterns_of_signs():
    for first, second in ((7, 0), (6, 2), (3, 3), (1, 0)):
        values = np.repeat([1.0, -1.0, 0.0], [first, second, 5])
        signs = significance.sign_flips(lambda m: m.mean(0), values, np.zeros(len(values), int))
        assert significance.mcnemar(np.array(first), np.array(second)) == pytest.approx(signs)


def test_mcnemar_holds_its_level_and_finds_differences():
    rng = np.random.default_rng(6)
    first = rng.binomial(200, 0.5, 4000)
    called = (significance.mcnemar(first, 200 - first) <= 0.05).mean()
    assert 0.02 < called <= 0.055
    assert significance.mcnemar(np.array(0), np.array(5000)) == 0
    assert significance.mcnemar(0, np.zeros(3, int).sum()) == 1
    with pytest.raises(ValueError, match=r"second_only: got \(2,\), expected first_only's \(3,\)"):
        inspect.unwrap(significance.mcnemar)(np.zeros(3, int), np.zeros(2, int))
    with pytest.raises(ValueError, match="counts of images: got -1"):
        significance.mcnemar(np.array(-1), np.array(3))


@pytest.fixture(scope="module")
def judged(all_shared):
    """Logits [40, 1000] of the ViT-Tiny on two photos of each of 20 classes, and their outputs."""
    source = data.load("image_folder", all_shared / "data" / "imagenet_s_mini", "val")
    rows = [row for label in range(20) for row in np.flatnonzero(source.labels == label)[:2]]
    geometry = Geometry(resize="crop", interpolation="bicubic", crop_pct=0.9)
    photos = np.stack([resize_photo(source[int(row)]["image"], geometry) for row in rows]) / 255
    weights = all_shared / "data/weights/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    model, variables = models.load(str(weights))
    logits = jax.jit(model.forward)(variables, jnp.asarray(photos, jnp.float32), {})[0]
    index = class_maps.index_of()
    return logits, np.array([index[source.classes[source.labels[row]]] for row in rows])


def test_a_real_network_keeps_the_order_of_subset_and_full(judged):
    """The photos' synsets are nominal, so this is of the order and not of how often it is right."""
    for dtype in ("float32", "bfloat16"):
        logits, outputs = judged[0].astype(dtype), judged[1]
        right = jnp.asarray(np.eye(1000, dtype=bool)[outputs])
        full = np.asarray(hits(logits, right))
        largest = np.argmax(np.float32(logits), 1)
        np.testing.assert_array_equal(full, largest == outputs, err_msg=dtype)
        gained = {}
        for name in ("imagenet_a", "imagenet_r", "imagenet_s919", "imagenet_s50", "imagenet9"):
            case, columns = f"{dtype}, {name}", class_maps.columns(name)
            inside = np.isin(outputs, columns)
            subset = np.asarray(hits(logits, right, columns=columns))
            assert inside.any(), case
            assert (subset >= full)[inside].all(), case
            assert not subset[~inside].any(), case
            gained[name] = int((subset & ~full).sum())
        assert gained["imagenet_s50"] > gained["imagenet_s919"], dtype
        assert full.any(), dtype


def test_a_real_network_keeps_the_order_of_any_first_and_grouped(judged):
    """Of every photo as if it were of each class of ObjectNet that accepts several outputs."""
    several = [one for one in class_maps.objectnet() if len(one.outputs) > 1]
    tables = [[o.outputs for o in several], [o.outputs[:1] for o in several]]
    right, first = (np.repeat(accepts(t, 1000)[:, None], 40, 1) for t in tables)
    groups = np.full(1000, -1)
    for number, one in enumerate(class_maps.objectnet()):
        groups[list(one.outputs)] = number
    label = np.repeat([[groups[one.outputs[0]]] for one in several], 40, 1)
    columns = class_maps.columns("objectnet")
    right, first = jnp.asarray(right), jnp.asarray(first)
    for dtype in ("float32", "bfloat16"):
        logits = jnp.broadcast_to(judged[0].astype(dtype), right.shape)
        for k in (1, 5):
            both = [np.asarray(hits(logits, r, columns=columns, k=k)) for r in (right, first)]
            assert (both[0] >= both[1]).all(), f"{dtype}, {k}"
            assert both[0].sum() > both[1].sum(), f"{dtype}, {k}"
        grouped = np.asarray(protocols.grouped_hits(logits, groups, jnp.asarray(label)))
        counted = np.asarray(hits(logits, right, columns=columns))
        tied = np.asarray(ties(logits, right, columns=columns))
        assert (grouped == counted)[~tied].all(), dtype
        assert grouped.any(), dtype
