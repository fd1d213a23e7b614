from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rival_jax.runtime import footprint, parallel, parts
from rival_jax.types import Geometry


def scaled_sum(variables, batch, factor=1.0):
    return {"value": factor * variables["w"] * batch["image"].sum((1, 2, 3))}


def batches(images, size, order):
    for start in range(0, len(images), size):
        index = np.asarray(order[start : start + size], np.int32)
        short = size - len(index)
        image = np.concatenate([images[index], np.repeat(images[index[:1]], short, 0)])
        yield {"image": image, "index": np.concatenate([index, np.full(short, -1, np.int32)])}


@given(
    count=st.integers(1, 40),
    size=st.integers(1, 41),
    devices=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_rows_come_back_once_and_in_order(count, size, devices, seed):
    rng = np.random.default_rng(seed)
    images = rng.random((count, 2, 2, 3)).astype(np.float32)
    mesh = parallel.data_mesh(jax.devices()[:devices])
    counted = []
    rows = parallel.map_examples(
        scaled_sum,
        {"w": jnp.float32(2)},
        batches(images, size, rng.permutation(count)),
        mesh,
        on_batch=counted.append,
    )
    np.testing.assert_array_equal(rows["index"], np.arange(count))
    np.testing.assert_allclose(rows["value"], 2 * images.sum((1, 2, 3)), rtol=1e-6)
    assert sum(counted) == count


def test_equal_bound_functions_are_compiled_once():
    images, traced = np.ones((4, 1, 1, 3), np.float32), []

    def fn(factor, variables, batch):
        traced.append(factor)
        return scaled_sum(variables, batch, factor)

    for factor in (2.0, 2.0, 5.0, 2.0):
        rows = parallel.map_examples(
            parallel.Bound(fn, (factor,)),
            {"w": jnp.float32(1)},
            batches(images, 4, range(4)),
            parallel.data_mesh(),
        )
        np.testing.assert_allclose(rows["value"], 3 * factor)
    assert traced == [2.0, 5.0]


def test_extra_arguments_are_traced_not_compiled_in():
    images = np.ones((4, 1, 1, 3), np.float32)
    mesh = parallel.data_mesh()
    traced = []

    def fn(variables, batch, factor):
        traced.append(1)
        return scaled_sum(variables, batch, factor)

    for factor in (1.0, 3.0):
        rows = parallel.map_examples(
            fn, {"w": jnp.float32(1)}, batches(images, 4, range(4)), mesh, jnp.float32(factor)
        )
        np.testing.assert_allclose(rows["value"], 3 * factor)
    assert len(traced) == 1


def test_parts_are_a_few_batches_each_and_read_as_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(parts, "STEPS", 2)
    images, taken = np.random.default_rng(0).random((9, 2, 2, 3)).astype(np.float32), []
    some = (taken.append(1) or batch for batch in batches(images, 2, range(9)))
    given = scaled_sum, {"w": jnp.float32(2)}, some, parallel.data_mesh(jax.devices()[:1])
    found = parts.map_parts(*given, on_batch=taken.append)
    first = next(found)
    assert (first["index"].tolist(), len(taken)) == ([0, 1, 2, 3], 4)
    rows = [first, *found]
    assert [len(part["index"]) for part in rows] == [4, 4, 1]
    got = np.concatenate([part["value"] for part in rows])
    np.testing.assert_allclose(got, 2 * images.sum((1, 2, 3)), rtol=1e-6)


def test_no_batches_is_an_error():
    with pytest.raises(ValueError, match="the data set is empty"):
        parallel.map_examples(scaled_sum, {}, [], parallel.data_mesh())


def test_steps_fit_the_budget_and_are_of_equal_size(monkeypatch):
    monkeypatch.setattr(footprint, "memory_budget", lambda device: 1000)
    mesh, cost = parallel.data_mesh(jax.devices()[:1]), footprint.Cost(0.0, 100.0 - 48)
    auto = mesh, cost, Geometry((1, 1)), 12  # ten forward passes at once, of twelve images
    assert footprint.step_size(SimpleNamespace(batch_size="auto"), *auto) == (6, 1)
    assert footprint.step_size(SimpleNamespace(batch_size="auto"), *auto, 8, 2) == (1, 4)
    assert footprint.step_size(SimpleNamespace(batch_size=5), *auto, 8, 2) == (5, 4)


def test_measure_counts_operations():
    cost = footprint.measure(lambda v, x: x @ v["w"], {"w": jnp.ones((64, 32))}, jnp.ones((16, 64)))
    assert cost.flops == pytest.approx(2 * 64 * 32, rel=0.1)
    assert cost.seconds > 0
