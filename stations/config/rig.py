"""The sections of a rig file.

A field's name in the file is its own, but for the preferences that users of older rigs know in upper case
(``DRAWFPS``, ``MSGPORT``, ``LOGDIR``, …): those are spelled so in the file and in lower case here.  `ALIASES` are
older names of keys that have one of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

Policy = Literal["restart", "stop", "ignore"]
"""What the death of a process means: start it again, stop the rig, or go on without it."""
Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\Z", max_length=60)]
"""Name of a rig, station or stream; a leading underscore is kept for the stations' own agents."""
Port = Annotated[int, Meta(ge=0, le=65535)]
"""TCP port; 0 lets the system choose."""
Seconds = Annotated[float, Meta(gt=0, le=86400)]
Address = Annotated[str, Meta(min_length=1, max_length=200)]
"""Address of a node, such as ``pilot1.valve``."""
Lineage = Literal["NONE", "PARENT", "CHILD"]
"""Whether a Pilot has Pilots below it, or one above; a CHILD may have children of its own."""

ALIASES: dict[str, dict[str, str]] = {
    "rig": {"NAME": "name", "DATADIR": "output"},
    "terminal": {"NAME": "id", "TERMINALIP": "ip"},
}
"""By section: another name of a key."""
RECORDER = "recorder"
"""What a station's recorder is called in its address."""
SHARED = ("NAME", "LINEAGE", "SUBJECT")
"""What a Pilot tells the Terminal of its configuration unless ``share`` says otherwise."""


class RigSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[rig]``: what concerns all of it."""

    name: Identifier
    """Begins the names of its rings, so that rigs on one machine do not meet."""
    output: str = "recordings"
    """Folder of the recordings, against the folder in which the rig is started."""
    recording: str = "{rig}_{time}"
    """What each recording's folder is called below `output`; see `naming`."""
    session: str = ""
    """Which session this is, for `recording`."""
    max_loss_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    """Seconds of recording that the death of a process may cost at most."""
    drain_s: Annotated[float, Meta(ge=0, le=86_400)] = 30.0
    """Seconds that the end of a run waits for what is in the pilots' spools."""
    draw_fps: Annotated[float, Meta(gt=0, le=120)] = field(default=20.0, name="DRAWFPS")
    """How often the page is drawn, per second."""
    subject: str = field(default="", name="SUBJECT")
    """Who or what is recorded; goes with every message of a stream, and into the recording."""
    ping_interval_s: Annotated[float, Meta(ge=0, le=3600)] = field(default=5.0, name="PING_INTERVAL")
    """Seconds between two states that a Pilot tells unasked, and two rounds of PING of the Terminal; 0: none."""
    sound_dir: str = field(default="sounds", name="SOUNDDIR")
    """Folder of the files that stations exchange, against the output folder."""
    log_dir: str = field(default="logs", name="LOGDIR")
    """Folder of the logs, against the output folder."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = field(default="INFO", name="LOGLEVEL")
    log_size: Annotated[int, Meta(ge=4096)] = field(default=5 * 2**20, name="LOGSIZE")
    """Bytes after which a log file is set aside."""
    log_count: Annotated[int, Meta(ge=0, le=1000)] = field(default=4, name="LOGNUM")
    """Older log files kept for each process."""


class TerminalSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[terminal]``: the station where people sit."""

    id: Identifier = "T"
    ip: str = "127.0.0.1"
    """Where it listens and the pilots find it."""
    msg_port: Port = field(default=0, name="MSGPORT")
    """Control messages."""
    data_port: Port = field(default=0, name="DATAPORT")
    """Streams."""
    view_port: Port = field(default=0, name="VIEWPORT")
    """The page; always on loopback."""
    lossless_readers: list[str] = []
    """Names of further readers of its rings, beside the recorder, that may be lossless."""
    record: bool = True
    """Whether the streams are recorded here; messages and events are in any case."""


class StreamSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[pilots.P.streams.S]``: one source of items, or a ring that a process of one's own fills."""

    source: str | None = None
    """``video:PATH``, ``host``, ``python:module:Class``, …; or else `ring`."""
    ring: str | None = None
    """Full name of a ring that somebody else writes."""
    seconds: Seconds = 3.0
    """How much the ring retains."""
    slots: Annotated[int, Meta(ge=1, le=2**40)] | None = None
    """The same in items, where a source has no rate."""
    restart: Policy = "restart"
    """What the death of its sensor means."""
    required: bool | None = None
    """Whether a run waits for it to start; if not said, for what has a source whose death is not ignored."""
    codec: str = "auto"
    """How blocks travel and are stored: ``auto`` compresses where it pays, ``blosc`` always, ``raw`` never; the first
    two may be followed by ``:COMPRESSOR:LEVEL:FILTER``."""
    lossless: bool = True
    """May the forwarder ask the ring to wait for it, where the source can?"""
    max_mb_s: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Megabytes a second of the link that it may use; 0: what the link carries."""
    lossless_readers: list[str] = []
    """Names of further readers of its ring that may be lossless, and so make a source wait that can."""
    options: dict[str, Any] = {}
    """All other keys of the table: keyword arguments of the source."""

    @property
    def is_required(self) -> bool:
        """Whether a run does not start without it."""
        return self.required if self.required is not None else self.source is not None and self.restart != "ignore"


class PilotSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[pilots.P]``: a station beside the sensors."""

    msg_port: Port = field(default=0, name="MSGPORT")
    """Where its own nodes reach it, and the Pilots below it, on loopback."""
    name: Identifier | None = field(default=None, name="NAME")
    """Its id again, as older rigs have it; the table's name is what counts, and this must equal it."""
    subject: str | None = field(default=None, name="SUBJECT")
    """As that of the rig, for this Pilot."""
    terminal_ip: str | None = field(default=None, name="TERMINALIP")
    """Where this Pilot finds the Terminal, if not where the Terminal listens (a tunnel, say)."""
    push_port: Port = field(default=0, name="PUSHPORT")
    """Port there; 0: the Terminal's MSGPORT."""
    lineage: Lineage = field(default="NONE", name="LINEAGE")
    parent_id: Identifier | None = field(default=None, name="PARENTID")
    """The Pilot above a CHILD: messages go up through it, streams go to the Terminal directly."""
    parent_ip: str = field(default="127.0.0.1", name="PARENTIP")
    parent_port: Port = field(default=0, name="PARENTPORT")
    """Port there; 0: the MSGPORT of the Pilot of that name in this file."""
    child_id: Identifier | list[Identifier] = field(default_factory=list, name="CHILDID")
    """The Pilots below, to whom CHILD goes on."""
    forward: list[Address] | dict[str, Address] = []
    """Keys of messages to this Pilot that go on to its agent, or to the node that each names."""
    record: bool = False
    """Whether its streams are recorded on its own machine, whatever becomes of link and Terminal."""
    spool: str | None = None
    """Folder for what the link cannot carry in time; if none, ``spool/<rig>/<pilot>`` below the output folder."""
    spool_bytes: Annotated[int, Meta(ge=0, le=2**50)] = 1_000_000_000
    """What the spool may take of the disk; 0: no spool, what cannot leave is dropped, counted."""
    backfill_mb_s: Annotated[float, Meta(gt=0, le=1e6)] = 20.0
    """Megabytes a second of the link that the backfill of the spool may use."""
    share: list[str] = field(default_factory=lambda: list(SHARED))
    """Names of preferences that its HANDSHAKE carries; nothing else of its configuration leaves the machine."""
    streams: dict[str, StreamSection] = {}

    @property
    def children(self) -> list[str]:
        """The Pilots below."""
        return [self.child_id] if isinstance(self.child_id, str) else list(self.child_id)

    def forwards(self, pilot: str) -> dict[str, str]:
        """Return the address to which each forwarded key goes on."""
        return dict(self.forward) if isinstance(self.forward, dict) else dict.fromkeys(self.forward, f"_{pilot}")


class RecordingSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[recording]``: how a recording is cut into files; 0 cuts it nowhere."""

    segment_mb: Annotated[float, Meta(ge=0)] = 0.0
    """Megabytes (10⁶) of items after which a stream goes on in another file."""
    segment_s: Annotated[float, Meta(ge=0)] = 0.0
    """The same in seconds of the items' time."""


class RestartSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[restart]``: what the death of a part means; of a sensor, its stream's ``restart`` says it."""

    terminal: Policy = "restart"
    pilot: Policy = "restart"
    recorder: Policy = "restart"
    view: Policy = "restart"


class Rig(msgspec.Struct, frozen=True, kw_only=True):
    """A whole rig file."""

    rig: RigSection
    terminal: TerminalSection = TerminalSection()
    recording: RecordingSection = RecordingSection()
    pilots: dict[str, PilotSection] = {}
    restart: RestartSection = RestartSection()
    folder: str = ""
    """Where the file is: relative paths of sources start there, and classes of one's own are imported from there."""

    @property
    def name(self) -> str:
        """The rig's name."""
        return self.rig.name

    def streams(self) -> Iterator[tuple[str, str, StreamSection]]:
        """Yield (pilot, full stream name such as ``pilot1.cam0``, section) of every stream."""
        for pilot, section in self.pilots.items():
            for stream, entry in section.streams.items():
                yield pilot, f"{pilot}.{stream}", entry

    def subject_of(self, pilot: str) -> str:
        """Return who or what a Pilot records."""
        own = self.pilots[pilot].subject
        return self.rig.subject if own is None else own

    def shared(self, pilot: str) -> dict[str, Any]:
        """Return what a Pilot's HANDSHAKE says of its configuration."""
        section = self.pilots[pilot]
        known = {**msgspec.to_builtins(self.rig), **msgspec.to_builtins(section)}
        known |= {"NAME": pilot, "SUBJECT": self.subject_of(pilot), "CHILDID": section.children}
        return {name: known[name] for name in section.share}

    def __repr__(self) -> str:
        return f"<Rig {self.name}: {len(self.pilots)} pilots, {sum(1 for _ in self.streams())} streams>"
