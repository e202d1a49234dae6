"""The format of a file of message rows: ``data/<key>_part-NNN.h5`` with the group ``/data/<key>``.

All types have a fixed size and everything exists before the file goes live (SWMR), as in `layout`; values, which have
any size, lie one behind the other in one dataset of bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from .errors import SegmentFormatError
from .layout import LAYOUT_VERSION

KIND: Final = "rows"
"""Attribute `kind` of such a file; a segment of blocks has none."""
FOLDER: Final = "data"
"""Folder of the files, and group in each of them."""
ROWS: Final = "rows"
VALUES: Final = "values"
ROW: Final = np.dtype(
    [
        ("sequence", "<u8"),
        ("time_ns", "<i8"),
        ("begin", "<u8"),
        ("text", "<u4"),
        ("arrays", "<u4"),
        ("crc", "<u4"),
    ]
)
"""One row: its bytes begin at `begin` of `values`: `text` bytes of JSON, then `arrays` bytes."""
ROWS_PER_CHUNK: Final = 512
BYTES_PER_CHUNK: Final = 65536
_COVERED: Final = struct.Struct("<QqQII")


def crc_of(sequence: int, time_ns: int, begin: int, text: bytes, arrays: bytes) -> int:
    """Return the CRC-32 of a row: of its other columns, then of its bytes."""
    columns = _COVERED.pack(sequence, time_ns, begin, len(text), len(arrays))
    return zlib.crc32(arrays, zlib.crc32(text, zlib.crc32(columns)))


@dataclass(frozen=True, slots=True)
class RowsHead:
    """The attributes of a file of rows."""

    rig: str
    stream: str
    """``data/<key>``."""
    key: str
    part: int
    """Number of the file within its key, from 0."""
    birth: int
    """Identity of the Terminal's ring of rows, 64 random bits; 16 hex digits in the file."""
    first: int
    """Sequence of the first row."""
    origin: int
    """Sequence at which the recording began; rows before it came while no run was recorded."""
    clock_domain: str = ""
    """Which machine's CLOCK_MONOTONIC the times are of."""
    clock_monotonic_ns: int = 0
    clock_realtime_ns: int = 0
    epoch: int = 0
    """Always 0: rows go on over a takeover of their ring."""

    @property
    def group(self) -> str:
        """Name of the group that holds the datasets."""
        return f"{FOLDER}/{self.key}"

    def to_attributes(self) -> dict[str, Any]:
        """Return what is stored in the file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["birth"] = f"{self.birth:016x}"
        return {"layout": LAYOUT_VERSION, "kind": KIND, **values}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> RowsHead:
        """Read the attributes of a file.

        Raises:
            SegmentFormatError: an attribute is missing, or it is a file of another kind or version.
        """
        version, kind = int(attributes.get("layout", 0)), attributes.get("kind", "")
        if version != LAYOUT_VERSION or kind != KIND:
            raise SegmentFormatError(
                f"layout version {version} of {kind!r}; this program reads {LAYOUT_VERSION} of {KIND!r}"
            )
        try:
            values = {field.name: attributes[field.name] for field in fields(cls)}
            plain = {name: v.item() if isinstance(v, np.generic) else v for name, v in values.items()}
            return cls(**{**plain, "birth": int(plain["birth"], 16)})
        except (KeyError, ValueError, TypeError) as error:
            raise SegmentFormatError(f"attribute missing or malformed: {error}") from error
