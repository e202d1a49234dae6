"""Brings written bytes to the disk on a thread of its own, so that a slow disk never delays the reading of a ring."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

Done = Callable[[str], None]
"""Called with an empty string, or with why the disk failed."""
_Job = tuple[Callable[[int], None], int, Done]


class DiskSync:
    """One thread that brings to the disk what it is asked for, in that order.

    `fdatasync` on a descriptor needs nothing of HDF5, so it runs beside the recorder's writes.
    """

    def __init__(self) -> None:
        self.synced = 0
        self.failed = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="disk-sync", daemon=True)
        self._thread.start()

    def submit(self, fd: int, done: Done) -> None:
        """Ask for a sync of `fd`; `done` is called on the sync thread once its bytes are on the disk, or cannot be.

        Args:
            fd: stays open until `done` was called.
            done: sets a value and returns.
        """
        self._jobs.put((os.fdatasync, fd, done))

    def submit_folder(self, folder: Path) -> None:
        """Ask for a sync of a folder's names: what is synced after it is found again after a power loss."""
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:  # one that may be passed through, but not read
            log.warning("%s: its names are brought to the disk when the system does: %s", folder, error.strerror)
            return
        # Of a folder only fsync is promised to bring the names (man 2 fsync).
        self._jobs.put((os.fsync, fd, lambda _error: os.close(fd)))

    def close(self) -> None:
        """Finish everything asked for, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def __repr__(self) -> str:
        return f"<DiskSync synced={self.synced} failed={self.failed} waiting={self._jobs.qsize()}>"

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            sync, fd, done = job
            error = _error_of(sync, fd)
            self.synced += not error
            self.failed += bool(error)
            done(error)


def _error_of(sync: Callable[[int], None], fd: int) -> str:
    try:
        sync(fd)
    except OSError as error:
        log.error("%s failed: %s", sync.__name__, error)  # noqa: TRY400 - the disk's fault, its message says all
        return str(error)
    return ""
