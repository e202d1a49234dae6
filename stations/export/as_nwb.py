"""``nwb``: one Neurodata Without Borders file: images as ImageSeries, samples as TimeSeries.

pynwb writes the structure, with place for the items, which are then filled in as in plain HDF5.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from stations.recording import StreamRecording

from .columns import attributes, columns_of, dtype_of, slabs
from .format import Digest, Format
from .h5_fill import FillSink, filled_bytes, read_digests
from .notes import Notes
from .selection import NS, Selection

LEFT_OUT = ("utc_ns",)
"""It is in the timestamps; other columns go along as series of their own, for those are seconds as float64."""


class Nwb(Format):
    """``/acquisition/<stream>``, beside it ``<stream>_time_ns`` …; ``/events/events``, ``gaps``, ``rows_<key>``."""

    name: ClassVar[str] = "nwb"
    suffix: ClassVar[str] = ".nwb"
    modules: ClassVar[tuple[str, ...]] = ("pynwb",)
    extra: ClassVar[str] = "nwb"

    def refuse(self, stream: StreamRecording) -> str:
        """NWB takes numbers of at most four dimensions, and time is one of them."""
        if stream.dtype.kind not in "iuf":
            return f"NWB holds integers and floats, not {stream.dtype}"
        if len(stream.shape) > 4:
            return f"NWB holds items of at most 3 dimensions, not {stream.shape[1:]}"
        return "" if len(stream) else "it has no item here"

    def bytes_needed(self, selection: Selection) -> int:
        """Items and stamps lie there as they are."""
        return filled_bytes(selection)

    def begin(self, path: Path, selection: Selection, notes: Notes) -> FillSink:
        """Let pynwb write everything but the items."""
        import pynwb

        begun_ns = selection.utc_bounds()[0]
        head = next(iter(selection.streams.values())).head
        file = pynwb.NWBFile(
            session_description=f"recording {selection.recording.path.name} of the rig {head.rig}",
            identifier=f"{selection.recording.path.name} {head.birth:016x}",
            session_start_time=datetime.fromtimestamp(begun_ns // NS, UTC),
        )
        zero_ns = begun_ns // NS * NS
        for name, stream in selection.streams.items():
            _add(file, name, stream)
        _add_notes(file, notes, zero_ns)
        with pynwb.NWBHDF5IO(path, "w") as io:
            io.write(file)
        _fill_columns(path, selection, zero_ns)
        return self.resume(path, selection, {})

    def resume(self, path: Path, selection: Selection, state: dict[str, Any]) -> FillSink:
        """Open it again."""
        return FillSink(path, {name: f"acquisition/{name}/data" for name in selection.streams})

    def read(self, path: Path, selection: Selection) -> Iterator[tuple[str, Digest]]:
        """Read every stream."""
        places = {name: (f"acquisition/{name}/data", f"acquisition/{name}_time_ns/data") for name in selection.streams}
        return read_digests(path, selection, places)

    def read_notes(self, path: Path, names: list[str]) -> dict[str, list[str]]:
        """Read the tables of events."""
        with h5py.File(path, "r") as file:
            places = {name: f"events/{_plain(name)}/annotation" for name in names}
            return {name: list(file[at].asstr()[:]) for name, at in places.items() if at in file}

    def problems(self, path: Path) -> list[str]:
        """Return what pynwb's validator finds."""
        import pynwb

        found = pynwb.validate(path=str(path))
        return [str(error) for error in (found[0] if isinstance(found, tuple) else found)]


def _stamps(stream: StreamRecording) -> dict[str, Any]:
    return {name: column for name, column in columns_of(stream).items() if name not in LEFT_OUT}


def _add(file: Any, name: str, stream: StreamRecording) -> None:
    from hdmf.backends.hdf5 import H5DataIO
    from pynwb import TimeSeries
    from pynwb.image import ImageSeries

    times = H5DataIO(shape=(len(stream),), dtype=np.dtype("<f8"))
    said = msgspec.json.encode(attributes(stream)).decode()
    told: dict[str, Any] = {
        "name": name,
        "data": H5DataIO(shape=stream.shape, dtype=stream.dtype),
        "unit": stream.unit or "n.a.",
        "timestamps": times,
        "comments": said,
    }
    series = ImageSeries(**told) if len(stream.shape) in (3, 4) else TimeSeries(**told)
    file.add_acquisition(series)
    for column in _stamps(stream):
        data = H5DataIO(shape=(len(stream),), dtype=np.dtype(dtype_of(column)))
        unit = "ns" if column.endswith("_ns") else "n.a."
        file.add_acquisition(TimeSeries(name=f"{name}_{column}", data=data, unit=unit, timestamps=series))


def _add_notes(file: Any, notes: Notes, zero_ns: int) -> None:
    for name, lines in notes.lists.items():
        if not lines:
            continue
        table = file.create_events_table(name=_plain(name), description="each annotation is a JSON object")
        table.add_column(name="annotation", description="a JSON object")
        for note in lines:
            table.add_event(timestamp=(note.utc_ns - zero_ns) / NS, annotation=note.text)


def _fill_columns(path: Path, selection: Selection, zero_ns: int) -> None:
    """Write times and sequences, and an item of each stream: with it HDF5 gives the dataset its place in the file."""
    with h5py.File(path, "r+") as file:
        group = file["acquisition"]
        for name, stream in selection.streams.items():
            group[f"{name}/data"][:1] = np.zeros((1, *stream.head.shape), stream.dtype)
            for begin, values in slabs(stream.utc):
                group[f"{name}/timestamps"][begin : begin + len(values)] = _seconds(values, zero_ns)
            for label, column in _stamps(stream).items():
                for begin, values in slabs(column):
                    group[f"{name}_{label}/data"][begin : begin + len(values)] = values


def _seconds(utc_ns: NDArray[np.int64], zero_ns: int) -> NDArray[np.float64]:
    return np.asarray((utc_ns - zero_ns) / NS, np.float64)


def _plain(name: str) -> str:
    return name.replace("/", "_")
