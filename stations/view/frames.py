"""The websocket's wire: what the view sends to a page and what a page answers.

One websocket carries everything.  From the view come binary frames, from the page one short text:

    bytes   field    type     meaning
    0       kind     uint8    1 hello, 2 status, 3 events, 4 image, 5 lines, 6 tick, 7 values
    1       version  uint8    1; a page that meets another one asks to be reloaded
    2..3    -        uint16   0
    4..7    length   uint32   bytes of the header, a multiple of 8 (little-endian, as all here)
    8..     header   JSON     the fields of the dataclass below, padded with spaces
    ..      payload  bytes    image: JPEG; lines: int16 levels (channels, buckets, 2); else empty

A tick ends what belongs to one drawing.  The page answers `{"seen": number}` when it has drawn it; the view sends at
most two ticks that were not seen.  Numbers that are not known are null, never 0; ages are milliseconds at sending.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Self

from .errors import FrameError

VERSION: Final = 1
PREFIX: Final = struct.Struct("<BBHI")
_PAD: Final = 8
"""Payloads begin on a multiple of 8 bytes, so that the page can lay a typed array over them."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Base of all frames: header fields as JSON, then the payload."""

    KIND: ClassVar[int] = 0

    def to_bytes(self) -> bytes:
        """Return the frame as it goes over the websocket."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "payload"}
        header = json.dumps(values, separators=(",", ":"), allow_nan=False).encode()
        header += b" " * (-len(header) % _PAD)
        return PREFIX.pack(self.KIND, VERSION, 0, len(header)) + header + bytes(getattr(self, "payload", b""))

    @classmethod
    def from_bytes(cls, frame: bytes) -> Self:
        """Return the frame read back (tests, and programs that watch a view without a browser).

        Raises:
            FrameError: too short, another version, or another kind than this class.
        """
        if len(frame) < PREFIX.size:
            raise FrameError(f"frame of {len(frame)} bytes, expected at least {PREFIX.size}")
        kind, version, _, length = PREFIX.unpack_from(frame)
        if (kind, version) != (cls.KIND, VERSION):
            raise FrameError(f"kind={kind} version={version}, expected kind={cls.KIND} version={VERSION}")
        values: dict[str, Any] = json.loads(frame[PREFIX.size : PREFIX.size + length])
        if any(f.name == "payload" for f in fields(cls)):
            values["payload"] = frame[PREFIX.size + length :]
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Hello(Frame):
    """First frame of a connection."""

    KIND: ClassVar[int] = 1
    rig: str
    terminal: str
    """Station id of the Terminal, e.g. "T"."""
    drawfps: float
    """Drawings per second at most."""


@dataclass(frozen=True, slots=True)
class Status(Frame):
    """How everything is, four times a second and at every change of the list of streams."""

    KIND: ClassVar[int] = 2
    wall_ms: float
    """Wall clock of the view, ms since 1970, for times shown as hours and minutes."""
    recording: dict[str, Any]
    """`state` "recording" | "standby" | "idle" | "unknown", `name` of the folder or "", `seconds` since START or
    null."""
    streams: list[dict[str, Any]]
    """One object a stream, see `streams.Standing`."""


@dataclass(frozen=True, slots=True)
class Events(Frame):
    """The newest events, all of them each time one is added; newest last."""

    KIND: ClassVar[int] = 3
    events: list[dict[str, Any]]
    """`wall_ms`, `kind` (e.g. "died"), `who` (station or node), `text`, `bad` (bool: shown as a warning)."""


@dataclass(frozen=True, slots=True)
class Image(Frame):
    """The newest image of a stream."""

    KIND: ClassVar[int] = 4
    stream: int
    """`id` of the stream in Status."""
    sequence: int
    age_ms: float | None
    width: int
    height: int
    low: float
    high: float
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lines(Frame):
    """The last seconds of a stream's channels, see `traces.Traces`."""

    KIND: ClassVar[int] = 5
    stream: int
    sequence: int
    """Sequence after the newest sample drawn."""
    age_ms: float | None
    channels: int
    buckets: int
    span_s: float
    """0 when unknown."""
    low: list[float]
    high: list[float]
    last: list[float | None]
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tick(Frame):
    """End of one drawing."""

    KIND: ClassVar[int] = 6
    number: int
    """From 1, one more each time."""


@dataclass(frozen=True, slots=True)
class ValueRows(Frame):
    """The newest of what was sent as messages, all rows each time one changes."""

    KIND: ClassVar[int] = 7
    values: list[dict[str, Any]]
    """`sender`, `key`, `text`, `wall_ms`, `stopped` (bool: of a run that has ended), see `values.Values`."""


def read_seen(text: str | bytes) -> int:
    """Return the number of the tick that a page has drawn.

    Raises:
        FrameError: anything else than `{"seen": number}`.
    """
    try:
        answer = json.loads(text) if len(text) <= 64 else None
    except (ValueError, RecursionError) as error:
        raise FrameError(f"the page sent {text[:40]!r}, expected {{'seen': number}}") from error
    number = answer.get("seen") if isinstance(answer, dict) and len(answer) == 1 else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise FrameError(f"the page sent {text[:40]!r}, expected {{'seen': number}}")
    return number
