import numpy as np
import pytest

from rival_jax import data
from rival_jax.data.donors import lent, partners, with_others
from tests.test_data_examples import SMALL, Drawn


class FakeExamples(data.Examples):
    def __init__(self, order):
        names = [f"c{label}/{i}.png" for label in range(3) for i in range(4)]
        self.names = [names[i] for i in order]
        self.labels = np.repeat(np.arange(3), 4)[order]

    def __len__(self):
        return len(self.names)


def test_partners_are_of_another_class_and_of_no_order():
    examples = FakeExamples(np.arange(12))
    everyone = np.arange(12)
    found = partners(examples, everyone, "0 x")
    assert (examples.labels[found] != examples.labels).all()
    other = FakeExamples(np.random.default_rng(0).permutation(12))
    again = partners(other, everyone, "0 x")
    names = {other.names[i]: other.names[j] for i, j in enumerate(again)}
    assert names == {examples.names[i]: examples.names[j] for i, j in enumerate(found)}
    assert (partners(examples, everyone, "1 x") != found).any()
    few = partners(examples, everyone, "0 x", most=1)
    assert len(set(few.tolist())) <= 3
    assert (partners(examples, np.arange(4), "0 x") == -1).all()


@pytest.mark.parametrize("swapped", [False, True])
def test_batches_have_the_pixels_of_others(swapped):
    examples, others = data.Examples(Drawn(7), SMALL), np.array([3, 3, 0, 6, 5, 4, 1])
    seen = []
    for batch in with_others(examples, 3, others if swapped else None):
        for place in np.flatnonzero(batch["index"] >= 0):
            row = batch["index"][place]
            seen.append(row)
            mine, other = lent(examples, np.array([row, others[row] if swapped else row]))
            for name, item in (("image", mine), ("other_image", other)):
                np.testing.assert_array_equal(batch[name][place], np.float32(item["image"]) / 255)
            for name, item in (("mask", mine), ("other_mask", other)):
                np.testing.assert_array_equal(batch[name][place], np.float32(item["mask"]) / 255)
    assert seen == list(range(7))


def test_a_photo_lent_twice_is_decoded_once(monkeypatch):
    examples, read = data.Examples(Drawn(7), SMALL), []
    example = data.Examples.example
    monkeypatch.setattr(
        data.Examples, "example", lambda s, row: read.append(row) or example(s, row)
    )
    found = lent(examples, np.array([5, 2, 5]))
    assert [item["name"] for item in found] == [examples.names[row] for row in (5, 2, 5)]
    assert sorted(read) == [2, 5]
