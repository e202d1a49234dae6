"""The Terminal's end of the wire: one thread that puts every Pilot's blocks, as they came, into rings.

It owns a ROUTER of the data context and the writer of each stream's blob ring.  It checks and stores, and decodes
nothing.  Everything that a peer can get wrong costs a counter and a line in the log.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from shm import ShmError

from .backfill_name import is_backfill
from .block import Block
from .channel import Open, Opened, Refused, Word, from_frames, to_frames
from .errors import BlockError, PipelineError, StreamError, TransportError
from .ingest_counts import IngestCounts
from .ingest_ring import IngestRing
from .ingest_stream import IngestStream, Verdict
from .transport import Context, Poller, port_of
from .wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from shm import Counters

REST_S: Final = 0.02
"""Longest sleep."""
ACK_S: Final = 0.02
"""An acknowledgement waits no longer than this for a credit to travel with."""
LEAST_ROOM: Final = 2**40
"""Room enough that only the window limits: whether a credit could be worth a message at all."""
BATCH: Final = 64
"""Messages taken in between two rounds of credit."""
RECEIVE_BUFFER: Final = 1024 * 1024
HELD_S: Final = 1.0
"""A stream belongs to the connection that was heard within this; another one that opens it is asked to come again."""
RETIRE_S: Final = 10.0
"""The ring of a backfill goes so long after its END: by then its recorder has told what is durable of it."""
MAX_STREAMS: Final = 1024
"""Each has a ring of its own; more are an error, or an attack."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Where one stream stands at the Terminal."""

    ring: str
    birth: int
    origin: int | None
    next: int
    ended: bool
    peer: str


class _Stream:
    """One stream: its machine, its ring, who sends it."""

    def __init__(self, name: str, machine: IngestStream, ring: IngestRing, peer: bytes) -> None:
        self.name = name
        self.machine = machine
        self.ring = ring
        self.peer = peer
        self.acked = (-1, False)
        self.look_at = 0.0
        self.heard = 0.0


