"""Brings written bytes to the disk on a thread of its own, so that a slow disk never delays the reading of a ring."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

Done = Callable[[str], None]
"""Called with an empty string, or with why the disk failed."""
_Job = tuple[int, Done]


class DiskSync:
    """One thread that calls fdatasync in the order asked for.

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
        self._jobs.put((fd, done))

    def close(self) -> None:
        """Finish everything asked for, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def __repr__(self) -> str:
        return f"<DiskSync synced={self.synced} failed={self.failed} waiting={self._jobs.qsize()}>"

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            fd, done = job
            error = _sync(fd)
            self.synced += not error
            self.failed += bool(error)
            done(error)


def _sync(fd: int) -> str:
    try:
        os.fdatasync(fd)
    except OSError as error:
        log.error("fdatasync failed: %s", error)  # noqa: TRY400 - the disk's fault, its message says all
        return str(error)
    return ""
