"""Single values that msgpack has no type of its own for: as extensions, and back.

A table in `pipeline/README.md` says what stands in each; bytes from a peer are checked first.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from msgspec.msgpack import Ext

from .errors import MalformedError

COMPLEX_CODE: Final = 2
"""msgpack extension of a complex number: two little-endian float64, real and imaginary part."""
NAMED_CODE: Final = 5
"""msgpack extension of a date, time, number or id: a letter that says which, then its text or bytes."""
MAX_SCALAR_BYTES: Final = 1024
"""Larger ones are refused: a Decimal of a million digits takes minutes to reckon with."""

_COMPLEX: Final = struct.Struct("<dd")
_TIMEDELTA: Final = struct.Struct("<iII")


def _pack_timedelta(value: timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def _unpack_timedelta(data: bytes) -> timedelta:
    return timedelta(*_TIMEDELTA.unpack(data))


_PACK: Final[tuple[tuple[type[Any], bytes, Callable[[Any], bytes]], ...]] = (
    (datetime, b"n", lambda value: value.isoformat().encode()),
    (date, b"d", lambda value: value.isoformat().encode()),
    (time, b"t", lambda value: value.isoformat().encode()),
    (timedelta, b"i", _pack_timedelta),
    (Decimal, b"D", lambda value: str(value).encode()),
    (uuid.UUID, b"u", lambda value: value.bytes),
)
"""A datetime is a date as well: the narrower type stands first."""
_UNPACK: Final[dict[bytes, Callable[[bytes], Any]]] = {
    b"n": lambda data: datetime.fromisoformat(data.decode()).replace(tzinfo=None),
    b"d": lambda data: date.fromisoformat(data.decode()),
    b"t": lambda data: time.fromisoformat(data.decode()),
    b"i": _unpack_timedelta,
    b"D": lambda data: Decimal(data.decode()),
    b"u": lambda data: uuid.UUID(bytes=data),
}


def pack_scalar(value: object) -> Ext | datetime | None:
    """Return what msgpack writes for a complex number, datetime, date, time, timedelta, Decimal or UUID; else None.

    A datetime with a zone is msgpack's own timestamp.
    """
    if isinstance(value, complex):
        return Ext(COMPLEX_CODE, _COMPLEX.pack(value.real, value.imag))
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value
    for kind, letter, pack in _PACK:
        if isinstance(value, kind):
            data = pack(value)
            return Ext(NAMED_CODE, letter + data) if len(data) < MAX_SCALAR_BYTES else None
    return None


def unpack_complex(data: memoryview) -> complex:
    """Read a complex number.

    Raises:
        struct.error: it is not 16 bytes long.
    """
    return complex(*_COMPLEX.unpack(data))


def unpack_named(data: memoryview) -> Any:
    """Read a date, time, number or id.

    Raises:
        MalformedError: a letter that is not ours, or too long.
        ValueError, ArithmeticError, struct.error: not what the letter says.
    """
    unpack = _UNPACK.get(bytes(data[:1]))
    if unpack is None or len(data) > MAX_SCALAR_BYTES:
        raise MalformedError(f"scalar of kind {bytes(data[:1])!r} and {len(data)} bytes is unknown")
    return unpack(bytes(data[1:]))
