"""Arrays inside messages: described in the header, carried as a raw buffer, never pickled.

A received array stays a `PackedArray` until somebody expands it, so that what only passes a message on never copies,
decompresses or even looks at it.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from typing import Any, Final, Literal

import blosc
import msgspec
import numpy as np
from numpy.typing import NDArray

from .codec import BLOSC_OVERHEAD, BloscCodec
from .errors import BlockError, MalformedError, UnsendableError

Buffer = bytes | memoryview
ArrayCodec = Literal["raw", "blosc"]

MAX_ARRAY_BYTES: Final = 256 * 1024 * 1024
"""An array that claims to be larger once expanded is malformed: a small frame cannot claim all memory."""
MAX_DIMENSIONS: Final = 32


class ArrayHeader(msgspec.Struct, array_like=True, frozen=True):
    """What the header says of one array: which buffer it is, its dtype (numpy's npy description), shape and codec."""

    index: int
    dtype: Any
    shape: tuple[int, ...]
    codec: ArrayCodec


_headers: Final = msgspec.msgpack.Decoder(ArrayHeader)
_blosc: Final = BloscCodec()


class PackedArray:
    """An array as it travelled: `expand` makes the numpy array, sending it on costs nothing."""

    __slots__ = ("codec", "data", "dtype", "shape")

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...], codec: ArrayCodec, data: Buffer) -> None:
        self.dtype = dtype
        self.shape = shape
        self.codec = codec
        self.data = data

    @classmethod
    def pack(cls, array: NDArray[Any], *, compress: bool = False) -> PackedArray:
        """Copy an array of any shape and layout, so that changing it later does not change the message.

        Raises:
            UnsendableError: the dtype holds Python objects, which only pickle could carry.
        """
        if array.dtype.hasobject:
            raise UnsendableError(f"arrays of dtype {array.dtype} hold Python objects and cannot be sent")
        data = array.tobytes()
        if compress and data:
            smaller = bytes(_blosc.encode(np.frombuffer(data, np.uint8), array.dtype.itemsize))
            if len(smaller) < len(data):
                return cls(array.dtype, array.shape, "blosc", smaller)
        return cls(array.dtype, array.shape, "raw", data)

    @classmethod
    def unpack(cls, header: bytes | memoryview, buffers: list[Buffer]) -> PackedArray:
        """Read an array's header and find its buffer.

        Raises:
            MalformedError: header, dtype, shape and buffer do not fit together.
        """
        try:
            found = _headers.decode(header)
            dtype = np.lib.format.descr_to_dtype(_as_descr(found.dtype))
            data = buffers[found.index]
        except (
            msgspec.MsgspecError,
            TypeError,
            ValueError,
            IndexError,
            KeyError,
            SyntaxError,
            RecursionError,
        ) as error:
            raise MalformedError(f"array header cannot be read: {error}") from error
        packed = cls(dtype, found.shape, found.codec, data)
        packed._check()
        return packed

    @property
    def nbytes(self) -> int:
        """Size once expanded, bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def header(self, index: int) -> bytes:
        """Return the header that points at buffer `index`."""
        descr = np.lib.format.dtype_to_descr(self.dtype)
        return msgspec.msgpack.encode(ArrayHeader(index, descr, self.shape, self.codec))

    def expand(self) -> NDArray[Any]:
        """Return the array: a read-only view of the received buffer, or a decompressed copy.

        Raises:
            MalformedError: the compressed buffer is damaged, or does not hold what its header says.
        """
        if self.nbytes == 0:
            return np.empty(self.shape, self.dtype)
        if self.codec == "raw":
            return np.frombuffer(self.data, self.dtype).reshape(self.shape)
        out = np.empty(self.nbytes, np.uint8)
        try:
            _blosc.decode_into(self.data, out)
        except BlockError as error:
            raise MalformedError(f"compressed array cannot be read: {error}") from error
        return out.view(self.dtype).reshape(self.shape)

    def _check(self) -> None:
        shape, dtype = self.shape, self.dtype
        if dtype.hasobject or len(shape) > MAX_DIMENSIONS or any(n < 0 for n in shape):
            raise MalformedError(f"array of dtype {dtype} and shape {shape} is refused")
        if self.nbytes > MAX_ARRAY_BYTES:
            raise MalformedError(f"array of {self.nbytes} bytes exceeds {MAX_ARRAY_BYTES}")
        if self.codec == "raw" and len(self.data) != self.nbytes:
            raise MalformedError(f"array buffer holds {len(self.data)} bytes, its header says {self.nbytes}")

    def __repr__(self) -> str:
        return f"<PackedArray {self.shape} {self.dtype} {self.codec} {len(self.data)} bytes>"


def expand_arrays(value: Any) -> Any:
    """Return `value` with every `PackedArray` in its lists and dicts made a numpy array."""
    return _replace(value, PackedArray, PackedArray.expand)


def serialize_array(array: NDArray[Any]) -> dict[str, str]:
    """Pack an array as text, for those who must put one into JSON.

    Returns:
        ``{"NUMPY_ARRAY": text}``: base64 of blosc-compressed `.npy` bytes.
    """
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    packed = _blosc.encode(np.frombuffer(file.getvalue(), np.uint8), array.dtype.itemsize)
    return {"NUMPY_ARRAY": base64.b64encode(packed).decode()}


def deserialize_array(packed: dict[str, str]) -> NDArray[Any]:
    """Undo `serialize_array`.

    Raises:
        MalformedError: it is not what `serialize_array` makes, or it is larger than `MAX_ARRAY_BYTES`.
    """
    try:
        data = base64.b64decode(packed["NUMPY_ARRAY"], validate=True)
        size = int(blosc.get_cbuffer_sizes(data)[0]) if len(data) >= BLOSC_OVERHEAD else MAX_ARRAY_BYTES + 1
        if size > MAX_ARRAY_BYTES:
            raise MalformedError(f"packed array would expand beyond {MAX_ARRAY_BYTES} bytes")
        out = np.empty(size, np.uint8)
        _blosc.decode_into(data, out)
        array: NDArray[Any] = np.load(io.BytesIO(out.tobytes()), allow_pickle=False)
    except (KeyError, TypeError, ValueError, EOFError, OSError, BlockError) as error:
        raise MalformedError(f"not a packed array: {error}") from error
    return array


def _replace(value: Any, kind: type[Any], change: Callable[[Any], Any]) -> Any:
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, list):
        return [_replace(item, kind, change) for item in value]
    if isinstance(value, dict):
        return {key: _replace(item, kind, change) for key, item in value.items()}
    return value


def _as_descr(descr: Any) -> Any:
    """Turn the lists that msgpack returns into the tuples that numpy's npy description is made of."""
    if isinstance(descr, list):
        return [tuple(_field_part(part) for part in field) if isinstance(field, list) else field for field in descr]
    return descr


def _field_part(part: Any) -> Any:
    """One part of a field: its name, its dtype (a str or again a list of fields) or its shape."""
    if isinstance(part, list):
        return tuple(part) if all(isinstance(n, int | str) for n in part) else _as_descr(part)
    return part
