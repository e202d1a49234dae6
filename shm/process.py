"""Who we are to other processes: boot, process start, pid namespace. For display; locks decide who lives."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """Return the kernel's random id of this boot, 36 characters."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int:
    """Return when a process started, clock ticks since boot; 0 if there is none (or it is hidden from us)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # The command name, in parentheses, may contain anything; field 22 is the 20th after it.
    return int(stat.rpartition(")")[2].split()[19])


def pid_namespace() -> int:
    """Return the inode of our pid namespace: pids of another one mean nothing here; 0 if unknown."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def own_identity() -> tuple[int, int, int]:
    """Return (pid, start in clock ticks, pid namespace) of this process."""
    pid = os.getpid()
    return pid, start_ticks(pid), pid_namespace()
