"""The thread that owns a hub's sockets: waits for them, for commands of other threads and for what is due.

Nothing that arrives can end the thread: what cannot be read is counted, logged at a bounded rate and dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from .bundle import is_bundle, open_bundle
from .errors import MalformedError
from .exchange import Exchange
from .hub_counts import HubCounts
from .links import MAX_DRAIN, Links
from .log import RateLimit
from .mailbox import Mailbox
from .neighbours import Neighbours
from .peers import Peer
from .receipt import Receipt
from .session import Session
from .transport import Socket

T = TypeVar("T")

_SOON_S: Final = 0.001
"""How soon to try again what zmq could not take."""
_SLEPT_S: Final = 0.00005
"""A poll that took longer has slept: traffic is light, so one message is read and the interpreter lock given up at once
for the listen; looking whether there is more would hold it for longer than a listen takes to start."""
_LINGER_S: Final = 0.2
"""Time for what zmq has taken to leave after closing."""

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())


class Switch:
    """One hub's I/O thread."""

    def __init__(
        self,
        name: str,
        *,
        mailbox: Mailbox,
        links: Links,
        neighbours: Neighbours,
        session: Session,
        exchange: Exchange,
        counts: HubCounts,
    ) -> None:
        """Take over sockets and session; `start` begins.

        Args:
            name: our address.
            mailbox: what other threads want.
            links: our sockets.
            neighbours: who is at their other ends.
            session: tells when something is due.
            exchange: what arrives goes there.
            counts: what we count.
        """
        self._name = name
        self._mailbox = mailbox
        self._links = links
        self._neighbours = neighbours
        self._session = session
        self._exchange = exchange
        self._counts = counts
        self._must_stop = False
        links.register(mailbox.descriptor)
        self._thread: threading.Thread | None = None

    # ---- other threads -----------------------------------------------------------------------------------------------

    def start(self, *, daemon: bool) -> None:
        """Begin to work."""
        self._thread = threading.Thread(target=self._run, name=f"{self._name}.io", daemon=daemon)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Messages left by other threads or for neighbours that have not gone yet."""
        return len(self._mailbox) + self._links.queued

    def is_current_thread(self) -> bool:
        """Tell whether the caller is the I/O thread."""
        return threading.current_thread() is self._thread

    def stop(self, timeout_s: float) -> None:
        """Say goodbye, close the sockets, end the thread."""
        self._mailbox.post(self._stop)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    # ---- the loop ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._must_stop:
                self._turn()
        except Exception:
            _log.critical("%s: the I/O thread ends by an error of ours", self._name, exc_info=True)
        finally:
            self._end()

    def _turn(self) -> None:
        """Wait for news and handle it."""
        wait, began = 0.0, time.monotonic()
        due = min(self._neighbours.next_beat, self._session.next_due)
        if not self._mailbox:
            wait = min(due - began, _SOON_S) if self._links.queued else due - began
        self._exchange.hand_over()
        ready = self._links.poll(max(0.0, wait))
        now = time.monotonic()
        most = MAX_DRAIN if now - began < _SLEPT_S else 1
        for source in ready:
            if source is self._links.router or source is self._links.dealer:
                self._drain(source, most)
            elif source == self._mailbox.descriptor:
                self._mailbox.hear()
            elif isinstance(source, int):
                self._neighbours.on_link(source, now)
        self._mailbox.run()
        if now >= due:
            self._tick(now)
        if self._links.queued:
            self._exchange.flush()

    def _tick(self, now: float) -> None:
        if now >= self._session.next_due:
            self._exchange.on_tick(now)
        if now >= self._neighbours.next_beat:
            self._neighbours.on_tick(now)

    def _drain(self, socket: Socket, most: int) -> None:
        start = int(socket is self._links.router)
        for _ in range(most):
            frames = socket.receive_copy()
            if frames is None:
                return
            now = time.monotonic()
            peer, envelopes = self._guard(self._unpack, frames, start, now) or (None, ())
            if peer is not None:
                for envelope in envelopes:
                    self._guard(self._exchange.take, peer, envelope, now)

    def _unpack(self, frames: list[bytes], start: int, now: float) -> tuple[Peer | None, list[list[bytes]]]:
        """Return who sent a message of zmq's, and the envelopes in it."""
        peer = self._neighbours.who(frames[0], now) if start else self._neighbours.upstream
        return peer, open_bundle(frames, start) if is_bundle(frames[start]) else [frames[start:]]

    def _guard(self, take: Callable[..., T], *args: Any) -> T | None:
        """Handle what a stranger may have made: at worst it is counted and dropped, alone."""
        try:
            return take(*args)
        except MalformedError as error:
            self._counts.malformed += 1
            _log.warning("%s: dropped a message: %s", self._name, error)
        except Exception:  # hostile bytes must never end the thread
            self._counts.malformed += 1
            _log.exception("%s: dropped a message that raised", self._name)
        return None

    def _stop(self) -> None:
        self._must_stop = True
        self._exchange.flush()
        self._neighbours.say_goodbye()

    def _end(self) -> None:
        left = self._mailbox.close()
        self._exchange.end([receipt for receipt in left if isinstance(receipt, Receipt)])
        self._links.close(0.0 if self._neighbours.is_alone else _LINGER_S)
