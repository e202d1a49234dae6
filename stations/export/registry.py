"""Which formats there are; the module of one, and what it needs, is imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from stations.errors import MissingExtraError
from stations.suggest import did_you_mean

from .errors import ExportError
from .format import Format

FORMATS: Final[Mapping[str, tuple[str, str]]] = {
    "nwb": ("as_nwb", "Nwb"),
    "mcap": ("as_mcap", "Mcap"),
    "zarr": ("as_zarr", "Zarr"),
    "hdf5": ("as_hdf5", "Hdf5"),
    "csv": ("as_csv", "Csv"),
    "wav": ("as_wav", "Wav"),
    "mp4": ("as_mp4", "Mp4"),
}
"""Module and class by name."""


def format_of(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ExportError: there is none of that name.
        MissingExtraError: what it needs is not installed; the message says how to get it.
    """
    if name not in FORMATS:
        raise ExportError(f"no format is called {name!r}; {did_you_mean(name, FORMATS)}")
    module, kind = FORMATS[name]
    found: Format = getattr(importlib.import_module(f".{module}", __package__), kind)()
    missing = [needed for needed in found.modules if find_spec(needed) is None]
    if missing:
        needs = f"exporting {name} needs {', '.join(missing)}"
        raise MissingExtraError(f"{needs}; run: pip install 'acquisition-pipeline[{found.extra}]'")
    return found
