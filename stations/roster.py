"""Which processes a rig needs on this machine, and what each is told.  Pure: a rig in, child specs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import msgspec

from pipeline.log import LogOptions

from .config import Rig, StreamSection
from .config.rig import RECORDER
from .errors import MissingExtraError
from .free_ports import free_ports
from .pilot_config import PilotConfig, StreamPlan
from .riglock import Announcement
from .sensor import SensorConfig
from .supervisor import ChildSpec
from .terminal import TerminalConfig

Role = Literal["pilot", "terminal", "both"]

SENSORS: Final = 0
PILOTS: Final = 1
TERMINALS: Final = 2
SINKS: Final = 3
"""Order of ending: sources first, so that nothing is produced that nobody takes any more."""


def with_ports(rig: Rig) -> Rig:
    """Return the rig with a free port wherever it says 0; a child that is restarted then finds its old one."""
    free = free_ports()
    terminal = msgspec.structs.replace(
        rig.terminal,
        msg_port=rig.terminal.msg_port or next(free),
        data_port=rig.terminal.data_port or next(free),
        view_port=rig.terminal.view_port or next(free),
    )
    pilots = {
        name: msgspec.structs.replace(pilot, msg_port=pilot.msg_port or next(free))
        for name, pilot in rig.pilots.items()
    }
    return msgspec.structs.replace(rig, terminal=terminal, pilots=pilots)


def children(rig: Rig, role: Role, output: Path) -> list[ChildSpec]:
    """Return the processes of a rig whose ports are known, in the order in which they start.

    Args:
        rig: the rig.
        role: which part of it runs on this machine.
        output: folder of its recordings, and of its pilots' spools unless they say otherwise.
    """
    specs: list[ChildSpec] = []
    if role != "pilot":
        specs += _terminal_children(rig, output)
    if role != "terminal":
        specs += _pilot_children(rig, output)
    return specs


def announcements(rig: Rig, role: Role) -> list[Announcement]:
    """Return where the stations that run on this machine are reached."""
    pid, found = os.getpid(), []
    if role != "pilot":
        found.append(Announcement(rig.name, rig.terminal.id, "terminal", terminal_endpoint(rig), pid))
    if role != "terminal":
        found += [Announcement(rig.name, pilot, "pilot", pilot_endpoint(rig, pilot), pid) for pilot in rig.pilots]
    return found


def log_options(rig: Rig, output: Path) -> LogOptions:
    """Return where this rig's processes log: LOGDIR against the output folder."""
    return LogOptions(str(output / rig.rig.log_dir), rig.rig.log_level, rig.rig.log_size, rig.rig.log_count)


def terminal_endpoint(rig: Rig) -> str:
    """Where the Terminal takes control messages."""
    return f"tcp://{rig.terminal.ip}:{rig.terminal.msg_port}"


def data_endpoint(rig: Rig) -> str:
    """Where the Terminal takes streams."""
    return f"tcp://{rig.terminal.ip}:{rig.terminal.data_port}"


def view_url(rig: Rig) -> str:
    """Where the page is."""
    return f"http://127.0.0.1:{rig.terminal.view_port}/"


def recorder_id(rig: Rig) -> str:
    """Address of the recorder."""
    return f"{rig.terminal.id}.{RECORDER}"


def pilot_recorder_id(rig: Rig, pilot: str) -> str:
    """Address of a Pilot's own recorder; empty if it has none."""
    return f"{pilot}.{RECORDER}" if rig.pilots[pilot].record else ""


def view_id(rig: Rig) -> str:
    """Address of the view."""
    return f"{rig.terminal.id}.view"


def pilot_endpoint(rig: Rig, pilot: str) -> str:
    """Where a Pilot takes messages of its own nodes; always loopback."""
    return f"tcp://127.0.0.1:{rig.pilots[pilot].msg_port}"


def _terminal_children(rig: Rig, output: Path) -> list[ChildSpec]:
    from .recorder import RecorderConfig  # a Pilot's machine has no [terminal] extra
    from .view import ViewConfig

    terminal, restart = rig.terminal, rig.restart
    own = [pilot_recorder_id(rig, pilot) for pilot in rig.pilots]
    station = TerminalConfig(
        rig=rig.name,
        id=terminal.id,
        listen_endpoint=terminal_endpoint(rig),
        data_endpoint=data_endpoint(rig),
        pilots=list(rig.pilots),
        ping_s=rig.rig.ping_interval_s,
        draw_fps=rig.rig.draw_fps,
        recorders=[recorder_id(rig), *([] if terminal.record else filter(None, own))],
        lossless_readers=[RECORDER, *terminal.lossless_readers],
    )
    recorder = RecorderConfig(
        rig=rig.name,
        terminal=terminal.id,
        ip=terminal.ip,
        port=terminal.msg_port,
        max_loss_s=rig.rig.max_loss_s,
        segment_mb=rig.recording.segment_mb,
        segment_s=rig.recording.segment_s,
        streams=terminal.record,
        output=str(output.absolute()),
    )
    view = ViewConfig(
        rig=rig.name,
        terminal=terminal.id,
        ip=terminal.ip,
        port=terminal.msg_port,
        view_port=terminal.view_port,
        draw_fps=rig.rig.draw_fps,
        pilots=list(rig.pilots),
    )
    return [
        ChildSpec(terminal.id, "terminal", station, restart.terminal, TERMINALS),
        ChildSpec(recorder_id(rig), "recorder", recorder, restart.recorder, SINKS),
        ChildSpec(view_id(rig), "view", view, restart.view, SINKS),
    ]


