"""Arrays inside messages: described in the header, carried as a raw buffer, never pickled.

A received array stays a `PackedArray` until somebody expands it, so that what only passes a message on never copies,
decompresses or even looks at it.
"""

from __future__ import annotations

import ast
import base64
import binascii
import io
import math
from typing import Annotated, Any, Final, Literal

import blosc
import msgspec
import numpy as np
from numpy.typing import NDArray

from shm import checked_dtype

from .codec import BLOSC_OVERHEAD, BloscCodec
from .errors import BlockError, MalformedError, UnsendableError

Buffer = bytes | memoryview
ArrayCodec = Literal["raw", "blosc"]

MAX_ARRAY_BYTES: Final = 256 * 1024 * 1024
"""An array that claims to be larger once expanded is malformed: a small frame cannot claim all memory."""
MAX_DIMENSIONS: Final = 32
MAX_DEPTH: Final = 100
"""Containers inside containers in a value; Python's own limit would strike somewhere in the middle of a listen."""
MAX_HEADER_BYTES: Final = 64 * 1024
"""Of one array's header: a dtype of a few thousand fields."""

_LARGE: Final = 64 * 1024
_NPY_START: Final = 12
"""Bytes of a `.npy` file up to its header: magic, version, length of the header."""
_MAX_NPY_HEADER: Final = 10_000
"""What numpy itself dares to give to Python's parser."""
_NPY_ERRORS: Final = (TypeError, ValueError, LookupError, SyntaxError, ArithmeticError, RecursionError, MemoryError)


class ArrayHeader(msgspec.Struct, array_like=True, frozen=True):
    """What the header says of one array: which buffer it is, its dtype (numpy's npy description), shape and codec."""

    index: Annotated[int, msgspec.Meta(ge=0)]
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
            UnsendableError: the dtype holds Python objects, which only pickle could carry, or is not numpy's own.
        """
        if array.dtype.hasobject:
            raise UnsendableError(f"arrays of dtype {array.dtype} hold Python objects and cannot be sent")
        if array.dtype.kind == "V" and not issubclass(array.dtype.type, np.void):
            raise UnsendableError(f"arrays of dtype {array.dtype} cannot be sent: numpy itself does not know it")
        data = _bytes_of(array)
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
        if len(header) > MAX_HEADER_BYTES:
            raise MalformedError(f"array header of {len(header)} bytes; at most {MAX_HEADER_BYTES}")
        try:
            found = _headers.decode(header)
            dtype = np.lib.format.descr_to_dtype(_as_descr(found.dtype))
            data = buffers[found.index]
        except (msgspec.MsgspecError, *_NPY_ERRORS) as error:
            raise MalformedError(f"array header cannot be read: {error}") from error
        packed = cls(dtype, found.shape, found.codec, data)
        packed.check()
        return packed

    @property
    def nbytes(self) -> int:
        """Size once expanded, bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def header(self, index: int) -> bytes:
        """Return the header that points at buffer `index`.

        Raises:
            UnsendableError: the dtype has thousands of fields.
        """
        descr = np.lib.format.dtype_to_descr(self.dtype)
        header = msgspec.msgpack.encode(ArrayHeader(index, descr, self.shape, self.codec))
        if len(header) > MAX_HEADER_BYTES:
            raise UnsendableError(f"an array with a header of {len(header)} bytes (dtype) cannot be sent")
        return header

    def expand(self) -> NDArray[Any]:
        """Return the array: a read-only view of the received buffer, or a decompressed copy.

        Raises:
            MalformedError: the compressed buffer is damaged, or does not hold what its header says.
        """
        if self.nbytes == 0:
            # np.empty makes "<U1" of "<U0"; this does not.
            return np.ndarray(self.shape, self.dtype)
        if self.codec == "raw":
            return np.frombuffer(self.data, self.dtype).reshape(self.shape)
        out = np.empty(self.nbytes, np.uint8)
        try:
            _blosc.decode_into(self.data, out)
        except BlockError as error:
            raise MalformedError(f"compressed array cannot be read: {error}") from error
        return out.view(self.dtype).reshape(self.shape)

    def check(self) -> None:
        """Refuse what no array is made of.

        Raises:
            MalformedError: dtype, shape, codec and buffer do not fit together, or claim too much memory.
        """
        shape, dtype = self.shape, self.dtype
        if dtype.hasobject or len(shape) > MAX_DIMENSIONS or any(n < 0 for n in shape):
            raise MalformedError(f"array of dtype {dtype} and shape {shape} is refused")
        # Also of an array that holds nothing: numpy multiplies the other dimensions all the same.
        if math.prod(n or 1 for n in shape) * (dtype.itemsize or 1) > MAX_ARRAY_BYTES:
            raise MalformedError(f"array of dtype {dtype} and shape {shape} exceeds {MAX_ARRAY_BYTES} bytes")
        if self.codec == "raw" and len(self.data) != self.nbytes:
            raise MalformedError(f"array buffer holds {len(self.data)} bytes, its header says {self.nbytes}")

    def __repr__(self) -> str:
        return f"<PackedArray {self.shape} {self.dtype} {self.codec} {len(self.data)} bytes>"


