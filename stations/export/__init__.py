"""Recordings in the formats of others: NWB, MCAP, Zarr, plain HDF5, CSV, WAV, MP4."""

from .errors import ExportError
from .export import export
from .registry import FORMATS, format_of
from .report import ExportReport
from .selection import Window

__all__ = ["FORMATS", "ExportError", "ExportReport", "Window", "export", "format_of"]
