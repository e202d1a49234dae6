"""A message as text and arrays: JSON that any program reads, then the bytes of the arrays in it.

What JSON has no word for is an object with one member:

| member | stands for |
|---|---|
| `__array__` | an array: `dtype` (numpy's npy description), `shape`, `at` and `bytes`: where among the row's arrays |
| `__bytes__` | bytes, in base64 |
| `__float__` | `nan`, `inf`, `-inf` |
| `__complex__` | real and imaginary part |
| `__decimal__`, `__uuid__` | their text |
| `__datetime__`, `__date__`, `__time__` | ISO 8601 |
| `__timedelta__` | days, seconds, microseconds |
| `__tuple__`, `__set__`, `__frozenset__` | a list of what is in it |
| `__map__` | pairs: a dict with keys that are no text, or that begin with `__` |
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
import numpy as np

from pipeline import Message, MessageError, PackedArray

from .errors import SegmentFormatError

MARK: Final = "__"
ARRAY: Final = "__array__"
_OURS: Final = frozenset(("id", "to", "sender", "key", "value", "flags", "timestamp", "ttl"))
_MARKED: Final[tuple[tuple[type[Any], str, Callable[[Any], Any], Callable[[Any], Any]], ...]] = (
    (bytes, "__bytes__", lambda v: base64.b64encode(v).decode(), lambda t: base64.b64decode(t, validate=True)),
    (datetime, "__datetime__", datetime.isoformat, datetime.fromisoformat),
    (date, "__date__", date.isoformat, date.fromisoformat),
    (time, "__time__", time.isoformat, time.fromisoformat),
    (timedelta, "__timedelta__", lambda v: [v.days, v.seconds, v.microseconds], lambda parts: timedelta(*parts)),
    (complex, "__complex__", lambda v: [v.real, v.imag], lambda parts: complex(*parts)),
    (Decimal, "__decimal__", str, Decimal),
    (UUID, "__uuid__", str, UUID),
    (tuple, "__tuple__", list, tuple),
    (set, "__set__", list, set),
    (frozenset, "__frozenset__", list, frozenset),
)
"""Type, mark, how it is written and read.  A datetime is a date as well: the narrower type stands first."""
_READ: Final = {"__float__": float, **{mark: read for _, mark, _, read in _MARKED}}
_encode: Final = msgspec.json.Encoder().encode


def encode_message(frames: tuple[bytes | memoryview, ...]) -> tuple[bytes, bytes]:
    """Return text and arrays of a message.

    The text is an object with `sender`, `timestamp`, `value`, and `extra` where the message had further attributes.
    What cannot be read is kept as it came: `undecoded` says why, and `frames` has the length of each.

    Args:
        frames: the message, as `pipeline.Message.serialize` returned it.
    """
    try:
        message = Message(frames)
        arrays: list[bytes] = []
        document = {"sender": message.sender, "timestamp": message.timestamp, "value": _to(message.value, arrays)}
        extra = {name: _to(message[name], arrays) for name in message if name not in _OURS}
        if extra:
            document["extra"] = extra
        return _encode(document), b"".join(arrays)
    except (MessageError, RecursionError, msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
        return _encode({"undecoded": str(error), "frames": [len(frame) for frame in frames]}), b"".join(frames)


def decode_message(text: bytes, arrays: bytes) -> dict[str, Any]:
    """Undo `encode_message`: `sender`, `timestamp`, `value` and `extra` as plain values and numpy arrays.

    Raises:
        SegmentFormatError: it is not what `encode_message` makes.
    """
    try:
        document: dict[str, Any] = msgspec.json.decode(text, type=dict)
        if "undecoded" in document:
            return {"sender": "", "timestamp": "", "value": None, "extra": {}, **document, "bytes": arrays}
        extra = {name: _from(value, arrays) for name, value in document.get("extra", {}).items()}
        return {**document, "value": _from(document["value"], arrays), "extra": extra}
    except (LookupError, ValueError, TypeError, ArithmeticError, RecursionError, msgspec.MsgspecError) as error:
        raise SegmentFormatError(f"not a row's text: {error}") from error


def _to(value: Any, arrays: list[bytes]) -> Any:
    """Return a value as JSON has it; bytes of arrays are put behind the others."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"__float__": str(value)}
    if isinstance(value, dict):
        return _to_object(value, arrays)
    if isinstance(value, list):
        return [_to(item, arrays) for item in value]
    if isinstance(value, PackedArray | np.ndarray):
        return _to_array(value.expand() if isinstance(value, PackedArray) else value, arrays)
    for kind, mark, write, _ in _MARKED:
        if isinstance(value, kind):
            return {mark: _to(write(value), arrays)}
    raise TypeError(f"a {type(value).__name__} has no form in a row")


def _to_object(value: dict[Any, Any], arrays: list[bytes]) -> dict[str, Any]:
    if all(isinstance(key, str) and not key.startswith(MARK) for key in value):
        return {key: _to(item, arrays) for key, item in value.items()}
    return {"__map__": [[_to(key, arrays), _to(item, arrays)] for key, item in value.items()]}


def _to_array(value: np.ndarray[Any, Any], arrays: list[bytes]) -> dict[str, Any]:
    data, at = value.tobytes(), sum(len(before) for before in arrays)
    arrays.append(data)
    descr = np.lib.format.dtype_to_descr(value.dtype)
    return {ARRAY: {"dtype": descr, "shape": list(value.shape), "at": at, "bytes": len(data)}}


def _from(value: Any, arrays: bytes) -> Any:
    if isinstance(value, list):
        return [_from(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, content),) = value.items()
        if name.startswith(MARK):
            return _from_marked(name, content, arrays)
    return {key: _from(item, arrays) for key, item in value.items()}


def _from_marked(mark: str, content: Any, arrays: bytes) -> Any:
    if mark == ARRAY:
        return _array(content, arrays)
    if mark == "__map__":
        return {_from(key, arrays): _from(item, arrays) for key, item in content}
    return _READ[mark](_from(content, arrays))


def _array(content: dict[str, Any], arrays: bytes) -> np.ndarray[Any, Any]:
    dtype = np.lib.format.descr_to_dtype(_descr(content["dtype"]))
    data = arrays[content["at"] : content["at"] + content["bytes"]]
    shape = tuple(content["shape"])
    if not data or dtype.itemsize == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape)


def _descr(descr: Any) -> Any:
    """Turn JSON's lists into the tuples of numpy's description: fields are tuples, shapes and titles too."""
    if not isinstance(descr, list):
        return descr
    return [tuple(_field(index, part) for index, part in enumerate(field)) for field in descr]


def _field(index: int, part: Any) -> Any:
    if index == 1:
        return _descr(part)
    return tuple(part) if isinstance(part, list) else part
