"""Keep the memory that a training step gives back: the next one needs it again.

glibc hands large pieces back to the system at once, and gets them again page by page,
each filled with zeros. A training step does that thousands of times.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST = 2**31 - 1


def keep_pages() -> bool:
    """Tell malloc to keep what is freed; whether it listens (glibc on Linux does).

    Source: the manual page mallopt(3).
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # No piece gets a mapping of its own, and the end of the heap is never given back.
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, LARGEST))
