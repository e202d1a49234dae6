"""Records one stream: blocks in, segment files out, nothing missing without a reason.

A new segment begins wherever the chunks of the current one cannot go on: another birth or epoch, another shape, after
a short block, after a gap.  So within a file the sequences have no hole.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from pipeline.block import Block, BlockFlag
from pipeline.codec import checksum
from pipeline.stream_spec import StreamSpec

from .continuity import DISK, RECORDER, UNKNOWN, BirthAccount, Gap, join_gaps
from .disksync import DiskSync, Done
from .errors import DiskError, JournalError
from .journal import Journal
from .layout import SegmentHead
from .segment import RAW, SegmentFile

FIRST_PART: Final = 0
log = logging.getLogger(__name__)


def segment_name(stream: str, part: int) -> str:
    """Return the file name of a segment, e.g. ``pilot1.cam0_part-000.h5``."""
    return f"{stream}_part-{part:03d}.h5"


class StreamRecorder:
    """Stores one stream of a recording; belongs to one thread.

    Args:
        directory: the recording's folder.
        rig: name of the rig, for the files.
        stream: the stream's name.
        journal: where gaps and segments are told.
        sync: brings flushed bytes to the disk.
    """

    def __init__(self, directory: Path, rig: str, stream: str, journal: Journal, sync: DiskSync) -> None:
        self.stream = stream
        self.births: dict[int, BirthAccount] = {}
        self.files: list[str] = []
        self.duplicates = 0
        """Items that came again and were in the files already."""
        self.durable = 0
        """Items of this process that are on the disk, counted after fdatasync."""
        self.stored = 0
        """Items in the files, flushed or not, those of an earlier process included."""
        self.ended = False
        self.failed = ""
        """Why the disk took nothing more; empty as long as it does."""
        self.next_part = FIRST_PART
        self.resumed = False
        """An earlier process recorded here: what is missing at the first block is its loss."""
        self._directory = directory
        self._rig = rig
        self._journal = journal
        self._sync = sync
        self._segment: SegmentFile | None = None
        self._sync_running = False

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

    def flush(self) -> None:
        """Make what is stored visible to readers and ask for it to be made durable; at most one sync is under way."""
        segment = self._segment
        if segment is None or self._sync_running:
            return
        try:
            segment.flush()
        except DiskError as error:
            self._fail(error)
            return
        self._sync_running = True
        self._sync.submit(segment.fd, self._set_durable(self.stored))

    def close_segment(self) -> None:
        """End the current segment; its last bytes are synced and its descriptor closed on the sync thread."""
        segment = self._segment
        if segment is None:
            return
        try:
            segment.close()
        except DiskError as error:
            self._fail(error)
            return
        self._segment = None
        self._sync.submit(segment.fd, self._set_durable(self.stored, segment.fd))
        self._tell("segment_closed", file=segment.path.name, end=segment.end, items=segment.items)

    def settle(self) -> None:
        """Tell what was not told: losses to the disk, and what an earlier process saw that did not come again."""
        for account in self.births.values():
            self._tell_gaps(account, account.advance(account.told_end, otherwise=RECORDER))
            if self.failed:
                self._tell_gaps(account, tuple(gap for gap in join_gaps(account.gaps) if gap.reason == DISK))

    def summary(self) -> dict[str, Any]:
        """Return the stream's account as plain values; births as 16 hex digits."""
        return {
            "stored": self.stored,
            "births": {f"{birth:016x}": account.summary() for birth, account in self.births.items()},
            "ended": self.ended,
        }

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
            name = segment_name(self.stream, self.next_part)
            self.next_part += 1
            self._segment = SegmentFile(self._directory / name, head)
            self.files.append(name)
            folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            self._sync.submit(folder, lambda _error: os.close(folder))  # the new name, too, survives a power loss
            self._tell(
                "segment",
                file=name,
                birth=f"{head.birth:016x}",
                epoch=head.epoch,
                origin=head.origin,
                first=head.first,
            )
        return self._segment

    def _tell_gaps(self, account: BirthAccount, gaps: tuple[Gap, ...]) -> None:
        for gap in gaps:
            self._tell(
                "gap",
                birth=f"{account.birth:016x}",
                first=gap.first,
                count=gap.count,
                reason=gap.reason,
            )

    def _end(self, account: BirthAccount) -> None:
        self.ended = True
        self.close_segment()
        self._tell("end", birth=f"{account.birth:016x}", end=account.end)

    def _tell(self, kind: str, **fields: Any) -> None:
        try:
            self._journal.append(kind, stream=self.stream, **fields)
        except JournalError as error:  # the same full disk: the account itself is kept, and told at STOP
            log.error("%s", error)  # noqa: TRY400 - its message says all
            self.failed = self.failed or str(error)

    def _fail(self, error: DiskError) -> None:
        """Take nothing more; what the disk did not keep of the current segment counts as lost."""
        self.failed = str(error)
        log.error("%s: %s", self.stream, error)
        self._tell("disk_failed", error=self.failed)
        segment, self._segment = self._segment, None
        if segment is None:
            return
        kept = segment.abandon()
        account = self.births[segment.head.birth]
        self.stored -= max(0, account.end - kept)
        account.take_back(kept, DISK)
        self._sync.submit(segment.fd, self._set_durable(0, segment.fd))

    def _set_durable(self, stored: int, close_fd: int = -1) -> Done:
        def done(error: str) -> None:
            if error:
                self.failed = error
            else:
                self.durable = max(self.durable, stored)
            if close_fd >= 0:
                os.close(close_fd)
            else:
                self._sync_running = False

        return done


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
