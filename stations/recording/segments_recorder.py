"""What recorders of blocks and of rows share: segment files one after the other, flushed, synced and accounted for."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from .continuity import DISK, RECORDER, BirthAccount, Gap, join_gaps
from .disksync import DiskSync, Done
from .errors import DiskError, JournalError
from .journal import Journal
from .resume import Past

FIRST_PART: Final = 0
log = logging.getLogger(__name__)


class Head(Protocol):
    """What the journal tells of a segment that begins."""

    @property
    def birth(self) -> int:
        """Identity of the ring."""

    @property
    def epoch(self) -> int:
        """Takeovers of its writer."""

    @property
    def origin(self) -> int:
        """Where the recording of this birth began."""

    @property
    def first(self) -> int:
        """Sequence of the first item."""


class Segment(Protocol):
    """A file that is being written; belongs to one thread."""

    path: Path
    fd: int
    items: int

    @property
    def head(self) -> Head:
        """Whose items they are."""

    @property
    def end(self) -> int:
        """The sequence after the last item."""

    def flush(self) -> int:
        """Make everything visible to readers."""

    def close(self) -> None:
        """Flush and close."""

    def abandon(self) -> int:
        """Close what can be closed after the disk failed; return the sequence after the last item kept."""


File = TypeVar("File", bound=Segment)


def segment_name(stream: str, part: int) -> str:
    """Return the file name of a segment, e.g. ``pilot1.cam0_part-000.h5``."""
    return f"{stream}_part-{part:03d}.h5"


class SegmentsRecorder(Generic[File]):
    """Keeps the segments and the account of one stream; belongs to one thread.

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
        self._directory = directory
        self._rig = rig
        self._journal = journal
        self._sync = sync
        self._segment: File | None = None
        self._sync_running = False

    def restore(self, past: Past) -> None:
        """Go on from what an earlier process left in the files."""
        self.births, self.files, self.next_part = past.births, past.files, past.next_part
        self.stored = self.durable = past.stored

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
        self._tell("segment_closed", file=self.files[-1], end=segment.end, items=segment.items)

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

    def coherence(self) -> dict[str, Any]:
        """Return what is compared with others: items and the last sequence, of all and by birth."""
        births = {
            f"{birth:016x}": {"count": len(account.stored), "last": (account.stored.end or 0) - 1}
            for birth, account in self.births.items()
            if len(account.stored)
        }
        last = next(reversed(births.values()))["last"] if births else -1
        return {"count": self.stored, "last": last, "births": births}

    def _next_name(self) -> str:
        name = segment_name(self.stream, self.next_part)
        self.next_part += 1
        return name

    def _begin(self, segment: File) -> File:
        """Go on in a new segment, and tell."""
        name, head = str(segment.path.relative_to(self._directory)), segment.head
        self._segment = segment
        self.files.append(name)
        for folder in {segment.path.parent, self._directory}:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            self._sync.submit(fd, _closing(fd))  # the new name, too, survives a power loss
        self._tell(
            "segment", file=name, birth=f"{head.birth:016x}", epoch=head.epoch, origin=head.origin, first=head.first
        )
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


def _closing(fd: int) -> Done:
    return lambda _error: os.close(fd)
