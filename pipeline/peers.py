"""Neighbours and whether they are there: a state machine without I/O.

A neighbour is a hub at the other end of one of our sockets.  It is ALIVE while it is heard, LATE after `late_s` of
silence, LOST after `lost_s`, or at once when its connection is gone or it says goodbye.  An id belongs to the first
who claims it; a second claimant is refused while the first is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from .wire import MAX_ID_BYTES

MAX_PEERS: Final = 4096
FORGET_S: Final = 600.0
"""A neighbour lost for so long is no longer listed."""
_BOOT_BYTES: Final = 8


PeerCallback = Callable[[str, "PeerState", int], None]


class PeerState(Enum):
    """Whether a neighbour is there."""

    ALIVE = "ALIVE"
    LATE = "LATE"
    LOST = "LOST"


@dataclass(frozen=True, slots=True)
class Pace:
    """Heartbeat times, seconds."""

    beat_s: float = 0.5
    late_s: float = 1.2
    lost_s: float = 2.5


@dataclass(frozen=True, slots=True)
class PeerEvent:
    """A neighbour joined, is late, was lost, or came back (under a new `boot` if it restarted)."""

    peer: str
    state: PeerState
    boot: int


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A neighbour as `Hub.peers` shows it."""

    id: str
    state: PeerState
    boot: int
    silent_s: float
    is_upstream: bool


class Peer:
    """One neighbour."""

    __slots__ = ("boot", "heard", "id", "identity", "is_upstream", "name", "state")

    def __init__(self, name: bytes, identity: bytes, *, boot: int, now: float, is_upstream: bool = False) -> None:
        self.name = name
        self.id = name.decode(errors="replace")
        self.identity = identity
        self.boot = boot
        self.heard = now
        self.state = PeerState.LOST
        self.is_upstream = is_upstream

    @property
    def is_there(self) -> bool:
        """Whether messages to it have a chance."""
        return self.state is not PeerState.LOST


class Peers:
    """Who is connected to us, by routing identity and by id."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.by_identity: dict[bytes, Peer] = {}
        self.by_name: dict[bytes, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self.by_name.values()))

    def find(self, name: bytes) -> Peer | None:
        """Return the neighbour of that id if it is there."""
        peer = self.by_name.get(name)
        return peer if peer is not None and peer.state is not PeerState.LOST else None

    def add(self, peer: Peer) -> None:
        """Take a neighbour in; one that was known under its id is replaced and heard no longer."""
        old = self.by_name.get(peer.name)
        if old is not None:
            self.by_identity.pop(old.identity, None)
        self.by_name[peer.name] = self.by_identity[peer.identity] = peer

    def hear(self, peer: Peer, now: float) -> PeerEvent | None:
        """Note a sign of life."""
        peer.heard = now
        return self._change(peer, PeerState.ALIVE)

    def lose(self, peer: Peer) -> PeerEvent | None:
        """Note that a neighbour is gone."""
        return self._change(peer, PeerState.LOST)

    def on_tick(self, now: float) -> list[PeerEvent]:
        """Judge everybody's silence."""
        events = []
        for peer in self:
            silence = now - peer.heard
            state = peer.state
            if state is PeerState.LOST:
                if silence > FORGET_S and not peer.is_upstream:
                    self.by_name.pop(peer.name, None)
                    self.by_identity.pop(peer.identity, None)
            elif silence > self.pace.lost_s:
                events.append(self._change(peer, PeerState.LOST))
            elif silence > self.pace.late_s:
                events.append(self._change(peer, PeerState.LATE))
        return [event for event in events if event is not None]

    def info(self, now: float) -> list[PeerInfo]:
        """Return everybody, as values."""
        return [PeerInfo(p.id, p.state, p.boot, max(0.0, now - p.heard), p.is_upstream) for p in self]

    def _change(self, peer: Peer, state: PeerState) -> PeerEvent | None:
        if peer.state is state:
            return None
        peer.state = state
        return PeerEvent(peer.id, state, peer.boot)


def make_identity(name: bytes, boot: int) -> bytes:
    """Return the zmq routing identity of a hub: its id, NUL, its boot; unique, so that zmq never mixes two."""
    return name + b"\0" + boot.to_bytes(_BOOT_BYTES, "little")


def read_identity(identity: bytes) -> tuple[bytes, int] | None:
    """Return id and boot from a routing identity; None if it is not one of ours."""
    name, gap, boot = identity[: -_BOOT_BYTES - 1], identity[-_BOOT_BYTES - 1 : -_BOOT_BYTES], identity[-_BOOT_BYTES:]
    if gap != b"\0" or not 0 < len(name) <= MAX_ID_BYTES or b"\0" in name:
        return None
    try:
        name.decode()
    except UnicodeDecodeError:
        return None
    return name, int.from_bytes(boot, "little")
