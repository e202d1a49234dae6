"""One named stream on the Pilot: finds its ring and follows it through restarts of its writer.

A feed has one `ForwardStream` at a time.  A ring that appears late begins at its first item; one that was replaced is
drained first, then the run goes on in the new one, under its new birth.  It belongs to the forwarder's thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from shm import RingReader, SegmentNotFoundError, ShmError

from .backfill_name import RUN
from .beginning import Beginning, Since, beginning_at, beginning_in
from .budget import Budget
from .codec_choice import encoder_of
from .forward_effects import Spill
from .forward_stream import ForwardStream
from .ladder import IMAGES, OTHERS, Ladder
from .losses import LAPPED, LINK, SPOOL_FULL, SPOOLED
from .reduction import is_image
from .ring_cutter import RingCutter
from .ring_look import LOOK_S, RingLook, until_full_s
from .ring_watch import RingWatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .block import Block
    from .forward_effects import Cut, RingState
    from .spool import Spool
    from .spool_run import SpoolRun

SLOW_S: Final = 0.2
"""What may wait for the link when a stream is not lossless."""

REASONS: Final = (LAPPED, LINK, SPOOLED, SPOOL_FULL)

Origin = int | Since | Literal["now", "resume"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """How one stream is forwarded.

    Attributes:
        ring: full name of its ring.
        codec: see `encoder_of`.
        seconds: how much of it the Terminal's ring keeps ...
        slots: ... or how many blocks.
        lossless: False gives up old blocks at once when the link is slow.
        max_bytes_s: what it may use of the link, payload bytes a second; None: as many as the link carries.
    """

    ring: str
    codec: str = "auto"
    seconds: float = 3.0
    slots: int | None = None
    lossless: bool = True
    max_bytes_s: float | None = None


@dataclass(slots=True)
class FeedCounts:
    """What one stream has put on the wire."""

    items: int = 0
    blocks: int = 0
    bytes: int = 0
    raw_bytes: int = 0

    def add(self, block: Block, item_bytes: int) -> None:
        """Count one block."""
        self.items += block.header.count
        self.blocks += 1
        self.bytes += block.header.payload_bytes
        self.raw_bytes += block.header.count * item_bytes


class Feed:
    """Follows one stream.

    Args:
        stream: its name, the sensor's address.
        reader_name: what the lossless reader calls itself in the ring's table.
        options: see `FeedOptions`.
        spool: where what cannot leave is kept, if the stream is lossless.
    """

    def __init__(self, stream: str, reader_name: str, options: FeedOptions, spool: Spool | None = None) -> None:
        encoder_of(options.codec)  # an unknown name is refused here, in the caller's thread
        self._spool = spool if options.lossless else None
        self._spool_run: SpoolRun | None = None
        self._run = ""
        self._is_full: bool | None = None
        """The recording of this run takes nothing now; None while nobody tells of it."""
        self.ladder = None if options.lossless else Ladder()
        self._budget = Budget(options.max_bytes_s) if options.max_bytes_s is not None else None
        self.stream = stream
        self.options = options
        self.reader: RingReader | None = None
        self.machine: ForwardStream | None = None
        self.counts = FeedCounts()
        self.is_running = False
        self.beginning: Beginning | None = None
        """Where the run began, if it was to begin at a time."""
        self._watch: RingWatch | None = None
        self._reader_name = reader_name
        self._cutter: RingCutter | None = None
        self._origin: Origin = "now"
        self._is_stopping = False
        self._stop_at: int | None = None
        self._look_at = 0.0
        self._is_replaced = False
        self._look: RingLook | None = None
        self._earlier = dict.fromkeys(REASONS, 0)
        self._link_is_up = False
        self._waited = False

    @property
    def is_finished(self) -> bool:
        """Whether the Terminal has the END of the run, or there was nothing to send."""
        if self.machine is None:
            return self._is_stopping
        return self.machine.has_ended

    @property
    def is_unanswered(self) -> bool:
        """Whether a run goes on whose Terminal has not said that it has everything."""
        return self.is_running and not self.is_finished

    def watch(self) -> None:
        """Forward nothing, but follow the ring: the next run may begin with what it retains.

        What has not left of the run before goes into the spool.
        """
        self.rescue()
        self._leave()
        self.is_running = False
        self._watch = RingWatch(self.options.ring)

    def start(self, origin: Origin, now: float, run: str = "") -> int | None:
        """Begin a run, called `run`; return its first sequence, None while nobody knows it.

        What has not left of the run before goes into the spool.
        """
        self.rescue()
        self._leave()
        self._run, self._is_full = run, None
        self.is_running, self._is_stopping, self._stop_at = True, False, None
        self._origin = origin
        self.beginning = None
        if self._watch is not None:
            self._watch.look(now)
        self._attach(now)
        return self.machine.origin if self.machine is not None and origin != "resume" else None

    def stop(self, end: int | None) -> None:
        """End the run at sequence `end`; None: at what is published now."""
        self._unwatch()
        self._is_stopping, self._stop_at = True, end
        if self.machine is not None and self.reader is not None:
            self.machine.stop(self.reader.published if end is None else end)

    def link(self, is_up: bool, now: float) -> None:
        """Note that the connection was made or lost."""
        self._link_is_up = is_up
        if self.machine is not None:
            self.machine.link(is_up, now)

    def look(self, now: float) -> RingState | None:
        """Return the ring as it is now; None if there is nothing to forward."""
        if not self.is_running:
            if self._watch is not None:
                self._watch.look(now)
            return None
        if now >= self._look_at:
            self._look_around(now)
        return self._look.state(is_replaced=self._is_replaced) if self._look is not None else None

    def block(self, cut: Cut) -> Block | None:
        """Return the block that the machine asks for; None if its items were overwritten meanwhile."""
        return self._cutter.block(cut) if self._cutter is not None else None

    def sent(self, cut: Cut, block: Block) -> None:
        """Note that a block is on the wire."""
        if self.machine is not None:
            self.machine.done(cut)
            self.counts.add(block, self.machine.spec.item_bytes)
        if self._budget is not None:
            self._budget.spend(block.header.payload_bytes)

    def spill(self, effect: Spill) -> int:
        """Put a block into the spool; return 1, or 0 if its items were overwritten meanwhile."""
        block, machine = self.block(effect.cut), self.machine
        if block is None or machine is None or self._spool is None or self._spool_run is None:
            return 0
        machine.spilled(effect, is_kept=self._spool.put(self._spool_run, block))
        return 1

    def rescue(self) -> None:
        """Put everything that has not left into the spool: the process ends, or the run."""
        machine, reader = self.machine, self.reader
        if machine is None or reader is None or self._spool_run is None or not self.is_unanswered:
            return
        if not self._is_stopping:
            machine.stop(reader.published)
        machine.abandon()
        while (ring := self.look(0.0)) is not None:
            effect = machine.step(ring, 0.0)
            if not isinstance(effect, Spill) or not self.spill(effect):
                return

    def durable(self, run: str, births: Mapping[int, Sequence[tuple[int, int]]], *, is_full: bool) -> None:
        """Note what the recording holds, by birth, and whether its disk takes no more."""
        if run != self._run:
            return
        self._is_full = is_full
        if self.machine is not None:
            held = births.get(self.machine.spec.birth, ())
            self.machine.durable(max((end for _, end in held), default=0), is_full=is_full)

    @property
    def pending(self) -> int:
        """Items of this run that are in the spool."""
        return self._spool.pending(self.stream, self._run) if self._spool is not None else 0

    def kept(self) -> dict[int, list[tuple[int, int]]]:
        """Return what of this run is in the spool, by birth; costs a look at every block."""
        return self._spool.kept(self.stream, self._run) if self._spool is not None else {}

    @property
    def wants_link(self) -> bool:
        """Whether more of it waits for the link than one block."""
        machine = self.machine
        if machine is None or machine.is_over_budget:
            return False
        return machine.is_waiting or self.lag > machine.spec.block_items

    @property
    def idle_s(self) -> float:
        """Seconds for which the source, at its rate, cannot fill another block; 0 if it might at any time."""
        machine, reader = self.machine, self.reader
        if machine is None or reader is None:
            return 0.0
        return until_full_s(machine.spec, machine.sent, reader.published)

    def release(self) -> None:
        """Let the ring's writer overwrite what nobody will ask for again."""
        if self.reader is not None and self.machine is not None and self.machine.needed > self.reader.position:
            self.reader.seek(min(self.machine.needed, self.reader.published))

    def dropped(self, reason: str) -> int:
        """Return the items given up for a reason, since the feed was made."""
        current = self.machine.losses.total(reason) if self.machine is not None else 0
        return self._earlier[reason] + current

    @property
    def lag(self) -> int:
        """Items published and not yet on the wire."""
        if self.reader is None or self.machine is None or not self.is_unanswered:
            return 0
        return max(0, self.reader.published - self.machine.sent)

    @property
    def published(self) -> int:
        """Items of the ring that are whole; 0 without a ring."""
        return self.reader.published if self.reader is not None else 0

    def close(self) -> None:
        """Leave the ring."""
        self._leave()
        self._unwatch()
        self.is_running = False

    def _look_around(self, now: float) -> None:
        """Find a ring that is new; every `LOOK_S`, for it costs system calls."""
        self._look_at = now + LOOK_S
        reader, machine = self.reader, self.machine
        if reader is None or machine is None:
            if not self._is_stopping:
                self._attach(now)
            return
        is_gone = not reader.writer_alive and reader.is_superseded
        self._is_replaced = is_gone or (self._is_stopping and not reader.writer_alive)
        if not is_gone or self._is_stopping:
            return
        if not reader.ended:
            machine.detach()
        if machine.is_finished:
            self._follow(now)

    def _follow(self, now: float) -> None:
        """Go on in the ring that took the old one's place, if it is there yet."""
        try:
            successor = RingReader.attach(
                self.options.ring, policy="lossless", reader=self._reader_name, start="oldest"
            )
        except (SegmentNotFoundError, ShmError):
            return
        self._leave()
        self._adopt(successor, 0, now)

    def _attach(self, now: float) -> None:
        self._look_at = now + LOOK_S
        begins_here = self._origin == "now" or isinstance(self._origin, Since)
        is_late = self.machine is None and begins_here and self._waited
        start: int | Literal["newest", "oldest"] = "newest"
        if isinstance(self._origin, int):
            start = self._origin
        elif is_late:
            start = "oldest"
        try:
            reader = RingReader.attach(self.options.ring, policy="lossless", reader=self._reader_name, start=start)
        except SegmentNotFoundError:
            self._waited = True
            return
        except ShmError as error:
            self._waited = True
            log.warning("%s: ring %s cannot be read: %s", self.stream, self.options.ring, error)
            return
        if isinstance(self._origin, int):
            self.beginning = beginning_at(reader, self._origin)
            self._adopt(reader, self._origin, now)
        elif isinstance(self._origin, Since) and not is_late:
            self.beginning = beginning_in(reader, self._origin.time_ns)
            reader.seek(self.beginning.sequence)
            self._adopt(reader, self.beginning.sequence, now)
        elif self._origin == "resume":
            self._adopt(reader, None, now)
        else:
            self._adopt(reader, 0 if is_late else reader.published, now)

    def _adopt(self, reader: RingReader, origin: int | None, now: float) -> None:
        options = self.options
        self.reader = reader
        self._cutter = RingCutter(reader, self.stream, options.codec, seconds=options.seconds, slots=options.slots)
        spec = self._cutter.spec
        if self._run:
            spec = msgspec.structs.replace(spec, meta={**spec.meta, RUN: self._run})
        if self.ladder is not None:
            self.ladder.rungs = IMAGES if is_image(spec.shape) else OTHERS
        keep, most = reader.slots // 2, reader.slots * 7 // 8
        if not options.lossless:
            keep = most = min(keep, max(2 * spec.block_items, int(SLOW_S * (spec.rate or 0.0))))
        start = reader.published if origin is None else origin
        watched = self._watch.seams(spec.birth, start) if self._watch is not None else None
        epoch, seams = watched or (spec.epoch, ())
        spec = msgspec.structs.replace(spec, epoch=epoch)
        self._unwatch()
        if self._spool is not None:
            self._spool_run = self._spool.run(self._run, spec)
        self.machine = ForwardStream(
            spec,
            origin=origin,
            start=start,
            keep=keep,
            most=most,
            spooled=self._spool_run,
            ladder=self.ladder,
            reserve=reader.slots // 4 if self._spool is not None else 0,
            budget=self._budget,
            seams=seams,
        )
        self._look = RingLook(reader)
        self._is_replaced = False
        self.machine.link(self._link_is_up, now)
        if self._is_full is not None:
            self.machine.durable(0, is_full=self._is_full)
        if self._is_stopping:
            self.machine.stop(reader.published if self._stop_at is None else self._stop_at)

    def _leave(self) -> None:
        for reason in self._earlier:
            self._earlier[reason] = self.dropped(reason)
        self.machine = self._cutter = self._spool_run = self._look = None
        if self.reader is not None:
            self.reader.close()
            self.reader = None
        self._waited = False
        self._is_replaced = False

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def __repr__(self) -> str:
        return f"<Feed {self.stream} {self.machine!r}>" if self.machine else f"<Feed {self.stream} waits for its ring>"
