"""Sends what a spool holds of one run of a stream, oldest first, as a stream of its own: a machine without I/O.

R1  Passes: each begins with OPEN, tells the spooled blocks in rising order with the holes between them, and ends with
    END once nothing more is spooled.  What arrived is what the Terminal says, as for any stream.
R2  That it arrived is not enough: what is not durable `patience` after its pass is sent again in the next, and the
    recorder passes over what it has.  So every item is stored once, whoever dies.
R3  A hole is LIVE (those items go by the live stream), or DAMAGED (the spool's file no longer holds them).
R4  While the disk of its recording is full nothing is sent: a pass that runs is ended.  Where nobody says any more
    whether it is, it is tried again `PATIENCE_S` later, then ever later, up to `MOST_PATIENCE_S`.

    IDLE ──link up, something is due──► OPENING ──Opened──► OPEN ──END acked──► IDLE
      ▲                                    │ Refused          │
      └──────────── link down, or ─────────┴──────────────────┘
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from .backfill_name import PILOT, RUN, backfill_of
from .block import BlockFlag
from .channel import Open
from .credit import Allowance
from .losses import DAMAGED, LIVE

if TYPE_CHECKING:
    from .channel import Credit, Opened, Refused
    from .spool_file import SpoolRecord
    from .spool_run import SpoolRun
    from .stream_spec import StreamSpec

SLOTS: Final = 8
"""Blocks that the Terminal's ring of a backfill has."""
QUIET_S: Final = 0.5
"""So long nothing more is spooled, and the pass ends."""
PATIENCE_S: Final = 5.0
"""What is not durable so long after its pass is sent again; doubles with each pass, up to `MOST_PATIENCE_S`."""
MOST_PATIENCE_S: Final = 60.0
RETRY_S: Final = 1.0
META_BYTES: Final = 1900
"""What the meta of the Terminal's ring can hold, as JSON."""


class BackfillState(enum.Enum):
    """Where a backfill stands."""

    IDLE = "idle"
    OPENING = "opening"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Refill:
    """Effect: send a record as a block that follows a hole; without a record only the hole, or the END."""

    record: SpoolRecord | None
    first: int
    lost: int
    lost_reason: str
    origin: int
    flags: BlockFlag


def backfill_spec(run: SpoolRun) -> StreamSpec:
    """Return what the backfill of a run is made of: the live stream, with its run and its Pilot in its meta."""
    head, live = run.head, run.head.spec
    told = {RUN: head.run, PILOT: head.pilot}
    spec = msgspec.structs.replace(
        live, stream=backfill_of(live.stream), slots=min(SLOTS, live.slots), meta={**live.meta, **told}
    )
    for smaller in ({"meta": told}, {"labels": ()}):
        if len(msgspec.json.encode(spec)) > META_BYTES:
            spec = msgspec.structs.replace(spec, **smaller)
    return spec


