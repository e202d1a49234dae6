"""The log of a recording: `session.jsonl`, one JSON line per event, appended by several processes and never rewritten.

What is created in an HDF5 file after its writer went live vanishes at a crash without an error, so everything that
happens during a recording is told here.  A line is one JSON object whose last member is the CRC-32 of the bytes before
it, `...,"crc":"1f2e3d4c"}`.  It is written by one `write` to a descriptor opened for appending, which the kernel does
not mix with another process's line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from pipeline.errors import UNREADABLE

from .errors import JournalError

FILE_NAME: Final = "session.jsonl"
TORN: Final = "torn"
"""Kind of the event that declares the line before it, or several, torn: the machine stopped, or the disk was full."""
MOST_LATE: Final = 10_000
"""Events that wait for a disk that takes nothing; then the oldest of them are given up."""
log = logging.getLogger(__name__)
_CRC: Final = b',"crc":"'
_TORN_BEGINS: Final = b'{"kind":"torn"'
_TAIL: Final = len(_CRC) + len('12345678"}')


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal."""

    kind: str
    """What happened, e.g. ``gap``."""
    wall_ns: int
    """When, CLOCK_REALTIME of the machine that wrote the line."""
    monotonic_ns: int
    """When, its CLOCK_MONOTONIC."""
    fields: Mapping[str, Any]
    """Everything else that the line says, e.g. ``{"stream": "pilot1.cam0", "count": 12}``."""
    line: int
    """Line number in the file, from 1."""


@dataclass(frozen=True, slots=True)
class JournalReading:
    """What a journal holds, and which lines of it cannot be believed."""

    events: tuple[Event, ...]
    problems: tuple[str, ...]
    """One sentence per bad line; a torn last line is none."""

    def of_kind(self, *kinds: str) -> Iterator[Event]:
        """Yield the events of these kinds in file order."""
        return (event for event in self.events if event.kind in kinds)


_STAMP: Final = ("kind", "wall_ns", "monotonic_ns")
"""What every line says, whatever else it says."""
_fields: Final = msgspec.json.Decoder(dict[str, Any])


