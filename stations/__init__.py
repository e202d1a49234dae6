"""Stations, sources, sinks and their supervision: everything between a rig file and a recording."""

from .config import Rig, load_rig
from .errors import StationError

__all__ = ["Rig", "StationError", "load_rig"]
