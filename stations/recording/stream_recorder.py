"""Records one stream: blocks in, segment files out, nothing missing without a reason.

A new segment begins wherever the chunks of the current one cannot go on: another birth or epoch, another shape, after
a short block, after a gap.  So within a file the sequences have no hole.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from pipeline.block import Block, BlockFlag
from pipeline.codec import checksum
from pipeline.stream_spec import StreamSpec

from .continuity import DISK, RECORDER, UNKNOWN, BirthAccount
from .disksync import DiskSync
from .errors import DiskError
from .journal import Journal
from .layout import SegmentHead
from .segment import RAW, SegmentFile
from .segments_recorder import SegmentsRecorder


class StreamRecorder(SegmentsRecorder[SegmentFile]):
    """Stores one stream of a recording; belongs to one thread.

    Args:
        directory: the recording's folder.
        rig: name of the rig, for the files.
        stream: the stream's name.
        journal: where gaps and segments are told.
        sync: brings flushed bytes to the disk.
    """

    def __init__(self, directory: Path, rig: str, stream: str, journal: Journal, sync: DiskSync) -> None:
        super().__init__(directory, rig, stream, journal, sync)
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
        known = account.end - header.first
        if known >= header.count:
            self.duplicates += header.count
            return 0
        if known:
            self.duplicates += known
            block = without_first(block, known)
        return self._write(block, spec, account)

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
        return account

    def _write(self, block: Block, spec: StreamSpec, account: BirthAccount) -> int:
        header = block.header
        if not self.failed:
            try:
                self._segment_for(block, spec, account).append(block)
            except DiskError as error:
                self._fail(error)
        if self.failed:
            account.advance(header.first + header.count, otherwise=DISK)  # told once, by `settle`
            return 0
        account.store(header.first, header.count)
        self.stored += header.count
        if self._segment is not None and self._segment.is_full:
            self.close_segment()
        return header.count

    def _segment_for(self, block: Block, spec: StreamSpec, account: BirthAccount) -> SegmentFile:
        if self._segment is not None and not _continues(self._segment, block):
            self.close_segment()
        if self._segment is None:
            head = head_of(block, spec, rig=self._rig, part=self.next_part, origin=account.origin)
            return self._begin(SegmentFile(self._directory / self._next_name(), head))
        return self._segment

    def _end(self, account: BirthAccount) -> None:
        self.ended = True
        self.close_segment()
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
        meta=spec.meta,
    )


def without_first(block: Block, known: int) -> Block:
    """Return the rest of a block whose first items are stored already, as a short raw block.

    Happens only where two runs of a forwarder cut the same items into blocks differently.
    """
    header = block.header
    items = block.decode()[known:]
    payload = items.tobytes().ljust(header.raw_bytes, b"\0")
    times = np.ascontiguousarray(block.item_times()[known:])
    wire_times = times.tobytes() if memoryview(block.times).nbytes else b""
    rest = msgspec.structs.replace(
        header,
        first=header.first + known,
        count=header.count - known,
        time_ns=int(times[0]),
        codec=RAW,
        payload_bytes=len(payload),
        crc=checksum(wire_times, payload),
    )
    return Block(rest, wire_times, payload)


def _continues(segment: SegmentFile, block: Block) -> bool:
    head, header = segment.head, block.header
    return (
        not segment.is_full
        and segment.end == header.first
        and (head.birth, head.epoch) == (header.birth, header.epoch)
        and (head.dtype, head.shape, head.block_items) == (header.dtype, header.shape, header.block_items)
    )
