"""What a hub counts: what passed, what was refused, what was lost and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """A hub's counts since it started, and two levels now."""

    sent: int
    """Envelopes of ours, resends and answers included."""
    received: int
    forwarded: int
    delivered: int
    """Messages handed to listens."""
    malformed: int
    forged: int
    """Envelopes under another id than that of the connection they came by."""
    unroutable: int
    dropped_full: int
    """A neighbour did not take its messages fast enough."""
    dropped_busy: int
    """Listens did not keep up; confirmed messages come again."""
    refused_peers: int
    """Connections under an id that is taken."""
    unsettled: int
    queued: int


class HubCounts:
    """The running counts; one thread writes, any thread may take a snapshot."""

    __slots__ = (
        "delivered",
        "dropped_busy",
        "dropped_full",
        "forged",
        "forwarded",
        "malformed",
        "received",
        "refused_peers",
        "sent",
        "unroutable",
    )

    def __init__(self) -> None:
        self.sent = self.received = self.forwarded = self.delivered = self.malformed = 0
        self.forged = self.unroutable = self.dropped_full = self.dropped_busy = self.refused_peers = 0

    def snapshot(self, *, unsettled: int, queued: int) -> HubStatistics:
        """Return the counts as a value."""
        counts = {name: int(getattr(self, name)) for name in self.__slots__}
        return HubStatistics(**counts, unsettled=unsettled, queued=queued)
