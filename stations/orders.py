"""Orders to a thread that is busy: carried out when it looks, answered to whoever placed them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from .errors import StationError


class Order:
    """One order, for who waits for it."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run = run
        self._future: Future[Any] = Future()

    def carry_out(self) -> None:
        """Do it; what it raises goes to who waits."""
        if not self._future.set_running_or_notify_cancel():
            return  # nobody waits for it any more
        try:
            self._future.set_result(self._run())
        except Exception as error:
            self._future.set_exception(error)

    def wait(self, timeout_s: float) -> Any:
        """Return what it returned, or raise what it raised.

        Raises:
            StationError: the thread has not looked within `timeout_s`; it will not be done any more.
        """
        try:
            return self._future.result(timeout_s)
        except FutureTimeoutError as error:
            self._future.cancel()
            raise StationError(f"nobody carried it out within {timeout_s:g} s; it will not be done") from error


class Orders:
    """Orders that wait; any thread places them, one carries them out."""

    def __init__(self) -> None:
        self._waiting: deque[Order] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def place(self, run: Callable[[], Any]) -> Order:
        """Leave an order."""
        order = Order(run)
        self._waiting.append(order)
        return order

    def carry_out(self) -> None:
        """Do what waits."""
        while self._waiting:
            self._waiting.popleft().carry_out()

    def __repr__(self) -> str:
        return f"<Orders {len(self._waiting)} waiting>"