class Backfill:
    """Decides what of one `SpoolRun` is sent when."""

    def __init__(self, run: SpoolRun) -> None:
        self.run = run
        self.spec = backfill_spec(run)
        self.state = BackfillState.IDLE
        self.allowance = Allowance()
        self.told = self.acked = 0
        self.refusal = ""
        self._origin = 0
        self._start: int | None = None
        """Where the pass begins; None between passes."""
        self._is_up = False
        self._opening = 0
        self._retry_at = 0.0
        self._patience = PATIENCE_S
        self._held_until = 0.0
        self._hold_s = PATIENCE_S / 2
        self._end_is_sent = False
        self._quiet_since: float | None = None
        self._cost = self.spec.slot_bytes

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: all is durable, and the Terminal has the END of the last pass."""
        return not self.run and self._start is None

    def link(self, is_up: bool) -> None:
        """Note that the connection was made or lost."""
        self._is_up = is_up
        if not is_up:
            self._go_idle(0.0)

    def opened(self, message: Opened) -> None:
        """Take the Terminal's word on where to go on."""
        if message.opening != self._opening or self.state is BackfillState.IDLE:
            return
        self.refusal = ""
        self.allowance.reset(message.limit)
        self._end_is_sent = False
        self._origin = message.next if message.origin is None else message.origin
        self.told = self.acked = message.next
        self.state = BackfillState.OPEN

    def credited(self, message: Credit, now: float) -> None:
        """Take what arrived, and what may follow."""
        if message.opening != self._opening or self.state is not BackfillState.OPEN:
            return
        self.allowance.raise_to(message.limit)
        if self.acked <= message.next <= self.told:
            self.acked = message.next
        if message.ended and self._end_is_sent:
            self._start = None
            self._go_idle(now + self._patience)
            self._patience = min(2 * self._patience, MOST_PATIENCE_S)

    def refused(self, message: Refused, now: float) -> None:
        """The Terminal cannot take it now; ask again later."""
        if message.opening == self._opening:
            self.refusal = message.reason
            self._go_idle(now + RETRY_S)

    def hold(self, now: float, *, is_full: bool) -> None:
        """Hear whether the disk of the recording is full (R4)."""
        if is_full:
            if now >= self._held_until:
                self._hold_s = min(2 * self._hold_s, MOST_PATIENCE_S)
            self._held_until = now + self._hold_s
        elif now < self._held_until:
            self._held_until, self._hold_s, self._patience = 0.0, PATIENCE_S / 2, PATIENCE_S
            self._retry_at = 0.0

    def step(self, now: float) -> Open | Refill | None:
        """Return what to do next, None if nothing now; a `Refill` counts only when the shell says `done`."""
        is_held = now < self._held_until
        if self.state is BackfillState.IDLE:
            return self._open(now) if self._is_up and not is_held else None
        if self.state is BackfillState.OPENING or self._end_is_sent or not self.allowance.can_spend(self._cost):
            return None
        record = None if is_held else self.run.at(self.told)
        if record is not None:
            self._quiet_since = None
            return self._refill(record)
        self._quiet_since = now if self._quiet_since is None else self._quiet_since
        if now - self._quiet_since < QUIET_S and not is_held:
            return None
        return Refill(None, self.told, 0, "", self._origin, self._flags(self.told) | BlockFlag.END)

    def done(self, refill: Refill) -> None:
        """It was put on the wire."""
        self.told = refill.first if refill.record is None else refill.record.end
        self.allowance.spend(self._cost)
        self._end_is_sent = bool(refill.flags & BlockFlag.END)

    def _open(self, now: float) -> Open | None:
        start = self._due(now)
        if start is None:
            return None
        self._start = start
        self._opening += 1
        self.state = BackfillState.OPENING
        return Open(self._opening, self.spec, None, start)

    def _due(self, now: float) -> int | None:
        """Return where a pass should begin now, if one should: at what is new, or after a while at all that is left."""
        if self._start is not None:
            return self._start if now >= self._retry_at else None
        record = self.run.at(0 if now >= self._retry_at else self.told)
        if not self.run or (record is not None and now < self._retry_at):
            self._patience = PATIENCE_S
        return record.first if record is not None else None

    def _refill(self, record: SpoolRecord) -> Refill:
        damaged = self.run.damage_in(self.told, record.first)
        if damaged is None:
            return self._make(record, record.first, LIVE)
        first, end = damaged
        if first > self.told:  # one block carries one reason
            return self._make(None, first, LIVE)
        return self._make(record if end == record.first else None, end, DAMAGED)

    def _make(self, record: SpoolRecord | None, first: int, reason: str) -> Refill:
        lost = first - self.told
        flags = self._flags(self.told) | (BlockFlag.NONE if record is not None else BlockFlag.GAP)
        return Refill(record, first, lost, reason if lost else "", self._origin, flags)

    def _flags(self, start: int) -> BlockFlag:
        return BlockFlag.BEGIN if start == self._origin else BlockFlag.NONE

    def _go_idle(self, retry_at: float) -> None:
        self.state = BackfillState.IDLE
        self._retry_at = retry_at
        self._quiet_since = None

    def __repr__(self) -> str:
        return f"<Backfill {self.spec.stream} {self.state.value} told={self.told} acked={self.acked} of {self.run!r}>"
