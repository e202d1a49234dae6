"""Arrays in streams of messages: through a ring where both ends share memory, in the message elsewhere, never lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from support.message_streams import Ends
from support.waiting import eventually

from pipeline.arrays import PackedArray
from pipeline.errors import MalformedError
from pipeline.message_stream import MessageStream
from pipeline.stream_ring import FIRST_BYTES, LEAST, LONGEST_PAUSE_S, MOST_BYTES, SLOTS, ArrayRing, Blob, Place
from pipeline.stream_rings import ArrayRings
from shm import BlobWriter, list_segments

SENDER = "p1.task"
ARRAYS = [
    np.arange(LEAST, dtype="<i2"),
    np.random.default_rng(1).normal(size=(64, 48)),
    np.arange(LEAST, dtype=">f4").reshape(128, -1)[:, ::2],
    np.zeros(2048, dtype=[("t", "<i8"), ("x", "<f4", (3,))]),
    np.arange(4096).astype("M8[ms]"),
    np.arange(5, dtype="u1"),
    np.zeros((0, 7), "<f4"),
]


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(stack)


@pytest.fixture
def ring(ring_name: str) -> Iterator[ArrayRing]:
    ring = ArrayRing(SENDER, ring_name)
    yield ring
    ring.close()


@pytest.fixture
def rings() -> Iterator[ArrayRings]:
    rings = ArrayRings()
    yield rings
    rings.close()


def zeros(nbytes: int) -> PackedArray:
    return PackedArray.pack(np.zeros(nbytes, "u1"))


def assert_same(sent: np.ndarray[Any, Any], came: Any) -> None:
    assert sent.dtype == came.dtype
    np.testing.assert_array_equal(sent, came)


def written(stream: MessageStream) -> int:
    """Return how many batches went through the ring that a stream has now."""
    return 0 if stream._ring._ring is None else stream._ring._ring.published


# ---- over sockets ---------------------------------------------------------------------------------------------------


def test_arrays_go_through_a_ring_on_this_machine(ends: Ends) -> None:
    """They come back as they were, whatever their dtype and layout; a small one travels in the message."""
    with ends.source.get_stream("images", "K", min_size=2) as stream:
        for array in ARRAYS:
            stream.put(array)
        assert eventually(lambda: len(ends.heard) == len(ARRAYS), 10)
        assert written(stream) >= 1
    for sent, came in zip(ARRAYS, ends.values(), strict=True):
        assert_same(sent, came)


def test_arrays_in_a_dict_go_through_the_ring_too(ends: Ends) -> None:
    """Most items are dicts: a frame with its time; keys that are no text keep theirs in the message."""
    with ends.source.get_stream("frames", "K", min_size=1) as stream:
        stream.put({"t": 0.5, "frame": ARRAYS[1], "mask": ARRAYS[0], 7: ARRAYS[2]})
        assert eventually(lambda: ends.heard, 10)
        assert written(stream) == 1
    came = ends.values()[0]
    assert came["t"] == 0.5
    assert_same(ARRAYS[1], came["frame"])
    assert_same(ARRAYS[0], came["mask"])
    assert_same(ARRAYS[2], came[7])


def test_a_larger_array_than_the_first_gets_a_larger_ring(ends: Ends) -> None:
    """Sizes rise and fall; each arrives, in order, and the ring is made anew only to grow."""
    sizes = [LEAST, 3 * FIRST_BYTES, LEAST, 9 * FIRST_BYTES, 3 * FIRST_BYTES]
    births = []
    with ends.source.get_stream("grows", "K", min_size=1) as stream:
        for n, nbytes in enumerate(sizes):
            stream.put(np.full(nbytes, n, "u1"))
            assert eventually(lambda n=n: len(ends.heard) == n + 1, 10)
            assert stream._ring._ring is not None
            births.append(stream._ring._ring.birth)
    assert [(value.nbytes, value[0], value[-1]) for value in ends.values()] == [(s, n, n) for n, s in enumerate(sizes)]
    assert len(set(births)) == 3
    assert stream.statistics().failed == 0


def test_where_memory_is_not_shared_arrays_travel_in_the_message(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipient that does not see the ring runs nothing and says so; then the batch comes in the message, once."""
    with monkeypatch.context() as elsewhere, ends.source.get_stream("far", "K", min_size=3) as stream:
        elsewhere.setattr(ArrayRings, "fill", lambda *_: False)
        for array in ARRAYS[:3]:
            stream.put(array)
        assert eventually(lambda: len(ends.heard) == 3, 10)
        assert written(stream) == 0
        elsewhere.undo()
        stream._ring._closed_until = 0.0  # what a second does
        for array in ARRAYS[:3]:
            stream.put(array)
        assert eventually(lambda: len(ends.heard) == 6, 10)
        assert written(stream) == 1, "one failure does not close the way by the ring for ever"
    for sent, came in zip(2 * ARRAYS[:3], ends.values(), strict=True):
        assert_same(sent, came)


