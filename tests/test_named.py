import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rival_jax.named import Axis, Counts, Named, stacked


def named(values, axes, images=None):
    values = np.asarray(values, float)
    images = np.full(values.shape, 4) if images is None else np.asarray(images)
    made = tuple(Axis((f,) if isinstance(f, str) else f, tuple(k)) for f, k in axes)
    return Named(values, made, Counts(images, np.full(values.shape, 4), (images > 0) * 1, images))


def single(*names):
    return [(name,) for name in names]


TREATED = (
    ("treatment", "region"),
    [("none", "none"), ("grey", "bg"), ("grey", "fg"), ("blur", "bg")],
)
RNG = np.random.default_rng(0)
LEVEL = named(RNG.random((3, 4)), [("model", single("a", "b", "c")), TREATED])


def test_places_are_chosen_by_their_fields():
    clean = LEVEL.at(treatment="none", region="none")
    assert clean.fields == ("model",)
    np.testing.assert_array_equal(clean.values, LEVEL.values[:, 0])
    backgrounds = LEVEL.at(region="bg")
    assert backgrounds.axes[1] == Axis(("treatment",), (("grey",), ("blur",)))
    np.testing.assert_array_equal(backgrounds.values, LEVEL.values[:, [1, 3]])
    assert LEVEL.without(treatment="none").of("treatment") == ("grey", "blur")
    assert LEVEL.where(treatment=["blur", "none"]).values.shape == (3, 2)
    with pytest.raises(ValueError, match="no field 'head'; there are model, treatment, region"):
        LEVEL.at(head="x")
    with pytest.raises(ValueError, match="region: no such value"):
        LEVEL.at(region="sky")


def test_places_are_reordered_with_their_counts():
    images = np.arange(12).reshape(3, 4)
    level = dataclasses.replace(LEVEL, counts=LEVEL.counts._replace(images=images))
    axis = Axis(TREATED[0], (("blur", "bg"), ("none", "none")))
    found = level.reordered(axis)
    assert found.axes == (level.axes[0], axis)
    np.testing.assert_array_equal(found.values, level.values[:, [3, 0]])
    np.testing.assert_array_equal(found.counts.images, images[:, [3, 0]])


def test_a_field_is_relabelled_in_its_place():
    labels = {"none": ("all", 0), "bg": ("around", 1), "fg": ("inside", 1)}
    found = LEVEL.relabelled("region", ("where", "treated"), labels)
    assert found.fields == ("model", "treatment", "where", "treated")
    assert found.axes[1].keys[1:3] == (("grey", "around", 1), ("grey", "inside", 1))
    assert (found.values is LEVEL.values, found.counts is LEVEL.counts) == (True, True)


def test_the_standard_error_of_a_mean_over_trials():
    trials = named([[1, 5], [2, 5], [3, 5]], [("trial", single(0, 1, 2)), ("model", single(*"ab"))])
    found = trials.standard_error("trial")
    assert found.fields == ("model",)
    np.testing.assert_allclose(found.values, [1 / np.sqrt(3), 0])


def test_functions_of_numpy_arrays_give_numpy_arrays():
    assert isinstance(LEVEL.map(jnp.square).values, np.ndarray)
    traced = dataclasses.replace(LEVEL, values=jnp.asarray(LEVEL.values))
    assert isinstance(LEVEL.map(jnp.add, traced).values, jax.Array)


def test_counts_of_one_place_are_known_while_its_values_are_traced():
    """They are NumPy's scalars, which are not arrays."""
    found = []

    def traced(values):
        one = dataclasses.replace(LEVEL, values=values)
        alone = one.at(model="a", treatment="none", region="none")
        found.append((alone - one.at(model="b")).counts)
        return alone.values

    jax.eval_shape(traced, LEVEL.values)
    assert [np.asarray(array).tolist() for array in found[0]] == [[n] * 4 for n in (4, 4, 1, 4)]


