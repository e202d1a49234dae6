"""What recorders of blocks and of rows share: segment files one after the other, flushed, synced and accounted for."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic

from .continuity import BirthAccount
from .disksync import DiskSync
from .errors import DiskError
from .journal import Journal
from .ranges import Ranges
from .reasons import DISK, RECORDER, Gap
from .resume import Past
from .rotation import ENDLESS, Rotation
from .segment_lane import File, SegmentLane, Synced, sync_file

FIRST_PART: Final = 0
ROOM_BYTES: Final = 32 * 1024 * 1024
"""A disk that failed is tried again when it has so much more room than when it did."""
MOST_GROWN: Final = 1024
"""Runs that are remembered for who asks what came to the disk; most of a recording that is resumed did long ago."""
log = logging.getLogger(__name__)


def segment_name(stream: str, part: int) -> str:
    """Return the file name of a segment, e.g. ``pilot1.cam0_part-000.h5``."""
    return f"{stream}_part-{part:03d}.h5"


@dataclass(frozen=True, slots=True)
class Site:
    """Where all recorders of a recording write, and to whom they tell what they do.

    Args:
        directory: the recording's folder.
        rig: name of the rig, for the files.
        journal: where gaps and segments are told.
        sync: brings flushed bytes to the disk.
        rotation: how large a segment may get.
    """

    directory: Path
    rig: str
    journal: Journal
    sync: DiskSync
    rotation: Rotation = ENDLESS


class SegmentsRecorder(Generic[File]):
    """Keeps the segments and the account of one stream; belongs to one thread.

    Args:
        site: of the recording.
        stream: the stream's name.
    """

    def __init__(self, site: Site, stream: str) -> None:
        self.stream = stream
        self.births: dict[int, BirthAccount] = {}
        self.files: list[str] = []
        self.duplicates = 0
        """Items that came again and were in the files already."""
        self.stored = 0
        """Items in the files, flushed or not, those of an earlier process included."""
        self.ended = False
        self.failed = ""
        """Why the disk takes nothing more; empty while it does."""
        self._has_failed = False
        self._room: int | None = None
        """Bytes that were free when the disk failed."""
        self.next_part = FIRST_PART
        self._site = site
        self._synced = Synced()
        self._durable: defaultdict[int, Ranges] = defaultdict(Ranges)
        self._durable_items = 0
        self._grown: deque[tuple[int, int]] = deque(maxlen=MOST_GROWN)
        self._lane: SegmentLane[File] = SegmentLane(site.sync, self._synced)

    def restore(self, past: Past) -> None:
        """Go on from what an earlier process left in the files."""
        self.births, self.files, self.next_part = past.births, past.files, past.next_part
        self.stored = past.stored
        for name, told in past.pieces:
            sync_file(self._site.sync, self._synced, self._site.directory / name, told)

    @property
    def durable(self) -> int:
        """Items that are on the disk, counted after fdatasync."""
        self.durable_ranges()
        return self._durable_items

    def durable_ranges(self) -> dict[int, Ranges]:
        """Return what is on the disk, by birth."""
        self.note_synced()
        return self._durable

    def take_grown(self) -> dict[int, set[int]]:
        """Return where, by birth, more has come to the disk since the last call, as far back as `MOST_GROWN`."""
        self.note_synced()
        grown: defaultdict[int, set[int]] = defaultdict(set)
        while self._grown:
            birth, first = self._grown.popleft()
            grown[birth].add(first)
        return grown

    def note_synced(self) -> None:
        """Take note of what was brought to the disk, and tell of the files that are complete there."""
        while self._synced.ranges:
            birth, first, end = self._synced.ranges.popleft()
            self._durable_items += end - first - self._durable[birth].add(first, end)
            self._grown.append((birth, first))
        while self._synced.closed:
            path, end, items = self._synced.closed.popleft()
            self._tell("segment_closed", file=self._name_of(path), end=end, items=items)
        self.failed = self.failed or self._synced.failed
        self._has_failed = self._has_failed or bool(self.failed)

    def flush(self) -> None:
        """Make what is stored visible to readers and ask for it to be made durable; at most one sync is under way."""
        self._flush(self._lane)

    def close_segment(self) -> None:
        """End the current segment; its last bytes are synced and its descriptor closed on the sync thread."""
        self._close(self._lane)

    def try_again(self) -> None:
        """Go on, in a new segment, if the disk that failed has room again."""
        free = shutil.disk_usage(self._site.directory).free
        self._room = free if self._room is None else self._room
        if free >= self._room + ROOM_BYTES:
            self.failed = self._synced.failed = ""
            self._room = None
            self._tell("disk_back")

    def settle(self, kept: Mapping[int, Iterable[tuple[int, int]]]) -> None:
        """Tell what was not told: losses to the disk, and what an earlier process saw that did not come again.

        Args:
            kept: what the Pilot's spool holds, by birth; of what is missing that is no loss.
        """
        self.note_synced()
        for account in self.births.values():
            self._tell_gaps(account, account.advance(account.told_end, otherwise=RECORDER))
            self._tell_gaps(account, account.pend(kept.get(account.birth, ())))
            if self._has_failed:
                self._tell_gaps(account, tuple(gap for gap in account.missing() if gap.reason == DISK))

    def summary(self) -> dict[str, Any]:
        """Return the stream's account as plain values; births as 16 hex digits."""
        return {
            "stored": self.stored,
            "births": {f"{birth:016x}": account.summary() for birth, account in self.births.items()},
            "ended": self.ended,
        }

    def coherence(self) -> dict[str, Any]:
        """Return what is compared with others: items and the last sequence, of all and by birth."""
        births = {
            f"{birth:016x}": {"count": len(account.stored), "last": (account.stored.end or 0) - 1}
            for birth, account in self.births.items()
            if len(account.stored)
        }
        last = next(reversed(births.values()))["last"] if births else -1
        return {"count": self.stored, "last": last, "births": births}

    def _flush(self, lane: SegmentLane[File]) -> None:
        if lane.is_syncing:
            return
        try:
            lane.flush()
        except DiskError as error:
            self._fail(error)

    def _close(self, lane: SegmentLane[File]) -> None:
        try:
            lane.close()
        except DiskError as error:
            self._fail(error)

    def _name_of(self, path: Path) -> str:
        return str(path.relative_to(self._site.directory))

    def _next_name(self) -> str:
        name = segment_name(self.stream, self.next_part)
        self.next_part += 1
        return name

    def _begin(self, lane: SegmentLane[File], segment: File) -> File:
        """Go on in a new segment, and tell."""
        name, head = self._name_of(segment.path), segment.head
        lane.begin(segment)
        self.files.append(name)
        told = {"birth": f"{head.birth:016x}", "epoch": head.epoch, "origin": head.origin, "first": head.first}
        guessed = {"guessed": True} if self.births[head.birth].is_guessed else {}
        self._tell("segment", file=name, **told, **guessed)
        return segment

    def _tell_gaps(self, account: BirthAccount, gaps: tuple[Gap, ...]) -> None:
        for gap in gaps:
            self._tell(
                "gap",
                birth=f"{account.birth:016x}",
                first=gap.first,
                count=gap.count,
                reason=gap.reason,
            )

    def _tell(self, kind: str, **fields: Any) -> None:
        self._site.journal.tell(kind, stream=self.stream, **fields)

    def _fail(self, error: DiskError) -> None:
        """Take nothing more; what the disk did not keep of the current segment counts as lost."""
        self.failed, self._has_failed = str(error), True
        self._room = shutil.disk_usage(self._site.directory).free
        log.error("%s: %s", self.stream, error)
        self._tell("disk_failed", error=self.failed)
        for lane in self._lanes():
            abandoned = lane.abandon()
            if abandoned is not None:
                segment, kept = abandoned
                account = self.births[segment.head.birth]
                # Not all from there to its end: other files may hold what is missing in this one.
                self.stored -= sum(account.take_back(*run, DISK) for run in segment.runs_from(kept))

    def _lanes(self) -> list[SegmentLane[File]]:
        return [self._lane]
