"""Arrays of a stream of messages, where both ends share memory: through a ring, not through sockets.

The sender writes the large arrays of a batch into a ring of blobs named after itself and the stream, one blob a batch,
and sends where they are; the recipient copies them out before it runs anything.  If it cannot, because it is on another
machine or came too late, it says so, and the batch comes again in the message: no array is lost by the ring.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from shm import BlobWriter, ShmError

from .arrays import PackedArray

LEAST: Final = 16 * 1024
"""Smaller arrays travel in the message."""
SLOTS: Final = 2
"""One batch is under way at a time."""
FIRST_BYTES: Final = 256 * 1024
"""Of a slot, at least."""
MOST_BYTES: Final = 128 * 1024 * 1024
"""Of a slot, at most; a batch of more travels in the message."""
FIRST_PAUSE_S: Final = 1.0
"""How long nothing goes through a ring after the recipient did not see it; doubles ..."""
LONGEST_PAUSE_S: Final = 60.0
"""... up to this."""
PREFIX: Final = "messages"


class Place(msgspec.Struct, frozen=True):
    """Where one array belongs, and where it is."""

    where: list[Any]
    """Index of the item in the batch, then its key if the item is a dict."""
    start: int
    """First byte in the blob."""
    stop: int
    header: bytes
    """`arrays.ArrayHeader`: dtype and shape."""


class Blob(msgspec.Struct, frozen=True):
    """The arrays of a batch that are in a ring."""

    ring: str
    birth: int
    """Names the generation of the ring."""
    sequence: int
    places: list[Place]


class ArrayRing:
    """The sender's end: made when there is a large array, made anew for larger batches."""

    def __init__(self, sender: str, stream: str) -> None:
        self.name = f"{PREFIX}/{sender}/{stream}"
        self._ring: BlobWriter | None = None
        self._pause_s = FIRST_PAUSE_S
        self._closed_until = 0.0

    def put(self, batch: list[Any], now: float) -> tuple[list[Any], Blob | None]:
        """Write the large arrays of a batch.

        Returns:
            The batch with None in their places, and where they are; the batch itself and None if nothing goes this way.
        """
        found = list(_large(batch))
        nbytes = sum(array.nbytes for _, array in found)
        ring = self._fit(nbytes, now) if found else None
        if ring is None:
            return batch, None
        sequence, places, start = ring.write(*(array.data for _, array in found)), [], 0
        for where, array in found:
            places.append(Place(where, start, start + array.nbytes, array.header(0)))
            start += array.nbytes
        return _without(batch, places), Blob(ring.name, ring.birth, sequence, places)

    def seen(self) -> None:
        """The recipient has read from it."""
        self._pause_s = FIRST_PAUSE_S

    def unseen(self, now: float) -> None:
        """The recipient could not: leave it alone for a while."""
        self.close()
        self._closed_until = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def close(self) -> None:
        """End the ring and take its name away."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def _fit(self, nbytes: int, now: float) -> BlobWriter | None:
        """Return a ring with room for so many bytes, None if there is none now."""
        if self._ring is not None and nbytes <= self._ring.max_bytes:
            return self._ring
        if nbytes > MOST_BYTES or now < self._closed_until:
            return None
        self.close()  # the batch before has its end: nobody reads there any more
        try:
            self._ring = BlobWriter.create(
                self.name, max_bytes=max(FIRST_BYTES, 1 << (nbytes - 1).bit_length()), slots=SLOTS
            )
        except ShmError:
            self.unseen(now)
        return self._ring


def _large(batch: list[Any]) -> Iterator[tuple[list[Any], PackedArray]]:
    """Yield the arrays that are worth a ring, items or values of items, with where they are."""
    for index, item in enumerate(batch):
        if _is_large(item):
            yield [index], item
        elif type(item) is dict:
            yield from (([index, key], value) for key, value in item.items() if type(key) is str and _is_large(value))


def _is_large(value: object) -> bool:
    return isinstance(value, PackedArray) and value.nbytes >= LEAST


def _without(batch: list[Any], places: list[Place]) -> list[Any]:
    """Return a copy of the batch with None at the places."""
    rest = list(batch)
    for place in places:
        index, *key = place.where
        if key:
            rest[index] = {**rest[index], key[0]: None}
        else:
            rest[index] = None
    return rest
