"""Values in messages: plain data by msgpack, arrays as buffers, everything else refused with the path to it.

What comes back as what is a table in `pipeline/README.md`; `tests/pipeline/test_message.py` holds it to its word.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from .arrays import MAX_ARRAY_BYTES, Buffer, PackedArray
from .errors import MalformedError, UnsendableError
from .plain import ARRAY_CODE, FROZENSET_CODE, MAX_EXTENSIONS, SET_CODE, Plainer, is_plain
from .scalars import COMPLEX_CODE, NAMED_CODE, unpack_complex, unpack_named
from .wire import MAX_BUFFERS, MAX_CONTENT_BYTES, MAX_FRAME_BYTES, Content, Outcome

T = TypeVar("T")
Frames = list[Buffer]

_CANNOT: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError,
                      struct.error)  # fmt: skip


def _refuse(found: object) -> NoReturn:
    raise TypeError(f"a {type(found).__name__} is not plain")


_plain: Final = msgspec.msgpack.Encoder(enc_hook=_refuse)


def encode_frames(content: Content | Outcome, *, compress: bool = False) -> Frames:
    """Return content and buffers of a message or an answer.

    Args:
        content: value, flags and extra attributes may hold what the README's table names.
        compress: blosc-compress arrays where that makes them smaller.

    Raises:
        UnsendableError: it holds something else, is nested too deep or too large; the text names the path.
    """
    frames = _encode_plain(content) or _encode_rich(content, compress)
    if len(frames[0]) > MAX_CONTENT_BYTES:
        raise UnsendableError(f"value: {len(frames[0])} bytes; at most {MAX_CONTENT_BYTES}, arrays apart")
    if len(frames) == 1:
        return frames
    if len(frames) > MAX_BUFFERS + 1:
        raise UnsendableError(f"value: {len(frames) - 1} arrays; at most {MAX_BUFFERS} in one message")
    largest = max(len(frame) for frame in frames)
    if largest > MAX_FRAME_BYTES:
        raise UnsendableError(f"value: an array of {largest} bytes; at most {MAX_FRAME_BYTES}: use a stream")
    return frames


def decode_frames(decoder: msgspec.msgpack.Decoder[T], frames: Sequence[Buffer]) -> T:
    """Read content and buffers; arrays come back as `PackedArray`.

    Takes at most some fifty times the memory of the frames, and nothing yet for arrays.

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
        return decoder.decode(frames[0]) if len(frames) == 1 else _decode_rich(decoder.type, frames)
    except _NeedsState:
        pass
    except _UNREADABLE as error:
        raise _as_malformed(error) from error
    try:
        return _decode_rich(decoder.type, frames)
    except _UNREADABLE as error:
        raise _as_malformed(error) from error


def decoder_of(kind: type[T]) -> msgspec.msgpack.Decoder[T]:
    """Return the decoder of contents that are plain; the others are noticed by `decode_frames`."""
    return msgspec.msgpack.Decoder(kind, ext_hook=_ask_for_state)


def _encode_plain(content: Content | Outcome) -> Frames | None:
    """Return the frames of a plain content, None if it is not plain or cannot be sent."""
    if not is_plain(content.value):
        return None
    if isinstance(content, Content):
        if content.flags and not is_plain(content.flags):
            return None
        if content.extra and not is_plain(content.extra):
            return None
    try:
        return [_plain.encode(content)]
    except _CANNOT:
        return None


def _encode_rich(content: Content | Outcome, compress: bool) -> Frames:
    plainer = Plainer(compress=compress)
    changed: dict[str, Any] = {
        name: plainer.attribute(name, getattr(content, name)) for name in content.__struct_fields__ if name != "extra"
    }
    if isinstance(content, Content):
        changed["extra"] = {name: plainer.attribute(name, value) for name, value in content.extra.items()}
    try:
        return [_plain.encode(msgspec.structs.replace(content, **changed)), *plainer.buffers]
    except _CANNOT as error:
        raise UnsendableError(f"value: it cannot be sent: {error}") from error


class _NeedsState(BaseException):
    """A content without buffers has extensions all the same; a signal, which msgspec must not take for an error."""


def _ask_for_state(_code: int, _data: memoryview) -> NoReturn:
    raise _NeedsState


def _decode_rich(kind: type[T], frames: Sequence[Buffer]) -> T:
    return msgspec.msgpack.Decoder(kind, ext_hook=_extension_reader(list(frames[1:]))).decode(frames[0])


def _extension_reader(buffers: list[Buffer]) -> Callable[[int, memoryview], Any]:
    """Return the reader of one message's extensions, which counts what they take."""
    array_room, extension_room = MAX_ARRAY_BYTES, MAX_EXTENSIONS

    def read(code: int, data: memoryview) -> Any:
        nonlocal array_room, extension_room
        if code == ARRAY_CODE:
            packed = PackedArray.unpack(data, buffers)
            array_room -= packed.nbytes
            if array_room < 0:
                raise MalformedError(f"arrays that expand to more than {MAX_ARRAY_BYTES} bytes together")
            return packed
        return read_in_set(code, data)

    def read_in_set(code: int, data: memoryview) -> Any:
        nonlocal extension_room
        extension_room -= 1
        if extension_room < 0:
            raise MalformedError(f"more than {MAX_EXTENSIONS} extensions")
        if code == COMPLEX_CODE:
            return unpack_complex(data)
        if code == NAMED_CODE:
            return unpack_named(data)
        if code == SET_CODE:
            return sets.decode(data)
        if code == FROZENSET_CODE:
            return frozensets.decode(data)
        raise MalformedError(f"unknown extension {code}")

    sets = msgspec.msgpack.Decoder(set[Any], ext_hook=read_in_set)
    frozensets = msgspec.msgpack.Decoder(frozenset[Any], ext_hook=read_in_set)
    return read


def _as_malformed(error: BaseException) -> MalformedError:
    return error if isinstance(error, MalformedError) else MalformedError(f"content cannot be read: {error}")
