"""What this process's allocator does with memory that was given back.

glibc returns large pieces to the kernel at once, and fetches them anew, page by page, for the next block: a quarter of
what a Pilot and a Terminal spend on an image of 0.9 MB.  A process of a rig keeps them instead.
"""

from __future__ import annotations

import ctypes
from typing import Final

KEPT_BYTES: Final = 64 * 1024 * 1024
"""Most that is kept of each of the allocator's arenas; one serves a thread or a few."""
LARGEST_BYTES: Final = 32 * 1024 * 1024
"""Larger pieces come from the kernel and go back to it; glibc allows no more."""
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_freed_memory() -> bool:
    """Keep freed memory for the blocks that follow; False where the allocator is not glibc's.

    For a process's `main`, before it starts threads.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(_M_MMAP_THRESHOLD, LARGEST_BYTES))
