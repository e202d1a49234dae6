"""The ledger of a stream while it runs, out of counters in shared memory: nobody is asked, nobody waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from . import exits

if TYPE_CHECKING:
    from shm import RingInfo

NAMES: Final = ("accounted", "stored", "missing", "pending", "end", "birth", "ended")
"""What the recorder counts of each stream for this."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of a stream's items: ``produced = stored + dropped + pending + in flight``."""

    produced: int
    stored: int
    dropped: int
    pending: int
    """In the Pilot's spool."""
    in_flight: int
    is_over: bool
    """Nothing more is produced."""

    @property
    def balanced(self) -> bool:
        """Whether it comes out even; while it runs, what is in flight is whatever is left."""
        rest = self.produced - self.stored - self.dropped - self.pending
        return rest == self.in_flight >= 0 and not (self.is_over and self.in_flight)

    @property
    def exit_code(self) -> int:
        """3 if it does not balance, 4 if it is over and something is pending."""
        if not self.balanced:
            return exits.UNBALANCED
        return exits.PENDING if self.is_over and self.pending else exits.OK

    def __str__(self) -> str:
        rest = f"{self.dropped} dropped + {self.pending} pending + {self.in_flight} in flight"
        return (
            f"{self.produced} produced = {self.stored} stored + {rest}{'' if self.balanced else ': DOES NOT BALANCE'}"
        )


def ledger_of(stream: str, ring: RingInfo, counts: Mapping[str, int]) -> Ledger | None:
    """Return the ledger of a Pilot's stream; None if nobody records it.

    Args:
        stream: its name, e.g. ``pilot1.cam0``.
        ring: the Pilot's ring as it is now.
        counts: counters of the recorder, read before the ring was.
    """
    from shm.counters import MAX_COUNT

    if f"{stream}.accounted" not in counts:
        return None
    told = {name: counts[f"{stream}.{name}"] for name in NAMES}
    late = told["stored"] + told["missing"] + told["pending"] - told["accounted"]  # counted since the last balance
    ahead = ring.published - told["end"] if ring.birth & MAX_COUNT == told["birth"] else 0
    ahead = max(ahead, late, 0)
    return Ledger(
        produced=told["accounted"] + ahead,
        stored=told["stored"],
        dropped=told["missing"],
        pending=told["pending"],
        in_flight=ahead - max(late, 0),
        is_over=bool(told["ended"]),
    )
