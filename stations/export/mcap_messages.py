"""The messages of an MCAP export: Foxglove's RawImage, and ours for a block of samples."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .format import Piece

ENCODINGS: Final[Mapping[tuple[str, tuple[int, ...]], str]] = {
    ("|u1", ()): "mono8",
    ("|u1", (3,)): "rgb8",
    ("|u1", (4,)): "rgba8",
    ("<u2", ()): "mono16",
    ("<f4", ()): "32FC1",
}
"""Foxglove's word for images by dtype and what stands behind height and width."""
_FIELDS: Final = (
    ("timestamp", 1, "message", False),
    ("sequence", 2, "uint64", False),
    ("time_ns", 3, "int64", False),
    ("period_ns", 4, "int64", False),
    ("birth", 5, "string", False),
    ("times_ns", 6, "int64", True),
    ("floats", 7, "double", True),
    ("integers", 8, "sint64", True),
)
"""Name, number, type, repeated.  `times_ns` only where they do not follow from `time_ns` and `period_ns`; the values,
item after item, are `floats` or `integers`; the channel's metadata say shape, dtype, labels, unit."""


@dataclass(frozen=True)
class Kind:
    """A message: its class, its name, and the description that goes into the file."""

    full_name: str
    file_set: bytes
    make: Any


@functools.cache
def raw_image() -> Kind:
    """Return Foxglove's image."""
    from foxglove_schemas_protobuf.RawImage_pb2 import RawImage

    return _kind_of(RawImage)


@functools.cache
def samples() -> Kind:
    """Return our block of samples."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="pipeline/Samples.proto", package="pipeline", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    message = file.message_type.add(name="Samples")
    for name, number, kind, repeated in _FIELDS:
        field = message.field.add(name=name, number=number)
        field.type = getattr(field, f"TYPE_{kind.upper()}")
        field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
        if kind == "message":
            field.type_name = ".google.protobuf.Timestamp"
    pool.Add(file)
    return _kind_of(message_factory.GetMessageClass(pool.FindMessageTypeByName("pipeline.Samples")))


def encode_image(piece: Piece) -> bytes:
    """Return one image as a message."""
    image, stream = piece.items()[0], piece.stream
    message = raw_image().make(
        frame_id=piece.name,
        width=image.shape[1],
        height=image.shape[0],
        encoding=ENCODINGS[stream.dtype.str, stream.head.shape[2:]],
        step=image[0].nbytes,
        data=image.tobytes(),
    )
    message.timestamp.FromNanoseconds(int(stream.utc[piece.begin]))
    encoded: bytes = message.SerializeToString()
    return encoded


def decode_image(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[NDArray[Any], None]:
    """Return the item of a message, shape (1, *shape); its time on the stream's clock is the message's own."""
    message = raw_image().make.FromString(data)
    return np.frombuffer(message.data, dtype).reshape(1, *shape), None


def encode_samples(piece: Piece) -> bytes:
    """Return the items of a block as a message."""
    stream, items = piece.stream, piece.items()
    times = stream.time[piece.begin : piece.end]
    period_ns = int(times[1] - times[0]) if len(times) > 1 else 0
    is_even = bool(np.all(np.diff(times) == period_ns))
    message = samples().make(
        sequence=int(stream.sequence[piece.begin]),
        time_ns=int(times[0]),
        period_ns=period_ns if is_even else 0,
        birth=f"{stream.table.birth(piece.begin):016x}",
        times_ns=[] if is_even else times.tolist(),
    )
    message.timestamp.FromNanoseconds(int(stream.utc[piece.begin]))
    if items.dtype.kind == "f":
        message.floats.extend(items.reshape(-1).astype("<f8").tolist())
    else:
        message.integers.extend(items.reshape(-1).astype("<i8").tolist())  # u8: the same bits, read back as u8
    encoded: bytes = message.SerializeToString()
    return encoded


def decode_samples(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the items of a message, shape (n, *shape), and their times."""
    message = samples().make.FromString(data)
    flat = np.array(message.floats, "<f8") if dtype.kind == "f" else np.array(message.integers, "<i8")
    items = flat.astype(dtype).reshape(-1, *shape)
    even = message.time_ns + np.arange(len(items), dtype=np.int64) * message.period_ns
    return items, np.array(message.times_ns, np.int64) if message.times_ns else even


def _kind_of(message: Any) -> Kind:
    from google.protobuf import descriptor_pb2

    found = descriptor_pb2.FileDescriptorSet()
    pending, seen = [message.DESCRIPTOR.file], set()
    while pending:
        file = pending.pop()
        if file.name not in seen:
            seen.add(file.name)
            file.CopyToProto(found.file.add())
            pending += file.dependencies
    return Kind(message.DESCRIPTOR.full_name, found.SerializeToString(), message)
