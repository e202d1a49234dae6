"""How a Pilot's streams stand: as values for who asks, as counters for who watches."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shm import ShmError

from .forward_feed import REASONS
from .ladder import FULL, Rung
from .losses import LAPPED, LINK, SPOOL_FULL, SPOOLED

if TYPE_CHECKING:
    from shm import Counter, Counters

    from .beginning import Beginning
    from .forward_feed import Feed

COUNTED: Final = (
    "sent_items",
    "sent_blocks",
    "sent_bytes",
    "raw_bytes",
    "dropped.link",
    "dropped.lapped",
    "dropped.spool_full",
    "spooled",
    "pending",
    "lag",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForwardReport:
    """Where one stream stands; sequences as in `ForwardStream`."""

    state: str
    """"waiting" (no ring), "idle", "opening", "open", "finished" or "stopped"."""
    origin: int | None
    published: int
    sent: int
    acked: int
    lag: int
    dropped: dict[str, int]
    refusal: str
    """What the Terminal said when it would not take the stream; empty if it took it."""
    birth: int | None = None
    pending: int = 0
    """Items of this run that the spool keeps until the recording has them."""
    rung: Rung = FULL
    """What goes of a stream that need not be whole."""
    is_settled: bool = True
    """All that was sent is durable, or the spool has it as far as it could."""
    beginning: Beginning | None = None
    """Where the run began, if it was to begin at a time."""


class ForwardMeter:
    """One stream's counters in shared memory."""

    def __init__(self, counters: Counters, feed: Feed) -> None:
        self._feed = feed
        self._counters: dict[str, Counter] = {}
        try:
            for name in COUNTED:
                self._counters[name] = counters.counter(f"{feed.stream}.{name}")
        except ShmError as error:  # counting is no reason not to forward
            log.warning("stream %s is not counted: %s", feed.stream, error)

    def update(self) -> None:
        """Bring the counters up to date."""
        feed, counts = self._feed, self._feed.counts
        values = {
            "sent_items": counts.items,
            "sent_blocks": counts.blocks,
            "sent_bytes": counts.bytes,
            "raw_bytes": counts.raw_bytes,
            "dropped.link": feed.dropped(LINK),
            "dropped.lapped": feed.dropped(LAPPED),
            "dropped.spool_full": feed.dropped(SPOOL_FULL),
            "spooled": feed.dropped(SPOOLED),
            "pending": feed.pending,
            "lag": feed.lag,
        }
        for name, counter in self._counters.items():
            counter.set(values[name])


def report_of(feed: Feed) -> ForwardReport:
    """Return where a stream stands."""
    machine = feed.machine
    dropped = {reason: count for reason in REASONS if (count := feed.dropped(reason))}
    if machine is None:
        state = "waiting" if feed.is_running else "stopped"
        return ForwardReport(state, None, 0, 0, 0, 0, dropped, "", pending=feed.pending)
    # A ring that was replaced is drained, but the run is not over before its END.
    is_between = machine.is_finished and not machine.has_ended
    return ForwardReport(
        "waiting" if is_between else machine.state.value,
        machine.origin,
        feed.published,
        machine.sent,
        machine.acked,
        feed.lag,
        dropped,
        machine.refusal,
        machine.spec.birth,
        feed.pending,
        feed.ladder.rung if feed.ladder is not None else FULL,
        machine.is_settled,
        feed.beginning,
    )
