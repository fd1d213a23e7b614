"""Freed memory stays with the process, so that programs need not request it again."""

from __future__ import annotations

import ctypes
import sys

# Options of mallopt(3), by glibc's numbers.
_OPTIONS = {
    -4: 0,  # M_MMAP_MAX: no separate mappings for large arrays, which would end with them
    -1: -1,  # M_TRIM_THRESHOLD: off, free memory at the heap's end stays too
    -8: 1,  # M_ARENA_MAX: one heap, since other threads' heaps cannot hold large arrays
}


def keep() -> bool:
    """Stops the C library from returning freed memory to the system; False unless glibc.

    On a CPU, XLA takes one large buffer for every run of a program. By default each is mapped anew
    and cleared page by page: for a ViT-Tiny, about a third of the time of maps and updates. The
    price is that the process never shrinks and its memory has holes: if programs with large buffers
    alternate, it can grow to nearly twice the size. Call it before arrays are made.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return sys.platform == "linux" and all(mallopt(*option) for option in _OPTIONS.items())
