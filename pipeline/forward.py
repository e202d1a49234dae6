"""The Pilot's end of the wire: one thread that sends every stream's blocks to the Terminal.

It owns a DEALER of the data context, a lossless reader of each ring, and nothing else.  A source never waits for the
link: what cannot be sent in time goes into the spool, or without one is given up, counted, and told to the Terminal
in-band (`forward_stream`).
Streams share the link fairly: one block each in turn.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Self, TypeVar

from .channel import Credit, Open, Opened, Refused, from_frames, to_frames
from .errors import BlockError, ClosedError, UnknownStreamError
from .forward_backfill import RATE_BYTES_S, Backfiller
from .forward_effects import Spill
from .forward_feed import Feed, FeedOptions, Origin
from .forward_report import ForwardMeter, ForwardReport, report_of
from .notify import Notices
from .wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from shm import Counters

    from .spool import Spool
    from .transport import Context, Socket

ROUNDS: Final = 8
"""Blocks of each stream between two looks at the sockets."""
REST_S: Final = 0.02
"""Longest sleep: a lost notification delays by no more."""
COUNT_S: Final = 0.1
"""Counters are brought up to date this often."""
CALL_S: Final = 10.0
"""A call from another thread is answered within this, or the thread is gone."""
SEND_BUFFER: Final = 256 * 1024
"""Kernel buffer of the data socket: small, for the queue is ours, not the kernel's."""

T = TypeVar("T")

log = logging.getLogger(__name__)

__all__ = ["ForwardReport", "Forwarder"]


