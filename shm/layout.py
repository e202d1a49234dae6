"""Where everything lies in a segment, as data.

A ring is one segment of six sections, each starting on the page granule:

    header | words | reader table | times | lengths (blob rings) | data

The header is written once by the creator, the words by the writer alone, the reader table by readers (and by the
writer where a field says so). Times, lengths and data are mapped twice in a row, so that a run of up to `slots` items
never wraps. A page of counters is one segment of two sections: counter header | counters.

From the tables below come the numpy dtypes, the offsets that the native code receives, and the table in README.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Final, NamedTuple

import numpy as np

VERSION: Final = 2
"""Layout version; raised by any change of the tables below. Another version is refused on attach."""
RING_MAGIC: Final = b"PLRING\x00\x01"
COUNTERS_MAGIC: Final = b"PLCOUNT\x01"
READERS: Final = 31
"""Entries of the reader table: with the shared words they fill 8 KiB."""
DENSE_BELOW: Final = 64 * 1024
"""Items of fewer bytes lie without gaps; larger ones may be padded to keep `slots` as asked."""

SUPERSEDED: Final = 2
ENDED: Final = 1
"""Bits of the word `flags`."""


class Field(NamedTuple):
    """One named run of bytes."""

    name: str
    format: str
    offset: int
    writer: str
    meaning: str


HEADER: Final = (
    Field("magic", "S8", 0, "creator", "b'PLRING', 0, 1; stored last: the ring is ready"),
    Field("version", "<u8", 8, "creator", "layout version"),
    Field("birth", "<u8", 16, "creator", "64 random bits of this generation"),
    Field("granule", "<u8", 24, "creator", "page size that sections start on, bytes"),
    Field("slots", "<u8", 32, "creator", "items that the ring holds"),
    Field("item_bytes", "<u8", 40, "creator", "bytes of an item; of a blob ring the largest item"),
    Field("stride", "<u8", 48, "creator", "bytes from one slot to the next"),
    Field("times_slots", "<u8", 56, "creator", "modulus of the times and lengths"),
    Field("first", "<u8", 64, "creator", "first sequence of this generation"),
    Field("readers", "<u8", 72, "creator", "entries of the reader table"),
    Field("total_bytes", "<u8", 80, "creator", "bytes of the segment"),
    Field("kind", "<u8", 88, "creator", "0 items, 1 blobs"),
    Field("can_wait", "<u8", 96, "creator", "1 if the writer may wait for lossless readers"),
    Field("monotonic_ns", "<i8", 104, "creator", "CLOCK_MONOTONIC at creation"),
    Field("realtime_ns", "<i8", 112, "creator", "CLOCK_REALTIME at the same instant"),
    Field("boot_id", "S36", 128, "creator", "boot that the segment belongs to"),
    Field("clock", "S64", 192, "creator", "domain of all times: clock and boot"),
    Field("full_name", "S256", 256, "creator", "the ring's name, UTF-8"),
    Field("shape", "S256", 512, "creator", "shape of an item, JSON"),
    Field("dtype", "S3072", 768, "creator", "dtype description, JSON"),
    Field("meta", "S2048", 3840, "creator", "what the creator says about the stream, JSON"),
    Field("lossless", "S1024", 5888, "creator", "who may read lossless: names of readers, or null for all, JSON"),
)

WORDS: Final = (
    Field("claimed", "<u8", 0, "writer", "items below may be changing; never decreases"),
    Field("published", "<u8", 8, "writer", "items below are whole"),
    Field("flags", "<u8", 64, "writer", "1 ended, 2 superseded by a new generation"),
    Field("epoch", "<u8", 72, "writer", "takeovers within this birth"),
    Field("writer_pid", "<u8", 128, "writer", "for display; the lock on byte 0 decides who lives"),
    Field("writer_start", "<u8", 136, "writer", "start time of that process, clock ticks since boot"),
    Field("writer_namespace", "<u8", 144, "writer", "inode of its pid namespace"),
    Field("demotions", "<u8", 192, "writer", "lossless readers left behind"),
    Field("reaped", "<u8", 200, "writer", "entries of dead readers removed"),
    Field("waits", "<u8", 208, "writer", "claims that waited for a lossless reader"),
    Field("waited_ns", "<u8", 216, "writer", "time spent so"),
)

TABLE: Final = (
    Field("table_version", "<u8", 0, "any reader, fetch-add", "raised when a reader begins to gate the writer"),
    Field("armed", "<u8", 64, "any reader ors, the writer clears", "who sleeps: 1 on the futex, 2 on notices"),
    Field("wakes", "<u8", 72, "writer, fetch-add", "futex that readers sleep on"),
    Field("wanted", "<u8", 128, "writer stores, a reader clears", "wake the writer when a reader gets there"),
    Field("rooms", "<u8", 136, "any reader, fetch-add", "futex that the writer sleeps on"),
)
TABLE_WORDS_BYTES: Final = 256

ENTRY: Final = (
    Field(
        "state", "<u8", 0, "owner; writer demotes or reaps; by compare-exchange", "pid << 32 | generation << 8 | kind"
    ),
    Field("demoted", "<u8", 8, "writer, fetch-add", "times that this reader was left behind"),
    Field("position", "<u8", 64, "owner", "sequence that it reads next"),
    Field("skipped", "<u8", 72, "owner", "items passed over by policy latest"),
    Field("lapped", "<u8", 80, "owner", "items overwritten before they were read"),
    Field("torn", "<u8", 88, "owner", "items overwritten while in use"),
    Field("taken", "<u8", 96, "owner", "items read and good"),
    Field("policy", "<u8", 128, "owner", "0 latest, 1 drop_oldest, 2 lossless"),
    Field("start", "<u8", 136, "owner", "start time of its process, clock ticks since boot"),
    Field("namespace", "<u8", 144, "owner", "inode of its pid namespace"),
    Field("joined_ns", "<u8", 152, "owner", "CLOCK_MONOTONIC of joining"),
    Field("name", "S64", 192, "owner", "what the reader calls itself"),
)

COUNTERS_HEADER: Final = (
    Field("magic", "S8", 0, "creator", "b'PLCOUNT', 1; stored last: the page is ready"),
    Field("version", "<u8", 8, "creator", "layout version"),
    Field("capacity", "<u8", 16, "creator", "counters that fit"),
    Field("total_bytes", "<u8", 24, "creator", "bytes of the segment"),
    Field("boot_id", "S36", 32, "creator", "boot that the segment belongs to"),
    Field("full_name", "S256", 128, "creator", "the page's name, UTF-8"),
    Field("count", "<u8", 512, "owner", "counters in use; raised after a label is written"),
    Field("pid", "<u8", 520, "owner", "for display; the lock on byte 0 decides who lives"),
    Field("start", "<u8", 528, "owner", "start time of that process, clock ticks since boot"),
    Field("namespace", "<u8", 536, "owner", "inode of its pid namespace"),
    Field("opened_ns", "<i8", 544, "owner", "CLOCK_MONOTONIC of create or takeover"),
)
COUNTERS_HEADER_BYTES: Final = 1024

COUNTER: Final = (
    Field("value", "<i8", 0, "owner", "the count"),
    Field("label", "S56", 8, "owner", "what is counted, UTF-8"),
)


def dtype_of(fields: tuple[Field, ...], itemsize: int) -> np.dtype[np.void]:
    """Return the numpy structured dtype that a table describes."""
    return np.dtype(
        {
            "names": [f.name for f in fields],
            "formats": [f.format for f in fields],
            "offsets": [f.offset for f in fields],
            "itemsize": itemsize,
        }
    )


def offset_of(fields: tuple[Field, ...], name: str) -> int:
    """Return the offset of a field by name."""
    return next(f.offset for f in fields if f.name == name)


def as_markdown(fields: tuple[Field, ...]) -> str:
    """Return a table as README.md shows it."""
    rows = [
        f"| {f.offset} | {f.name} | `{f.format}` | {f.writer} | {f.meaning.replace('|', '&#124;')} |" for f in fields
    ]
    return "\n".join(["| offset | field | type | written by | meaning |", "|---|---|---|---|---|", *rows])


HEADER_BYTES: Final = 8192
WORDS_BYTES: Final = 256
ENTRY_BYTES: Final = 256
COUNTER_BYTES: Final = 64
HEADER_DTYPE: Final = dtype_of(HEADER, HEADER_BYTES)
WORDS_DTYPE: Final = dtype_of(WORDS, WORDS_BYTES)
ENTRY_DTYPE: Final = dtype_of(ENTRY, ENTRY_BYTES)
COUNTERS_HEADER_DTYPE: Final = dtype_of(COUNTERS_HEADER, COUNTERS_HEADER_BYTES)
COUNTER_DTYPE: Final = dtype_of(COUNTER, COUNTER_BYTES)


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not below `value`."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes and section offsets of one ring, all derived from five numbers."""

    granule: int
    slots: int
    item_bytes: int
    stride: int
    is_blob: bool

    @classmethod
    def plan(cls, item_bytes: int, slots: int, *, is_blob: bool, granule: int) -> Geometry:
        """Choose slots and stride so that the data area is a whole number of granules.

        Small items lie dense and `slots` is rounded up; large ones keep `slots` and are padded a little instead
        (rounding 641x481x3 bytes up densely would take 4096 slots, 3.8 GB).
        """
        if item_bytes < DENSE_BELOW:
            return cls(granule, round_up(slots, granule // gcd(item_bytes, granule)), item_bytes, item_bytes, is_blob)
        return cls(granule, slots, item_bytes, round_up(item_bytes, granule // gcd(slots, granule)), is_blob)

    @property
    def times_slots(self) -> int:
        """Modulus of times and lengths: at least `slots`, a whole number of granules."""
        return round_up(self.slots, self.granule // 8)

    @property
    def words_offset(self) -> int:
        """Offset of the writer's words, bytes."""
        return round_up(HEADER_BYTES, self.granule)

    @property
    def table_offset(self) -> int:
        """Offset of the reader table, bytes."""
        return self.words_offset + round_up(WORDS_BYTES, self.granule)

    @property
    def table_bytes(self) -> int:
        """Bytes of the reader table's section."""
        return round_up(TABLE_WORDS_BYTES + READERS * ENTRY_BYTES, self.granule)

    @property
    def times_offset(self) -> int:
        """Offset of the times, bytes."""
        return self.table_offset + self.table_bytes

    @property
    def lengths_offset(self) -> int:
        """Offset of the lengths (of no bytes unless a blob ring)."""
        return self.times_offset + 8 * self.times_slots

    @property
    def data_offset(self) -> int:
        """Offset of the first slot, bytes."""
        return self.lengths_offset + (8 * self.times_slots if self.is_blob else 0)

    @property
    def data_bytes(self) -> int:
        """Bytes of one lap of the data."""
        return self.slots * self.stride

    @property
    def total_bytes(self) -> int:
        """Bytes of the segment."""
        return self.data_offset + self.data_bytes

    def for_native(self, first: int) -> dict[str, int]:
        """Return every number that the native code needs; it knows none of its own."""
        words = {name: offset_of(WORDS, name) for name in ("claimed", "published", "flags")}
        table = {f.name: f.offset for f in TABLE}
        entry = {f"entry_{n}": offset_of(ENTRY, n) for n in ("state", "position", "skipped", "lapped", "torn", "taken")}
        return {
            **words,
            **table,
            **entry,
            "entry_demotions": offset_of(ENTRY, "demoted"),
            "entries": TABLE_WORDS_BYTES,
            "entry_bytes": ENTRY_BYTES,
            "capacity": READERS,
            "slots": self.slots,
            "item_bytes": self.item_bytes,
            "stride": self.stride,
            "times_slots": self.times_slots,
            "first": first,
        }


TABLES: Final = {
    "header": HEADER,
    "words": WORDS,
    "reader table": TABLE,
    "entry of the reader table": ENTRY,
    "header of a page of counters": COUNTERS_HEADER,
    "counter": COUNTER,
}
"""Every table, by what README.md calls it."""