def test_differences_are_later_minus_earlier_of_what_differs_in_one_field():
    found = LEVEL.differences("model")
    assert found.axes[0] == Axis(("model", "minus"), (("b", "a"), ("c", "a"), ("c", "b")))
    np.testing.assert_array_equal(found.values[1], LEVEL.values[2] - LEVEL.values[0])
    regions = LEVEL.differences("region")  # grey alone is there with both
    assert regions.axes[1].keys == (("grey", "fg", "bg"),)
    np.testing.assert_array_equal(regions.values[:, 0], LEVEL.values[:, 2] - LEVEL.values[:, 1])


def test_means_are_over_the_places_that_have_images():
    values, images = [[1.0, 5.0], [3.0, 7.0]], [[2, 0], [1, 3]]
    by_class = named(values, [("class", single("x", "y")), ("model", single("a", "b"))], images)
    mean = by_class.mean("class")
    np.testing.assert_allclose(mean.values, [2, 7])
    assert (mean.counts.images.tolist(), mean.counts.classes.tolist()) == ([3, 3], [2, 1])
    assert mean.counts.largest.tolist() == [2, 3]
    np.testing.assert_allclose(by_class.mean("class", by="images").values, [5 / 3, 7])
    over_models = by_class.mean("model")  # a number of several models is of what all of them have
    assert (over_models.counts.images.tolist(), over_models.counts.largest.tolist()) == (
        [0, 1],
    ) * 2
    assert LEVEL.mean("treatment").axes[1].keys == (("none",), ("bg",), ("fg",))
    np.testing.assert_allclose(
        LEVEL.mean("treatment").values[:, 1], (LEVEL.values[:, 1] + LEVEL.values[:, 3]) / 2
    )


def test_groups_are_means_of_their_members():
    found = LEVEL.grouped("model", {"G": ["a", "c"], "b": ["b"]})
    assert found.fields == ("group", "treatment", "region")
    np.testing.assert_allclose(found.values[0], (LEVEL.values[0] + LEVEL.values[2]) / 2)
    np.testing.assert_allclose(found.values[1], LEVEL.values[1])
    for members, told in (({"G": ["d"]}, "names d"), ({"G": []}, "names no model")):
        with pytest.raises(ValueError, match=f"group 'G' {told}; there are a, b, c"):
            LEVEL.grouped("model", members)


def test_arrays_meet_by_their_fields():
    shift = named([10.0, 20.0, 30.0], [("model", single("a", "b", "c"))], [1, 4, 9])
    found = LEVEL - shift
    assert found.fields == LEVEL.fields
    np.testing.assert_array_equal(found.values, LEVEL.values - shift.values[:, None])
    assert found.counts.images[:, 0].tolist() == [1, 4, 4]
    other = named([1.0, 2.0], [("head", single("p", "q"))])
    assert shift.map(lambda a, b: a * b, other).values[2].tolist() == [30, 60]
    turned = named([1.0, 2.0, 3.0], [("model", single("c", "b", "a"))])
    with pytest.raises(ValueError, match="keys of two arrays differ"):
        shift - turned
    both = stacked("of", {"one": shift, "two": shift})
    assert (both.fields, both.values.shape) == (("of", "model"), (2, 3))


@settings(deadline=None, max_examples=30)  # each is compiled
@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(0, 2**16))
def test_numpy_and_jax_agree(images, seed):
    rng = np.random.default_rng(seed)
    shape = (len(images), 2)
    axes = [("class", single(*map(str, range(len(images))))), ("model", single("a", "b"))]
    counts = np.array(images)[:, None] * np.ones(shape, int)
    plain = named(rng.random(shape), axes, counts)

    def made(values):
        one = Named(values, plain.axes, plain.counts)
        return one.mean("class").differences("model").values

    np.testing.assert_allclose(jax.jit(made)(plain.values), made(plain.values), atol=1e-6)
