"""``zarr``: a Zarr v3 group on the disk, a group per stream, compressed by Zarr's own default (zstd)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stations.recording import StreamRecording

from .columns import attributes, columns_of, dtype_of, slabs
from .format import SLAB, Digest, Format, Piece, Sink
from .notes import Notes
from .selection import Selection, item_bytes

CHUNK_BYTES = 1024 * 1024


class Zarr(Format):
    """As ``hdf5``; ``events``, ``gaps`` and ``rows/<key>`` are bytes: lines of JSON."""

    name: ClassVar[str] = "zarr"
    suffix: ClassVar[str] = ".zarr"
    modules: ClassVar[tuple[str, ...]] = ("zarr",)
    extra: ClassVar[str] = "zarr"

    def refuse(self, stream: StreamRecording) -> str:
        """Zarr v3 has no word yet for items of several fields."""
        return "Zarr v3 holds no items of several fields" if stream.dtype.names else ""

    def piece_items(self, stream: StreamRecording) -> int:
        """Whole chunks: one that is written twice is compressed twice."""
        chunk = _chunk_items(stream)
        return max(1, super().piece_items(stream) // chunk) * chunk

    def begin(self, path: Path, selection: Selection, notes: Notes) -> Sink:
        """Write everything but the items."""
        import zarr

        with _settled():
            self._begin(zarr.open_group(path, mode="w", zarr_format=3), selection, notes)
        return ZarrSink(path)

    @staticmethod
    def _begin(root: Any, selection: Selection, notes: Notes) -> None:
        for name, stream in selection.streams.items():
            group = root.create_group(name, attributes=attributes(stream))
            group.create_array(
                "data", shape=stream.shape, dtype=stream.dtype, chunks=(_chunk_items(stream), *stream.head.shape)
            )
            for label, column in columns_of(stream).items():
                made = group.create_array(label, shape=(len(stream),), dtype=dtype_of(label), chunks=(SLAB,))
                for begin, values in slabs(column):
                    made[begin : begin + len(values)] = values
        for name, lines in notes.lists.items():
            text = np.frombuffer("\n".join(note.text for note in lines).encode(), np.uint8)
            made = root.create_array(name, shape=text.shape, dtype="u1", chunks=(CHUNK_BYTES,))
            made[:] = text

    def resume(self, path: Path, selection: Selection, state: dict[str, Any]) -> Sink:
        """Open it again."""
        return ZarrSink(path)

    def read(self, path: Path, selection: Selection) -> Iterator[tuple[str, Digest]]:
        """Read every stream."""
        root = _open(path, "r")
        for name, stream in selection.streams.items():
            if name not in root:
                continue
            digest, step = Digest(), self.piece_items(stream)
            items, times = root[f"{name}/data"], root[f"{name}/time_ns"]
            for begin in range(0, items.shape[0], step):
                # zarr gives the machine's byte order, whatever the array's
                digest.add_items(items[begin : begin + step].astype(stream.dtype, copy=False))
            for begin in range(0, times.shape[0], SLAB):
                digest.add_times(times[begin : begin + SLAB])
            yield name, digest

    def read_notes(self, path: Path, names: list[str]) -> dict[str, list[str]]:
        """Read the JSON lines."""
        root = _open(path, "r")
        return {name: bytes(root[name][:]).decode().split("\n") if root[name].size else [] for name in names}


class ZarrSink(Sink):
    """Writes whole chunks, each a file of its own."""

    def __init__(self, path: Path) -> None:
        self._root = _open(path, "r+")

    def write(self, piece: Piece) -> None:
        """Decode, compress and store."""
        with _settled():
            self._root[f"{piece.name}/data"][piece.begin : piece.end] = piece.items()

    def checkpoint(self) -> dict[str, Any]:
        """Nothing is held back."""
        return {}

    def finish(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def _settled() -> Iterator[None]:
    """Let zarr's other tasks end where one has failed: what it leaves lying about, asyncio complains of at exit."""
    try:
        yield
    except OSError:
        from zarr.core.sync import sync

        sync(_rest())
        raise


async def _rest() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def _open(path: Path, mode: Any) -> Any:
    import zarr

    return zarr.open_group(path, mode=mode)


def _chunk_items(stream: StreamRecording) -> int:
    return max(1, CHUNK_BYTES // max(1, item_bytes(stream)))
