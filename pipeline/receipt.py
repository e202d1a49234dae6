"""What `send` returns: the fate of a message, to look at, to wait for or to await."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, Final, Literal

from .errors import ExpiredError, OutcomeError, RemoteError, UnknownOutcomeError
from .listen_pool import blocking

State = Literal["pending", "sent", "received", "done", "failed", "expired", "unknown"]
FINAL: Final = frozenset(("sent", "done", "failed", "expired", "unknown"))


class Receipt:
    """The fate of one message.

    `state` goes from ``pending`` over ``received`` (accepted by the final recipient) to exactly one of ``done``,
    ``failed``, ``expired`` (it has not run and will not) and ``unknown`` (it may have run); an unconfirmed message
    ends as ``sent``.  Any thread may wait; in asyncio, ``await receipt`` is `result`.
    """

    __slots__ = ("_callbacks", "_gate", "_lock", "_value", "error", "key", "state", "to")

    def __init__(self, to: str, key: str) -> None:
        self.to = to
        self.key = key
        self.state: State = "pending"
        self.error: OutcomeError | None = None
        self._value: Any = None
        self._lock = threading.Lock()
        self._gate: threading.Lock | None = None
        """Held until the end; whoever waits passes it on.  An Event would cost a round trip a tenth more."""
        self._callbacks: list[Callable[[Receipt], None]] = []

    @property
    def is_final(self) -> bool:
        """Whether the fate is sealed."""
        return self.state in FINAL

    def wait(self, timeout_s: float | None = None) -> State:
        """Wait for the end and return the state then, or the state after `timeout_s`."""
        with self._lock:
            if self.state in FINAL:
                return self.state
            gate = self._gate
            if gate is None:
                gate = self._gate = threading.Lock()
                gate.acquire()
        with blocking():
            if gate.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
                gate.release()
        return self.state

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the end and return what the listen returned (None for an unconfirmed message).

        Raises:
            RemoteError: it failed; UnroutableError if nobody on the way knows the address.
            ExpiredError: it has not run and will not.
            UnknownOutcomeError: it may have run; also when `timeout_s` is over before the end is known.
        """
        state = self.wait(timeout_s)
        if state in ("done", "sent"):
            return self._value
        if self.error is not None:
            raise self.error
        raise UnknownOutcomeError(f"{self.key} to {self.to}: {state} after {timeout_s} s; it may have run or still run")

    def future(self) -> Future[Any]:
        """Return a future of `result`, for executors, callbacks and asyncio."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def pass_on(_: Receipt) -> None:
            if self.error is not None:
                future.set_exception(self.error)
            else:
                future.set_result(self._value)

        self.add_callback(pass_on)
        return future

    def add_callback(self, call: Callable[[Receipt], None]) -> None:
        """Call at the end, at once if it has come; on whatever thread brings it, so `call` must not wait."""
        with self._lock:
            if self.state not in FINAL:
                self._callbacks.append(call)
                return
        call(self)

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self.future()).__await__()

    def progress(self) -> None:
        """Note that the recipient has accepted it (for the hub)."""
        with self._lock:
            if self.state == "pending":
                self.state = "received"

    def settle(self, state: State, value: Any = None, reason: str = "", error: OutcomeError | None = None) -> None:
        """Seal the fate (for the hub); a second call changes nothing."""
        with self._lock:
            if self.state in FINAL:
                return
            self._value = value
            if state in _ERRORS:
                self.error = error or _ERRORS[state](f"{self.key} to {self.to}: {reason}")
            self.state = state
            gate, callbacks = self._gate, self._callbacks
            self._callbacks = []
        if gate is not None:
            gate.release()
        for call in callbacks:
            call(self)

    def __repr__(self) -> str:
        return f"<Receipt {self.key} to {self.to}: {self.state}>"


_ERRORS: Final[dict[str, type[OutcomeError]]] = {
    "failed": RemoteError,
    "expired": ExpiredError,
    "unknown": UnknownOutcomeError,
}