class Journal:
    """Appends events; any number of processes may have the same journal open.

    Args:
        path: the file; created when missing.

    Raises:
        JournalError: it cannot be opened for appending.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.appended = 0
        self._late: deque[bytes] = deque(maxlen=MOST_LATE)
        self._is_stuck = False
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(f"{path}: cannot append to the journal: {error.strerror}") from error
        self._is_owed = False
        """A torn line was ended, but not declared."""
        if _is_torn(self._fd):
            with contextlib.suppress(JournalError):  # whatever comes next tries again
                self._write(b"", TORN)

    def append(self, kind: str, **fields: Any) -> None:
        """Append one event; it survives the death of this process once the call returns.

        Args:
            kind: a word for what happened.
            fields: what msgspec can turn into JSON; 64-bit identities as hex strings, so that any reader keeps them.

        Raises:
            JournalError: the disk did not take the line.
        """
        self.catch_up()
        self._write(encode_line(kind, fields), kind)

    def tell(self, kind: str, **fields: Any) -> None:
        """Append one event, stamped now; if the disk does not take it, as soon as it does (`catch_up`)."""
        self._late.append(encode_line(kind, fields))
        self.catch_up()

    def catch_up(self) -> bool:
        """Append what the disk did not take; whether nothing is left of that."""
        try:
            while self._late:
                self._write(self._late[0], "kept back")
                self._late.popleft()
        except JournalError as error:
            if not self._is_stuck:
                log.error("%s; events are kept until the disk takes them", error)  # noqa: TRY400 - says all
            self._is_stuck = True
            return False
        self._is_stuck = False
        return True

    def sync(self) -> None:
        """Wait until all lines are on the disk and survive a power loss.

        Raises:
            JournalError: they cannot be brought there.
        """
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise JournalError(f"{self.path}: not brought to the disk: {error.strerror}") from error

    def fileno(self) -> int:
        """Return the descriptor, for whoever syncs on another thread."""
        return self._fd

    def close(self) -> None:
        """Sync and close; a second call does nothing.

        Raises nothing: what the disk did not take is told in the log.
        """
        if self._fd < 0:
            return
        if not self.catch_up():
            log.error("%s: %d events were not written", self.path, len(self._late))
        try:
            self.sync()
        except JournalError as error:
            log.error("%s", error)  # noqa: TRY400 - says all
        os.close(self._fd)
        self._fd = -1

    def _write(self, line: bytes, kind: str) -> None:
        # Whoever comes first ends a torn line, mostly of another process, and declares it.
        is_torn = _is_torn(self._fd)
        if is_torn or self._is_owed:
            line = b"\n" * is_torn + encode_line(TORN, {}) + line
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            raise JournalError(f"{self.path}: event {kind!r} not written: {error.strerror}") from error
        self._is_owed = (is_torn and written == 1) or (self._is_owed and not written)
        if written != len(line):
            raise JournalError(f"{self.path}: event {kind!r} torn: {written} of {len(line)} bytes written; disk full?")
        self.appended += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Journal {self.path} appended={self.appended}{' closed' if self._fd < 0 else ''}>"


def read_journal(path: Path) -> JournalReading:
    """Read a journal, also one that is being written.

    A last line without its end is what a crash leaves and is passed over; any other line that is not whole, or whose
    CRC differs, is a problem.

    Args:
        path: the ``session.jsonl``.

    Raises:
        JournalError: it cannot be read at all.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path}: cannot read the journal: {error.strerror}") from error
    events: list[Event] = []
    problems: list[str] = []
    bad: list[bytes] = []
    *lines, _torn = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        event = decode_line(line, number)
        if event is None:
            bad.append(line)
            problems.append(f"{path.name} line {number}: not as it was written (CRC or form is wrong): {line[:60]!r}")
            continue
        if event.kind == TORN and events and problems and events[-1].line < number - 1:
            _excuse(bad, problems, number - 1 - events[-1].line)
        events.append(event)
    return JournalReading(tuple(events), tuple(problems))


def first_of_kind(path: Path, kind: str) -> Event | None:
    """Return the first event of a kind, None if there is none; what follows is not read.

    Raises:
        JournalError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            events = (decode_line(line.removesuffix(b"\n"), number) for number, line in enumerate(file, start=1))
            return next((event for event in events if event is not None and event.kind == kind), None)
    except OSError as error:
        raise JournalError(f"{path}: cannot read the journal: {error.strerror}") from error


def _excuse(bad: list[bytes], problems: list[str], most: int) -> None:
    """Take back what was said of the line before a TORN; and of those before, if that one was a torn TORN."""
    for _ in range(most):
        line = bad.pop()
        problems.pop()
        if not (line.startswith(_TORN_BEGINS) or _TORN_BEGINS.startswith(line)):
            return


def encode_line(kind: str, fields: Mapping[str, Any]) -> bytes:
    """Return one line with its CRC and its newline; stamped now, unless `fields` say when it was."""
    stamp = {"kind": kind, "wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
    body = msgspec.json.encode({**stamp, **fields})[:-1]
    return body + _CRC + f'{zlib.crc32(body):08x}"}}\n'.encode()


def decode_line(line: bytes, number: int) -> Event | None:
    """Return the event of a line without its newline, None when it is not as it was written."""
    body, tail = line[:-_TAIL], line[-_TAIL:]
    if tail != _CRC + f'{zlib.crc32(body):08x}"}}'.encode():
        return None
    try:
        fields = _fields.decode(body + b"}")
        kind, wall_ns, monotonic_ns = (fields.pop(name) for name in _STAMP)
    except (*UNREADABLE, KeyError):
        return None
    if not (isinstance(kind, str) and isinstance(wall_ns, int) and isinstance(monotonic_ns, int)):
        return None
    return Event(kind, wall_ns, monotonic_ns, fields, number)


def _is_torn(fd: int) -> bool:
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
