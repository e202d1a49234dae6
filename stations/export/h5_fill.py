"""Fills HDF5 files whose structure is complete before the first item: contiguous datasets of known size.

Then filling changes bytes of data only, never the structure: a process may be killed at any moment, and the next one
goes on.  No filter is used, so any reader of HDF5, MATLAB among them, needs nothing further.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .format import PIECE_BYTES, SLAB, Digest, Piece, Sink
from .selection import Selection, item_bytes


class FillSink(Sink):
    """Writes pieces into datasets that are there.

    Args:
        path: the file.
        places: by stream, the name of its dataset.
    """

    def __init__(self, path: Path, places: Mapping[str, str]) -> None:
        self._file = h5py.File(path, "r+")
        self._places = places

    def write(self, piece: Piece) -> None:
        """Decode and store."""
        self._file[self._places[piece.name]][piece.begin : piece.end] = piece.items()

    def checkpoint(self) -> dict[str, Any]:
        """Hand what is written to the system."""
        self._file.flush()
        return {}

    def finish(self) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file:
            self._file.close()


def filled_bytes(selection: Selection) -> int:
    """Return the bytes of all items and their stamps, which are three numbers of 8 bytes at least."""
    return selection.nbytes + 24 * sum(map(len, selection.streams.values()))


def contiguous(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> h5py.Dataset:
    """Make a dataset that has its place in the file at once."""
    places = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    places.set_layout(h5py.h5d.CONTIGUOUS)
    places.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    places.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    places.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    kind = h5py.h5t.py_create(dtype, logical=True)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, dcpl=places))


def read_digest(items: h5py.Dataset, times: h5py.Dataset, bytes_each: int) -> Digest:
    """Return the digest of what two datasets hold."""
    digest = Digest()
    for part in _parts(items, max(1, PIECE_BYTES // max(1, bytes_each))):
        digest.add_items(part)
    for part in _parts(times, SLAB):
        digest.add_times(part)
    return digest


def read_digests(
    path: Path, selection: Selection, places: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, Digest]]:
    """Yield the digest of each stream; `places` names its datasets of items and of times."""
    with h5py.File(path, "r") as file:
        for name, (items, times) in places.items():
            if items in file and times in file:
                yield name, read_digest(file[items], file[times], item_bytes(selection.streams[name]))


def _parts(dataset: h5py.Dataset, step: int) -> Iterator[np.ndarray[Any, Any]]:
    return (dataset[begin : begin + step] for begin in range(0, len(dataset), step))
