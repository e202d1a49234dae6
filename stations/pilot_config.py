"""What a Pilot's station is told: its configuration at its start, and what is durable while it runs."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.forward_backfill import RATE_BYTES_S


class StreamPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one stream is forwarded."""

    ring: str
    """Full name of its ring."""
    has_sensor: bool = True
    """A sensor of this rig fills the ring; otherwise somebody else does."""
    codec: str = "auto"
    lossless: bool = True
    seconds: float = 3.0
    """How much the Terminal's ring retains."""
    max_bytes_s: float | None = None
    """What it may use of the link; None: as many as the link carries."""


class PilotConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a Pilot's station is told when it is started."""

    rig: str
    id: str
    terminal: str = "T"
    parent: str = ""
    """The Pilot above, through which messages go; empty: the Terminal."""
    children: list[str] = []
    """The Pilots below."""
    forward: dict[str, str] = {}
    """Address to which each further key goes on."""
    shared: dict[str, Any] = {}
    """What the HANDSHAKE says of the configuration."""
    tell_s: float = 5.0
    """The Terminal hears of the state at every change, and this often without one; 0: only then."""
    listen_endpoint: str
    push_endpoint: str
    data_endpoint: str
    spool: str = ""
    """Folder for what the link cannot carry in time; empty: no spool."""
    spool_bytes: int = 0
    backfill_bytes_s: float = RATE_BYTES_S
    recorder: str = ""
    """Address of its own recorder; empty: it has none."""
    output: str = ""
    """Folder of what that records."""
    streams: dict[str, StreamPlan] = {}


class Durable(msgspec.Struct, frozen=True):
    """What DURABLE says: ranges [first, end) that are synced in a recording, by stream and birth."""

    run: str
    streams: dict[str, dict[str, list[tuple[int, int]]]]
    full: list[str] = []
    """Streams of which its disk takes no more now."""

    def ranges(self) -> dict[str, dict[int, list[tuple[int, int]]]]:
        """Return the ranges by stream and birth, as a number."""
        return {
            stream: {int(birth, 16): runs for birth, runs in births.items()} for stream, births in self.streams.items()
        }
