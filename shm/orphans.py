"""Rings and pages of counters whose name is gone while their writer lives.

systemd's `RemoveIPC=yes` (its default) unlinks what a normal user owns in /dev/shm when the last session ends; so does
an `rm` by hand. The writer and those who were attached go on, and nobody else finds the memory. A listing by name does
not show it, so the open files of processes are looked through.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import locks
from .layout import COUNTERS_HEADER, HEADER, offset_of
from .segment import COUNTERS, PREFIX, RING, SHM_DIR

_PROC: Final = Path("/proc")
_DELETED: Final = re.compile(rf"{SHM_DIR}/({PREFIX}[{RING}{COUNTERS}][0-9a-f]{{16}}) \(deleted\)")
_NAME_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Orphan:
    """A segment without a name whose writer lives.

    Attributes:
        kind: "ring" or "counters".
        full_name: as given by its creator.
        segment_name: the name that it had in /dev/shm, with the slash.
        bytes: its size.
        pids: processes that have it open.
        successor: another segment has the name by now.
    """

    kind: str
    full_name: str
    segment_name: str
    bytes: int
    pids: tuple[int, ...]
    successor: bool

    def __str__(self) -> str:
        what = "leads elsewhere" if self.successor else "is gone (RemoveIPC, or removed by hand)"
        pids = ", ".join(map(str, self.pids))
        return f"its name {what} while its writer lives (open in pid {pids}); restart the writer"


def list_orphans(prefix: str = "") -> list[Orphan]:
    """Return the segments without a name whose full name starts with `prefix`, as far as we may look into processes.

    Nothing is left of such a segment when the last of its processes has ended, so there is nothing to remove.
    """
    found: dict[tuple[int, int], tuple[str, str, set[int]]] = {}
    for pid, path, name in _deleted_files():
        try:
            status = path.stat()
        except OSError:
            continue
        found.setdefault((status.st_dev, status.st_ino), (str(path), name, set()))[2].add(pid)
    orphans = (_described(path, name, pids) for path, name, pids in found.values())
    return sorted((o for o in orphans if o and o.full_name.startswith(prefix)), key=lambda o: o.full_name)


def _deleted_files() -> Iterator[tuple[int, Path, str]]:
    """Yield (pid, path to open it by, segment name) of deleted segments that processes have open."""
    for process in _PROC.iterdir():
        if not process.name.isdecimal():
            continue
        try:
            files = list((process / "fd").iterdir())
        except OSError:  # gone, or another user's
            continue
        for file in files:
            try:
                target = _DELETED.fullmatch(str(file.readlink()))
            except OSError:
                continue
            if target:
                yield int(process.name), file, target[1]


def _described(path: str, name: str, pids: set[int]) -> Orphan | None:
    """Return what the segment's header says; None if no writer lives (it ended, or was superseded, as it should)."""
    is_ring = name.startswith(PREFIX + RING)
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        if not locks.is_writer_alive(fd):
            return None
        offset = offset_of(HEADER if is_ring else COUNTERS_HEADER, "full_name")
        full_name = os.pread(fd, _NAME_BYTES, offset).rstrip(b"\0").decode(errors="replace")
        size = os.fstat(fd).st_size
    finally:
        os.close(fd)
    successor = (SHM_DIR / name).exists()
    return Orphan("ring" if is_ring else "counters", full_name, f"/{name}", size, tuple(sorted(pids)), successor)
