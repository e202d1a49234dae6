"""Which rigs run on this machine, and where their stations are reached: how a command finds the rig it is about."""

from __future__ import annotations

import msgspec

from pipeline.errors import UNREADABLE
from pipeline.notify import runtime_dir

from .errors import NoRigError
from .riglock import Announcement, is_held
from .suggest import did_you_mean


def running_stations() -> list[Announcement]:
    """Return the stations of this user's rigs that run on this machine, by rig, the Terminal before the Pilots.

    Raises:
        EndpointError: the runtime directory belongs to somebody else.
    """
    found = []
    for path in runtime_dir().glob("*.station"):
        try:
            station = msgspec.json.decode(path.read_bytes(), type=Announcement)
        except (FileNotFoundError, *UNREADABLE):  # it left meanwhile; or somebody else's file
            continue
        if is_held(station.rig, station.station):
            found.append(station)
    return sorted(found, key=lambda station: (station.rig, station.kind != "terminal", station.station))


def find_station(rig: str | None = None) -> Announcement:
    """Return the station of a rig by which a command enters: the Terminal, or a Pilot where only Pilots run.

    Args:
        rig: its name; the only one that runs here if None.

    Raises:
        NoRigError: none runs here, not that one, or several and no name was given.
    """
    stations = running_stations()
    rigs = sorted({station.rig for station in stations})
    if rig is None and len(rigs) > 1:
        raise NoRigError(f"{len(rigs)} rigs run on this machine: {', '.join(rigs)}; say --rig NAME")
    if not rigs:
        named = f"rig {rig!r} does not run" if rig else "no rig of yours runs"
        raise NoRigError(f"{named} on this machine; start one (pipeline demo), or say --at tcp://HOST:PORT/ID")
    if rig is not None and rig not in rigs:
        hint = did_you_mean(rig, rigs)
        raise NoRigError(f"rig {rig!r} does not run on this machine; {hint}")
    return next(station for station in stations if rig is None or station.rig == rig)
