"""What the rings of a dead rig still hold, written as a recording: the seconds that nobody had time to store.

Rings outlive their processes.  Nothing is changed by reading them, so a rig that is started again finds them as they
were; until then it is kept from starting.  Backfills are left alone: they are in a Pilot's spool as well.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pipeline.backfill_name import is_backfill
from pipeline.errors import BlockError
from shm import SegmentInfo, ShmError, WriterAliveError, list_segments, salvage

from .errors import NoRingsError, RigRunsError
from .recording import DiskError, SessionRecorder
from .recording.leftovers import PilotRing, TerminalRing, merged
from .riglock import RigLock, is_held, known_stations
from .rows_ring import RING, Row, RowAssembler
from .suggest import did_you_mean

OUTPUT: Final = Path("recordings")
SALVAGED: Final = "salvaged"
"""Kind of the event that tells what was found of a stream."""


@dataclass(slots=True)
class SalvageReport:
    """What was found, and where it is now."""

    rig: str
    recording: Path
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By stream: `stored`, and by birth `origin`, `end`, `stored`, `gaps`."""
    problems: list[str] = field(default_factory=list)
    """Rings, and parts of them, that could not be read."""

    @property
    def ok(self) -> bool:
        """Whether all that is in the rings is in the recording."""
        return not self.problems

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to read."""
        for name, row in self.streams.items():
            lost: defaultdict[str, int] = defaultdict(int)
            for birth in row["births"].values():
                for _, count, reason in birth["gaps"]:
                    lost[reason] += count
            missing = ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items())) or "none"
            yield f"{name}: {row['stored']} items, missing: {missing}"
        yield from self.problems
        yield f"recording: {self.recording}"

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        told = {"rig": self.rig, "recording": str(self.recording), "ok": self.ok}
        return {**told, "streams": self.streams, "problems": self.problems}


@dataclass(slots=True)
class _Rings:
    """Full names of the rings that a rig left."""

    streams: dict[str, list[SegmentInfo]] = field(default_factory=lambda: defaultdict(list))
    rows: list[str] = field(default_factory=list)
    stations: set[str] = field(default_factory=set)
    written: list[str] = field(default_factory=list)
    """Those whose writers live."""
    problems: list[str] = field(default_factory=list)


def salvage_rig(
    rig: str, output: Path | None = None, report: Callable[[str], None] = lambda _line: None
) -> SalvageReport:
    """Write what a dead rig's rings hold into a new recording.

    Args:
        rig: its name.
        output: folder in which the recording gets a folder of its own; `recordings` if None.
        report: hears a line about each stream that begins.

    Raises:
        NoRingsError: there are no rings of that rig.
        RigRunsError: a station of it runs on this machine.
        RecordingFolderError: the folder cannot be written.
        DiskError: the disk did not take all; the rings are as they were.
    """
    rings = _rings_of(rig)
    with _kept_from_starting(rig, rings):
        directory = (output or OUTPUT) / f"{rig}_{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}_salvaged"
        session = SessionRecorder(directory, rig)
        found = SalvageReport(rig, directory.absolute(), problems=rings.problems)
        try:
            for stream, infos in sorted(rings.streams.items()):
                report(f"reading {stream}")
                _store_stream(session, stream, infos, found)
            for name in rings.rows:
                _store_rows(session, name, found)
        finally:
            found.streams = session.close()
    failed = [recorder.failed for recorder in session.recorders() if recorder.failed]
    if failed:
        raise DiskError(f"{failed[0]}; the rings are as they were: salvage again into another folder")
    return found


def _rings_of(rig: str) -> _Rings:
    rings = _Rings()
    for info in list_segments(f"{rig}/"):
        parts = info.full_name.split("/")
        name = parts[-1]
        if info.kind != "ring" or is_backfill(name):
            continue
        if info.writer_alive:
            rings.written.append(f"{info.full_name}, pid {info.writer_pid}")
        if info.ring is None:
            rings.problems.append(f"ring {info.full_name} is left alone: {info.problem}")
        elif info.ring.is_blob and len(parts) == 3 and name == RING:
            rings.stations.add(parts[1])
            rings.rows.append(info.full_name)
        elif len(parts) == (3 if info.ring.is_blob else 2):
            rings.stations |= {parts[1]} if info.ring.is_blob else {name.partition(".")[0]}
            rings.streams[name].append(info)
    if not rings.streams and not rings.rows:
        left = {info.full_name.partition("/")[0] for info in list_segments() if info.kind == "ring"}
        raise NoRingsError(f"no ring of rig {rig!r} is in shared memory; {did_you_mean(rig, left)}")
    return rings


@contextmanager
def _kept_from_starting(rig: str, rings: _Rings) -> Iterator[None]:
    """Refuse a rig that lives, and keep a dead one from being started meanwhile."""
    stations = sorted({*known_stations(rig), *rings.stations})
    alive = [station for station in stations if is_held(rig, station)]
    if alive or rings.written:
        who = ", ".join(alive or rings.written)
        raise RigRunsError(f"rig {rig!r} runs on this machine ({who}) and stores what its rings hold; stop it first")
    with RigLock(rig, stations):
        yield


def _store_stream(session: SessionRecorder, stream: str, infos: list[SegmentInfo], found: SalvageReport) -> None:
    terminal: TerminalRing | None = None
    with ExitStack() as stack:
        pilot: PilotRing | None = None
        for info in infos:
            try:
                if info.ring is not None and info.ring.is_blob:
                    terminal = TerminalRing(salvage(info.full_name))
                else:
                    pilot = PilotRing(info.full_name, stream)
                    stack.callback(pilot.close)
            except WriterAliveError:
                raise
            except (ShmError, BlockError) as error:
                found.problems.append(f"ring {info.full_name} is left alone: {error}")
        if terminal is not None and terminal.damaged:
            found.problems.append(f"{stream}: {terminal.damaged} blocks in the Terminal's ring are damaged")
        for block, spec in merged(terminal, pilot):
            session.store(block, spec)
            session.tick(time.monotonic())
        session.journal.tell(
            SALVAGED,
            stream=stream,
            rings=[info.full_name for info in infos],
            pilot=[] if pilot is None else [pilot.items.start, pilot.items.stop],
            terminal=0 if terminal is None else terminal.items,
        )


def _store_rows(session: SessionRecorder, name: str, found: SalvageReport) -> None:
    """Store the rows of a Terminal's ring; those before went to a recorder, or were overwritten for want of one."""
    left = salvage(name)
    assembler = RowAssembler()
    clock = (left.clock.domain, left.clock.monotonic_ns, left.clock.realtime_ns)
    cut_off: int | None = None  # parts whose row began in what is overwritten
    for row in assembler.feed_all(bytes(item) for item in left.items):
        cut_off = assembler.damaged if cut_off is None else cut_off
        if isinstance(row, Row):
            recorder = session.row(row.key)
            recorder.know(left.birth, row.sequence)
            recorder.store(row, left.birth, clock)
    if cut_off is not None and assembler.damaged > cut_off:
        found.problems.append(f"{name}: {assembler.damaged - cut_off} parts were no part of a row")
