"""Values in messages: plain data by msgpack, arrays as buffers, everything else refused with the path to it.

What comes back as what is a table in `pipeline/README.md`; `tests/pipeline/test_message.py` holds it to its word.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from .arrays import Buffer, PackedArray
from .errors import MalformedError, UnsendableError
from .wire import MAX_BUFFERS, MAX_CONTENT_BYTES, MAX_FRAME_BYTES, Content, Outcome

T = TypeVar("T")
Frames = list[Buffer]


ARRAY_CODE: Final = 1
"""msgpack extension of an array: an `ArrayHeader`; the data are a buffer frame."""
COMPLEX_CODE: Final = 2
"""msgpack extension of a complex number: two little-endian float64, real and imaginary part."""

_DEEPEST_PATH: Final = 12
"""Steps of a path in an error; more says nothing more."""
_COMPLEX: Final = struct.Struct("<dd")
_CANNOT: Final = (TypeError, ValueError, OverflowError, RecursionError, UnicodeError, msgspec.MsgspecError)


class _NotPlain(Exception):  # noqa: N818 - a signal, not an error
    """The value needs the slower encoder."""


def _signal(_: object) -> Any:
    raise _NotPlain


_plain: Final = msgspec.msgpack.Encoder(enc_hook=_signal)


def encode_frames(content: Content | Outcome, *, compress: bool = False) -> Frames:
    """Return content and buffers of a message or an answer.

    Args:
        content: may hold None, bool, int, float, str, bytes, datetime, lists, tuples, sets, dicts, dataclasses,
            msgspec Structs, enums, complex numbers and numpy scalars and arrays.
        compress: blosc-compress arrays where that makes them smaller.

    Raises:
        UnsendableError: it holds something else, is nested too deep or too large; the text names the path.
    """
    try:
        frames: Frames = [_plain.encode(content)]
    except _NotPlain:
        frames = _encode_rich(content, compress)
    except _CANNOT as error:
        raise _explain(content, error) from error
    if len(frames[0]) > MAX_CONTENT_BYTES:
        raise UnsendableError(f"value: {len(frames[0])} bytes; at most {MAX_CONTENT_BYTES}, arrays apart")
    if len(frames) > MAX_BUFFERS + 1:
        raise UnsendableError(f"value: {len(frames) - 1} arrays; at most {MAX_BUFFERS} in one message")
    largest = max(len(frame) for frame in frames)
    if largest > MAX_FRAME_BYTES:
        raise UnsendableError(f"value: an array of {largest} bytes; at most {MAX_FRAME_BYTES}: use a stream")
    return frames


def decode_frames(decoder: msgspec.msgpack.Decoder[T], frames: Sequence[Buffer]) -> T:
    """Read content and buffers; arrays come back as `PackedArray`.

    Args:
        decoder: made by `decoder_of`.
        frames: content, then buffers.

    Raises:
        MalformedError: they are not what `encode_frames` makes.
    """
    if not frames:
        raise MalformedError("no content")
    if len(frames[0]) > MAX_CONTENT_BYTES:
        raise MalformedError(f"content of {len(frames[0])} bytes; at most {MAX_CONTENT_BYTES}")
    try:
        if len(frames) == 1:
            return decoder.decode(frames[0])
        return msgspec.msgpack.Decoder(decoder.type, ext_hook=_extension_reader(list(frames[1:]))).decode(frames[0])
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, MemoryError, struct.error) as error:
        if isinstance(error, MalformedError):
            raise
        raise MalformedError(f"content cannot be read: {error}") from error


def decoder_of(kind: type[T]) -> msgspec.msgpack.Decoder[T]:
    """Return the decoder of contents without arrays."""
    return msgspec.msgpack.Decoder(kind, ext_hook=_extension_reader([]))


def _encode_rich(content: Content | Outcome, compress: bool) -> Frames:
    buffers: Frames = []

    def convert(found: object) -> Any:
        if isinstance(found, np.ndarray) or _is_odd_scalar(found):
            found = PackedArray.pack(np.asarray(found), compress=compress)
        if isinstance(found, PackedArray):
            buffers.append(found.data)
            return msgspec.msgpack.Ext(ARRAY_CODE, found.header(len(buffers) - 1))
        return _convert_scalar(found)

    try:
        return [msgspec.msgpack.Encoder(enc_hook=convert).encode(content), *buffers]
    except _CANNOT as error:
        raise _explain(content, error) from error


def _is_odd_scalar(found: object) -> bool:
    """Tell whether a numpy scalar has no Python number for it (a time, a record): it travels as a 0-d array."""
    return isinstance(found, np.generic) and not isinstance(found, np.bool_ | np.number)


def _convert_scalar(found: object) -> Any:
    if isinstance(found, np.generic):
        found = found.item()
    if isinstance(found, complex):
        return msgspec.msgpack.Ext(COMPLEX_CODE, _COMPLEX.pack(found.real, found.imag))
    if isinstance(found, bool | int | float):
        return found
    raise UnsendableError(f"a {type(found).__name__} cannot be sent")


def _extension_reader(buffers: list[Buffer]) -> Callable[[int, memoryview], Any]:
    def read(code: int, data: memoryview) -> Any:
        if code == ARRAY_CODE:
            return PackedArray.unpack(data, buffers)
        if code == COMPLEX_CODE:
            return complex(*_COMPLEX.unpack(data))
        raise MalformedError(f"unknown extension {code}")

    return read


def _explain(content: Content | Outcome, error: Exception) -> UnsendableError:
    """Say where the thing stands that cannot be sent; walked only once something failed."""
    value: Any = {"value": content.value}
    if isinstance(content, Content):
        value |= {"flags": content.flags, **content.extra}
    path = ""
    for _ in range(_DEEPEST_PATH):
        offender = next(((step, child) for step, child in _children(value) if not _is_sendable(child)), None)
        if offender is None:
            break
        path, value = path + (offender[0] if path else offender[0].strip("[']")), offender[1]
    reason = f"a {type(value).__name__} cannot be sent ({error})" if not isinstance(error, UnsendableError) else error
    return UnsendableError(f"{path}: {reason}; send plain data or arrays")


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", child) for key, child in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{index}]", child) for index, child in enumerate(value)]
    return []


def _is_sendable(value: Any) -> bool:
    def convert(found: object) -> Any:
        if isinstance(found, np.ndarray):
            return _signal(found) if found.dtype.hasobject else None
        return None if isinstance(found, PackedArray) or _is_odd_scalar(found) else _convert_scalar(found)

    try:
        msgspec.msgpack.Encoder(enc_hook=convert).encode(value)
    except (_NotPlain, *_CANNOT):
        return False
    return True
