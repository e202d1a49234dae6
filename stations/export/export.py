"""Exports a recording: chooses, writes piece by piece under a temporary name, goes on where it ended, reads again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stations.errors import StationError
from stations.recording import Recording
from stations.recording.growing_file import why_of

from .errors import ExportError
from .format import Format, Sink, checksum_of_lines, digest_of
from .ledger import Ledger
from .notes import Notes, read_notes
from .registry import format_of
from .report import ExportReport
from .selection import Progress, Selection, Window, select


def export(
    source: Path,
    format_name: str,
    output: Path | None = None,
    *,
    streams: Iterable[str] = (),
    window: Window = Window(),  # noqa: B008 - frozen
    verify: bool = False,
    progress: Progress = lambda *_: None,
    checkpoint_s: float = 1.0,
) -> ExportReport:
    """Write a recording in another format.

    An export that was interrupted is gone on with, if it was of the same items in the same boot; nothing has the
    output's name before it is whole.

    Args:
        source: folder of the recording; it may be running: what it holds now is exported.
        format_name: one of `FORMATS`.
        output: file or folder to make; named after the recording, beside it, if None.
        streams: only these; none: all that the format can hold.
        window: only this part of time.
        verify: read the result again, and compare counts and checksums.
        progress: hears how far it is.
        checkpoint_s: how often progress is noted, seconds; at the end of each stream anyway.

    Raises:
        RecordingFolderError: no recording is there.
        ExportError: what was asked for cannot be done; the message says why.
        MissingExtraError: what the format needs is not installed.
    """
    form = format_of(format_name)
    source = source.resolve()
    output = (output or source.with_name(source.name + form.suffix)).resolve()
    if output.exists():
        raise ExportError(f"{output} is there already; remove it, or name another --output")
    with Recording(source) as recording, _told(output):
        selection = select(recording, streams, window, form.refuse, progress)
        notes = read_notes(selection)
        ledger = Ledger(output, _fingerprint(form, selection, notes))
        output.parent.mkdir(parents=True, exist_ok=True)
        refuse_without_room(output, form.bytes_needed(selection) - _bytes_of(ledger.partial))
        resumed = _write(form, selection, notes, ledger, progress=progress, checkpoint_s=checkpoint_s)
        report = ExportReport(form.name, str(output), left_out=selection.left_out, lossy=form.lossy)
        report.streams = {name: len(stream) for name, stream in selection.streams.items()}
        report.notes = {name: len(lines) for name, lines in notes.lists.items()}
        report.damaged = [*selection.damaged, *notes.damaged]
        report.resumed_pieces = resumed
        if verify:
            report.verified = True
            report.differences = differences(form, ledger.partial, selection, notes, progress)
        _sync(ledger.partial)
        ledger.complete()
    return report


def differences(form: Format, path: Path, selection: Selection, notes: Notes, progress: Progress) -> list[str]:
    """Read an export again; return one sentence for everything that is not as in the recording."""
    found = [f"{form.name}: {problem}" for problem in form.problems(path)]
    read, done = dict(form.read(path, selection)), 0
    for name, stream in selection.streams.items():
        if name not in read:
            found.append(f"{name}: not there")
            continue
        difference = digest_of(stream, form.piece_items(stream)).difference(read[name])
        found += [f"{name}: {difference}"] if difference else []
        done += 1
        progress("verify", done, len(selection.streams))
    again = form.read_notes(path, list(notes.lists))
    for name, lines in notes.lists.items():
        if checksum_of_lines([note.text for note in lines]) != checksum_of_lines(again.get(name, [])):
            found.append(f"{name}: {len(again.get(name, []))} lines that are not the {len(lines)} written")
    return found


def refuse_without_room(output: Path, needed: int) -> None:
    """Refuse what cannot fit: HDF5 takes a process with it when the disk is full.

    Raises:
        ExportError: says how much is needed, and how much is free.
    """
    free = shutil.disk_usage(output.parent).free
    if needed > free:
        has = f"{output.parent} has {free / 1e6:.0f} MB free"
        raise ExportError(f"{output} needs {needed / 1e6:.0f} MB, {has}; make room, or name another --output")


def _bytes_of(path: Path) -> int:
    """Return what a file takes of the disk; 0 if there is none."""
    return path.stat().st_blocks * 512 if path.is_file() else 0


@contextmanager
def _told(output: Path) -> Iterator[None]:
    """Say of a disk that is full or gone whose place that was; libraries name it late or never."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StationError):
            raise
        why = f"{why_of(error)}; make room, or mend that, and the same command goes on"
        raise ExportError(f"{output} cannot be written: {why}") from error


def _write(
    form: Format, selection: Selection, notes: Notes, ledger: Ledger, *, progress: Progress, checkpoint_s: float
) -> int:
    """Write all pieces that are not written; return how many were."""
    done = ledger.read()
    if done is None:
        ledger.discard()
        skipped, sink = 0, form.begin(ledger.partial, selection, notes)
    else:
        skipped, sink = done[0], form.resume(ledger.partial, selection, done[1])
    written, total, noted = 0, selection.nbytes, time.monotonic()
    try:
        for number, piece in enumerate(form.pieces(selection), start=1):
            written += piece.nbytes
            if number > skipped:
                sink.write(piece)
                if piece.is_last or time.monotonic() - noted >= checkpoint_s:
                    _note(sink, ledger, number)
                    noted = time.monotonic()
            progress("write", written, total)
        sink.finish()
    finally:
        sink.close()
    return skipped


def _note(sink: Sink, ledger: Ledger, pieces: int) -> None:
    state: dict[str, Any] | None = sink.checkpoint()
    if state is not None:
        ledger.note(pieces, state)


def _fingerprint(form: Format, selection: Selection, notes: Notes) -> dict[str, Any]:
    lines = {name: checksum_of_lines([note.text for note in found]) for name, found in notes.lists.items()}
    return {
        "format": form.name,
        "source": str(selection.recording.path),
        "streams": selection.fingerprint(),
        "notes": lines,
    }


def _sync(path: Path) -> None:
    """Bring a file, or all files of a folder, to the disk: a name must not promise what is not there."""
    for file in [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
