"""One stream of a recording, across its files, as a sequence of arrays; opening reads tables only."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from pipeline.stream_spec import dtype_of_json

from .aligned_time import AlignedTime, aligned_time
from .chunk_table import ChunkTable, read_table
from .clocks import Clocks
from .column import Column, positions_of
from .errors import SegmentFormatError, StreamChangedError
from .journal import JournalReading
from .layout import SegmentHead
from .reasons import Gap
from .recorded_gaps import RecordedGap, Span, gaps_in, spans_of
from .segment_reader import SegmentReader

OPEN_FILES: Final = 8
"""Files that stay open: what came late alternates with what is live."""
CACHE_BYTES: Final = 64 * 1024 * 1024
"""Decoded chunks that are kept, of those of which only a part was asked for."""
log = logging.getLogger(__name__)


class RecordedItem(NamedTuple):
    """One item of a recording."""

    data: NDArray[Any]
    """Shape and dtype of the stream."""
    sequence: int
    time_ns: int
    """The stream's CLOCK_MONOTONIC at acquisition."""
    birth: int


class StreamRecording:
    """The items of one stream, in the order in which they were acquired, each once.

    Chunks are decoded when one of their items is asked for, and checked against the CRC that came over the wire.  What
    is told of the files is as they were at the first question; open the recording again for what came since.  Belongs
    to one thread.

    Args:
        name: node address of the sensor.
        paths: its files, in any order.
        told: gaps that the journal explains, by birth, the best reasons first.
        clocks: returns what the journal knows of clocks; nothing if None.
    """

    def __init__(
        self,
        name: str,
        paths: list[Path],
        told: Mapping[int, list[Gap]] | None = None,
        clocks: Callable[[], Clocks] | None = None,
    ) -> None:
        self.name = name
        self.paths = paths
        self._told = told or {}
        self._clocks = clocks or (lambda: Clocks(JournalReading((), ())))
        self._files: OrderedDict[int, SegmentReader] = OrderedDict()
        self._decoded: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def segments(self) -> Iterator[SegmentReader]:
        """Open the segments one after the other; each is closed when the next is asked for."""
        for path in self.paths:
            with SegmentReader(path) as segment:
                yield segment

    @cached_property
    def table(self) -> ChunkTable:
        """Where each item lies.

        Raises:
            StreamChangedError: shape or dtype is not the same in all files.
        """
        table = read_table(self.paths)
        for problem in table.problems:
            log.warning("%s: %s", self.name, problem)
        for (before, after), path in zip(pairwise(table.heads), table.paths[1:], strict=True):
            if (before.shape, before.dtype) != (after.shape, after.dtype):
                was, became = (f"{head.shape} {head.dtype}" for head in (before, after))
                raise StreamChangedError(f"{path}: items change from {was} to {became}; read segments() one by one")
        return table

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with files that cannot be read, or not to their end; their items are missing here."""
        return self.table.problems

    @cached_property
    def head(self) -> SegmentHead:
        """What the first file that can be read says of the stream.

        Raises:
            SegmentFormatError: there is none.
        """
        if not self.table.heads:
            raise SegmentFormatError(f"{self.name}: no file can be read: {'; '.join(self.problems) or 'there is none'}")
        return self.table.heads[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of everything: (items, *shape of an item)."""
        return (len(self), *self.head.shape)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Of the items."""
        return dtype_of_json(self.head.dtype)

    @property
    def rate(self) -> float:
        """Nominal items per second; 0: none was declared."""
        return self.head.rate

    @property
    def unit(self) -> str:
        """Unit of the values, as the source said."""
        return self.head.unit

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the channels, as the source said."""
        return self.head.labels

    @property
    def time(self) -> Column:
        """Time of each item, int64 ns, the stream's own CLOCK_MONOTONIC; computed where it is asked for."""
        return Column(len(self), self.table.time)

    @property
    def utc(self) -> Column:
        """Time of each item, int64 ns since 1970, by an instant that was read on both clocks when its ring was made."""
        return Column(len(self), self.table.utc)

    @property
    def aligned_time(self) -> AlignedTime:
        """Time of each item, int64 ns on the Terminal's clock by the recording's probes, and how far off it may be.

        Raises:
            ClockDomainError: no probe relates one of the stream's clocks to the Terminal's.
        """
        return aligned_time(self.table, self._clocks())

    @property
    def sequence(self) -> Column:
        """Number of each item since its ring was made, uint64."""
        return Column(len(self), self.table.sequence)

    @property
    def scale(self) -> Column:
        """How much smaller each image was made for a slow link, each way, uint8; 1: it is as it was acquired."""
        return Column(len(self), self.table.scale)

    @cached_property
    def spans(self) -> Mapping[int, Span]:
        """By birth, from which sequence to which there should be items."""
        return spans_of(self.table, self._told)

    @cached_property
    def gaps(self) -> list[RecordedGap]:
        """What is missing between the first item that should be here and the last, with reasons."""
        return gaps_in(self.table, self.spans, self._told)

    def between(self, from_ns: int, to_ns: int) -> StreamRecording:
        """Return the part whose times, on the stream's own clock, are in ``[from_ns, to_ns)``; nothing is decoded."""
        return self.part(self.table.between(lambda _birth: (from_ns, to_ns)))

    def part(self, table: ChunkTable) -> StreamRecording:
        """Return the stream of what was taken of `table`; its gaps are those between its items."""
        return self._like(table, self._told, {birth: (first, end) for birth, first, end in table.sequences()})

    def without(self, chunks: Collection[int], reason: str) -> StreamRecording:
        """Return the stream without some chunks of `table`, which become gaps with this reason."""
        told = {birth: list(gaps) for birth, gaps in self._told.items()}
        for index in chunks:
            chunk = self.table.chunks[index]
            gap = Gap(int(chunk["first"]), int(chunk["count"]), reason)
            told.setdefault(self.table.births[int(chunk["birth"])], []).insert(0, gap)
        return self._like(self.table.without(chunks), told, self.spans)

    @overload
    def __getitem__(self, key: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: slice | NDArray[Any]) -> NDArray[Any]: ...
    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return an item, or the items of a slice or an array of positions, shape (n, *shape); always a copy.

        Raises:
            IndexError: outside.
            SegmentFormatError: an item's block is damaged; the message names stream, file and item.
        """
        positions = positions_of(key, len(self))
        flat = positions.reshape(-1)
        items = np.empty((len(flat), *self.head.shape), self.dtype)
        chunks, within = self.table.locate(flat)
        edges = np.flatnonzero(np.diff(chunks, prepend=-1, append=-1))
        for begin, end in pairwise(edges.tolist()):
            self._fill(items[begin:end], int(chunks[begin]), within[begin:end])
        return items if positions.ndim else items[0]

    def __len__(self) -> int:
        """How many items are stored."""
        return len(self.table)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the items; those of one chunk share memory."""
        return (item for chunk in range(len(self.table.chunks)) for item in self.read_chunk(chunk))

    def items(self) -> Iterator[RecordedItem]:
        """Yield the items, each with sequence, time and birth."""
        for chunk, (begin, end) in enumerate(pairwise(self.table.begins.tolist())):
            birth = self.table.births[int(self.table.chunks["birth"][chunk])]
            columns = self.read_chunk(chunk), self.sequence[begin:end].tolist(), self.time[begin:end].tolist()
            for data, sequence, time_ns in zip(*columns, strict=True):
                yield RecordedItem(data, sequence, time_ns, birth)

    def read_chunk(self, index: int) -> NDArray[Any]:
        """Return the items of a chunk of `table`, decoded, shape (count, *shape).

        Raises:
            SegmentFormatError: it is damaged.
        """
        chunk = self.table.chunks[index]
        skip = int(chunk["skip"])
        return self._decode(index)[skip : skip + int(chunk["count"])]

    def check_chunk(self, index: int) -> int:
        """Read a chunk and compare it with its CRC, without decoding it; return its bytes on disk.

        Raises:
            SegmentFormatError: it is damaged.
        """
        segment, row = self._segment(index)
        return len(self._checked(segment, row).payload)

    def close(self) -> None:
        """Close the files that are open; they are opened again when they are needed."""
        while self._files:
            self._files.popitem()[1].close()

    def __repr__(self) -> str:
        return f"<StreamRecording {self.name} segments={len(self.paths)}>"

    def _fill(self, out: NDArray[Any], index: int, within: NDArray[np.int64]) -> None:
        """Copy some used items of a chunk; a block that is wanted whole is decoded where it belongs."""
        chunk, size = self.table.chunks[index], self.head_of(index).block_items
        is_whole = len(within) == size and within[0] == 0 and bool(np.all(np.diff(within) == 1))
        if is_whole and chunk["skip"] == 0:
            self._decode(index, out)
            return
        items = self._decoded.pop(index, None)
        items = self._decode(index) if items is None else items
        out[:] = items[within + chunk["skip"]]
        self._decoded[index] = items
        while len(self._decoded) > 1 and sum(kept.nbytes for kept in self._decoded.values()) > CACHE_BYTES:
            self._decoded.popitem(last=False)

    def head_of(self, index: int) -> SegmentHead:
        """Return the head of the file that a chunk of `table` is in."""
        return self.table.heads[int(self.table.chunks["file"][index])]

    def _decode(self, index: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        segment, row = self._segment(index)
        chunk = self._checked(segment, row)
        try:
            return segment.decode(chunk, out)
        except SegmentFormatError as error:
            raise SegmentFormatError(f"{self.name}: {error}") from error

    def _checked(self, segment: SegmentReader, row: int) -> Any:
        try:
            chunk = segment.chunk(row)
        except SegmentFormatError as error:
            raise SegmentFormatError(f"{self.name}: {error}") from error
        if not segment.is_whole(chunk):
            where = f"{self.name}: {segment.path.name}: item {chunk.first}"
            raise SegmentFormatError(f"{where}: its block of {chunk.count} items fails its CRC")
        return chunk

    def _segment(self, index: int) -> tuple[SegmentReader, int]:
        """Return the file of a chunk, open, and the chunk's row there."""
        chunk = self.table.chunks[index]
        file = int(chunk["file"])
        segment = self._files.pop(file, None) or SegmentReader(self.table.paths[file])
        self._files[file] = segment
        if len(self._files) > OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        return segment, int(chunk["row"])

    def _like(self, table: ChunkTable, told: Mapping[int, list[Gap]], spans: Mapping[int, Span]) -> StreamRecording:
        found = StreamRecording(self.name, self.paths, told, self._clocks)
        found.table, found.spans = table, spans
        return found