def test_an_item_larger_than_any_queue_arrives_all_the_same(ends: Ends) -> None:
    """Three arrays of 40 MiB in one item are too much for a ring; as a message they have their turn alone."""
    parts = [np.full(40 << 20, n, "u1") for n in range(3)]
    with ends.source.get_stream("huge", "K", min_size=1) as stream:
        assert stream.put({"parts": parts})
        assert stream.put(1)
        assert eventually(lambda: len(ends.heard) == 2, 30)
    for sent, came in zip(parts, ends.values()[0]["parts"], strict=True):
        assert_same(sent, came)


def test_where_no_ring_can_be_made_arrays_travel_in_the_message(ends: Ends) -> None:
    """Another process has a ring of that name."""
    with (
        BlobWriter.create("messages/p1.task_mine/mine", max_bytes=8, slots=2),
        ends.source.get_stream("mine", "K") as stream,
    ):
        stream.put(ARRAYS[1])
    assert_same(ARRAYS[1], ends.values()[0])


# ---- the ends of the ring -------------------------------------------------------------------------------------------


def test_a_ring_that_was_not_seen_is_tried_again_ever_later(ring: ArrayRing) -> None:
    """After 1, 2, 4, … 60 s; one success and it is 1 s again."""
    now, batch, pauses = 100.0, [zeros(LEAST)], []
    for _ in range(8):
        assert ring.put(batch, now)[1] is not None
        ring.unseen(now)
        began = now
        while ring.put(batch, now)[1] is None:
            now += 0.5
        pauses.append(now - began)
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    ring.seen()
    ring.unseen(now)
    assert ring.put(batch, now + 0.9)[1] is None
    assert ring.put(batch, now + 1.0)[1] is not None


def test_a_batch_larger_than_any_ring_stays_as_it_is(ring: ArrayRing) -> None:
    """Several large arrays of one item: they travel in the message."""
    huge = zeros(MOST_BYTES // 2 + 1)
    batch = [{"a": huge, "b": huge}]
    assert ring.put(batch, 0.0) == (batch, None)
    assert ring._ring is None


def test_an_overwritten_array_is_not_torn_but_asked_for_again(ring: ArrayRing, rings: ArrayRings) -> None:
    """The recipient that came too late says that it cannot read it."""
    _, blob = ring.put([zeros(LEAST)], 0.0)
    assert blob is not None
    payload = [None]
    assert rings.fill(SENDER, payload, blob)
    assert_same(np.zeros(LEAST, "u1"), payload[0])
    for _ in range(2 * SLOTS):
        ring.put([zeros(LEAST)], 0.0)
    assert not rings.fill(SENDER, [None], blob)


def test_a_ring_of_another_birth_is_not_read(ring: ArrayRing, rings: ArrayRings) -> None:
    """The sender made it anew: what an old batch names is not what is there now."""
    _, old = ring.put([zeros(LEAST)], 0.0)
    assert old is not None
    assert rings.fill(SENDER, [None], old)
    ring.close()
    _, new = ring.put([zeros(LEAST)], 0.0)
    assert new is not None
    assert not rings.fill(SENDER, [None], old)
    assert rings.fill(SENDER, [None], new)


@pytest.mark.parametrize("where", [[], [5], ["x"], [0, 1, 2], [0, "key"], [None]])
def test_places_that_no_sender_makes_are_refused(ring: ArrayRing, rings: ArrayRings, where: list[Any]) -> None:
    """Whatever a peer says, it is one error, and rings of others are not opened."""
    _, blob = ring.put([zeros(LEAST)], 0.0)
    assert blob is not None
    (place,) = blob.places
    bad = Blob(blob.ring, blob.birth, blob.sequence, [Place(where, place.start, place.stop, place.header)])
    if where != [0, 1, 2]:
        with pytest.raises(MalformedError, match="no place"):
            rings.fill(SENDER, [0], bad)
    with pytest.raises(MalformedError, match="none of somebody's"):
        rings.fill("somebody", [None], blob)


@pytest.mark.parametrize(("start", "stop"), [(0, LEAST - 1), (-5, LEAST), (1, LEAST), (0, 2**62)])
def test_a_piece_that_is_not_the_array_is_refused(ring: ArrayRing, rings: ArrayRings, start: int, stop: int) -> None:
    """Start and stop are the peer's word; what they cut must fit the header."""
    _, blob = ring.put([zeros(LEAST), zeros(LEAST // 2)], 0.0)
    assert blob is not None
    bad = Blob(blob.ring, blob.birth, blob.sequence, [Place([0], start, stop, blob.places[0].header)])
    if stop == 2**62:  # cut at the end of the blob, which is the array's
        assert rings.fill(SENDER, [None], bad)
    else:
        with pytest.raises(MalformedError, match="array buffer holds"):
            rings.fill(SENDER, [None], bad)


def test_an_idle_ring_is_let_go(ring: ArrayRing, rings: ArrayRings) -> None:
    """After a second; it is attached again when it is named again."""

    def readers() -> int:
        (info,) = list_segments(ring.name)
        assert info.ring is not None
        return len(info.ring.readers)

    for _ in range(2):
        _, blob = ring.put([zeros(LEAST)], 0.0)
        assert blob is not None
        assert rings.fill(SENDER, [None], blob)
        assert readers() == 1
        assert eventually(lambda: readers() == 0, 5)
