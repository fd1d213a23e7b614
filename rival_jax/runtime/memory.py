"""Memory that a process had once stays with it, so that programs do not fetch it anew each time."""

from __future__ import annotations

import ctypes
import sys

# Of mallopt(3), with glibc's numbers for the options.
_OPTIONS = {
    -4: 0,  # M_MMAP_MAX: no mappings of their own for large arrays, which end with the array
    -1: -1,  # M_TRIM_THRESHOLD: none, what is free at the heap's end stays too
    -8: 1,  # M_ARENA_MAX: one heap, as those of other threads cannot hold large arrays
}


def keep() -> bool:
    """Has the C library hand no freed memory back to the system; whether it can (glibc alone).

    On a CPU, XLA takes one large buffer for every run of a program. By default each is mapped anew
    and cleared page by page: of a ViT-Tiny about a third of the time of maps and of updates. The
    price is that the process never shrinks, and that what it keeps has holes: where programs with
    large buffers take turns it can grow to nearly twice the size. To be called before arrays are
    made.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return sys.platform == "linux" and all(mallopt(*option) for option in _OPTIONS.items())
