"""Which neighbour is next on the way to an address.

In this order: a neighbour of that id; the neighbour that a message from that address came by last; both again for the
station the address lives at (`pilot1` for ``pilot1.cam0`` and ``_pilot1``); else upstream, unless it came from there.
An address of our own that is not connected is nobody's: it is not sent up.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from .peers import Peer, Peers

MAX_LEARNED: Final = 8192


class Routes:
    """The way to every address, from who is there and from what has passed."""

    def __init__(self, own: bytes, peers: Peers, upstream: Peer | None) -> None:
        self._own = own
        self._peers = peers
        self._upstream = upstream
        self._learned: OrderedDict[bytes, bytes] = OrderedDict()

    def learn(self, origin: bytes, via: Peer) -> None:
        """Note that messages of `origin` come by way of `via`."""
        if self._learned.get(origin) != via.name:
            self._learned[origin] = via.name
            if len(self._learned) > MAX_LEARNED:
                self._learned.popitem(last=False)

    def next_hop(self, address: bytes, came_from: Peer | None = None) -> Peer | None:
        """Return the next neighbour towards `address`; None if there is no way."""
        found = self._below(address)
        place = address
        while found is None and (place := home_of(place)):
            if place == self._own:
                return None
            found = self._below(place)
        if found is None:
            found = self._upstream
        return None if found is came_from else found

    def _below(self, address: bytes) -> Peer | None:
        upstream = self._upstream
        if upstream is not None and address == upstream.name:
            return upstream
        peer = self._peers.find(address)
        if peer is None and address in self._learned:
            peer = self._peers.find(self._learned[address])
        return peer


def home_of(address: bytes) -> bytes:
    """Return the station that an address lives at: ``pilot1`` of ``pilot1.cam0`` and ``_pilot1``; empty if none."""
    if b"." in address:
        return address.rpartition(b".")[0]
    return address[1:] if address[:1] == b"_" else b""
