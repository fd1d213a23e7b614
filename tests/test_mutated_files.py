"""A few files of every format, damaged at random, and the fuzzer's own judgement."""

from __future__ import annotations

import numpy as np
import pytest

from tests import mutated_files
from tests.mutated_files import mutate, outcome


def test_damaged_files_are_read_or_refused_in_one_line_with_their_name(tmp_path):
    found = mutated_files.run(250, 7, tmp_path)
    assert mutated_files.faults(found) == []
    assert sum(counts.total() for counts in found.values()) >= 250
    assert sum(counts["refused"] for counts in found.values()) > 100
    assert sum(counts["read"] for counts in found.values()) > 10


def test_damage_is_the_same_for_the_same_seed():
    data = bytes(range(200))
    made = [mutate(data, np.random.default_rng(seed)) for seed in (0, 0, *range(1, 40))]
    assert made[0] == made[1]
    assert len(set(made)) > 35


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ValueError("x.bin is damaged"), "refused"),
        (FileNotFoundError("no x.bin"), "refused"),
        (ValueError("x.bin:\n  line 1: wrong"), "refused"),
        (ValueError("damaged"), "unclear"),
        (ValueError("x.bin is\ndamaged"), "unclear"),
        (KeyError("x.bin"), "raw KeyError"),
        (RecursionError("x.bin"), "raw RecursionError"),
        (None, "read"),
    ],
)
def test_the_fuzzer_tells_a_fault(error, what, tmp_path):
    def read(path):
        if error:
            raise error

    assert outcome(read, tmp_path / "x.bin").startswith(what)
