"""Wakes a thread that polls, from any other thread."""

from __future__ import annotations

import os


class Wakeup:
    """An event with a file descriptor, for `Poller.register`."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor that is readable while the event is set."""
        return self._fd

    def set(self) -> None:
        """Wake the thread, or keep it from falling asleep."""
        os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Forget every `set` so far."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)
