"""Memory kept by the process: large arrays made again cost no page faults."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from rival_jax.runtime import memory

assert "keep" not in sys.argv or memory.keep()
threads = ThreadPoolExecutor(1)  # as XLA's, which has a heap of its own by default
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    threads.submit(lambda: np.full(2**26, 1, np.uint8).sum()).result()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> list[int]:
    """Of making the same array of 64 MiB three times."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return [int(line) for line in found.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone can keep memory")
def test_a_large_array_is_fetched_from_the_system_once():
    first, *again = faults("keep")
    assert first > 16  # large pages of 2 MiB, or many small ones
    assert max(again) < first / 10
    assert min(faults()) > max(again)


def test_the_command_keeps_memory():
    """In a process of its own: the flags that the command defines are known once in a process."""
    program = """
from rival_jax import main

main.memory.keep = lambda: print("keep")
main.app.run = lambda *_, **__: print("run")
main.cli()
"""
    assert subprocess.check_output([sys.executable, "-c", program]).split() == [b"keep", b"run"]
