"""Records one stream: blocks in, segment files out, nothing missing without a reason.

A new segment begins wherever the chunks of the current one cannot go on: another birth or epoch, another shape, after
a short block; and where it has become as large as the rig file allows.  So within a file sequences ascend; whole blocks
may be missing.  Blocks out of a Pilot's spool come late, while live ones go on, and into files of their own.  An item
that is in a file already is passed over, whichever way it came.
"""

from __future__ import annotations

import msgspec
import numpy as np

from pipeline.backfill_name import own_meta
from pipeline.block import Block, BlockFlag
from pipeline.codec import checksum
from pipeline.losses import LIVE
from pipeline.stream_spec import StreamSpec
from shm.counters import MAX_COUNT

from .continuity import BirthAccount
from .errors import DiskError
from .layout import SegmentHead
from .reasons import DISK, RECORDER, UNKNOWN, Gap
from .segment import RAW, SegmentFile
from .segment_lane import SegmentLane
from .segments_recorder import SegmentsRecorder, Site


class StreamRecorder(SegmentsRecorder[SegmentFile]):
    """Stores one stream of a recording; belongs to one thread.

    Args:
        site: of the recording.
        stream: the stream's name.
    """

    def __init__(self, site: Site, stream: str) -> None:
        super().__init__(site, stream)
        self._late: SegmentLane[SegmentFile] = SegmentLane(site.sync, self._synced)
        self.backfilled = 0
        """Items that came out of a spool."""
        self.resumed = False
        """An earlier process recorded here: what is missing at the first block is its loss."""

    def store(self, block: Block, spec: StreamSpec, *, missed: bool = False, joined_late: bool = False) -> int:
        """Store a block, or what of it is not stored yet.

        Args:
            block: as it came; not kept after the call.
            spec: what the stream's source says of itself.
            missed: blocks before this one were overwritten before the recorder could read them.
            joined_late: the recording began in the middle of this run; what was before is none of its business.

        Returns:
            How many items are new in the files.
        """
        header = block.header
        account = self._account(block, joined_late=joined_late)
        silent = RECORDER if missed or self.resumed else UNKNOWN
        self.resumed = False
        gaps = account.advance(header.first, lost=header.lost, lost_reason=header.lost_reason, otherwise=silent)
        self._tell_gaps(account, gaps)
        if header.count == 0:
            if header.is_end:
                self._end(account)
            return 0
        self.ended = False
        stored = self._store(self._lane, block, spec, account)
        account.advance(header.end)  # what was stored before is accounted for, too
        return stored

    def backfill(self, block: Block, spec: StreamSpec) -> int:
        """Store a block out of a Pilot's spool, or what of it is in no file yet; return how many items that is.

        Args:
            block: as it came, but under the live stream's name; what it says of losses concerns the spool alone.
            spec: of the live stream.
        """
        header = block.header
        account = self.births.get(header.birth)
        if account is None:
            account = BirthAccount(header.birth, header.first - header.lost, is_guessed=True)
            self.births[header.birth] = account
        account.guess(header.first - header.lost)
        if header.lost and header.lost_reason != LIVE:
            gap = Gap(header.first - header.lost, header.lost, header.lost_reason)
            account.hear([gap])
            self._tell_gaps(account, (gap,))
        if header.is_end:
            self._close(self._late)
            self._tell("backfilled", birth=f"{account.birth:016x}", items=self.backfilled)
        stored = self._store(self._late, block, spec, account) if header.count else 0
        self.backfilled += stored
        return stored

    def balance(self) -> dict[str, int]:
        """Return the ledger's side of the recording: items accounted for, those of them missing or pending, the end.

        ``accounted == stored + missing + pending``; `end` is of the newest birth, whose low 63 bits are `birth`.
        """
        accounted = sum(account.last - account.origin for account in self.births.values())
        stored = sum(len(account.stored) for account in self.births.values())
        pending = sum(account.pending for account in self.births.values())
        newest = next(reversed(self.births.values()), None)
        return {
            "accounted": accounted,
            "missing": accounted - stored - pending,
            "pending": pending,
            "end": newest.last if newest is not None else 0,
            "birth": newest.birth & MAX_COUNT if newest is not None else 0,
            "ended": int(self.ended),
        }

    def flush(self) -> None:
        """Flush what is live and what came late."""
        super().flush()
        self._flush(self._late)

    def close_segment(self) -> None:
        """End both current segments."""
        super().close_segment()
        self._close(self._late)

    def __repr__(self) -> str:
        state = (self.failed and "FAILED") or ("ended" if self.ended else "recording")
        return f"<StreamRecorder {self.stream} stored={self.stored} durable={self.durable} {state}>"

    def _account(self, block: Block, *, joined_late: bool) -> BirthAccount:
        header = block.header
        account = self.births.get(header.birth)
        if account is None:
            late = joined_late and not header.flags & BlockFlag.BEGIN
            account = BirthAccount(header.birth, header.first if late else min(header.origin, header.first))
            self.births[header.birth] = account
        account.begin(header.origin)
        return account

    def _store(self, lane: SegmentLane[SegmentFile], block: Block, spec: StreamSpec, account: BirthAccount) -> int:
        header = block.header
        fresh = account.fresh(header.first, header.end)
        self.duplicates += header.count - sum(end - first for first, end in fresh)
        return sum(self._write(lane, part_of(block, first, end), spec, account) for first, end in fresh)

    def _write(self, lane: SegmentLane[SegmentFile], block: Block, spec: StreamSpec, account: BirthAccount) -> int:
        header = block.header
        if lane.segment is not None and not self._continues(lane.segment, block):
            self._close(lane)
        if not self.failed:
            try:
                self._segment_for(lane, block, spec, account).append(block)
            except DiskError as error:
                self._fail(error)
        if self.failed:
            if lane is self._lane:
                account.advance(header.end, otherwise=DISK)  # told by `settle`, which knows what the spool has
            return 0
        (account.store if lane is self._lane else account.fill)(header.first, header.count)
        self.stored += header.count
        if lane.segment is not None and lane.segment.is_full:
            self._close(lane)
        return header.count

    def _segment_for(
        self, lane: SegmentLane[SegmentFile], block: Block, spec: StreamSpec, account: BirthAccount
    ) -> SegmentFile:
        if lane.segment is None:
            head = head_of(block, spec, rig=self._site.rig, part=self.next_part, origin=account.origin)
            return self._begin(lane, SegmentFile(self._site.directory / self._next_name(), head))
        return lane.segment

    def _continues(self, segment: SegmentFile, block: Block) -> bool:
        header = block.header
        return _fits(segment, block) and not self._site.rotation.is_due(segment, header.time_ns, header.payload_bytes)

    def _lanes(self) -> list[SegmentLane[SegmentFile]]:
        return [self._lane, self._late]

    def _end(self, account: BirthAccount) -> None:
        self.ended = True
        self._close(self._lane)
        self._tell("end", birth=f"{account.birth:016x}", end=account.end)


