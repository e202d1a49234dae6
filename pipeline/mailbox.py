"""Commands that other threads leave for the thread that owns a hub's sockets."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Command = tuple[Callable[..., None], tuple[Any, ...]]


class Mailbox:
    """Calls to be made by one thread, in order.

    Attributes:
        descriptor: readable while there is news; to be polled.
    """

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._commands: deque[Command] = deque()
        self._is_awake = False
        self._is_over = False

    def __len__(self) -> int:
        return len(self._commands)

    def post(self, run: Callable[..., None], *args: Any) -> bool:
        """Have `run(*args)` called by the owner; False if it has ended."""
        with self._lock:
            if self._is_over:
                return False
            self._commands.append((run, args))
            if not self._is_awake:
                self._is_awake = True
                os.eventfd_write(self.descriptor, 1)
        return True

    def hear(self) -> None:
        """Note that the owner has heard of the news: what is posted from now on wakes it again."""
        with self._lock:
            os.eventfd_read(self.descriptor)
            self._is_awake = False

    def run(self) -> None:
        """Make the calls that are there now."""
        for _ in range(len(self._commands)):
            run, args = self._commands.popleft()
            run(*args)

    def close(self) -> list[Any]:
        """Take no more; return the arguments of the calls that were not made."""
        with self._lock:
            self._is_over = True
            os.close(self.descriptor)
            return [argument for _, args in self._commands for argument in args]
