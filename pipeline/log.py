"""Logs for machines and people: one JSON-lines file per process, rate-limited.

Every process of a rig calls `start_log` once.  A line holds `time` (ISO 8601, UTC), `level`, `process`, `logger`,
`message`, and `error` with a traceback where there was one.  A message that repeats faster than `PER_SECOND` is
suppressed, and the next line of its kind says how many were (`suppressed`), so that a flood costs neither the disk nor
the process that logs it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

PER_SECOND: Final = 5
"""Lines of one kind (logger, level and template) that a second may bring."""
_KINDS: Final = 1024
"""Kinds remembered by the limiter; beyond it the memory is emptied rather than grown."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Where and how much a process logs (LOGDIR, LOGLEVEL, LOGSIZE, LOGNUM of the rig file)."""

    directory: str
    level: str = "INFO"
    size_bytes: int = 5 * 2**20
    count: int = 4
    """Older files kept beside the current one."""


class RateLimit(logging.Filter):
    """Let `PER_SECOND` records of one kind through each second, and count the rest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide about one record; sets `suppressed` on the first of a new second."""
        if len(self._windows) > _KINDS:
            self._windows.clear()
        kind = (record.name, record.levelno, str(record.msg))
        now = self._clock()
        began, seen = self._windows.get(kind, (now, 0))
        if now - began >= 1.0:
            record.suppressed = max(0, seen - PER_SECOND)
            began, seen = now, 0
        self._windows[kind] = (began, seen + 1)
        return seen < PER_SECOND


class LogFile(logging.handlers.RotatingFileHandler):
    """Loses lines on a disk that is full, rather than telling of each on stderr; whoever logs goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Hear that a line was not written."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # what it still holds is lost, too
            super().close()


class JsonLines(logging.Formatter):
    """Write one record as one line of JSON."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        suppressed = getattr(record, "suppressed", 0)
        if suppressed:
            line["suppressed"] = suppressed
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def start_log(process: str, options: LogOptions) -> Path:
    """Send this process's log to `<directory>/<process>.jsonl`; return that path.

    Calling it again moves the log.  Files rotate at `size_bytes`; `count` older ones are kept.

    Raises:
        OSError: the directory cannot be made or written.
    """
    directory = Path(options.directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{process}.jsonl"
    handler = LogFile(path, maxBytes=options.size_bytes, backupCount=options.count)
    handler.setFormatter(JsonLines(process))
    handler.addFilter(RateLimit())
    root = logging.getLogger()
    stop_log()
    root.addHandler(handler)
    root.setLevel(options.level)
    return path


def stop_log() -> None:
    """Close this process's log, if it has one."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler.formatter, JsonLines):
            root.removeHandler(handler)
            handler.close()
