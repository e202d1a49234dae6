"""Recordings: segment files that survive their writer, the journal beside them, and what reads and checks both."""

from .aligned_time import AlignedTime
from .clocks import Clocks
from .errors import (
    DiskError,
    JournalError,
    RecordingError,
    RecordingFolderError,
    SegmentFormatError,
    SegmentFullError,
    StreamChangedError,
)
from .journal import Event, Journal, JournalReading, read_journal
from .reader import Recording
from .recorded_gaps import RecordedGap
from .recover import RecoverReport, recover
from .report import Report, StreamReport
from .rows_reader import RowsReader
from .segment import SegmentFile
from .segment_reader import SegmentReader
from .session import SessionRecorder
from .stream_recording import RecordedItem, StreamRecording
from .verify import verify

__all__ = [
    "AlignedTime",
    "Clocks",
    "DiskError",
    "Event",
    "Journal",
    "JournalError",
    "JournalReading",
    "RecordedGap",
    "RecordedItem",
    "Recording",
    "RecordingError",
    "RecordingFolderError",
    "RecoverReport",
    "Report",
    "RowsReader",
    "SegmentFile",
    "SegmentFormatError",
    "SegmentFullError",
    "SegmentReader",
    "SessionRecorder",
    "StreamChangedError",
    "StreamRecording",
    "StreamReport",
    "read_journal",
    "recover",
    "verify",
]
