"""``hdf5``: one plain HDF5 file, a group per stream, no filter: MATLAB's h5read takes it as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from .columns import attributes, columns_of, dtype_of, slabs
from .format import Digest, Format
from .h5_fill import FillSink, contiguous, filled_bytes, read_digests
from .notes import Notes
from .selection import Selection


class Hdf5(Format):
    """``/<stream>/data`` and its columns; ``/events``, ``/gaps``, ``/rows/<key>``: texts, each a JSON object."""

    name: ClassVar[str] = "hdf5"
    suffix: ClassVar[str] = ".h5"

    def bytes_needed(self, selection: Selection) -> int:
        """Items and stamps lie there as they are."""
        return filled_bytes(selection)

    def begin(self, path: Path, selection: Selection, notes: Notes) -> FillSink:
        """Write everything but the items, for which there is place."""
        # The oldest format: newer ones mark a file as open for writing, and refuse it after a kill.
        with h5py.File(path, "w", libver=("earliest", "v110")) as file:
            for name, stream in selection.streams.items():
                group = file.create_group(name)
                group.attrs.update(attributes(stream))
                contiguous(group, "data", stream.shape, stream.dtype)
                for label, column in columns_of(stream).items():
                    made = contiguous(group, label, (len(stream),), np.dtype(dtype_of(label)))
                    for begin, values in slabs(column):
                        made[begin : begin + len(values)] = values
            for name, lines in notes.lists.items():
                texts = np.array([note.text for note in lines], dtype=object)
                file.create_dataset(name, data=texts, dtype=h5py.string_dtype())
        return self.resume(path, selection, {})

    def resume(self, path: Path, selection: Selection, state: dict[str, Any]) -> FillSink:
        """Open it again."""
        return FillSink(path, {name: f"{name}/data" for name in selection.streams})

    def read(self, path: Path, selection: Selection) -> Iterator[tuple[str, Digest]]:
        """Read every stream."""
        return read_digests(path, selection, {name: (f"{name}/data", f"{name}/time_ns") for name in selection.streams})

    def read_notes(self, path: Path, names: list[str]) -> dict[str, list[str]]:
        """Read the JSON lines."""
        with h5py.File(path, "r") as file:
            return {name: list(file[name].asstr()[:]) for name in names if name in file}