def head_of(block: Block, spec: StreamSpec, *, rig: str, part: int, origin: int) -> SegmentHead:
    """Return the head of the segment that begins with this block."""
    header = block.header
    return SegmentHead(
        rig=rig,
        stream=header.stream,
        part=part,
        birth=header.birth,
        epoch=header.epoch,
        first=header.first,
        origin=origin,
        dtype=header.dtype,
        shape=header.shape,
        block_items=header.block_items,
        regular=spec.regular,
        rate=spec.rate or 0.0,
        labels=tuple(spec.labels),
        unit=spec.unit,
        clock_domain=spec.clock.domain,
        clock_monotonic_ns=spec.clock.monotonic_ns,
        clock_realtime_ns=spec.clock.realtime_ns,
        meta=own_meta(spec.meta),
    )


def part_of(block: Block, first: int, end: int) -> Block:
    """Return the items ``[first, end)`` of a block, as a short raw block if they are not all.

    Happens only where two runs of a forwarder cut the same items into blocks differently.
    """
    header = block.header
    if (first, end) == (header.first, header.end):
        return block
    part = slice(first - header.first, end - header.first)
    payload = block.decode()[part].tobytes().ljust(header.raw_bytes, b"\0")
    times = np.ascontiguousarray(block.item_times()[part])
    wire_times = times.tobytes() if memoryview(block.times).nbytes else b""
    rest = msgspec.structs.replace(
        header,
        first=first,
        count=end - first,
        time_ns=int(times[0]),
        codec=RAW,
        payload_bytes=len(payload),
        crc=checksum(wire_times, payload),
    )
    return Block(rest, wire_times, payload)


def _fits(segment: SegmentFile, block: Block) -> bool:
    head, header = segment.head, block.header
    return (
        segment.can_follow(header.first)
        and (head.birth, head.epoch) == (header.birth, header.epoch)
        and (head.dtype, head.shape, head.block_items) == (header.dtype, header.shape, header.block_items)
    )
