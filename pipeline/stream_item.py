"""An item of a stream of messages as it is when it is put in: changing it later changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from .arrays import MAX_DEPTH, PackedArray
from .errors import UnsendableError
from .plain import fields_of
from .value import encode_frames
from .wire import VERSION, Outcome

_AROUND: Final = 2
"""Containers that a batch puts around an item."""
_ATOMS: Final = frozenset((type(None), bool, int, float, str, bytes))


def freeze(item: Any) -> tuple[Any, int]:
    """Return an item as it is now, its arrays packed, and the bytes that it takes on the wire.

    Raises:
        UnsendableError: it cannot be sent; the text names the path.
    """
    frozen = _copy(item, MAX_DEPTH - _AROUND)
    return frozen, sum(map(len, encode_frames(Outcome(VERSION, frozen))))


def _copy(value: Any, depth: int) -> Any:
    """Copy what can change, each array once; what cannot be sent is refused later, where its path is known."""
    if type(value) in _ATOMS:
        return value
    for kinds, take in _LEAVES:
        if isinstance(value, kinds):
            return take(value)
    parts = _parts(value)
    if parts is None:
        return value
    if depth <= 0:
        raise UnsendableError(f"value: a {type(value).__name__} more than {MAX_DEPTH - _AROUND} deep cannot be sent")
    if isinstance(parts, dict):
        return {key: _copy(inner, depth - 1) for key, inner in parts.items()}
    return [_copy(inner, depth - 1) for inner in parts]


def _parts(value: Any) -> dict[Any, Any] | list[Any] | tuple[Any, ...] | None:
    """Return what a container holds, None if it is none."""
    if isinstance(value, dict | list | tuple):
        return value
    fields = fields_of(value)
    return None if fields is None else {encoded: getattr(value, name) for encoded, name in fields}


def _pack(array: np.ndarray[Any, Any]) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        return array
    try:
        return PackedArray.pack(array)
    except UnsendableError:
        return array


_LEAVES: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...]] = (
    (np.ndarray, _pack),
    ((bytearray, memoryview), bytes),
    (set, set),  # what is in it cannot change
)
