"""The format of a segment file: what its datasets and attributes are called and of which type.

Writer, reader, verify and recover take every name from here; `stations/README.md` shows the same as tables.  All types
have a fixed size and everything is created before the file goes live (SWMR): what is created later vanishes at a
crash without an error.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import SegmentFormatError

LAYOUT_VERSION: Final = 1
LIBVER: Final = ("v110", "v110")
"""HDF5 format bounds: the oldest that allows SWMR, so that Debian's tools and pytables read the files too."""

DATA: Final = "data"
SEQ: Final = "seq"
TIME: Final = "time_ns"
BLOCKS: Final = "blocks"

UNCHECKED_ROW: Final = np.dtype(
    [
        ("first_seq", "<u8"),
        ("time_ns", "<i8"),
        ("period_ns", "<i8"),
        ("count", "<u4"),
        ("crc", "<u4"),
        ("payload_bytes", "<u4"),
        ("codec", "S8"),
    ]
)
"""One row per block, that is per chunk of `data`; `crc` is the wire's, over times and payload as they came."""
BLOCK_ROW: Final = np.dtype([*UNCHECKED_ROW.descr, ("check", "<u4")])
"""With the CRC-32 of the row itself: what it alone says of times, codec and length is found when it is damaged."""
BLOCK_ROWS_PER_CHUNK: Final = 256
ITEMS_PER_CHUNK: Final = 2048
"""Chunk of `seq` and `time_ns`: 16 KiB, little to rewrite at each flush."""

BLOSC_FILTER: Final = 32001
"""Registered HDF5 filter id of blosc; optional in our files, so that a recorder writes without the plugin."""
AS_WRITTEN: Final = 0
"""Filter mask of a chunk that went through the filter."""
FILTER_SKIPPED: Final = 1
"""Filter mask of a chunk stored raw: readable without any plugin."""


def checked(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Return rows of `UNCHECKED_ROW` with their checks, shape (n,)."""
    made = np.zeros(len(rows), BLOCK_ROW)
    for name in UNCHECKED_ROW.names or ():
        made[name] = rows[name]
    made["check"] = checks_of(rows)
    return made


def checks_of(rows: NDArray[np.void]) -> NDArray[np.uint32]:
    """Return the check that belongs to each row, whatever it has; shape (n,)."""
    size = UNCHECKED_ROW.itemsize
    return np.array([zlib.crc32(row.tobytes()[:size]) for row in rows], np.uint32)


def blosc_options(item_dtype: np.dtype[Any], chunk_bytes: int) -> tuple[int, ...]:
    """Return the filter's values: plugin and blosc format, type size, chunk bytes, level 5, bitshuffle, lz4."""
    return (2, 2, item_dtype.itemsize, chunk_bytes, 5, 2, 1)


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """The attributes of a segment file: everything known of the stream when the segment begins."""

    rig: str
    stream: str
    """Node address of the sensor, e.g. ``pilot1.cam0``."""
    part: int
    """Number of the segment within its stream, from 0."""
    birth: int
    """Identity of the ring generation, 64 random bits; 16 hex digits in the file."""
    epoch: int
    """Takeovers within that generation."""
    first: int
    """Sequence of the first item."""
    origin: int
    """Sequence at which the recording of this birth began; what lies between is in earlier segments or lost."""
    dtype: str
    """The items' dtype as JSON, e.g. ``"|u1"`` with its quotes."""
    shape: tuple[int, ...]
    """Shape of an item, e.g. (480, 640, 3)."""
    block_items: int
    """Items per block and per chunk of `data`."""
    regular: bool = True
    """Times within a block are `time_ns + i * period_ns`."""
    rate: float = 0.0
    """Nominal items per second; 0: none was declared."""
    labels: tuple[str, ...] = ()
    """Names of the channels."""
    unit: str = ""
    clock_domain: str = ""
    """Which machine's CLOCK_MONOTONIC the times are of."""
    clock_monotonic_ns: int = 0
    clock_realtime_ns: int = 0
    """With the line above: the same instant on both clocks, to place the times in the day."""
    meta: Mapping[str, Any] | None = None
    """What the source said of itself, e.g. which self-check its items carry."""

    @property
    def per_item(self) -> bool:
        """Whether `seq` and `time_ns` exist: images and irregular streams."""
        return self.block_items == 1 or not self.regular

    def to_attributes(self) -> dict[str, Any]:
        """Return what is stored in the file; lists and tables as JSON text."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["birth"] = f"{self.birth:016x}"
        for name in ("shape", "labels"):
            values[name] = json.dumps(list(values[name]))
        values["meta"] = json.dumps(self.meta or {})
        return {"layout": LAYOUT_VERSION, **values}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> SegmentHead:
        """Read the attributes of a file.

        Raises:
            SegmentFormatError: an attribute is missing, or the file is of another layout version.
        """
        version = int(attributes.get("layout", 0))
        if version != LAYOUT_VERSION:
            raise SegmentFormatError(f"layout version is {version}, this program reads {LAYOUT_VERSION}")
        try:
            values = {field.name: _plain(attributes[field.name]) for field in fields(cls)}
            values["birth"] = int(values["birth"], 16)
            for name in ("shape", "labels"):
                values[name] = tuple(json.loads(values[name]))
            values["meta"] = json.loads(values["meta"])
            return cls(**values)
        except (KeyError, ValueError, TypeError) as error:
            raise SegmentFormatError(f"attribute missing or malformed: {error}") from error


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
