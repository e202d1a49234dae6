"""Rig files: what a rig is made of, read from TOML and checked before anything starts."""

from .dump import dump_rig
from .load import load_rig, parse_rig
from .naming import claim_folder
from .rig import PilotSection, RecordingSection, RestartSection, Rig, RigSection, StreamSection, TerminalSection

__all__ = [
    "PilotSection",
    "RecordingSection",
    "RestartSection",
    "Rig",
    "RigSection",
    "StreamSection",
    "TerminalSection",
    "claim_folder",
    "dump_rig",
    "load_rig",
    "parse_rig",
]
