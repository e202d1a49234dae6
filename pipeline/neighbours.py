"""Who is at the other end of our sockets: heartbeats, joins, losses, restarts, refusal of a second of one id."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from .errors import DuplicateIdError, MalformedError
from .hub_counts import HubCounts
from .links import Fate, Links
from .log import RateLimit
from .peers import Peer, PeerEvent, Peers, PeerState, read_identity
from .wire import DELIMITER, VERSION, Kind, Tag

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())


class Neighbours:
    """Keeps `Peers` true by beats over `Links`; used by the I/O thread only.

    Attributes:
        problem: our id is taken upstream; None if all is well.
        next_beat: when `on_tick` wants to be called.
    """

    def __init__(
        self,
        name: bytes,
        boot: int,
        peers: Peers,
        links: Links,
        counts: HubCounts,
        *,
        now: float,
        tell: Callable[[PeerEvent | None], None],
    ) -> None:
        self.problem: DuplicateIdError | None = None
        self.next_beat = now
        self.upstream = next((peer for peer in peers if peer.is_upstream), None)
        self._name = name
        self._boot = boot
        self._peers = peers
        self._links = links
        self._counts = counts
        self._started = now
        self._tell = tell
        self._has_suspects = False

    def who(self, identity: bytes, now: float) -> Peer | None:
        """Return the neighbour of a routing identity; None if it is refused.

        Raises:
            MalformedError: no hub of ours makes such an identity.
        """
        known = self._peers.by_identity.get(identity)
        if known is not None:
            return known
        claim = read_identity(identity)
        if claim is None:
            raise MalformedError(f"routing id {identity[:40]!r} is not one of ours")
        peer = Peer(claim[0], identity, boot=claim[1], now=now)
        old = self._peers.by_name.get(peer.name)
        if peer.name == self._name or (old is not None and old.is_there and self._is_reachable(old, now)):
            self._refuse(peer)
            return None
        self._peers.add(peer)
        return peer

    def hear(self, peer: Peer, now: float) -> None:
        """Note a sign of life of somebody whose boot is known."""
        self._announce(self._peers.hear(peer, now))

    def lose(self, peer: Peer) -> None:
        """Note that somebody is gone."""
        self._announce(self._peers.lose(peer))

    def on_beat(self, peer: Peer, tag: Tag, now: float) -> None:
        """Take a heartbeat; under a new boot the neighbour has restarted."""
        if tag.other != peer.boot:
            peer.boot, peer.state = tag.other, PeerState.LOST
        if peer.is_upstream:
            self.problem = None
        self.hear(peer, now)
        if tag.counter:
            self._beat(peer, wants_answer=False, now=now)

    def on_taken(self, peer: Peer, tag: Tag) -> None:
        """Upstream refuses us: another hub of our id is connected there."""
        if not peer.is_upstream or tag.other != self._boot:
            return
        name = self._name.decode()
        text = f"the id {name} is taken at {peer.id}; stop the other node of that id, or choose another id"
        if self.problem is None:
            _log.error("%s", text)
        self.problem = DuplicateIdError(text)
        self._peers.lose(peer)
        self._tell(None)

    def on_link(self, descriptor: int, now: float) -> None:
        """A connection came or went."""
        socket = self._links.monitored_by(descriptor)
        if socket is None:
            return
        events = socket.link_events()
        if not events:
            return
        went = "down" in events
        if socket is self._links.dealer and self.upstream is not None:
            if went:
                self.lose(self.upstream)
            self.next_beat = now
        elif went:
            self._has_suspects = True
            self._check_all(now)

    def on_tick(self, now: float) -> None:
        """Beat, and judge everybody's silence."""
        self.next_beat = now + self._peers.pace.beat_s
        for event in self._peers.on_tick(now):
            self._announce(event)
        for descriptor in self._links.descriptors:  # zmq tells once; under a flood of connections that one is missed
            self.on_link(descriptor, now)
        if self._has_suspects:  # zmq may tell of the end of a connection before its socket knows
            self._has_suspects = False
            self._check_all(now)
        if self.upstream is not None:
            self._beat(self.upstream, wants_answer=True, now=now)

    @property
    def is_alone(self) -> bool:
        """Whether everybody who was there is gone; one who is still to come may take what was not sent yet."""
        return not any(peer.is_there or not peer.boot for peer in self._peers)

    def say_goodbye(self) -> None:
        """Tell everybody that we leave."""
        for peer in self._peers:
            if peer.is_there:
                self._send(peer, Tag(VERSION, Kind.BYE, self._boot, 0, self._boot, 0))

    def _check_all(self, now: float) -> None:
        for peer in self._peers:
            if not peer.is_upstream and peer.is_there:
                self._is_reachable(peer, now)

    def _is_reachable(self, peer: Peer, now: float) -> bool:
        if peer.is_upstream or self._beat(peer, wants_answer=False, now=now):
            return True
        self.lose(peer)
        return False

    def _refuse(self, peer: Peer) -> None:
        self._counts.refused_peers += 1
        _log.error("%s: refused a second %s (boot %016x); the first is there", self._name.decode(), peer.id, peer.boot)
        self._send(peer, Tag(VERSION, Kind.TAKEN, self._boot, 0, peer.boot, 0))

    def _beat(self, peer: Peer, *, wants_answer: bool, now: float) -> bool:
        """Say that we are here; False if the neighbour is not connected."""
        uptime = int((now - self._started) * 1e6)
        return self._send(peer, Tag(VERSION, Kind.BEAT, self._boot, int(wants_answer), self._boot, uptime))

    def _send(self, peer: Peer, tag: Tag) -> bool:
        return self._links.send_now(peer, [peer.name, tag.pack() + self._name, DELIMITER]) is not Fate.GONE

    def _announce(self, event: PeerEvent | None) -> None:
        if event is not None:
            _log.info("%s: %s is %s (boot %016x)", self._name.decode(), event.peer, event.state.value, event.boot)
            self._tell(event)
