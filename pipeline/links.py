"""The sockets of a hub and what waits to leave by them.

Only the hub's I/O thread may use a `Links`.  Nothing here waits: what zmq cannot take now is queued per neighbour,
within bounds, and sent by `flush`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Final

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
    QUEUED = "queued"
    DROPPED = "dropped"
    """The neighbour's queue is full."""
    GONE = "gone"
    """The neighbour is not connected."""


class Links:
    """A ROUTER for those who connect to us, a DEALER towards the one we connect to; each may be absent."""

    def __init__(
        self, context: Context, identity: bytes, *, listen_endpoint: str | None, push_endpoint: str | None
    ) -> None:
        self.router: Socket | None = None
        self.dealer: Socket | None = None
        self.queued = 0
        self._queues: dict[Peer, deque[list[Buffer]]] = {}
        self._bytes: dict[Peer, int] = {}
        self._poller = Poller()
        self._monitors: dict[int, Socket] = {}
        """By descriptor: polling a monitor as a socket would cost several system calls in every turn."""
        if listen_endpoint is not None:
            self.router = context.router(listen_endpoint, max_message=MAX_FRAME_BYTES)
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

    def monitored_by(self, descriptor: int) -> Socket | None:
        """Return the socket whose link `descriptor` tells of; None if it is no monitor's."""
        return self._monitors.get(descriptor)

    def send(self, peer: Peer, frames: Sequence[Buffer]) -> Fate:
        """Send to a neighbour, or queue."""
        queue = self._queues.get(peer)
        if queue is None and peer.is_there:
            fate = self._send_now(peer, frames)
            if fate is not Fate.QUEUED:
                return fate
        return self._enqueue(peer, list(frames))

    def has_room(self, peer: Peer) -> bool:
        """Tell whether a message more would be taken for a neighbour."""
        queue = self._queues.get(peer)
        return queue is None or (len(queue) < MAX_QUEUED and self._bytes[peer] < MAX_QUEUED_BYTES)

    def send_now(self, peer: Peer, frames: Sequence[Buffer]) -> Fate:
        """Send past the queue, or not at all: heartbeats."""
        fate = self._send_now(peer, frames)
        return Fate.DROPPED if fate is Fate.QUEUED else fate

    def flush(self) -> bool:
        """Send what waits and can leave; tell whether anything still waits for somebody who is there."""
        is_waiting = False
        for peer in list(self._queues):
            if peer.is_there:
                is_waiting |= self._flush(peer)
            elif not peer.is_upstream:
                self._drop_queue(peer)
        return is_waiting

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

    def _send_now(self, peer: Peer, frames: Sequence[Buffer]) -> Fate:
        try:
            if peer.is_upstream:
                is_sent = self.dealer is not None and self.dealer.send(frames)
            else:
                is_sent = self.router is not None and self.router.send([peer.identity, *frames])
        except TransportError:
            return Fate.GONE
        return Fate.SENT if is_sent else Fate.QUEUED

    def _enqueue(self, peer: Peer, frames: list[Buffer]) -> Fate:
        size = sum(len(frame) for frame in frames)
        queue = self._queues.setdefault(peer, deque())
        if len(queue) >= MAX_QUEUED or self._bytes.get(peer, 0) + size > MAX_QUEUED_BYTES:
            return Fate.DROPPED
        queue.append(frames)
        self._bytes[peer] = self._bytes.get(peer, 0) + size
        self.queued += 1
        return Fate.QUEUED

    def _flush(self, peer: Peer) -> bool:
        queue = self._queues[peer]
        while queue:
            fate = self._send_now(peer, queue[0])
            if fate is Fate.QUEUED:
                return True
            if fate is Fate.GONE:
                break
            self._bytes[peer] -= sum(len(frame) for frame in queue.popleft())
            self.queued -= 1
        self._drop_queue(peer)
        return False

    def _drop_queue(self, peer: Peer) -> None:
        self.queued -= len(self._queues.pop(peer))
        self._bytes.pop(peer, None)
