"""What a test may leave behind in the operating system, looked at before and after."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from shm import list_segments

SHM_DIR = Path("/dev/shm")  # noqa: S108 - where Linux keeps segments


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Names, processes, threads and sockets; empty is falsy."""

    segments: frozenset[str]
    children: frozenset[str]
    threads: frozenset[str]
    sockets: frozenset[str]

    def since(self, before: Leftovers) -> Leftovers:
        """Return what is new, without what others made meanwhile: processes of this machine, or of before."""
        segments = self.segments - before.segments
        children = self.children - before.children
        return Leftovers(
            frozenset(_made_by(segments, {os.getpid(), *map(_pid, children)})) if segments else segments,
            children,
            self.threads - before.threads,
            self.sockets - before.sockets,
        )

    def __bool__(self) -> bool:
        return bool(self.segments or self.children or self.threads or self.sockets)

    def __str__(self) -> str:
        found = {
            "in /dev/shm": self.segments,
            "children": self.children,
            "threads": self.threads,
            "sockets": self.sockets,
        }
        return "; ".join(f"{kind}: {', '.join(sorted(names))}" for kind, names in found.items() if names)


def snapshot() -> Leftovers:
    """Look at this process and /dev/shm."""
    return Leftovers(
        frozenset(path.name for path in SHM_DIR.iterdir()),
        frozenset(_children()),
        frozenset(f"{thread.name} ({thread.ident})" for thread in threading.enumerate() if not _is_a_tool_s(thread)),
        frozenset(_sockets()),
    )


def _children() -> Iterator[str]:
    for child in psutil.Process().children(recursive=True):
        try:
            yield f"{child.pid} {' '.join(child.cmdline())[:200]}"
        except psutil.NoSuchProcess:
            continue


def _sockets() -> Iterator[str]:
    for fd in Path("/proc/self/fd").iterdir():
        try:
            target = str(fd.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            yield target


def _pid(child: str) -> int:
    return int(child.split(maxsplit=1)[0])


def _made_by(names: frozenset[str], own: set[int]) -> Iterator[str]:
    """Keep the names that a process of `own` or one that died made; those of the living are theirs.

    A rig that a module's tests share goes on, and makes what it needs: the module's end is when that is looked at.
    """
    known = {info.segment_name[1:]: info for info in list_segments()}
    for name in names:
        info = known.get(name)
        if info is not None and info.writer_pid in own:
            yield f"{name} {info.full_name}"
        elif not _is_anybody_elses(info.writer_pid if info else 0) and (SHM_DIR / name).exists():
            yield f"{name} {info.full_name if info else ''}"


def _is_anybody_elses(writer_pid: int) -> bool:
    """Tell whether a name can be another's: its writer lives, or another run of tests is going on beside us."""
    if writer_pid and psutil.pid_exists(writer_pid):
        return True
    family = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    return any(
        p.pid not in family and any("pytest" in word for word in p.info["cmdline"] or ())
        for p in psutil.process_iter(["cmdline"])
    )


def _is_a_tool_s(thread: threading.Thread) -> bool:
    """Tell whether it is pytest-timeout's, or the one that pyzmq keeps once a frame was sent without a copy."""
    return thread.name.startswith("pytest_timeout") or type(thread).__name__ == "GarbageCollectorThread"
