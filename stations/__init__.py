"""Stations, sources, sinks and their supervision: everything between a rig file and a recording."""

from .config import Rig, load_rig
from .errors import (
    AlreadyToldError,
    BadInputError,
    ConfigError,
    MissingExtraError,
    OutputError,
    RigFailedError,
    RigRunsError,
    SourceError,
    SourceFailedError,
    StationError,
)
from .pilot import PilotStation
from .run import RunOptions, RunResult, run_rig
from .sources import Reading, Source, SourceSpec
from .station import Station
from .terminal import TerminalStation

__all__ = [
    "AlreadyToldError",
    "BadInputError",
    "ConfigError",
    "MissingExtraError",
    "OutputError",
    "PilotStation",
    "Reading",
    "Rig",
    "RigFailedError",
    "RigRunsError",
    "RunOptions",
    "RunResult",
    "Source",
    "SourceError",
    "SourceFailedError",
    "SourceSpec",
    "Station",
    "StationError",
    "TerminalStation",
    "load_rig",
    "run_rig",
]
