"""What can go wrong with recordings.

StationError
└── RecordingError
    ├── RecordingFolderError     the folder you named cannot take or does not hold a recording (bad input)
    ├── SegmentFormatError       a file that is not a segment of ours, or is damaged
    ├── StreamChangedError       the items of a stream are not of one shape and dtype in all of its files
    ├── SegmentFullError         a short block ends a segment; nothing can follow it
    ├── DiskError                the disk did not take what was to be stored
    └── JournalError             the journal cannot be written or read
"""

from __future__ import annotations

from stations.errors import BadInputError, StationError


class RecordingError(StationError):
    """Any error of a recording; catch it to catch them all."""


class RecordingFolderError(RecordingError, BadInputError):
    """You named a folder that cannot be written, is in use, or holds no recording; name another."""


class SegmentFormatError(RecordingError, ValueError):
    """A file that is not a segment of ours, of a version we do not know, or damaged beyond its CRCs."""


class StreamChangedError(RecordingError, BadInputError):
    """You asked for a stream as one sequence, but shape or dtype change in it; read its segments one by one."""


class SegmentFullError(RecordingError):
    """A block was appended after a short one; open the next segment instead."""


class DiskError(RecordingError, OSError):
    """The disk did not take what was to be stored: full, gone or read-only; what is stored stays readable."""


class JournalError(RecordingError, OSError):
    """The journal cannot be written or read; the message says which file and why."""
