"""One recording: a folder with segment files, a journal, and `session.json` once it is closed.

No process, no ring: blocks are handed in, `tick` is called now and then.  After a crash a new `SessionRecorder` of the
same folder goes on: it reads what the files hold (trimmed as any reader trims), never reopens one for writing, and
continues with new segment numbers; blocks that come again are recognised by birth and sequence.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.backfill_name import live_of
from pipeline.block import Block
from pipeline.stream_spec import StreamSpec
from shm import clock_domain
from stations.folders import make_folder, sync_folder
from stations.rows_ring import PREFIX

from .disksync import DiskSync
from .errors import RecordingFolderError
from .journal import FILE_NAME as JOURNAL_NAME
from .journal import Journal, JournalReading, read_journal
from .reserve import Reserve
from .resume import restore
from .rotation import ENDLESS, Rotation
from .rows_layout import FOLDER
from .rows_recorder import RowsRecorder
from .segments_recorder import Site
from .stream_recorder import StreamRecorder

SUMMARY_NAME: Final = "session.json"
SUMMARY_VERSION: Final = 1
MAX_LOSS_S: Final = 1.0
ROOM_S: Final = 5.0
"""How often a disk that is full is looked at again."""
Kept = Mapping[str, Mapping[int, Iterable[tuple[int, int]]]]
"""What the Pilots' spools hold: ranges of items, by stream and birth."""
log = logging.getLogger(__name__)
_GOLDEN: Final = 0.618
"""Fractions k * golden ratio mod 1 spread any number of streams evenly over the flush period."""