def _bytes_of(array: NDArray[Any]) -> Buffer:
    """Copy the bytes of an array; of a large one while other threads run, as `tobytes` does not."""
    if array.nbytes < _LARGE:
        return array.tobytes()
    data = np.array(array, order="C", subok=False)
    return data.reshape(-1).view(np.uint8).data


def expand_arrays(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return `value` with every `PackedArray` in its lists and dicts made a numpy array.

    Raises:
        MalformedError: a compressed array is damaged, or the value is nested deeper than anything that we send.
    """
    if isinstance(value, PackedArray):
        return value.expand()
    if not isinstance(value, list | dict):
        return value
    if depth <= 0:
        raise MalformedError(f"value nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        return [expand_arrays(item, depth - 1) for item in value]
    return {key: expand_arrays(item, depth - 1) for key, item in value.items()}


def serialize_array(array: NDArray[Any]) -> dict[str, str]:
    """Pack an array as text, for those who must put one into JSON.

    Returns:
        ``{"NUMPY_ARRAY": text}``: base64 of blosc-compressed `.npy` bytes.

    Raises:
        UnsendableError: it holds Python objects, or is larger than `MAX_ARRAY_BYTES`.
    """
    file = io.BytesIO()
    try:
        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    except ValueError as error:
        raise UnsendableError(f"array of dtype {array.dtype} cannot be packed: {error}") from error
    npy = file.getbuffer()
    if npy.nbytes > MAX_ARRAY_BYTES:
        raise UnsendableError(f"array of {array.nbytes} bytes; at most {MAX_ARRAY_BYTES} with its header: use a stream")
    packed = _blosc.encode(np.frombuffer(npy, np.uint8), array.dtype.itemsize)
    return {"NUMPY_ARRAY": base64.b64encode(packed).decode()}


def deserialize_array(packed: dict[str, str]) -> NDArray[Any]:
    """Undo `serialize_array`; sizes are compared before anything is allocated for them.

    Raises:
        MalformedError: it is not what `serialize_array` makes, or it is larger than `MAX_ARRAY_BYTES`.
    """
    try:
        data = base64.b64decode(packed["NUMPY_ARRAY"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise MalformedError(f"not a packed array: {error}") from error
    size = int(blosc.get_cbuffer_sizes(data)[0]) if len(data) >= BLOSC_OVERHEAD else MAX_ARRAY_BYTES + 1
    if not 0 <= size <= MAX_ARRAY_BYTES:
        raise MalformedError(f"packed array would expand beyond {MAX_ARRAY_BYTES} bytes")
    npy = np.empty(size, np.uint8)
    try:
        _blosc.decode_into(data, npy)
        return _read_npy(npy)
    except (*_NPY_ERRORS, BlockError) as error:
        raise MalformedError(f"not a packed array: {error}") from error


def _read_npy(npy: NDArray[np.uint8]) -> NDArray[Any]:
    """Read the bytes of a `.npy` file; the array is a view of them.

    numpy's own reader allocates what the header claims, and takes a zip file for one.
    """
    start, version = npy[:_NPY_START].tobytes(), int(npy[6])
    if not start.startswith(b"\x93NUMPY") or version not in (1, 2, 3):
        raise ValueError("it does not begin like a .npy file of version 1 to 3")
    begin = 10 if version == 1 else 12
    end = begin + int.from_bytes(start[8:begin], "little")
    if end > min(npy.nbytes, begin + _MAX_NPY_HEADER):
        raise ValueError(f"a .npy header of {end - begin} bytes")
    header = ast.literal_eval(npy[begin:end].tobytes().decode("utf-8" if version == 3 else "latin-1"))
    dtype, shape = np.lib.format.descr_to_dtype(_as_descr(header["descr"])), tuple(header["shape"])
    if not all(type(n) is int for n in shape):
        raise TypeError(f"shape {shape}")
    is_fortran = header["fortran_order"] is True
    array = PackedArray(dtype, shape[::-1] if is_fortran else shape, "raw", npy[end:].data)
    array.check()
    return array.expand().transpose() if is_fortran else array.expand()


def _as_descr(descr: Any) -> Any:
    """Turn what msgpack returns into what numpy's npy description is made of: a text, or a list of field tuples."""
    if isinstance(descr, str):
        return checked_dtype(descr)
    if not isinstance(descr, list):
        raise TypeError(f"a dtype is a text or a list of fields, not a {type(descr).__name__}")
    return [_as_field(*field) for field in descr]


def _as_field(name: Any, dtype: Any, *shape: Any) -> tuple[Any, ...]:
    """One field: its name (or title and name), its dtype (a text or again a list of fields), perhaps its shape."""
    return (tuple(name) if isinstance(name, list) else name, _as_descr(dtype), *(tuple(part) for part in shape))
