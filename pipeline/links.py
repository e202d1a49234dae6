"""The sockets of a hub and what waits to leave by them.

Only the hub's I/O thread may use a `Links`.  Nothing here waits: everything is queued per neighbour, within bounds, and
leaves by `flush`, which the thread calls at the end of each turn; so what gathered in a turn travels together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Final

from .bundle import BUNDLE_BYTES, BUNDLE_MESSAGES, SMALL, pack_bundle
from .errors import TransportError
from .peers import Peer
from .transport import Context, Poller, Socket
from .wire import MAX_FRAME_BYTES

Buffer = bytes | memoryview

MAX_QUEUED: Final = 16384
"""Messages that may wait for one neighbour."""
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
MAX_DRAIN: Final = 256
"""Messages read from one socket before the others have their turn."""


class Fate(Enum):
    """What became of an attempt to send."""

    SENT = "sent"
    FULL = "full"
    """zmq takes no more for this neighbour now."""
    GONE = "gone"
    """The neighbour is not connected."""


class _Queue:
    """Envelopes that wait for one neighbour, with their sizes."""

    __slots__ = ("bytes", "envelopes")

    def __init__(self) -> None:
        self.envelopes: deque[tuple[list[Buffer], int]] = deque()
        self.bytes = 0

    def next_message(self) -> tuple[int, Sequence[Buffer]]:
        """Return how many envelopes go next, and the frames that carry them."""
        small: list[list[Buffer]] = []
        total = 0
        for frames, size in self.envelopes:
            total += size
            if size > SMALL or total > BUNDLE_BYTES or len(small) == BUNDLE_MESSAGES:
                break
            small.append(frames)
        return (len(small), (pack_bundle(small),)) if small else (1, self.envelopes[0][0])

    def drop(self, count: int) -> None:
        """Forget the first, which have gone."""
        for _ in range(count):
            self.bytes -= self.envelopes.popleft()[1]


class Links:
    """A ROUTER for those who connect to us, a DEALER towards the one we connect to; each may be absent."""

    def __init__(
        self, context: Context, identity: bytes, *, listen_endpoint: str | None, push_endpoint: str | None
    ) -> None:
        self.router: Socket | None = None
        self.dealer: Socket | None = None
        self.queued = 0
        self._queues: dict[Peer, _Queue] = {}
        self._poller = Poller()
        self._monitors: dict[int, Socket] = {}
        """By descriptor: polling a monitor as a socket would cost several system calls in every turn."""
        if listen_endpoint is not None:
            self.router = context.router(listen_endpoint, max_message=MAX_FRAME_BYTES, can_return=True)
            self._watch(self.router)
        if push_endpoint is not None:
            self.dealer = context.dealer(push_endpoint, identity, max_message=MAX_FRAME_BYTES)
            self._watch(self.dealer)

    def register(self, descriptor: int) -> None:
        """Let `poll` wake for a file descriptor too."""
        self._poller.register(descriptor)

    def poll(self, timeout_s: float) -> list[Socket | int]:
        """Return the sockets and descriptors with news, after `timeout_s` at the latest."""
        return self._poller.poll(timeout_s)

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that tell of links."""
        return list(self._monitors)

    def monitored_by(self, descriptor: int) -> Socket | None:
        """Return the socket whose link `descriptor` tells of; None if it is no monitor's."""
        return self._monitors.get(descriptor)

    def send(self, peer: Peer, frames: list[Buffer]) -> bool:
        """Queue an envelope for a neighbour, to leave with the next `flush`; False if its queue is full."""
        queue = self._queues.get(peer)
        if queue is None:
            queue = self._queues[peer] = _Queue()
        size = sum(map(len, frames))
        is_full = len(queue.envelopes) >= MAX_QUEUED or queue.bytes + size > MAX_QUEUED_BYTES
        if is_full and queue.envelopes:  # one alone may be larger than the bound
            return False
        queue.envelopes.append((frames, size))
        queue.bytes += size
        self.queued += 1
        return True

    def send_now(self, peer: Peer, frames: Sequence[Buffer]) -> Fate:
        """Send past the queue, or not at all: heartbeats."""
        try:
            if peer.is_upstream:
                is_sent = self.dealer is not None and self.dealer.send(frames)
            else:
                is_sent = self.router is not None and self.router.send([peer.identity, *frames])
        except TransportError:
            return Fate.GONE
        return Fate.SENT if is_sent else Fate.FULL

    def flush(self) -> list[tuple[Peer, list[Buffer]]]:
        """Send what waits, small envelopes together; return what cannot go because its neighbour has gone.

        What zmq cannot take now stays, and `queued` counts it; what waits for upstream stays until it is there.
        """
        stranded: list[tuple[Peer, list[Buffer]]] = []
        for peer in list(self._queues):
            queue = self._queues[peer]
            is_gone = self._flush(peer, queue) is Fate.GONE if peer.is_there else not peer.is_upstream
            if is_gone:
                stranded += [(peer, frames) for frames, _ in queue.envelopes]
            if is_gone or not queue.envelopes:
                self.queued -= len(queue.envelopes)
                del self._queues[peer]
        return stranded

    def _flush(self, peer: Peer, queue: _Queue) -> Fate:
        while queue.envelopes:
            count, frames = queue.next_message()
            fate = self.send_now(peer, frames)
            if fate is not Fate.SENT:
                return fate
            queue.drop(count)
            self.queued -= count
        return Fate.SENT

    def close(self, linger_s: float) -> None:
        """Close; what zmq has taken is given `linger_s` to leave."""
        for socket in (self.router, self.dealer):
            if socket is not None:
                socket.close(linger_s)

    def _watch(self, socket: Socket) -> None:
        self._poller.register(socket)
        descriptor = socket.watch_link().fileno()
        self._monitors[descriptor] = socket
        self._poller.register(descriptor)
