"""Several hosts read one data set: each its share, and all know of all."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from rival_jax import data
from rival_jax.data import any_size
from rival_jax.experiments.attributes import parts as _parts
from rival_jax.runtime.progress import Meter
from tests.fake_hosts import on_hosts
from tests.test_data_attributes import Parted
from tests.test_data_examples import SMALL, Drawn, plain

WHOLE = 11


def joined(batches_of_hosts):
    """Rows of all hosts by index, images and masks; and how many batches of what size each has."""
    shapes, found = [], {}
    for batches in batches_of_hosts:
        shapes.append([len(batch["index"]) for batch in batches])
        for batch in batches:
            assert {len(value) for value in batch.values()} == {len(batch["index"])}
            for place, index in enumerate(batch["index"].tolist()):
                if index >= 0:
                    assert index not in found
                    found[index] = {name: value[place] for name, value in batch.items()}
    assert all(shape == shapes[0] for shape in shapes)
    return found


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize(("hosts", "size"), [(1, 4), (2, 4), (3, 5), (4, 1), (16, 8)])
def test_every_example_is_in_one_hosts_batches(monkeypatch, hosts, size, held):
    limit = {} if held else {"held_gib": 0.0}

    def program():
        examples = data.Examples(Drawn(WHOLE), SMALL, **limit)
        return examples, list(examples.batches(size)), list(examples.batches(size, everywhere=True))

    found = on_hosts(monkeypatch, hosts, program)
    alone = data.Examples(Drawn(WHOLE), SMALL)
    rows = joined([batches for _, batches, _ in found])
    assert sorted(rows) == list(range(WHOLE))
    for examples, _, everywhere in found:
        assert examples.fingerprint == alone.fingerprint
        assert examples.names == alone.names
        np.testing.assert_array_equal(examples.labels, alone.labels)
        assert sum((batch["index"] >= 0).sum() for batch in everywhere) == WHOLE
        np.testing.assert_array_equal(examples.example(7)["image"], alone.example(7)["image"])
    for batch in alone.batches(3):
        for place, index in enumerate(batch["index"].tolist()):
            for name in batch if index >= 0 else ():
                np.testing.assert_array_equal(rows[index][name], batch[name][place])


@pytest.mark.parametrize(("hosts", "size"), [(2, 4), (3, 4), (4, 2)])
def test_augmented_batches_are_parts_of_the_same_batches(monkeypatch, hosts, size):
    def program():
        examples = data.Examples(Drawn(WHOLE), SMALL)
        return list(examples.augmented_batches(size, epoch=1, seed=2, first=1))

    parts = on_hosts(monkeypatch, hosts, program)
    alone = data.Examples(Drawn(WHOLE), SMALL).augmented_batches(size, epoch=1, seed=2, first=1)
    for *mine, whole in zip(*parts, alone, strict=True):
        real = [batch["index"] >= 0 for batch in mine]
        for name, value in whole.items():
            got = np.concatenate([b[name][r] for b, r in zip(mine, real, strict=True)])
            np.testing.assert_array_equal(got, value[whole["index"] >= 0])


def test_bad_examples_of_all_hosts_are_told_on_each(monkeypatch):
    bad = {0: {"mask": plain(0)}, 9: {"mask": plain(0)}}
    skipped = on_hosts(
        monkeypatch, 3, lambda: data.Examples(Drawn(WHOLE, bad), SMALL, on_bad="skip")
    )
    alone = data.Examples(Drawn(WHOLE, bad), SMALL, on_bad="skip")
    for examples in skipped:
        assert examples.skipped == alone.skipped
        assert examples.fingerprint == alone.fingerprint
        assert examples.rows_of_hosts == [range(2), range(2, 6), range(6, 9)]

    def told():
        with pytest.raises(ValueError, match="2 of 11 examples") as error:
            data.Examples(Drawn(WHOLE, bad), SMALL)
        return str(error.value)

    assert len(set(on_hosts(monkeypatch, 3, told))) == 1


@pytest.mark.parametrize("hosts", [1, 2, 4, 9])
@pytest.mark.parametrize("swap", [False, True])
def test_every_pair_is_in_one_hosts_batches(monkeypatch, hosts, swap):
    def program():
        examples = data.Examples(Parted(7), SMALL, attributes=True)
        pairs = _parts.find(examples, examples.attributes, 0)
        return list(_parts.batches(pairs, 4, swap=swap))

    found, alone = (joined(on_hosts(monkeypatch, count, program)) for count in (hosts, 1))
    assert found.keys() == alone.keys()
    for index, row in alone.items():
        for name, value in row.items():
            np.testing.assert_array_equal(found[index][name], value)


@pytest.mark.parametrize("hosts", [2, 5])
def test_every_photo_is_read_by_one_host(monkeypatch, hosts):
    def program():
        meter = Meter(WHOLE, "photos", Console(file=io.StringIO()))
        photos, *_ = any_size.read(Drawn(WHOLE), "error", 0, meter)
        return photos, list(any_size.batches(Drawn(WHOLE), photos[:3], (8, 8), 4))

    found, alone = (on_hosts(monkeypatch, count, program) for count in (hosts, 1))
    assert all(photos == alone[0][0] for photos, _ in found)
    rows, want = (joined([batches for _, batches in of]) for of in (found, alone))
    assert rows.keys() == want.keys() == set(range(3))
    for index in want:
        np.testing.assert_array_equal(rows[index]["image"], want[index]["image"])
