"""A station runs once on a machine: two of one name would write the same rings and answer to the same address.

The lock is an advisory one on a file in this user's runtime directory; the kernel lets go of it when the process ends,
however it ends.  The file stays and holds the pid of the last owner, for the message.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from pipeline.notify import runtime_dir

from .errors import RigRunsError


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
        try:
            for station in stations:
                self._fds.append(_lock(rig, station))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go."""
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


def _lock(rig: str, station: str) -> int:
    path = runtime_dir() / f"{rig}.{station}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(fd, 20).decode(errors="replace").strip() or "?"
        os.close(fd)
        found = f"station {station} of rig {rig!r} runs on this machine already (pid {pid})"
        raise RigRunsError(f"{found}; stop it, or name the rig otherwise") from error
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd
