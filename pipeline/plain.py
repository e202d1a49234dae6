"""Making a value plain: what msgpack has types for stays, the rest becomes extensions and buffers, or is refused.

Most values need nothing: `is_plain` tells, in about a microsecond.  The others are rebuilt by `Plainer`, which knows
the path to where it is, so that what cannot be sent is refused with that path.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import msgspec
import numpy as np
from msgspec.msgpack import Ext

from .arrays import MAX_ARRAY_BYTES, MAX_DEPTH, Buffer, PackedArray
from .errors import UnsendableError
from .scalars import pack_scalar
from .wire import MAX_CONTENT_BYTES

ARRAY_CODE: Final = 1
"""msgpack extension of an array: an `ArrayHeader`; the data are a buffer frame."""
SET_CODE: Final = 3
"""msgpack extension of a set: a msgpack array of its elements."""
FROZENSET_CODE: Final = 4
"""msgpack extension of a frozenset: a msgpack array of its elements."""
MAX_EXTENSIONS: Final = 4096
"""Sets, complex numbers, dates and the like in one message.  Hashes of complex numbers can be made to collide, and a
set of n takes n² steps then: 0.2 s for these, 2.6 s for four times as many."""

_LONGEST_PATH: Final = 12
"""Steps of a path in an error; more say nothing more."""
_ATOMS: Final = frozenset((type(None), bool, int, float, str, bytes))
_BOXES: Final = frozenset((list, tuple, dict))
_PLAIN: Final = _ATOMS | _BOXES
_TEXT: Final = frozenset((str,))
_KEYS: Final = frozenset((str, int, bytes, bool, float, type(None)))


def is_plain(value: Any) -> bool:
    """Tell whether msgpack writes the value as it is; False where only a closer look can tell.

    Looks at types only, a level at a time, so that neither depth nor lists that hold themselves can hurt.
    """
    kind = type(value)
    if kind is dict and _TEXT.issuperset(map(type, value)) and _ATOMS.issuperset(map(type, value.values())):
        return True  # what most messages are
    return kind in _ATOMS or (kind in _BOXES and _are_plain(value))


def _are_plain(value: Any) -> bool:
    level, room = [value], MAX_CONTENT_BYTES
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for box in level:
            if type(box) is dict:
                if not _KEYS.issuperset(map(type, box)):
                    return False
                items: Iterable[Any] = box.values()
            else:
                items = box
            kinds = set(map(type, items))
            if kinds <= _ATOMS:
                continue
            room -= len(box)
            if room < 0 or not kinds <= _PLAIN:
                return False
            below.extend(item for item in items if type(item) in _BOXES)
        if not below:
            return True
        level = below
    return False


class Plainer:
    """Rebuilds one value; its arrays are collected in `buffers`.

    Args:
        compress: blosc-compress arrays where that makes them smaller.
    """

    def __init__(self, *, compress: bool = False) -> None:
        self.buffers: list[Buffer] = []
        self._compress = compress
        self._path: list[str] = []
        self._open: set[int] = set()
        self._room = MAX_CONTENT_BYTES
        self._array_room = MAX_ARRAY_BYTES
        self._extensions = 0
        self._in_set = 0

    def attribute(self, name: str, value: Any) -> Any:
        """Return an attribute of a message, plain.

        Raises:
            UnsendableError: something in it cannot be sent; the text begins with the path to it.
        """
        with self._step(name):
            return self._take(value)

    def _take(self, value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return self._take(value.value)
        if isinstance(value, np.ndarray | np.generic | PackedArray):
            return self._numpy(value)
        if value is None or isinstance(value, bool | int | float | str | bytes | bytearray | memoryview):
            return self._single(value)
        packed = pack_scalar(value)
        if packed is not None:
            return self._extension(packed) if isinstance(packed, Ext) else packed
        with self._inside(value):
            return self._box(value)

    def _box(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            if self._in_set and not isinstance(value, tuple):
                self._refuse("a list in a set")
            return self._items(value, "[{}]".format)
        if isinstance(value, set | frozenset):
            if self._in_set and isinstance(value, set):
                self._refuse("a set in a set")
            return self._set(value)
        if self._in_set:
            self._refuse(f"a {type(value).__name__} in a set")
        if isinstance(value, dict):
            return self._dict(value)
        fields = fields_of(value)
        if fields is None:
            self._refuse(f"a {type(value).__name__}")
        plain = {}
        for encoded, name in fields:
            with self._step("." + name):
                plain[encoded] = self._take(getattr(value, name))
        return plain

    def _items(self, items: Iterable[Any], name: Callable[[int], str]) -> list[Any]:
        plain = []
        for index, item in enumerate(items):
            with self._step(name(index)):
                plain.append(self._take(item))
        return plain

    def _set(self, value: set[Any] | frozenset[Any]) -> Ext:
        code = SET_CODE if isinstance(value, set) else FROZENSET_CODE
        self._in_set += 1
        plain = self._items(value, lambda _: "{…}")
        self._in_set -= 1
        return self._extension(Ext(code, msgspec.msgpack.encode(plain)))

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        plain = {}
        for key, item in value.items():
            with self._step(f"[{key!r}]"):
                plain[self._key(key)] = self._take(item)
        if len(plain) < len(value):
            self._refuse("a dict of which two keys would come back the same")
        return plain

    def _key(self, key: Any) -> Any:
        if isinstance(key, enum.Enum):
            key = key.value
        if _has_python_kind(key):
            key = key.item()
        if isinstance(key, tuple):
            return tuple(self._key(part) for part in key)
        if type(key) in _KEYS or isinstance(key, int | str):
            return self._take(key)
        return self._refuse(
            f"a key of type {type(key).__name__}", "keys are text, bytes, numbers, None, tuples of them"
        )

    def _numpy(self, value: Any) -> Any:
        if _has_python_kind(value):
            return self._take(value.item())
        if self._in_set:
            self._refuse("an array in a set")
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if isinstance(value, np.ma.MaskedArray):
            self._refuse("an array with a mask", "send .filled() and .mask")
        try:
            packed = value if isinstance(value, PackedArray) else PackedArray.pack(value, compress=self._compress)
            header = packed.header(len(self.buffers))
        except UnsendableError as error:
            self._refuse(str(error))
        self._array_room -= packed.nbytes
        if self._array_room < 0:
            self._refuse(f"arrays of more than {MAX_ARRAY_BYTES} bytes in one message", "use a stream")
        self.buffers.append(packed.data)
        return Ext(ARRAY_CODE, header)

    def _single(self, value: Any) -> Any:
        """Check what msgpack has types for; of a subclass only the value is sent."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            if not -(2**63) <= value < 2**64:
                bits = value.bit_length()
                self._refuse(f"a int of {bits} bits", "integers have at most 64: send a Decimal, text or bytes")
            return int(value)
        if isinstance(value, float):
            return float(value)
        if not isinstance(value, str):
            return bytes(value)
        try:
            value.encode()
        except UnicodeEncodeError as error:
            self._refuse(f"a str with a lone surrogate at {error.start}", "send bytes")
        return str.__str__(value)

    def _extension(self, packed: Ext) -> Ext:
        self._extensions += 1
        if self._extensions > MAX_EXTENSIONS:
            self._refuse(f"more than {MAX_EXTENSIONS} sets, dates, complex numbers in one message", "send arrays")
        return packed

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._path.append(name)
        yield
        self._path.pop()

    @contextmanager
    def _inside(self, box: Any) -> Iterator[None]:
        if id(box) in self._open:
            self._refuse(f"a {type(box).__name__} that holds itself")
        if len(self._open) >= MAX_DEPTH:
            self._refuse(f"a {type(box).__name__} more than {MAX_DEPTH} deep")
        self._room -= len(box) if isinstance(box, list | tuple | set | frozenset | dict) else 1
        if self._room < 0:
            self._refuse(f"more than {MAX_CONTENT_BYTES} items in one message", "send arrays")
        self._open.add(id(box))
        yield
        self._open.discard(id(box))

    def _refuse(self, what: str, hint: str = "send plain data or arrays") -> NoReturn:
        path = "".join(self._path[:_LONGEST_PATH]) + ("…" if len(self._path) > _LONGEST_PATH else "")
        said = what if "cannot be sent" in what else f"{what} cannot be sent"
        raise UnsendableError(f"{path}: {said}; {hint}")


def _has_python_kind(value: Any) -> bool:
    """Tell whether a numpy scalar is a number, bool, str or bytes as Python knows them."""
    return isinstance(value, np.bool_ | np.number | np.str_ | np.bytes_) and not isinstance(
        value, np.timedelta64 | np.longdouble | np.clongdouble
    )


def fields_of(value: Any) -> list[tuple[str, str]] | None:
    """Return what the fields of a dataclass or Struct are called on the wire and here; None if it is neither."""
    if isinstance(value, msgspec.Struct):
        return [(field.encode_name, field.name) for field in msgspec.structs.fields(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, field.name) for field in dataclasses.fields(value)]
    return None