class Forwarder:
    """Sends streams to a Terminal; every method may be called from any thread.

    Args:
        pilot_id: whose streams they are; also what the readers call themselves.
        rig: name of the rig; ring names begin with it.
        context: the data context, apart from the control plane's.
        endpoint: the Terminal's data endpoint, ``tcp://host:port``.
        counters: page to count in, or None.
        buffer_bytes: kernel buffer of the socket; None is the system's default.
        spool: keeps what lossless streams cannot send in time, until the recording has it; the forwarder closes it.
        backfill_bytes_s: bytes a second that the link may carry of what was spooled.

    Use as a context manager, or `close`.
    """

    def __init__(
        self,
        pilot_id: str,
        rig: str,
        context: Context,
        endpoint: str,
        counters: Counters | None = None,
        *,
        buffer_bytes: int | None = SEND_BUFFER,
        spool: Spool | None = None,
        backfill_bytes_s: float = RATE_BYTES_S,
    ) -> None:
        self._pilot_id = pilot_id
        self._rig = rig
        self._context = context
        self._endpoint = endpoint
        self._counters = counters
        self._buffer_bytes = buffer_bytes
        self._spool = spool
        self._backfiller = Backfiller(spool, backfill_bytes_s) if spool is not None else None
        self._feeds: dict[str, Feed] = {}
        self._meters: dict[str, ForwardMeter] = {}
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wakeup = Wakeup()
        self._is_closing = False
        self._is_up = False
        self._count_at = 0.0
        self._turn = 0
        self._socket: Socket | None = None
        self._monitor: Socket | None = None
        self._thread = threading.Thread(target=self._run, name=f"forward {pilot_id}", daemon=True)
        self._thread.start()

    def add(
        self,
        stream: str,
        *,
        ring: str | None = None,
        codec: str = "auto",
        seconds: float = 3.0,
        slots: int | None = None,
        lossless: bool = True,
        max_bytes_s: float | None = None,
    ) -> None:
        """Make a stream known; nothing is forwarded before `start`, and its ring need not exist yet.

        Args:
            stream: name of the stream, the sensor's address.
            ring: full name of its ring; ``<rig>/<stream>`` if None.
            codec: ``auto`` (blosc while it pays), ``blosc``, ``raw``; see `encoder_of`.
            seconds: how much of it the Terminal's ring keeps ...
            slots: ... or how many blocks.
            lossless: False drops what does not fit through the link at once.
            max_bytes_s: what it may use of the link, payload bytes a second; None: as many as the link carries.

        Raises:
            UnknownCodecError: no such codec.
        """
        options = FeedOptions(ring or f"{self._rig}/{stream}", codec, seconds, slots, lossless, max_bytes_s)
        feed = Feed(stream, self._pilot_id, options, self._spool)
        meter = ForwardMeter(self._counters, feed) if self._counters is not None else None  # its page is the caller's
        self._call(lambda: self._add(feed, meter))

    def watch(self, stream: str) -> None:
        """Forward nothing of a stream, but follow its ring: the next run may begin with what it retains."""
        self._call(lambda: self._feed(stream).watch())

    def start(self, stream: str, origin: Origin = "now", *, run: str = "") -> int | None:
        """Begin a run of a stream.

        Args:
            stream: which.
            origin: first sequence (the ring may retain it from before: pre-trigger); `Since` a time, with what the
                ring retains of that; ``now``; or ``resume``, after a restart of the Pilot, to go on with the run that
                the Terminal's ring holds.
            run: names the recording; what is spooled belongs to it.

        Returns:
            The first sequence; None if the ring does not exist yet (it will begin at its first item) or the Terminal
            will say.
        """
        return self._call(lambda: self._feed(stream).start(origin, time.monotonic(), run))

    def stop(self, stream: str, end: int | None = None) -> None:
        """End a run at sequence `end`, or at what is published now; `finished` says when the Terminal has it all."""
        self._call(lambda: self._feed(stream).stop(end))

    def finished(self, stream: str) -> bool:
        """Tell whether the Terminal has everything of the run, and its END."""
        return self._feed(stream).is_finished

    def state(self) -> dict[str, ForwardReport]:
        """Return where every stream stands."""
        return self._call(lambda: {name: report_of(feed) for name, feed in self._feeds.items()})

    def durable(
        self, run: str, ranges: Mapping[str, Mapping[int, list[tuple[int, int]]]], full: Collection[str] = ()
    ) -> None:
        """Take what a recording holds on its disk.

        Args:
            run: the recording.
            ranges: of sequences, by stream and birth.
            full: streams of which its disk takes no more now: the spool keeps them, and nothing is backfilled.
        """
        self._call(lambda: self._durable(run, ranges, full))

    def kept(self) -> dict[str, dict[int, list[tuple[int, int]]]]:
        """Return what the spool holds of the runs that go on: ranges of sequences, by stream and birth."""
        return self._call(lambda: {name: feed.kept() for name, feed in self._feeds.items()})

    @property
    def is_linked(self) -> bool:
        """Whether the Terminal is connected."""
        return self._is_up

    def close(self) -> None:
        """Stop the thread and leave every ring; what was not acknowledged stays in the rings."""
        if not self._is_closing:
            self._is_closing = True
            self._wakeup.set()
            self._thread.join()
            self._wakeup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        link = "up" if self._is_up else "down"
        return f"<Forwarder {self._pilot_id} -> {self._endpoint} {link} {len(self._feeds)} streams>"

    def do_work(self) -> int:
        """Do what can be done without waiting; return 0 if nothing is left that could be done now."""
        now = time.monotonic()
        self._do_calls()
        self._watch_link(now)
        self._receive(now)
        feeds = list(self._feeds.values())
        if feeds:
            self._turn = (self._turn + 1) % len(feeds)  # nobody is always first
        feeds = feeds[self._turn :] + feeds[: self._turn]
        left = 0
        for _ in range(ROUNDS):
            left = sum(self._advance(feed, now) for feed in feeds)
            if not left:
                break
        for feed in feeds:
            feed.release()
        left += self._backfill(now)
        if now >= self._count_at:
            self._count_at = now + COUNT_S
            self._count()
        return left

    def _run(self) -> None:
        self._notices = Notices(self._context)
        self._notices.watch(self._wakeup.fileno())
        try:
            self._connect()
            while not self._is_closing:
                if not self.do_work():
                    self._rest()
            self._count()
        except Exception:
            log.exception("forwarder %s died", self._pilot_id)
            raise
        finally:
            for feed in self._feeds.values():
                feed.rescue()
                feed.close()
            if self._backfiller is not None:
                self._backfiller.close()
            self._disconnect()
            self._notices.close()

    def _rest(self) -> None:
        """Sleep until there may be a block to cut, or news from the Terminal."""
        self._notices.rest(REST_S, {stream: feed.idle_s for stream, feed in self._feeds.items()})
        self._wakeup.clear()

    def _advance(self, feed: Feed, now: float) -> int:
        """Do one thing for one stream; return 1 if there was one."""
        ring = feed.look(now)
        self._notices.follow(feed.stream, feed.reader)
        machine, socket = feed.machine, self._socket
        if ring is None or machine is None or socket is None:
            return 0
        effect = machine.step(ring, now)
        if effect is None:
            return 0
        if isinstance(effect, Spill):
            return feed.spill(effect)
        if isinstance(effect, Open):
            socket.send(to_frames(effect))
            return 1
        block = feed.block(effect)
        if block is None or not socket.send(to_frames(block)):
            return 0
        feed.sent(effect, block)
        return 1

    def _backfill(self, now: float) -> int:
        """Send of the spool what the live streams leave room for."""
        if self._backfiller is None or self._socket is None:
            return 0
        may_send = not any(feed.wants_link for feed in self._feeds.values())
        return self._backfiller.step(self._socket, now, may_send=may_send)

    def _durable(
        self, run: str, ranges: Mapping[str, Mapping[int, list[tuple[int, int]]]], full: Collection[str]
    ) -> None:
        now = time.monotonic()
        for stream, births in ranges.items():
            is_full = stream in full
            if stream in self._feeds:
                self._feeds[stream].durable(run, births, is_full=is_full)
            if self._backfiller is not None:
                self._backfiller.durable(run, stream, births)
                self._backfiller.hold(run, stream, now, is_full=is_full)

    def _receive(self, now: float) -> None:
        while self._socket is not None and (frames := self._socket.receive()) is not None:
            try:
                message = from_frames(frames)
            except BlockError as error:
                log.warning("forwarder %s: from the Terminal: %s", self._pilot_id, error)
                continue
            if self._backfiller is not None:
                self._backfiller.receive(message, now)
            feed = self._feeds.get(getattr(message, "stream", ""))
            machine = feed.machine if feed is not None else None
            if machine is None:
                continue
            if isinstance(message, Opened):
                machine.opened(message)
            elif isinstance(message, Credit):
                machine.credited(message)
            elif isinstance(message, Refused):
                if message.reason != machine.refusal:
                    log.warning("%s: the Terminal refuses the stream: %s", machine.spec.stream, message.reason)
                machine.refused(message, now)

    def _watch_link(self, now: float) -> None:
        for event in self._socket.link_events() if self._socket is not None else []:
            if event == "up":
                self._set_link(True, now)
            elif event == "down" and self._is_up:
                # A new socket with a new identity: nothing of the old connection, queued or half-known to the
                # Terminal, can be mistaken for this one's.
                self._set_link(False, now)
                self._disconnect()
                self._connect()
                break
            elif event == "refused":
                log.warning("forwarder %s: %s refuses our keys", self._pilot_id, self._endpoint)

    def _set_link(self, is_up: bool, now: float) -> None:
        if is_up != self._is_up:
            log.info("forwarder %s: link to %s is %s", self._pilot_id, self._endpoint, "up" if is_up else "down")
        self._is_up = is_up
        for feed in self._feeds.values():
            feed.link(is_up, now)
        if self._backfiller is not None:
            self._backfiller.link(is_up)

    def _connect(self) -> None:
        identity = f"{self._pilot_id}/{secrets.token_hex(4)}".encode()
        self._socket = self._context.dealer(self._endpoint, identity, buffer_bytes=self._buffer_bytes)
        self._monitor = self._socket.watch_link()
        self._notices.watch(self._socket)
        self._notices.watch(self._monitor)

    def _disconnect(self) -> None:
        if self._socket is not None and self._monitor is not None:
            self._notices.unwatch(self._socket)
            self._notices.unwatch(self._monitor)
            self._socket.close()
            self._socket = self._monitor = None

    def _add(self, feed: Feed, meter: ForwardMeter | None) -> None:
        old = self._feeds.get(feed.stream)
        if old is not None:
            old.close()
        feed.link(self._is_up, time.monotonic())
        self._feeds[feed.stream] = feed
        if meter is not None:
            self._meters[feed.stream] = meter

    def _feed(self, stream: str) -> Feed:
        try:
            return self._feeds[stream]
        except KeyError:
            known = ", ".join(self._feeds) or "none"
            raise UnknownStreamError(f"stream {stream!r} was never added to {self!r}; known: {known}") from None

    def _count(self) -> None:
        for meter in self._meters.values():
            meter.update()

    def _do_calls(self) -> None:
        while not self._calls.empty():
            self._calls.get()()

    def _call(self, function: Callable[[], T]) -> T:
        """Run a function on the thread that owns the rings and return its result."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except Exception as error:
                result.set_exception(error)

        if self._is_closing or not self._thread.is_alive():
            raise ClosedError(f"{self!r} is closed")
        self._calls.put(run)
        self._wakeup.set()
        return result.result(CALL_S)
