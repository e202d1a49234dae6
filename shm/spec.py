"""What a ring holds: the description that creator and readers must agree on, and its form in the header."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .dtypes import checked_dtype
from .errors import LayoutError, SpecError
from .layout import HEADER_DTYPE, Geometry
from .segment import page_bytes


@dataclass(frozen=True, slots=True)
class RingSpec:
    """One ring, described.

    Attributes:
        shape: of one item; of a blob ring (max_bytes,).
        dtype: of one item; of a blob ring uint8.
        is_blob: items are byte strings with a length each.
        can_wait: the writer may wait for lossless readers.
        geometry: slots and sizes.
        meta: what the creator says about the stream; JSON-able.
        lossless: names of the readers that may be lossless, sorted; None for all.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_blob: bool
    can_wait: bool
    geometry: Geometry
    meta: MappingABC[str, Any] = field(default_factory=dict)
    lossless: tuple[str, ...] | None = None

    @classmethod
    def of_items(
        cls,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        slots: int,
        *,
        can_wait: bool,
        meta: MappingABC[str, Any],
        granule: int,
        lossless: Iterable[str] | None = None,
    ) -> RingSpec:
        """Describe a ring of arrays; `slots` may be rounded up (see `Geometry.plan`)."""
        shape, described = _checked(shape, dtype)
        geometry = Geometry.plan(math.prod(shape) * described.itemsize, slots, is_blob=False, granule=granule)
        return cls(shape, described, False, can_wait, geometry, _as_json(meta), _names(lossless))

    @classmethod
    def of_blobs(
        cls,
        max_bytes: int,
        slots: int,
        *,
        can_wait: bool,
        meta: MappingABC[str, Any],
        granule: int,
        lossless: Iterable[str] | None = None,
    ) -> RingSpec:
        """Describe a ring of byte strings of up to `max_bytes`."""
        if max_bytes < 1:
            raise SpecError(f"max_bytes={max_bytes}: expected at least 1")
        geometry = Geometry.plan(max_bytes, slots, is_blob=True, granule=granule)
        return cls((max_bytes,), np.dtype("u1"), True, can_wait, geometry, _as_json(meta), _names(lossless))

    def may_gate(self, reader: str) -> bool:
        """Tell whether a reader that calls itself so may be lossless."""
        return self.lossless is None or reader in self.lossless

    def into_header(self, header: np.ndarray[Any, Any]) -> None:
        """Write the description into a header record."""
        header["granule"], header["slots"] = self.geometry.granule, self.geometry.slots
        header["item_bytes"], header["stride"] = self.geometry.item_bytes, self.geometry.stride
        header["times_slots"], header["total_bytes"] = self.geometry.times_slots, self.geometry.total_bytes
        header["kind"], header["can_wait"] = int(self.is_blob), int(self.can_wait)
        header["shape"] = _text(list(self.shape), "shape")
        header["dtype"] = _text(np.lib.format.dtype_to_descr(self.dtype), "dtype")
        header["meta"] = _text(dict(self.meta), "meta")
        header["lossless"] = _text(self.lossless, "lossless")

    @classmethod
    def from_header(cls, header: np.ndarray[Any, Any], name: str) -> RingSpec:
        """Read the description of a ready segment.

        Raises:
            LayoutError: the numbers do not fit together.
        """
        try:
            shape = tuple(int(n) for n in json.loads(bytes(header["shape"])))
            dtype = np.lib.format.descr_to_dtype(_descr(json.loads(bytes(header["dtype"]))))
            meta = dict(json.loads(bytes(header["meta"])))
            lossless = _names(json.loads(bytes(header["lossless"])))
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError, SpecError) as error:
            raise LayoutError(f"{name}: unreadable description in the header: {error}") from error
        if dtype.hasobject or any(n < 1 for n in shape):
            raise LayoutError(
                f"{name}: the header describes items of shape {shape}, dtype {dtype}; no ring holds those"
            )
        granule, slots, item_bytes, stride = (int(header[n]) for n in ("granule", "slots", "item_bytes", "stride"))
        geometry = Geometry(granule, slots, item_bytes, stride, bool(header["kind"]))
        spec = cls(shape, dtype, bool(header["kind"]), bool(header["can_wait"]), geometry, meta, lossless)
        spec._check(header, name)
        return spec

    def _check(self, header: np.ndarray[Any, Any], name: str) -> None:
        item_bytes = math.prod(self.shape) * self.dtype.itemsize
        got = {n: int(header[n]) for n in ("item_bytes", "times_slots", "total_bytes")}
        geometry = self.geometry
        if not geometry.slots or not geometry.granule or geometry.granule % 8 or geometry.stride < item_bytes:
            raise LayoutError(f"{name}: slots={geometry.slots} stride={geometry.stride} granule={geometry.granule}")
        expected = {"item_bytes": item_bytes, "times_slots": geometry.times_slots, "total_bytes": geometry.total_bytes}
        if got != expected:
            raise LayoutError(f"{name}: sizes in the header do not fit together: got={got} expected={expected}")


