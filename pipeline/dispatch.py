"""How messages of any thread get to the thread that sends them, not more of them than it can take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from .effects import Buffer
from .errors import OutboxFullError
from .exchange import Exchange, Order
from .mailbox import Mailbox
from .message import DEFAULT_TTL
from .outbox import Patience
from .receipt import Receipt
from .switch import Switch

MAX_UNSETTLED: Final = 65536
"""Confirmed messages without an end that a hub keeps; `send` refuses more."""
MAX_BACKLOG: Final = 4096
"""Messages that have not left this process yet beyond which `send` waits a little."""
_HOLD_S: Final = 1.0
_HOLD_STEP_S: Final = 0.001


class Outline(NamedTuple):
    """What of a message decides how it is sent."""

    to: str
    key: str
    is_posted: bool
    ttl: int = DEFAULT_TTL


class Dispatch:
    """Sends what the callers of one hub want sent.

    Args:
        name: the hub's address.
        mailbox: of its I/O thread.
        exchange: what that thread sends by.
        switch: the thread.
        patience: how long messages are tried.
        is_connected: whether the upstream neighbour is there.
    """

    def __init__(
        self,
        name: str,
        *,
        mailbox: Mailbox,
        exchange: Exchange,
        switch: Switch,
        patience: Patience,
        is_connected: Callable[[], bool],
    ) -> None:
        self._name = name
        self._mailbox = mailbox
        self._exchange = exchange
        self._switch = switch
        self._patience = patience
        self._is_connected = is_connected

    def send(
        self, path: tuple[bytes, ...], message: Outline, body: Sequence[Buffer], deadline_s: float | None
    ) -> Receipt:
        """Send a message; returns at once, unless thousands wait to leave.

        Raises:
            OutboxFullError: too many messages have no end yet.
        """
        receipt = Receipt(message.to, message.key)
        mailbox, exchange = self._mailbox, self._exchange
        if self._switch.backlog >= MAX_BACKLOG:
            self._wait_for_room()
        if message.is_posted:
            is_taken = mailbox.post(exchange.submit_post, path, body, receipt)
        else:
            unsettled = len(exchange.unsettled)
            if unsettled >= MAX_UNSETTLED:
                raise OutboxFullError(f"{self._name}: {unsettled} messages have no answer yet; send more slowly")
            patience_s = deadline_s if deadline_s is not None else message.ttl * self._patience.repeat_interval_s
            is_taken = mailbox.post(exchange.submit, Order(path, message.key, body, message.ttl, patience_s), receipt)
        if not is_taken:
            receipt.settle("expired", reason=f"{self._name} was released before it was sent")
        return receipt

    def _wait_for_room(self) -> None:
        """Hold back a thread that sends faster than zmq takes; never one that others wait for."""
        if self._switch.is_current_thread() or runs_event_loop():
            return
        deadline = time.monotonic() + _HOLD_S
        while self._switch.backlog >= MAX_BACKLOG and self._is_connected() and time.monotonic() < deadline:
            time.sleep(_HOLD_STEP_S)


def runs_event_loop() -> bool:
    """Tell whether the calling thread runs an asyncio event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