class Ingest:
    """Receives streams.

    Args:
        terminal_id: part of the rings' names, ``<rig>/<terminal_id>/<stream>``.
        rig: name of the rig.
        context: the data context, apart from the control plane's.
        endpoint: where to listen, ``tcp://127.0.0.1:0`` for any free port.
        counters: page to count in, or None.
        lossless: names of the readers of its rings that may be lossless; None: anybody.

    Raises:
        EndpointInUseError: the port is taken.

    Use as a context manager, or `close`.
    """

    def __init__(
        self,
        terminal_id: str,
        rig: str,
        context: Context,
        endpoint: str,
        counters: Counters | None = None,
        *,
        lossless: Iterable[str] | None = None,
    ) -> None:
        self._prefix = f"{rig}/{terminal_id}"
        self._context = context
        self._socket = context.router(endpoint, buffer_bytes=RECEIVE_BUFFER)
        self.endpoint = self._socket.endpoint
        self._counts = IngestCounts(counters)
        self._lossless = None if lossless is None else tuple(lossless)
        self._streams: dict[str, _Stream] = {}
        self._wakeup = Wakeup()
        self._poller = Poller()
        self._poller.register(self._socket)
        self._poller.register(self._wakeup.fileno())
        self._is_closing = False
        self._unlink = True
        self._complained_at = 0.0
        self._retire_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"ingest {terminal_id}", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return port_of(self.endpoint)

    def state(self) -> dict[str, IngestReport]:
        """Return where every stream stands, as of a moment ago; from any thread."""
        return {
            name: IngestReport(
                s.ring.name,
                s.machine.spec.birth,
                s.machine.origin,
                s.machine.next,
                s.machine.is_ended,
                s.peer.decode(errors="replace"),
            )
            for name, s in list(self._streams.items())
        }

    def close(self, *, unlink: bool = True) -> None:
        """Stop the thread and end the rings.

        Args:
            unlink: remove the rings' names too; otherwise the next ingest takes them over.
        """
        if not self._is_closing:
            self._unlink = unlink
            self._is_closing = True
            self._wakeup.set()
            self._thread.join()
            self._wakeup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Ingest {self.endpoint} {len(self._streams)} streams>"

    def do_work(self) -> int:
        """Do what can be done without waiting; return 0 if nothing is left that could be done now."""
        now = time.monotonic()
        count = 0
        while count < BATCH and (frames := self._socket.receive()) is not None:
            count += 1
            self._take(bytes(frames[0]), frames[1:], now)
        for stream in self._streams.values():
            self._tend(stream, now)
        if now >= self._retire_at:
            self._retire_at = now + RETIRE_S / 10
            self._retire(now)
        return count // BATCH

    def _run(self) -> None:
        try:
            while not self._is_closing:
                if not self.do_work():
                    self._poller.poll(REST_S)
        except Exception:
            log.exception("ingest %s died", self.endpoint)
            raise
        finally:
            self._socket.close()
            for stream in self._streams.values():
                stream.ring.close(unlink=self._unlink)

    def _take(self, peer: bytes, frames: list[memoryview], now: float) -> None:
        try:
            message = from_frames(frames)
        except BlockError as error:
            self._refuse("", "damaged", f"from {peer!r}: {error}", now)
            return
        if isinstance(message, Open):
            self._open(peer, message, now)
        elif isinstance(message, Block):
            self._take_block(peer, message, now)
        else:
            self._refuse("", "unknown", f"from {peer!r}: {type(message).__name__} is ours to say", now)

    def _open(self, peer: bytes, message: Open, now: float) -> None:
        spec = message.spec
        try:
            spec.check()
            self._check_owner(spec.stream, peer, now)
            stream = self._stream(message, peer)
        except (ShmError, PipelineError, OSError) as error:
            log.warning("stream %s is refused: %s", spec.stream[:200], error)
            self._say(peer, Refused(message.opening, spec.stream, str(error)))
            return
        log.info("stream %s birth %016x opened by %s", spec.stream, spec.birth, peer.decode(errors="replace"))
        stream.heard = now
        self._say_opened(stream, stream.machine.open(message, stream.ring.room))

    def _check_owner(self, name: str, peer: bytes, now: float) -> None:
        """Refuse a stream that another living connection sends: a second Pilot of that name, or a forgery.

        A Pilot that lost its link is not kept waiting: its old connection is gone, or has been silent.
        """
        stream = self._streams.get(name)
        if stream is None:
            if len(self._streams) >= MAX_STREAMS:
                raise StreamError(f"{len(self._streams)} streams are open here; at most {MAX_STREAMS}")
            return
        if peer != stream.peer and now - stream.heard < HELD_S and self._is_reachable(stream):
            raise StreamError(f"{name} is being sent by {stream.peer.decode(errors='replace')}; stop one of the two")

    def _is_reachable(self, stream: _Stream) -> bool:
        """Tell whether the connection that opened a stream is still there, by telling it again what it knows."""
        machine = stream.machine
        frames = to_frames(machine.standing(max(0, stream.acked[0])))
        try:
            self._socket.send([stream.peer, *frames])
        except TransportError:
            return False
        return True

    def _stream(self, message: Open, peer: bytes) -> _Stream:
        spec = message.spec
        stream = self._streams.get(spec.stream)
        if stream is not None and not stream.ring.fits(spec):
            stream.ring.close(unlink=True)  # its readers see it ended and find the new one under the name
            del self._streams[spec.stream]
            stream = None
        if stream is None:
            self._counts.prepare(spec.stream)
            ring = IngestRing(f"{self._prefix}/{spec.stream}", spec, self._context, lossless=self._lossless)
            stream = self._streams[spec.stream] = _Stream(spec.stream, IngestStream(spec, ring.last), ring, peer)
        stream.peer = peer  # whoever opened last; blocks of an older connection are no longer taken
        return stream

    def _take_block(self, peer: bytes, block: Block, now: float) -> None:
        name = block.header.stream
        stream = self._streams.get(name)
        if stream is None or stream.peer != peer:
            self._refuse(
                name if stream else "", "unknown", f"block of {name} on a connection that did not open it", now
            )
            return
        stream.heard = now
        machine = stream.machine
        verdict = machine.take(block)
        if verdict is Verdict.STORE:
            stream.ring.store(block)
            self._counts.received(block)
        elif verdict is Verdict.DUPLICATE:
            self._counts.refused(name, verdict.value)
        else:
            self._refuse(name, verdict.value, machine.why, now)
            self._say_opened(stream, machine.rewind(stream.ring.room, now))

    def _tend(self, stream: _Stream, now: float) -> None:
        """Grant what became free, and acknowledge what came; at once for an END, for somebody waits for it."""
        stream.ring.unpark()
        machine, acked = stream.machine, stream.acked
        told = (machine.next, machine.is_ended)
        is_urgent = (machine.is_ended and told != acked) or machine.grant.is_due(LEAST_ROOM)
        if stream.ring.is_parked or not (is_urgent or now >= stream.look_at):
            return
        stream.look_at = now + ACK_S
        message = machine.credit(stream.ring.room, now, is_late=told != acked)
        if message is not None:
            stream.acked = told
            self._say(stream.peer, message)

    def _retire(self, now: float) -> None:
        """Free the rings of backfills that are over; what was not taken is not durable, and comes again (R2)."""
        for name, stream in list(self._streams.items()):
            is_over = is_backfill(name) and stream.machine.is_ended and now - stream.heard >= RETIRE_S
            if is_over and stream.ring.is_empty:
                stream.ring.close(unlink=True)
                del self._streams[name]

    def _say_opened(self, stream: _Stream, message: Opened | None) -> None:
        if message is not None:
            stream.acked = (message.next, message.ended)  # said with it
            self._say(stream.peer, message)

    def _say(self, peer: bytes, message: Word | None) -> None:
        if message is None:
            return
        frames: list[Buffer] = [peer, *to_frames(message)]
        try:
            self._socket.send(frames)
        except TransportError:
            log.debug("%r is gone", peer)  # it will open again on its next connection

    def _refuse(self, stream: str, why: str, text: str, now: float) -> None:
        self._counts.refused(stream, why)
        if now - self._complained_at >= 1.0:
            self._complained_at = now
            log.warning("refused (%s): %s", why, text)
