"""Arrays of a stream of messages, where both ends share memory: through a ring, not through sockets.

The sender puts arrays into a ring of blobs named after itself and the stream and sends where they are; the recipient
copies them out and looks whether they were still whole.  Whether both see the same memory is found out by trying.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Any, Final, TypeGuard

import msgspec
import numpy as np

from shm import BlobReader, BlobWriter, ShmError

from .arrays import PackedArray
from .errors import MalformedError

LEAST: Final = 16 * 1024
"""Smaller arrays travel in the message."""
SLOTS: Final = 512
"""Two batches: one under way, one being written."""
MAX_RING_BYTES: Final = 256 * 1024 * 1024
MAX_RINGS: Final = 64
"""Rings that a recipient has open at once."""
PREFIX: Final = "messages"


class Place(msgspec.Struct, frozen=True):
    """Where an array is."""

    ring: str
    birth: int
    sequence: int
    header: bytes
    """`arrays.ArrayHeader`: dtype and shape."""


def ring_name(sender: str, stream: str) -> str:
    """Return the full name of a stream's ring."""
    return f"{PREFIX}/{sender}/{stream}"


def is_large(item: object) -> TypeGuard[np.ndarray[Any, Any]]:
    """Tell whether an item is an array that is worth a ring."""
    return isinstance(item, np.ndarray) and item.nbytes >= LEAST and not item.dtype.hasobject


class ArrayRing:
    """The sender's end; made for the first array, which says how large the others may be."""

    def __init__(self, name: str, first: np.ndarray[Any, Any]) -> None:
        """Make the ring.

        Raises:
            ShmError: it cannot be made.
        """
        slots = max(2, min(SLOTS, MAX_RING_BYTES // first.nbytes))
        self._ring = BlobWriter.create(name, max_bytes=first.nbytes, slots=slots)
        self.room = self._ring.slots // 2
        """Arrays of one batch that fit without overwriting those of the batch before."""

    @property
    def birth(self) -> int:
        """Names this generation of the ring."""
        return self._ring.birth

    @property
    def name(self) -> str:
        """Full name."""
        return self._ring.name

    def takes(self, item: object) -> bool:
        """Tell whether an item can go through this ring."""
        return (
            isinstance(item, np.ndarray) and LEAST <= item.nbytes <= self._ring.max_bytes and not item.dtype.hasobject
        )

    def put(self, array: np.ndarray[Any, Any]) -> Place:
        """Write an array; return where it is."""
        packed = PackedArray.pack(array)
        return Place(self.name, self.birth, self._ring.write(packed.data), packed.header(0))

    def close(self) -> None:
        """End the ring and take its name away."""
        self._ring.close()


class ArrayRings:
    """The recipient's end: rings of other nodes, opened when they are first named."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, BlobReader] = OrderedDict()

    def has(self, sender: str, name: str, birth: int) -> bool:
        """Tell whether this machine's memory holds a ring of that sender."""
        try:
            return self._reader(sender, name, birth) is not None
        except MalformedError:
            return False

    def take(self, sender: str, place: Place) -> np.ndarray[Any, Any]:
        """Copy an array out.

        Raises:
            MalformedError: the place is not one of that sender's, or the array was overwritten.
        """
        reader = self._reader(sender, place.ring, place.birth)
        if reader is None:
            raise MalformedError(f"there is no ring {place.ring} of birth {place.birth:016x} on this machine")
        try:
            with reader.view(1, at=place.sequence) as run:
                data = bytes(run.data[0])
        except (ShmError, ValueError) as error:
            raise MalformedError(f"an array of {place.ring} cannot be read: {error}") from error
        return PackedArray.unpack(memoryview(place.header), [data]).expand()

    def close(self) -> None:
        """Let go of all rings."""
        while self._open:
            self._open.popitem()[1].close()

    def _reader(self, sender: str, name: str, birth: int) -> BlobReader | None:
        if not name.startswith(f"{PREFIX}/{sender}/"):
            raise MalformedError(f"ring {name!r} is none of {sender}'s")
        known = self._open.get(name)
        if known is not None and not known.is_superseded and known.birth == birth:
            self._open.move_to_end(name)
            return known
        if known is not None:
            self._open.pop(name).close()
        with contextlib.suppress(ShmError):
            reader = BlobReader.attach(name, policy="latest", reader="messages")
            self._open[name] = reader
            while len(self._open) > MAX_RINGS:
                self._open.popitem(last=False)[1].close()
            return reader if reader.birth == birth else None
        return None
