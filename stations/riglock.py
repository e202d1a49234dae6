"""A station runs once on a machine: two of one name would write the same rings and answer to the same address.

The lock is an advisory one on a file in this user's runtime directory; the kernel lets go of it when the process ends,
however it ends.  The file stays and holds the pid of the last owner, for the message.

Beside it lies, once the rig's ports are known, an `Announcement`: where commands of this user find the station
(`stations.running`).  What a killed process left there is recognised by its lock, which nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import msgspec

from pipeline.notify import runtime_dir

from .errors import RigRunsError

LOOK_S: Final = 0.2
"""Whoever looks whether a station runs (`is_held`) has its lock for a moment; so long it may seem to be taken."""
_RETRY_S: Final = 0.01


class Announcement(msgspec.Struct, frozen=True):
    """Where to reach a station that runs on this machine."""

    rig: str
    station: str
    kind: Literal["terminal", "pilot"]
    endpoint: str
    """Of its control plane, ``tcp://127.0.0.1:23456``."""
    pid: int
    """Of the process that supervises it."""


class RigLock:
    """Holds the names of stations of a rig until closed.

    Args:
        rig: name of the rig.
        stations: ids of its stations that run in this process.

    Raises:
        RigRunsError: one of them runs in another process.
    """

    def __init__(self, rig: str, stations: Iterable[str]) -> None:
        self._fds: list[int] = []
        self._announced: list[Path] = []
        try:
            for station in stations:
                self._fds.append(_lock(rig, station))
        except BaseException:
            self.close()
            raise

    def announce(self, stations: Iterable[Announcement]) -> None:
        """Tell commands on this machine where these stations are, until closed."""
        for station in stations:
            path = announcement_path(station.rig, station.station)
            draft = path.with_suffix(f".{os.getpid()}")
            draft.write_bytes(msgspec.json.encode(station) + b"\n")
            draft.replace(path)  # whoever reads sees all of it or none
            self._announced.append(path)

    def close(self) -> None:
        """Let go."""
        while self._announced:
            self._announced.pop().unlink(missing_ok=True)
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def first_free(rig: str, stations: Iterable[str]) -> tuple[str, RigLock]:
    """Take the rig's name, or the first of ``name-2``, ``name-3``, … that is free; return it with its lock."""
    stations = list(stations)
    for number in range(1, 100):
        name = rig if number == 1 else f"{rig}-{number}"
        try:
            return name, RigLock(name, stations)
        except RigRunsError:
            continue
    raise RigRunsError(f"a hundred rigs {rig!r} run on this machine; stop some")


def announcement_path(rig: str, station: str) -> Path:
    """Return the file in which a station is announced."""
    return runtime_dir() / f"{rig}.{station}.station"


def is_held(rig: str, station: str) -> bool:
    """Tell whether a process runs that station on this machine."""
    try:
        fd = os.open(_lock_path(rig, station), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _take(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def known_stations(rig: str) -> list[str]:
    """Return the ids of the rig's stations that run or ran on this machine."""
    locks = (path.name for path in runtime_dir().glob("*.lock"))
    return sorted(name.split(".")[1] for name in locks if name.startswith(f"{rig}.") and name.count(".") == 2)


def _lock(rig: str, station: str) -> int:
    fd = os.open(_lock_path(rig, station), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOOK_S
    while not _take(fd, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            pid = os.pread(fd, 20, 0).decode(errors="replace").strip() or "?"
            os.close(fd)
            found = f"station {station} of rig {rig!r} runs on this machine already (pid {pid})"
            raise RigRunsError(f"{found}; stop it, or name the rig otherwise")
        time.sleep(_RETRY_S)
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def _take(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_path(rig: str, station: str) -> Path:
    return runtime_dir() / f"{rig}.{station}.lock"
