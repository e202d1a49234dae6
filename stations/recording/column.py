"""A column of a recording that is computed where it is asked for: an hour of times at 30 kHz would be 0.9 GB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

_AT_ONCE: Final = 65536


class Column(NDArrayOperatorsMixin):
    """One value per item; what is sliced or calculated with becomes an array.

    Args:
        length: how many there are.
        values: computes those of some positions.
    """

    def __init__(self, length: int, values: Callable[[NDArray[np.int64]], NDArray[Any]]) -> None:
        self._length = length
        self._values = values

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        """Return one value, or an array for a slice or an array of positions."""
        positions = positions_of(key, self._length)
        return self._values(positions) if positions.ndim else self._values(positions[None])[0]

    def __iter__(self) -> Iterator[Any]:
        for begin in range(0, self._length, _AT_ONCE):
            yield from self[begin : begin + _AT_ONCE]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = [np.asarray(one) if isinstance(one, Column) else one for one in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def __repr__(self) -> str:
        return f"<Column of {self._length}>"


def positions_of(key: Any, length: int) -> NDArray[np.int64]:
    """Return the positions that an index, a slice or an array of indices means; of an index with no dimension.

    Raises:
        IndexError: it is outside, or no index.
    """
    if isinstance(key, slice):
        return np.arange(*key.indices(length), dtype=np.int64)
    positions = np.asarray(key)
    if positions.dtype == bool and positions.shape == (length,):
        return np.flatnonzero(positions)
    if positions.ndim > 1 or (positions.size and positions.dtype.kind not in "iu"):
        raise IndexError(f"{key!r} is no index; write a number, a slice or an array of numbers")
    positions = positions.astype(np.int64)
    if np.any((positions < -length) | (positions >= length)):
        raise IndexError(f"{key!r} is outside of 0 to {length - 1}")
    return np.asarray(np.where(positions < 0, positions + length, positions), np.int64)