class RingSize(NamedTuple):
    """What a ring takes of /dev/shm."""

    slots: int
    """Items that it holds, at least as many as asked for."""
    total_bytes: int


def ring_size(item_bytes: int, slots: int, *, is_blob: bool = False) -> RingSize:
    """Return the size that a ring would have on this machine; nothing is created.

    Args:
        item_bytes: of one item; of blobs the largest.
        slots: as they would be asked for.
        is_blob: of byte strings.
    """
    geometry = Geometry.plan(item_bytes, slots, is_blob=is_blob, granule=page_bytes())
    return RingSize(geometry.slots, geometry.total_bytes)


def _checked(shape: tuple[int, ...], dtype: DTypeLike) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        described = np.dtype(dtype)
    except TypeError as error:
        raise SpecError(f"dtype={dtype!r}: {error}") from error
    shape = tuple(int(n) for n in shape)
    if described.subdtype is not None:
        described, inner = described.subdtype
        shape += inner
    if described.hasobject:
        raise SpecError(f"dtype={described}: Python objects cannot be shared; use numbers, bytes or a structured dtype")
    if any(n < 1 for n in shape) or not described.itemsize:
        raise SpecError(f"shape={shape} dtype={described}: an item must have at least one byte")
    return shape, described


def _names(lossless: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return names in one order, so that equal descriptions compare equal."""
    if isinstance(lossless, str):
        raise SpecError(f"lossless={lossless!r}: expected names of readers in a tuple, or None for all")
    return None if lossless is None else tuple(sorted({str(name) for name in lossless}))


def _text(value: object, name: str) -> bytes:
    try:
        text = json.dumps(value, separators=(",", ":"), sort_keys=name == "meta").encode()
    except (TypeError, ValueError) as error:
        raise SpecError(f"{name}={value!r} cannot be written as JSON: {error}") from error
    room = HEADER_DTYPE[name].itemsize
    if len(text) > room:
        raise SpecError(f"{name} takes {len(text)} bytes as JSON: at most {room}")
    return text


def _as_json(meta: MappingABC[str, Any]) -> dict[str, Any]:
    """Return `meta` as readers will see it, so that an equal one compares equal after a restart."""
    found: dict[str, Any] = json.loads(_text(dict(meta), "meta"))
    return found


def _descr(value: Any) -> Any:
    """Give a dtype description its tuples back; JSON knows only lists."""
    if isinstance(value, str):
        return checked_dtype(value)
    fields = []
    for name, kind, *shape in value:
        title = tuple(name) if isinstance(name, list) else name
        fields.append((title, _descr(kind), *(tuple(s) for s in shape)))
    return fields


def header_record() -> np.ndarray[Any, Any]:
    """Return an empty header, one record."""
    return np.zeros((), HEADER_DTYPE)