class SessionRecorder:
    """Records many streams into one folder; belongs to one thread.

    Args:
        directory: the recording's folder; made when missing.
        rig: the rig's name.
        streams: those that are expected; others are taken when they come.
        max_loss_s: how much a death of this process may lose; half of it is the flush period.
        resume: go on with what an earlier process recorded there.
        rotation: how large a segment may get.

    Raises:
        RecordingFolderError: the folder cannot be written, or holds a recording and `resume` was not asked for.
    """

    def __init__(
        self,
        directory: Path,
        rig: str,
        streams: Iterable[str] = (),
        *,
        max_loss_s: float = MAX_LOSS_S,
        resume: bool = False,
        rotation: Rotation = ENDLESS,
    ) -> None:
        self.directory = directory
        self.rig = rig
        self.streams: dict[str, StreamRecorder] = {}
        self.rows: dict[str, RowsRecorder] = {}
        """Recorders of message rows by key; whoever reads their ring flushes them, see `RowsIntake`."""
        self.max_loss_s = max_loss_s
        self.is_closed = False
        self.resumed = resume and (directory / JOURNAL_NAME).exists()
        _claim_folder(directory, resume=resume)
        self._reserve = _reserve(directory, is_needed=not self.resumed)
        self.journal = Journal(directory / JOURNAL_NAME)
        self._sync = DiskSync()
        for folder in (directory.parent, directory, directory / FOLDER):
            if folder.is_dir():  # the journal's name, and those of files that a dead process made
                self._sync.submit_folder(folder)
        self._site = Site(directory, rig, self.journal, self._sync, rotation)
        self._flush_at: dict[str, float] = {}
        self._journal_at = 0.0
        self._room_at = 0.0
        self._started_wall_ns = time.time_ns()
        self.before = JournalReading((), ())
        """What the journal told before this process; not gaps, for those are in the accounts."""
        if self.resumed:
            self._restore(read_journal(directory / JOURNAL_NAME))
        for stream in streams:
            self.stream(stream)
        self.journal.tell(
            "resumed" if self.resumed else "recording",
            rig=rig,
            max_loss_s=max_loss_s,
            clock_domain=clock_domain(),
            pid=os.getpid(),
            stored={recorder.stream: recorder.stored for recorder in self.recorders()},
        )

    def stream(self, name: str) -> StreamRecorder:
        """Return the recorder of a stream, made when it is new."""
        if name not in self.streams:
            self.streams[name] = StreamRecorder(self._site, name)
        return self.streams[name]

    def row(self, key: str) -> RowsRecorder:
        """Return the recorder of a key's rows, made when it is new."""
        if key not in self.rows:
            self.rows[key] = RowsRecorder(self._site, f"{PREFIX}{key}")
        return self.rows[key]

    def recorders(self) -> Iterator[StreamRecorder | RowsRecorder]:
        """Yield the recorders of all streams, those of rows last."""
        yield from self.streams.values()
        yield from self.rows.values()

    def store(self, block: Block, spec: StreamSpec, *, missed: bool = False, joined_late: bool = False) -> int:
        """Store a block of any stream; see `StreamRecorder.store`."""
        recorder = self.stream(block.header.stream)
        return recorder.store(block, spec, missed=missed, joined_late=joined_late)

    def backfill(self, block: Block, spec: StreamSpec) -> int:
        """Store a block out of a Pilot's spool, as it came: its stream has the name of a backfill."""
        name = live_of(spec.stream)
        live = msgspec.structs.replace(spec, stream=name)
        header = msgspec.structs.replace(block.header, stream=name)
        return self.stream(name).backfill(Block(header, block.times, block.payload), live)

    def tick(self, now: float) -> int:
        """Flush the streams whose turn it is; return how many.

        Each stream is flushed every ``max_loss_s / 2``, at instants of its own, so that the disk never gets them all
        at once.

        Args:
            now: seconds, monotonic.
        """
        period = self.max_loss_s / 2
        flushed = 0
        for index, (name, recorder) in enumerate(self.streams.items()):
            due = self._flush_at.setdefault(name, now + period * (index * _GOLDEN % 1.0))
            if now >= due:
                recorder.flush()
                self._flush_at[name] = max(due + period, now)
                flushed += 1
        for one in self.recorders():
            one.note_synced()
        if now >= self._journal_at:
            self._sync.submit(self.journal.fileno(), _nothing)
            self._journal_at = now + period
        if now >= self._room_at:
            self._room_at = now + ROOM_S
            for failed in [recorder for recorder in self.recorders() if recorder.failed]:
                failed.try_again()
        return flushed

    def is_drained(self, expected: Iterable[str]) -> bool:
        """Whether each of these streams has come to its END."""
        return all(name in self.streams and self.streams[name].ended for name in expected)

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return the account of each stream; see `SegmentsRecorder.summary`.

        Keys that had rows only before the recording are none of its streams.
        """
        return {recorder.stream: recorder.summary() for recorder in self.recorders() if not _is_empty(recorder)}

    def coherence(self) -> dict[str, dict[str, Any]]:
        """Return what of each stream is compared with others; see `SegmentsRecorder.coherence`."""
        return {recorder.stream: recorder.coherence() for recorder in self.recorders()}

    def close(self, kept: Kept | None = None) -> dict[str, dict[str, Any]]:
        """Close all files, bring them to the disk, write `session.json`; return the summary.

        Args:
            kept: what of it is in spools: if it is missing here, it is pending.

        Raises nothing that is the disk's fault: what it did not take is in the summary and in the log.
        """
        if self.is_closed:
            return self.summary()
        self.is_closed = True
        if self._reserve is not None:
            self._reserve.release()
        for recorder in self.recorders():
            recorder.close_segment()
        self._sync.close()
        for recorder in self.recorders():
            recorder.settle((kept or {}).get(recorder.stream, {}))
        summary = self.summary()
        self.journal.tell("closed", stored={name: row["stored"] for name, row in summary.items()})
        self.journal.close()
        try:
            self._write_summary(summary)
        except OSError as error:
            log.error("%s: no %s: %s", self.directory, SUMMARY_NAME, error.strerror)  # noqa: TRY400 - says all
        return summary

    def __repr__(self) -> str:
        stored = sum(recorder.stored for recorder in self.recorders())
        state = "closed" if self.is_closed else "recording"
        return f"<SessionRecorder {self.directory.name} {state} streams={len(self.streams)} stored={stored}>"

    def _restore(self, journal: JournalReading) -> None:
        for name, past in restore(self.directory, journal).items():
            if name.startswith(PREFIX):
                self.row(name.removeprefix(PREFIX)).restore(past)
                continue
            stream = self.stream(name)
            stream.restore(past)
            stream.ended, stream.resumed = past.ended, True
        self.before = JournalReading(tuple(event for event in journal.events if event.kind != "gap"), ())
        begun = next(self.before.of_kind("recording"), None)
        self._started_wall_ns = begun.wall_ns if begun is not None else self._started_wall_ns

    def _write_summary(self, summary: dict[str, dict[str, Any]]) -> None:
        files = {recorder.stream: recorder.files for recorder in self.recorders()}
        content = {
            "version": SUMMARY_VERSION,
            "rig": self.rig,
            "started_wall_ns": self._started_wall_ns,
            "closed_wall_ns": time.time_ns(),
            "max_loss_s": self.max_loss_s,
            "streams": {name: {**row, "files": files[name]} for name, row in summary.items()},
        }
        write_atomically(self.directory / SUMMARY_NAME, msgspec.json.format(msgspec.json.encode(content), indent=2))


def _is_empty(recorder: StreamRecorder | RowsRecorder) -> bool:
    return isinstance(recorder, RowsRecorder) and all(row.end == row.origin for row in recorder.births.values())


def write_atomically(path: Path, content: bytes) -> None:
    """Put a file in place at once: whoever looks sees the old one or the new one, also after a power loss."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _reserve(directory: Path, *, is_needed: bool) -> Reserve | None:
    try:
        return Reserve(directory)
    except OSError as error:
        if is_needed:
            raise RecordingFolderError(
                f"{directory}: cannot record there: {error.strerror}; make room, or name another folder"
            ) from error
        log.error("%s: nothing can be kept for the end: %s", directory, error.strerror)  # noqa: TRY400 - says all
        return None


def _claim_folder(directory: Path, *, resume: bool) -> None:
    try:
        make_folder(directory, exist_ok=True)
        found = (*directory.glob("*.h5"), *(directory / FOLDER).glob("*.h5"))
        held = sorted(path.name for path in found) + [p.name for p in directory.glob(SUMMARY_NAME)]
    except OSError as error:
        raise RecordingFolderError(
            f"{directory}: cannot record there: {error.strerror}; name another folder"
        ) from error
    if held and not resume:
        raise RecordingFolderError(f"{directory}: holds a recording already ({held[0]}); name another folder")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise RecordingFolderError(f"{directory}: not writable for this user; name another folder")


def _nothing(_error: str) -> None:
    """What a journal's sync does afterwards."""
