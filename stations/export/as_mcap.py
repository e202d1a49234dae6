"""``mcap``: one MCAP file in the order of time, which Foxglove opens.

Images are ``foxglove.RawImage``, bit for bit, in protobuf, whose bytes need no base64; samples are a message of our own
for each recorded block, described in the file as every protobuf schema is.  The index comes last: an interrupted export
begins anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final

import msgspec
import numpy as np

from stations.recording import StreamRecording

from .columns import attributes, columns_of
from .format import Digest, Format, Piece, Sink
from .mcap_messages import ENCODINGS, decode_image, decode_samples, encode_image, encode_samples, raw_image, samples
from .notes import Notes
from .selection import Selection

CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Uncompressed; then lz4: zstd takes three times the processor on camera images."""
LOG_SCHEMA: Final = (
    b'{"type":"object","title":"a line of the recording\'s journal, a gap, or a row of messages","properties":'
    b'{"kind":{"type":"string"},"stream":{"type":"string"},"message":{"type":"object"}}}'
)


class Mcap(Format):
    """Topics ``/<stream>``, ``/<stream>/stamps``, ``/events``, ``/gaps``, ``/rows/<key>``; log times are UTC."""

    name: ClassVar[str] = "mcap"
    suffix: ClassVar[str] = ".mcap"
    modules: ClassVar[tuple[str, ...]] = ("mcap", "foxglove_schemas_protobuf")
    extra: ClassVar[str] = "mcap"

    def refuse(self, stream: StreamRecording) -> str:
        """Messages hold numbers."""
        return "" if stream.dtype.kind in "iufb" else f"messages hold numbers, not {stream.dtype}"

    def pieces(self, selection: Selection) -> Iterator[Piece]:
        """Yield recorded blocks of all streams in the order of their first times."""
        timed = (_blocks(name, stream) for name, stream in selection.streams.items())
        return (piece for _, _, piece in heapq.merge(*timed, key=lambda one: one[:2]))

    def begin(self, path: Path, selection: Selection, notes: Notes) -> Sink:
        """Begin with the schemas and what goes along, whatever its time: a reader sorts."""
        return McapSink(path, selection, notes)

    def read(self, path: Path, selection: Selection) -> Iterator[tuple[str, Digest]]:
        """Read every message with the mcap package and with the schema that is in the file."""
        from mcap.reader import NonSeekingReader

        digests = {f"/{name}": Digest() for name in selection.streams}
        with path.open("rb") as file:
            # The package's other reader takes all of a file into memory when it is not asked to sort (mcap 1.6).
            reader = NonSeekingReader(file, validate_crcs=True)
            for schema, channel, message in reader.iter_messages(topics=list(digests), log_time_order=False):
                stream = selection.streams[channel.topic[1:]]
                decode = decode_image if schema is not None and schema.name == raw_image().full_name else decode_samples
                items, times = decode(message.data, stream.dtype, stream.head.shape)
                digests[channel.topic].add_items(items)
                digests[channel.topic].add_times(times if times is not None else np.array([message.publish_time]))
        return iter([(topic[1:], digest) for topic, digest in digests.items()])

    def read_notes(self, path: Path, names: list[str]) -> dict[str, list[str]]:
        """Read the JSON messages."""
        from mcap.reader import NonSeekingReader

        found: dict[str, list[str]] = {name: [] for name in names}
        with path.open("rb") as file:
            topics = [f"/{name}" for name in names]
            for _, channel, message in NonSeekingReader(file).iter_messages(topics=topics, log_time_order=False):
                found[channel.topic[1:]].append(message.data.decode())
        return found


class McapSink(Sink):
    """Writes messages."""

    def __init__(self, path: Path, selection: Selection, notes: Notes) -> None:
        from mcap.writer import CompressionType, Writer

        self._file: BinaryIO = path.open("wb")
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.LZ4)
        self._writer.start(library="acquisition-pipeline")
        text = self._writer.register_schema("pipeline.Note", "jsonschema", LOG_SCHEMA)
        schemas = {kind: self._writer.register_schema(kind.full_name, "protobuf", kind.file_set) for kind in _kinds()}
        self._channels: dict[str, int] = {}
        self._stamps: dict[str, int] = {}
        self._columns: dict[str, Any] = {}
        for name, stream in selection.streams.items():
            kind = raw_image() if is_image(stream) else samples()
            told = {key: str(value) for key, value in attributes(stream).items()}
            self._channels[name] = self._writer.register_channel(f"/{name}", "protobuf", schemas[kind], told)
            self._stamps[name] = self._writer.register_channel(f"/{name}/stamps", "json", text)
            self._columns[name] = columns_of(stream)
        for name, lines in notes.lists.items():
            channel = self._writer.register_channel(f"/{name}", "json", text)
            for number, note in enumerate(lines):
                self._writer.add_message(channel, note.utc_ns, note.text.encode(), note.utc_ns, number)

    def write(self, piece: Piece) -> None:
        """Decode, and write as one message."""
        encode = encode_image if is_image(piece.stream) else encode_samples
        utc_ns, time_ns = int(piece.stream.utc[piece.begin]), int(piece.stream.time[piece.begin])
        sequence = int(piece.stream.sequence[piece.begin]) & 0xFFFFFFFF  # MCAP has 32 bits for it
        self._writer.add_message(self._channels[piece.name], utc_ns, encode(piece), time_ns, sequence)
        told: dict[str, Any] = {name: int(column[piece.begin]) for name, column in self._columns[piece.name].items()}
        told |= {"birth": f"{piece.stream.table.birth(piece.begin):016x}", "count": piece.end - piece.begin}
        self._writer.add_message(self._stamps[piece.name], utc_ns, msgspec.json.encode(told), time_ns, sequence)

    def checkpoint(self) -> None:
        """There is none: the index comes last."""

    def finish(self) -> None:
        """Write the index and close."""
        self._writer.finish()  # type: ignore[no-untyped-call]  # the package says nothing of what it returns
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()


def is_image(stream: StreamRecording) -> bool:
    """Whether a message of Foxglove's holds an item."""
    return (stream.dtype.str, stream.head.shape[2:]) in ENCODINGS and len(stream.head.shape) > 1


def _kinds() -> tuple[Any, Any]:
    return raw_image(), samples()


def _blocks(name: str, stream: StreamRecording) -> Iterator[tuple[int, str, Piece]]:
    for begin, end in pairwise(stream.table.begins.tolist()):
        step = 1 if is_image(stream) else end - begin
        for at in range(begin, end, step):
            yield int(stream.utc[at]), name, Piece(name, stream, at, at + step)
