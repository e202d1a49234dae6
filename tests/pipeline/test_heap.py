"""Memory that was given back is kept for what follows."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ROUNDS = 200
CHURN = f"""
import resource, sys, threading
from pipeline.heap import keep_freed_memory
is_kept = sys.argv[1] == "kept" and keep_freed_memory()
def churn():
    for _ in range({ROUNDS}):
        pieces = [b"x" * 900_000 for _ in range(8)]
        del pieces
thread = threading.Thread(target=churn)
thread.start()
thread.join()
print(is_kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def churn(how: str) -> tuple[str, int]:
    """Return whether a process kept what it freed, and how many pages it fetched for blocks that it took and freed."""
    command = [sys.executable, "-c", CHURN, how]
    is_kept, faults = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    return is_kept, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator has its own ways")
def test_pages_are_fetched_once_and_not_for_every_block() -> None:
    """Otherwise a block of 0.9 MB costs 220 pages, each time."""
    is_kept, faults = churn("kept")
    assert (is_kept, faults < 100 * ROUNDS) == ("True", True), faults
    assert churn("as ever")[1] > 1000 * ROUNDS
