"""Every process of a rig is `python -m stations PART NAME`; PART says which, NAME is for whoever reads `ps`.

Only the part that is run is imported: a sensor needs no HDF5, a Pilot's machine no web server.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

from pipeline.heap import keep_freed_memory

PARTS: Final = {
    "pilot": "stations.pilot",
    "pilot_recorder": "stations.pilot_recorder",
    "recorder": "stations.recorder",
    "sensor": "stations.sensor",
    "terminal": "stations.terminal",
    "view": "stations.view.process",
}
"""Modules whose `main` is a process (see `stations.child`)."""


def main(arguments: list[str]) -> None:
    """Be the part that the first argument names."""
    if not arguments or arguments[0] not in PARTS:
        sys.exit(f"pipeline: a part of a rig is one of {', '.join(PARTS)}; people start them with `pipeline run`")
    keep_freed_memory()
    importlib.import_module(PARTS[arguments[0]]).main()


if __name__ == "__main__":
    main(sys.argv[1:])
