"""Opens an HDF5 file that is being written, or whose writer was killed, without waiting for ever on a damaged one.

A reader beside a writer (SWMR) reads metadata again when their checksum is wrong, since they may be half written: 100
times, and in newer versions with a pause that doubles from a nanosecond.  On a *damaged* file that is for ever (tried
with HDF5 2.0: one bit of the superblock).  h5py has no word for the number of attempts, so the library is asked.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import h5py

ATTEMPTS: Final = 26
"""Pauses add up to 2²⁶ ns, 70 ms: a writer needs microseconds to finish what it began."""
log = logging.getLogger(__name__)


def open_live(path: Path) -> h5py.File:
    """Open for reading beside a writer.

    Raises:
        OSError: it cannot be opened so, or is damaged.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_LATEST)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    set_attempts = _set_attempts()
    if set_attempts is not None:
        set_attempts(access.id, ATTEMPTS)
    flags = h5py.h5f.ACC_RDONLY | h5py.h5f.ACC_SWMR_READ
    return h5py.File(h5py.h5f.open(str(path).encode(), flags, fapl=access))


@functools.cache
def _set_attempts() -> Callable[[int, int], int] | None:
    """Return `H5Pset_metadata_read_attempts` of the library that h5py uses; None where it is not found."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    loaded = {line.split(maxsplit=5)[-1] for line in lines if "/libhdf5" in line and "_hl" not in line}
    for library in sorted(loaded):
        try:
            function = ctypes.CDLL(library).H5Pset_metadata_read_attempts
        except (OSError, AttributeError):
            continue
        function.argtypes, function.restype = (ctypes.c_int64, ctypes.c_uint), ctypes.c_int
        return function
    log.warning("HDF5's library is not found; damaged files whose writer was killed may take for ever to open")
    return None