def spool_folder(rig: Rig, pilot: str, output: Path) -> Path:
    """Return where a Pilot keeps what the link cannot carry."""
    own = rig.pilots[pilot].spool
    return (Path(own) if own is not None else output / "spool" / rig.name / pilot).absolute()


def _pilot_children(rig: Rig, output: Path) -> Iterator[ChildSpec]:
    for pilot, section in rig.pilots.items():
        config = PilotConfig(
            rig=rig.name,
            id=pilot,
            terminal=rig.terminal.id,
            parent=section.parent_id or "",
            children=section.children,
            forward=section.forwards(pilot),
            shared=rig.shared(pilot),
            tell_s=rig.rig.ping_interval_s,
            listen_endpoint=pilot_endpoint(rig, pilot),
            push_endpoint=_above(rig, pilot),
            data_endpoint=data_endpoint(rig),
            # Without a recorder at the Terminal nobody would ever take it out.
            spool=str(spool_folder(rig, pilot, output)) if section.spool_bytes and rig.terminal.record else "",
            spool_bytes=section.spool_bytes,
            backfill_bytes_s=section.backfill_mb_s * 1e6,
            recorder=pilot_recorder_id(rig, pilot),
            output=str(output.absolute()),
            streams={f"{pilot}.{name}": _plan(rig, pilot, name, entry) for name, entry in section.streams.items()},
        )
        yield ChildSpec(pilot, "pilot", config, rig.restart.pilot, PILOTS)
        if section.record:
            yield _pilot_recorder(rig, pilot, config)
    for pilot, stream, entry in rig.streams():
        if entry.source is not None:
            yield ChildSpec(stream, "sensor", _sensor(rig, pilot, stream, entry), entry.restart, SENSORS)


def _pilot_recorder(rig: Rig, pilot: str, config: PilotConfig) -> ChildSpec:
    if find_spec("h5py") is None:
        raise MissingExtraError(
            f"pilots.{pilot}.record: recording needs h5py; run: pip install 'acquisition-pipeline[terminal]'"
        )
    from .pilot_recorder import PilotRecorderConfig  # a Pilot that does not record needs no h5py
    from .recording.item_intake import ItemSource

    told = PilotRecorderConfig(
        rig=rig.name,
        pilot=pilot,
        terminal=rig.terminal.id,
        port=rig.pilots[pilot].msg_port,
        sources={stream: ItemSource(plan.ring, plan.codec) for stream, plan in config.streams.items()},
        max_loss_s=rig.rig.max_loss_s,
        segment_mb=rig.recording.segment_mb,
        segment_s=rig.recording.segment_s,
    )
    return ChildSpec(config.recorder, "pilot_recorder", told, rig.restart.recorder, SINKS)


def _above(rig: Rig, pilot: str) -> str:
    """Where the station above a Pilot takes its messages: a parent Pilot, or the Terminal."""
    section = rig.pilots[pilot]
    if section.parent_id is None:
        return f"tcp://{section.terminal_ip or rig.terminal.ip}:{section.push_port or rig.terminal.msg_port}"
    port = section.parent_port or rig.pilots[section.parent_id].msg_port
    return f"tcp://{section.parent_ip}:{port}"


def _sensor(rig: Rig, pilot: str, stream: str, entry: StreamSection) -> SensorConfig:
    return SensorConfig(
        rig=rig.name,
        stream=stream,
        pilot=pilot,
        port=rig.pilots[pilot].msg_port,
        source=entry.source or "",
        options=entry.options,
        seconds=entry.seconds,
        slots=entry.slots,
        lossless_readers=[*entry.lossless_readers, *([RECORDER] if rig.pilots[pilot].record else [])],
        folder=rig.folder,
    )


def _plan(rig: Rig, pilot: str, name: str, entry: StreamSection) -> StreamPlan:
    return StreamPlan(
        ring=entry.ring or f"{rig.name}/{pilot}.{name}",
        has_sensor=entry.source is not None,
        codec=entry.codec,
        lossless=entry.lossless,
        seconds=entry.seconds,
        max_bytes_s=entry.max_mb_s * 1e6 or None,
    )
