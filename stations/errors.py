"""What can go wrong in `stations`, by who caused it.

StationError
├── BadInputError               the user's input; exit code 2, and a child that ends so is never restarted
│   ├── ConfigError             a rig file that cannot be read or means nothing
│   ├── SourceError             a source that cannot be found, opened or decoded
│   ├── MissingExtraError       an optional package is not installed
│   ├── RigRunsError            a station of that rig runs on this machine already
│   ├── NoRigError              no such rig runs on this machine, or several do
│   ├── NoRingsError            nothing of that rig is in shared memory
│   ├── NoPortError             no port is free
│   ├── OutputError             the folder for recordings and logs cannot be made or written
│   └── AlreadyToldError        a process of the rig has told the user what is wrong
├── RowError                    a message that cannot become a row of the recording; its sender is told
│   ├── RowsFullError           the recorder is dead, stopped or too slow
│   ├── RowTooLargeError        the message is too large for a row
│   └── TooManyKeysError        more keys than a recording has files for
├── NotRecordingError           what was asked needs a recording that runs
├── NotStandingByError          what was asked needs a rig that stands by
├── RigFailedError              a process died whose death stops the rig
└── SourceFailedError           a source that worked broke; its process is restarted
    └── SourceDamagedError      what it reads is damaged further on; its stream ends there, the rig goes on
"""

from __future__ import annotations

from typing import Final

BAD_INPUT_EXIT: Final = 2
"""Exit code of a process that ends by a `BadInputError`."""


class StationError(Exception):
    """Any error of this package; catch it to catch them all."""


class BadInputError(StationError):
    """Something the user gave is wrong; the message is one line that names the thing and what to do."""

    exit_code: Final = BAD_INPUT_EXIT


class ConfigError(BadInputError, ValueError):
    """A rig file cannot be read, or a key in it is unknown or has a wrong value; correct the file."""


class SourceError(BadInputError):
    """A source is unknown, its options are wrong, or what it names cannot be opened; correct the stream's table."""


class MissingExtraError(BadInputError, ImportError):
    """An optional package is needed; the message holds the pip command."""


class RigRunsError(BadInputError):
    """A station of that name runs on this machine already; stop it, or name the rig otherwise."""


class NoRigError(BadInputError):
    """No such rig runs on this machine, or several run; start it, or say which."""


class NoRingsError(BadInputError):
    """Shared memory holds no ring of that rig; say which rig, on the machine where it ran."""


class NoPortError(BadInputError):
    """Every port that the rig might choose is taken; name ports in the rig file."""


class OutputError(BadInputError, OSError):
    """The output folder cannot hold recordings; choose another."""


class AlreadyToldError(BadInputError):
    """A process of the rig said on stderr what is wrong; nothing is left to say."""


class RowError(StationError):
    """A message cannot become a row of the recording; it was not accepted, and its sender is told so."""


class RowsFullError(RowError):
    """The recorder has not taken the rows that are in the ring; send again when it runs."""


class RowTooLargeError(RowError, ValueError):
    """The message is too large for a row; send it in pieces, or as a stream."""


class TooManyKeysError(RowError, ValueError):
    """Rows have too many different keys; a key names a kind of data, not a datum."""


class NotRecordingError(StationError):
    """Nothing is being recorded now; ask again once the run has begun."""


class NotStandingByError(StationError):
    """Nothing can be ordered to record now; the message says why: the rig comes up, records already, or is over."""


class RigFailedError(StationError):
    """A process died whose death stops the rig, by the rig file's own word; its log says more."""


class SourceFailedError(StationError):
    """A source broke while it was being read; restarting its process opens it anew."""


class SourceDamagedError(SourceFailedError):
    """What a source reads is damaged further on, and would be again: its stream ends there, and the account tells."""
