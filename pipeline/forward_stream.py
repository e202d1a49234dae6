"""One stream on its way to the Terminal, as a machine without I/O.

The shell (`Forwarder`) tells it what the ring and the link do, asks `step` what to do next, does it, and says `sent`.

F1  ``acked <= told <= sent``: below `acked` all is in the Terminal's ring, below `told` all was put on the wire (as
    items or as a loss), below `sent` all was put on the wire or given up.
F2  Blocks are whole, counted from the run's origin; short only at its end or where the writer changed (epoch).
    Losses are whole blocks too, so the grid of the chunks never shifts.
F3  When the link goes down, everything from `acked` on counts as not sent; what had arrived comes back as `next`.
F4  A stream whose link is down keeps `keep` items of the ring, then gives up its oldest blocks; one whose link is too
    slow keeps `most`.  While the link is up a ring that can wait waits instead: that is what back-pressure is for.
F5  The run is over when the Terminal has its END, not when it was sent.
F6  What is given up goes into the spool, if there is one; on the wire it is a loss of reason `spooled`, and its
    backfill is another stream's business.  What was sent and is not durable goes there first, without being lost: a
    link that is silent may have lost it, or a recorder that is dead never had it.  While the recorder's disk is full
    that is everything, at once; what is not sent yet goes its way to whoever looks.
F7  A stream that need not be whole is thinned out by a ladder rather than cut off (`ladder`), and has no more on its
    way than keeps it young: a step is judged by what went after it.
F8  The ring keeps what is not durable in the recording, as far as a quarter of it: a Terminal whose rings are gone gets
    that again.

    IDLE ──link up: Open──► OPENING ──Opened──► OPEN ──END acked──► FINISHED
      ▲                        │ Refused          │
      └──── link down, or ─────┴──────────────────┘
            1 s after a refusal
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from .block import BlockFlag
from .block_edges import BlockEdges
from .channel import Open
from .credit import Allowance, young_blocks
from .forward_effects import Cut, ForwardState, RingState, Spill
from .in_flight import InFlight
from .losses import LAPPED, LINK, SPOOL_FULL, SPOOLED, LossLog
from .patience import Patience

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .block_edges import Seam
    from .budget import Budget
    from .channel import Credit, Opened, Refused
    from .ladder import Ladder
    from .losses import Loss
    from .spool_run import SpoolRun
    from .stream_spec import StreamSpec

RETRY_S: Final = 1.0
"""Pause after a refusal."""


class ForwardStream:
    """Decides what of one ring generation is sent when.

    Args:
        spec: what the stream is made of.
        origin: sequence at which the run begins; None to go on with the run in the Terminal's ring.
        start: where to begin if the Terminal holds nothing of this run.
        keep: items that may wait in the ring for a link that is down (F4) ...
        most: ... and for one that is slow.
        spooled: what the spool has of this run, if there is a spool.
        ladder: thins the stream out; None for a lossless one.
        reserve: items that the ring keeps for a recording that is not durable yet (F8).
        budget: bytes a second that it may use of the link; None: as many as the link carries.
        seams: sequences behind `start` at which a block must be closed, and the epoch from there on.
    """

    def __init__(
        self,
        spec: StreamSpec,
        *,
        origin: int | None,
        start: int,
        keep: int,
        most: int,
        spooled: SpoolRun | None = None,
        ladder: Ladder | None = None,
        reserve: int = 0,
        budget: Budget | None = None,
        seams: Iterable[Seam] = (),
    ) -> None:
        self.spec = spec
        self.state = ForwardState.IDLE
        self.losses = LossLog()
        self.allowance = Allowance()
        self.acked = self.told = self.sent = start
        self.refusal = ""
        self._origin = origin
        self._patience = Patience(keep, most, can_wait=spec.can_wait)
        self._spooled = spooled
        self.ladder = ladder
        self._steps, self._stepped_at = 0, -1
        """How often the ladder had changed, and what was sent by then."""
        self._reserve = reserve
        self._budget = budget
        self.is_over_budget = False
        self._durable = start
        self._is_durable_told = False
        """Somebody says what is durable; else what was acknowledged must do."""
        self._is_full = False
        """The recording takes nothing: its disk is full."""
        self._flying = InFlight()
        self._spilled_to = start
        """Below this everything that is not safe yet is in the spool, or lost."""
        self._spill_to: int | None = None
        """Down to this many waiting items the spool takes on, once it has begun."""
        self._edges = BlockEdges(spec.epoch, seams)
        self._opening = 0
        self._is_up = False
        self._retry_at = 0.0
        self._end_is_sent = False
        self._ends_run = True
        self.has_ended = False
        """The Terminal has the END of the run."""
        self._cost = spec.slot_bytes
        self._young = young_blocks(spec.rate and spec.rate / spec.block_items)

    @property
    def origin(self) -> int:
        """Sequence at which the run began."""
        return self.acked if self._origin is None else self._origin

    @property
    def needed(self) -> int:
        """First sequence that the ring must keep for us."""
        return self.losses.run_end(self._safe)

    @property
    def _safe(self) -> int:
        """First sequence that a Terminal without rings might need again (F8)."""
        return min(self.acked, max(self._durable, self.acked - self._reserve))

    @property
    def _arrived(self) -> int:
        """First sequence that has not come as far as anybody tells: into the recording's files, or to the Terminal."""
        return self._durable if self._is_durable_told else self.acked

    @property
    def is_waiting(self) -> bool:
        """Whether blocks of it could leave if the link, or its budget, took more."""
        return self.state is ForwardState.OPEN and not self._may_send

    @property
    def is_settled(self) -> bool:
        """Whether a recorder that fails now could cost nothing: all that was sent is durable, or was offered the spool.

        Without a spool, or anybody who tells what is durable, there is nothing to wait for.
        """
        is_insured = self._spooled is not None and self._is_durable_told
        return not is_insured or self._flying.end <= max(self._arrived, self._spilled_to)

    def durable(self, end: int, *, is_full: bool = False) -> None:
        """Everything below `end` that was not lost is in the recording's files; which take no more if `is_full`."""
        self._durable = max(self._durable, end)
        self._is_durable_told, self._is_full = True, is_full
        self._flying.land(self._arrived)

    def abandon(self) -> None:
        """Give up whatever is not durable: the process ends, or the run."""
        if self._spooled is not None:
            self._rewind(min(self.acked, self._durable))
        self._patience.abandon()
        self._is_up = False

    @property
    def is_finished(self) -> bool:
        """Whether the Terminal has everything, and END where the run ends here."""
        return self.state is ForwardState.FINISHED

    def stop(self, end: int) -> None:
        """End the run at sequence `end`; what is already on the wire beyond it stays."""
        self._edges.stop_at = end
        self._ends_run = True
        if self.is_finished and not self.has_ended:
            self._go_idle(0.0)  # drained and detached, but nobody has sent the END

    def detach(self) -> None:
        """Another ring took this one's place: send what is left, but no END, for the run goes on there."""
        self._ends_run = False

    def link(self, is_up: bool, now: float) -> None:
        """Note that the connection was made or lost; each connection opens every stream anew."""
        if is_up == self._is_up:
            return
        self._is_up = is_up
        self._patience.link(is_up, now)
        if not is_up and not self.is_finished:
            self._rewind(self.acked)  # F3
            self._go_idle(0.0)

    def opened(self, message: Opened) -> None:
        """Take the Terminal's word on where to go on."""
        if message.opening != self._opening or self.state not in (ForwardState.OPENING, ForwardState.OPEN):
            return
        self.refusal = ""
        self.allowance.reset(message.limit)
        self._end_is_sent = False
        if self._origin is None:  # where a process began that goes on with a run, nothing is known to be safe
            self._durable, self._spilled_to = min(self._durable, message.next), min(self._spilled_to, message.next)
        if message.origin is not None:
            self._origin = message.origin
        self._rewind(message.next)
        self.acked = message.next
        self._origin = self.origin
        self.has_ended = message.ended
        self.state = ForwardState.FINISHED if message.ended else ForwardState.OPEN

    def credited(self, message: Credit) -> None:
        """Take what arrived, and what may follow."""
        if message.opening != self._opening or self.state is not ForwardState.OPEN:
            return
        self.allowance.raise_to(message.limit)
        self._patience.fed()
        if self.acked <= message.next <= self.told:
            self.acked = message.next
            self.losses.settle(message.next)
            if self._is_durable_told:
                self._flying.land(self._arrived)
        if message.ended and self._end_is_sent:
            self.has_ended, self.state = True, ForwardState.FINISHED  # F5

    def refused(self, message: Refused, now: float) -> None:
        """The Terminal cannot take the stream now; ask again later."""
        if message.opening == self._opening and not self.is_finished:
            self.refusal = message.reason
            self._rewind(self.acked)
            self._go_idle(now + RETRY_S)

    def step(self, ring: RingState, now: float) -> Open | Cut | Spill | None:
        """Return what to do next, None if nothing now.  A `Cut` counts only when the shell says `done`."""
        self._flying.land(ring.oldest)
        insured = self._insure() if self._is_full else None
        if insured is not None or self.is_finished:
            return insured
        self.is_over_budget = self._budget is not None and not self._budget.allows(now)
        self._edges.note(ring, self.sent)
        self._edges.settle(min(self.sent, ring.oldest))  # nobody goes back beyond what the ring holds
        self._note_lapped(ring)
        spill = self._give_up(ring, now)
        if spill is not None:
            return spill
        if self.state is ForwardState.IDLE and self._is_up and now >= self._retry_at:
            self.state = ForwardState.OPENING
            self._opening += 1
            return Open(self._opening, self.spec, self._origin, self._safe)
        if self.state is not ForwardState.OPEN:
            return None
        if not self._ends_run and ring.is_final and self.acked == ring.published:
            self.state = ForwardState.FINISHED
            return None
        if self.ladder is not None:
            self._thin_out(self.ladder, ring, now)
        return self._next_cut(ring) if self._may_send else None

    @property
    def _may_send(self) -> bool:
        if self.is_over_budget or not self.allowance.can_spend(self._cost):
            return False
        return self.ladder is None or self._flying.beyond(self.acked) < self._young

    def _tell_ladder(self, ladder: Ladder, now: float) -> None:
        """Tell of a loss, unless the link is still full of what went before the last step."""
        if ladder.changes != self._steps:
            self._steps, self._stepped_at = ladder.changes, self.sent
        if self.acked > self._stepped_at:
            ladder.lost(now)

    def _thin_out(self, ladder: Ladder, ring: RingState, now: float) -> None:
        """Pass over whole blocks that are not to go."""
        ladder.tick(now)
        size = self.spec.block_items
        top, _ = self._edges.top(ring, self.sent)
        while self.sent + size <= top and not ladder.takes((self.sent - self.origin) // size):
            self._lose(self.sent + size, LINK)

    def done(self, cut: Cut) -> None:
        """The block was put on the wire."""
        self.told = self.sent = cut.first + cut.count
        if not cut.count and not cut.flags & BlockFlag.END:
            self.sent = self.losses.run_end(self.told)
        self._flying.add(cut)
        self.allowance.spend(self._cost)
        self._end_is_sent = bool(cut.flags & BlockFlag.END)

    def spilled(self, spill: Spill, *, is_kept: bool) -> None:
        """The spool took the block, or had no room for it."""
        self._spilled_to = spill.cut.first + spill.cut.count
        if self._spilled_to > self.sent:
            self.losses.add(self.sent, self._spilled_to, SPOOLED if is_kept else SPOOL_FULL)
            self.sent = self._spilled_to

    def _next_cut(self, ring: RingState) -> Cut | None:
        loss = self.losses.at(self.told)
        if loss is not None and loss.end < self.sent:  # a second reason follows: one block carries one
            return self._cut(loss.end, 0, BlockFlag.GAP, loss)
        top, is_limit = self._edges.top(ring, self.sent)
        count = min(top - self.sent, self.spec.block_items)
        if count < self.spec.block_items and not is_limit:
            return None  # the block is not full yet
        if count > 0:
            return self._cut(self.sent, count, BlockFlag.NONE, loss)  # F2
        return self._last_cut(loss) if self.sent == self._edges.end(ring, self.sent) else None

    def _last_cut(self, loss: Loss | None) -> Cut | None:
        if self._ends_run:
            return None if self._end_is_sent else self._cut(self.sent, 0, BlockFlag.END, loss)
        return self._cut(self.sent, 0, BlockFlag.GAP, loss) if loss else None

    def _cut(self, first: int, count: int, flags: BlockFlag, loss: Loss | None) -> Cut:
        lost, reason = (loss.end - loss.first, loss.reason) if loss else (0, "")
        if first - lost == self.origin:
            flags |= BlockFlag.BEGIN
        scale = self.ladder.rung.scale if self.ladder is not None and count else 1
        return Cut(first, count, flags, lost, reason, self.origin, self._edges.epoch(first), scale)

    def _note_lapped(self, ring: RingState) -> None:
        if ring.oldest > self.sent:
            # Some room, or the block that is read next is lapped while it is being read.
            margin = min((ring.published - ring.oldest) // 8, self._patience.keep)
            self._drop(ring, ring.oldest + margin, LAPPED)

    def _give_up(self, ring: RingState, now: float) -> Spill | None:
        """Make room in a ring whose items do not leave (F4)."""
        most = self._may_wait(now)
        if self._spooled is None:
            if most is not None and ring.published - self.sent > most:
                self._drop(ring, ring.published - most, LINK)
                if self.ladder is not None:
                    self._tell_ladder(self.ladder, now)
            return None
        waiting = ring.published - self.losses.run_end(max(self._arrived, self._spilled_to))
        if most is not None and waiting > most:
            # Many at once: each stretch is a file of its own in the recording.
            self._spill_to = min(most, self._patience.keep)
        elif self._spill_to is not None and waiting <= self._spill_to:
            self._spill_to = None
        return self._spill(ring, self._spooled) if self._spill_to is not None else None

    def _may_wait(self, now: float) -> int | None:
        """Return how many items may wait in the ring now, None for any number."""
        is_held_up = self._patience.is_held_up(now, is_starved=self.is_waiting)
        if is_held_up and self._spooled is not None and self._edges.stop_at is not None:
            return 0
        # A run may begin with a full ring, and a Terminal takes a while to make its own.
        is_opening = self._spooled is not None and self.state is not ForwardState.OPEN
        is_slow = self.is_waiting or self._is_durable_told or is_opening
        return self._patience.allowed(now, is_refused=now < self._retry_at, is_slow=is_slow)

    def _spill(self, ring: RingState, spooled: SpoolRun) -> Spill | None:
        """Return the next block to spill, None while it is not whole."""
        insured = self._insure()
        if insured is not None:
            return insured
        top, is_limit = self._edges.top(ring, self.sent)
        while True:
            count = min(top - self.sent, self.spec.block_items)
            if count <= 0 or (count < self.spec.block_items and not is_limit):
                return None
            end = self.sent + count
            if spooled.covered(self.sent, end) != [(self.sent, end)]:
                return Spill(self._cut(self.sent, count, BlockFlag.NONE, None))
            self._lose(end, SPOOLED)  # spilled before the link broke

    def _insure(self) -> Spill | None:
        """Return the next block to spill of those that were sent."""
        after = max(self._arrived, self._spilled_to)
        cut = self._flying.next(after, self._spooled) if self._spooled is not None else None
        return Spill(replace(cut, flags=BlockFlag.NONE, lost=0, lost_reason="")) if cut is not None else None

    def _drop(self, ring: RingState, sequence: int, reason: str) -> None:
        """Give up whole blocks until `sequence` is reached, never beyond what is published or must be cut (F2)."""
        size = self.spec.block_items
        blocks = -(-(sequence - self.sent) // size)
        end = self.sent + blocks * size
        top, is_limit = self._edges.top(ring, self.sent)
        if end > top:
            end = top if is_limit else top - (top - self.sent) % size
        self._lose(end, reason)

    def _lose(self, end: int, reason: str) -> None:
        """Note that everything from `sent` to `end` does not go; what an earlier process spooled is not lost."""
        for first, last in self._spooled.covered(self.sent, end) if self._spooled is not None else ():
            self.losses.add(self.sent, first, reason)
            self.losses.add(first, last, SPOOLED)
            self.sent = last
        self.losses.add(self.sent, end, reason)
        self.sent = max(self.sent, end)

    def _rewind(self, sequence: int) -> None:
        self._flying.rewind(sequence)
        self.losses.settle(min(sequence, self.told))
        self.losses.discard_below(sequence)
        self.told = sequence
        self.sent = self.losses.run_end(sequence)
        self.losses.discard_from(self.sent)
        self._end_is_sent = False

    def _go_idle(self, retry_at: float) -> None:
        self.state = ForwardState.IDLE
        self._retry_at = retry_at

    def __repr__(self) -> str:
        return (f"<ForwardStream {self.spec.stream} {self.state.value} sent={self.sent} acked={self.acked} "
                f"lapped={self.losses.total(LAPPED)} link={self.losses.total(LINK)}>")  # fmt: skip
