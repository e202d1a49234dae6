"""From a recording to the rig that plays it once more: every stream a replay source, under the name that it had."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from .config import PilotSection, Rig, RigSection, StreamSection, TerminalSection, dump_rig, parse_rig
from .errors import SourceError
from .recording import Recording
from .recording.extent import Piece, pieces_of
from .sources.replay import Speed
from .suggest import did_you_mean

RIG: Final = "replay"
"""Name of the rig, so that it meets no rig that records; and of the Pilot of streams without one."""
SECONDS: Final = 3.0
"""Of recorded time that each ring retains."""
RING_BYTES: Final = 64 * 1024 * 1024
"""What the ring of a stream without a rate takes at most."""
MOST_SLOTS: Final = 4096


class Replay(NamedTuple):
    """What can be played."""

    rig: Rig
    left_out: list[str]
    """Streams in which no item can be read."""


def replay_of(
    path: Path, *, rate: Speed = 1.0, loop: bool = False, offset_s: float = 0.0, streams: Iterable[str] = ()
) -> Replay:
    """Describe the rig that plays a recording.

    Args:
        path: folder of the recording.
        rate: how many times as fast, or ``"max"``.
        loop: again and again.
        offset_s: begin so long after the recording's first item.
        streams: only these.

    Raises:
        RecordingFolderError: no recording is there.
        SourceError: no such stream, or none that can be read.
        ConfigError: what would make no rig.
    """
    recording = Recording(path)
    names = list(streams) or list(recording)
    for name in names:
        if name not in recording:
            raise SourceError(f"{path} has no stream {name!r}; {did_you_mean(name, list(recording))}")
    pieces = {name: pieces_of(recording[name].paths) for name in names}
    if not any(pieces.values()):
        raise SourceError(f"{path} has no item that can be read; pipeline verify says what is there")
    options = {"rate": rate, "loop": loop, "offset_s": offset_s}
    pilots: dict[str, PilotSection] = {}
    for name in names:
        if pieces[name]:
            pilot, stream = _address_of(name)
            section = _section(path, name, pieces[name][0], options)
            pilots.setdefault(pilot, PilotSection()).streams[stream] = section
    terminal = next(name for name in ("T", "terminal", "replayed") if name not in pilots)
    rig = Rig(rig=RigSection(name=RIG), terminal=TerminalSection(id=terminal), pilots=pilots)
    # Through the text of a rig file: so it is checked as any other.
    checked = parse_rig(dump_rig(rig), folder=Path.cwd(), name=str(path))
    return Replay(checked, [name for name in names if not pieces[name]])


def _address_of(name: str) -> tuple[str, str]:
    pilot, dot, stream = name.partition(".")
    return (pilot, stream) if dot else (RIG, name)


def _section(path: Path, name: str, piece: Piece, options: dict[str, Any]) -> StreamSection:
    speed = 1.0 if options["rate"] == "max" else float(options["rate"])
    slots = None if piece.head.rate else max(1, min(MOST_SLOTS, RING_BYTES // piece.item_bytes))
    return StreamSection(
        source=f"replay:{path.absolute()}",
        seconds=SECONDS / speed,
        slots=slots,
        options={"stream": name, **options},
    )
