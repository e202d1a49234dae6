"""What a stream is made of: said when it is opened on the wire, kept as the meta of the Terminal's ring.

No I/O here.  A spec comes from a peer, so `StreamSpec.check` runs before anything is allocated for it.
"""

from __future__ import annotations

import functools
import json
import math
from typing import Any, Final, cast

import msgspec
import numpy as np

from shm import checked_dtype

from .codec import BLOSC_OVERHEAD
from .errors import BlockError

MAX_BLOCK_BYTES: Final = 256 * 1024 * 1024
"""Largest block, decoded; a peer that announces more is refused."""
BLOCK_BYTES: Final = 64 * 1024
"""A sampled block is closed at this size ..."""
BLOCK_TIME_S: Final = 0.1
"""... or at this age, whichever comes first."""
HEADER_ROOM: Final = 4096
"""Bytes of a Terminal ring's slot kept for the header in front of times and payload."""
MAX_NAME: Final = 200
MAX_RATE: Final = 1e9
MAX_DTYPE: Final = 2048
_MAX_DIMENSIONS: Final = 32


class ClockStamp(msgspec.Struct, frozen=True, array_like=True):
    """A clock domain and one instant read on two clocks, when the ring was made."""

    domain: str = ""
    monotonic_ns: int = 0
    realtime_ns: int = 0


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one generation of a stream is made of: said when it is opened, kept as the Terminal ring's meta.

    ``stream`` is the sensor's address, ``birth`` the random 64 bits of its ring, ``dtype`` a numpy descr as JSON,
    ``shape`` that of one item, ``rate`` in items/s (None: unknown or irregular), ``slots`` the number of blocks that
    the Terminal should keep.
    """

    stream: str
    birth: int
    dtype: str
    shape: tuple[int, ...]
    block_items: int
    slots: int
    epoch: int = 0
    rate: float | None = None
    regular: bool = True
    period_ns: int = 0
    labels: tuple[str, ...] = ()
    unit: str = ""
    clock: ClockStamp = ClockStamp()
    can_wait: bool = False
    meta: dict[str, Any] = {}

    @property
    def item_dtype(self) -> np.dtype[Any]:
        """The dtype of an item's elements."""
        return dtype_of_json(self.dtype)

    @property
    def item_bytes(self) -> int:
        """Bytes of one item."""
        return math.prod(self.shape) * self.item_dtype.itemsize

    @property
    def raw_bytes(self) -> int:
        """Bytes of one block, decoded."""
        return self.block_items * self.item_bytes

    @property
    def slot_bytes(self) -> int:
        """Largest blob that a block of this stream can be; what a block costs in credit."""
        times = 0 if self.regular else 8 * self.block_items
        return self.raw_bytes + BLOSC_OVERHEAD + times + HEADER_ROOM

    def check(self) -> None:
        """Refuse a spec that no honest peer sends.

        Raises:
            BlockError: says which value and why.
        """
        dtype = self.item_dtype
        if not 0 < len(self.stream.encode()) <= MAX_NAME:
            raise BlockError(f"stream name of {len(self.stream.encode())} bytes; 1 to {MAX_NAME} are allowed")
        if len(self.shape) > _MAX_DIMENSIONS or any(n <= 0 for n in self.shape) or dtype.itemsize == 0:
            raise BlockError(f"stream {self.stream}: items of shape {self.shape}, dtype {dtype} hold nothing")
        if len(self.dtype) > MAX_DTYPE:
            raise BlockError(f"stream {self.stream}: a dtype of {len(self.dtype)} characters, at most {MAX_DTYPE}")
        if self.block_items < 1 or self.slots < 1:
            raise BlockError(f"stream {self.stream}: block_items={self.block_items} slots={self.slots}, both are >= 1")
        if self.rate is not None and not 0 <= self.rate <= MAX_RATE:
            raise BlockError(f"stream {self.stream}: rate={self.rate} items/s; 0 to {MAX_RATE:g}, or none")
        if self.raw_bytes > MAX_BLOCK_BYTES:
            raise BlockError(f"stream {self.stream}: a block of {self.raw_bytes} bytes, at most {MAX_BLOCK_BYTES}")

    def to_meta(self, limit: int = 1900) -> dict[str, Any]:
        """Return the spec as the meta of a ring, at most `limit` bytes of JSON: first `meta`, then `labels` go."""
        spec = self
        smaller: dict[str, Any]
        for smaller in ({"meta": {}}, {"labels": ()}):
            if len(msgspec.json.encode(spec)) <= limit:
                break
            spec = msgspec.structs.replace(spec, **smaller)
        return cast("dict[str, Any]", msgspec.to_builtins(spec))

    @classmethod
    def from_meta(cls, meta: dict[str, Any]) -> StreamSpec:
        """Read a Terminal ring's meta.

        Raises:
            BlockError: the ring does not hold blocks of a stream.
        """
        try:
            return msgspec.convert(meta, cls)
        except msgspec.ValidationError as error:
            raise BlockError(f"not a ring of stream blocks, its meta says: {error}") from error


def block_items_for(shape: tuple[int, ...], itemsize: int, rate: float | None, regular: bool = True) -> int:
    """Return how many items make a block: one image, or a power of two of samples (the first of 64 KiB or 100 ms).

    An item of two or more dimensions is an image: however small, it keeps a time of its own.  Of samples, single
    kilobytes do not compress, and a trace on a page should not be older than 0.1 s.
    """
    item_bytes = math.prod(shape) * itemsize
    if len(shape) > 1 or item_bytes >= BLOCK_BYTES or not regular:
        return 1
    most = BLOCK_BYTES // item_bytes
    if rate is not None:
        most = min(most, int(rate * BLOCK_TIME_S))
    return 1 << max(most.bit_length() - 1, 0)


def dtype_json(dtype: np.dtype[Any]) -> str:
    """Return a dtype as JSON: ``"<u2"``, or a list of fields."""
    return json.dumps(dtype.str if dtype.names is None else dtype.descr, separators=(",", ":"))


@functools.lru_cache(maxsize=256)
def dtype_of_json(text: str) -> np.dtype[Any]:
    """Read a dtype from JSON.

    Raises:
        BlockError: not a dtype of plain numbers.
    """
    try:
        dtype: np.dtype[Any] = np.dtype(_tuples(json.loads(text)))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise BlockError(f"dtype {text[:80]!r} is not understood: {error}") from error
    if dtype.hasobject:
        raise BlockError(f"dtype {text[:80]!r} holds Python objects, which no ring can")
    return dtype


def _tuples(descr: object) -> Any:
    """Turn JSON lists into what numpy wants: fields are tuples in a list, a field's shape is a tuple."""
    if isinstance(descr, str):
        return checked_dtype(descr)
    if not isinstance(descr, list):
        raise TypeError("expected a string or a list of fields")
    return [(f[0], _tuples(f[1]), *(tuple(n) if isinstance(n, list) else n for n in f[2:])) for f in descr]
