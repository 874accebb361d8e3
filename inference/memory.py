"""Keeping a prediction small: where large arrays come and go in several threads, the C library holds on to far more than is in use."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h."""
KEPT_BYTES = 64 * 2**20
LARGE_BYTES = 16 * 2**20


def give_memory_back() -> None:
    """From now on this process has one heap for all threads, and gives back what is free at its end; nothing where the C library is not glibc."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_ARENA_MAX, 1)
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
