"""Streams of messages: items arrive once, in order, many in a message, whatever breaks on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.breaking_link import BreakingLink
from support.message_streams import Ends
from support.waiting import eventually

from pipeline import (
    AddressError,
    ClosedError,
    DuplicateIdError,
    Message,
    NetNode,
    UnsendableError,
    message_stream,
)
from pipeline.message_stream import MessageStream
from pipeline.stream_batch import MAX_BATCH, MAX_BATCH_BYTES, Batcher


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(stack)


# ---- when a batch goes ----------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["put", "tick", "settle", "lose", "end"]), max_size=200), st.integers(1, 20))
def test_items_leave_once_and_in_order(steps: list[str], min_size: int) -> None:
    """Whatever happens when: what has arrived is a beginning of what was put, and END brings the rest."""
    batcher, now, put, arrived = Batcher(min_size), 0.0, 0, []
    under_way: list[Any] = []

    def take() -> None:
        nonlocal under_way
        batch = batcher.take(now)
        if batch:
            assert not under_way, "one batch at a time"
            assert len(batch) <= MAX_BATCH
            under_way = batch

    for step in steps:
        if step == "put":
            batcher.put(put, now)
            put += 1
        elif step == "tick":
            now += 0.06
        elif step == "end":
            batcher.end()
        elif under_way:
            arrived += under_way if step == "settle" else []
            batcher.settled() if step == "settle" else batcher.again()
            under_way = []
        take()
        assert arrived == list(range(len(arrived)))
    batcher.end()
    while not batcher.is_done:
        take()
        arrived += under_way
        batcher.settled()
        under_way = []
    assert arrived == list(range(put))


def test_a_batch_goes_by_size_by_time_and_at_the_end() -> None:
    """Five together at once, two after 0.1 s, one at END."""
    batcher = Batcher(5)
    for n in range(4):
        batcher.put(n, 0.0)
        assert batcher.take(0.0) == []
    batcher.put(4, 0.0)
    assert batcher.take(0.0) == [0, 1, 2, 3, 4]
    batcher.settled()
    batcher.put(5, 1.0)
    batcher.put(6, 1.05)
    assert batcher.next_due == 1.1
    assert batcher.take(1.09) == []
    assert batcher.take(1.1) == [5, 6]
    batcher.settled()
    batcher.put(7, 2.0)
    batcher.end()
    assert batcher.take(2.0) == [7]


def test_a_batch_has_few_bytes_or_one_item() -> None:
    """A slow link gets it across before it is tried again; a large item goes alone, none overtakes it."""
    batcher = Batcher(1)
    sizes = [MAX_BATCH_BYTES // 2, MAX_BATCH_BYTES // 2, 1, 3 * MAX_BATCH_BYTES, 1]
    for n, nbytes in enumerate(sizes):
        batcher.put(n, 0.0, nbytes)
    assert batcher.nbytes == sum(sizes)
    took = []
    while batch := batcher.take(0.0):
        took.append(batch)
        batcher.settled()
    assert took == [[0, 1], [2], [3], [4]]
    assert batcher.nbytes == 0


def test_a_batch_that_is_too_much_goes_in_parts() -> None:
    """At most so many together the next time, then as many as ever."""
    batcher = Batcher(1)
    for n in range(10):
        batcher.put(n, 0.0)
    assert batcher.take(0.0) == list(range(10))
    batcher.again(most=5)
    assert batcher.take(0.0) == [0, 1, 2, 3, 4]
    batcher.settled()
    assert batcher.take(0.0) == [5, 6, 7, 8, 9]


# ---- over sockets ---------------------------------------------------------------------------------------------------


def test_items_arrive_with_headers_in_order(ends: Ends) -> None:
    """Headers join a dict and are attributes of anything else; each item is a message of its own."""
    with ends.source.get_stream("licks", "K", min_size=3, subject="mouse-7") as stream:
        for n in range(10):
            assert stream.put({"n": n} if n % 2 else n)
    assert [v["n"] if isinstance(v, dict) else v for v in ends.values()] == list(range(10))
    assert ends.heard[1].value == {"subject": "mouse-7", "pilot": "p1", "continuous": True, "n": 1}
    assert (ends.heard[0].subject, ends.heard[0].pilot) == ("mouse-7", "p1")  # type: ignore[attr-defined]
    assert {message.key for message in ends.heard} == {"K"}
    assert len({message.id for message in ends.heard}) == 10
    found = stream.statistics()
    assert (found.put, found.arrived, found.failed, found.overflowed, found.waiting) == (10, 10, 0, 0, 0)


def test_a_few_items_do_not_wait_for_more(ends: Ends) -> None:
    """A batch that does not fill goes after a tenth of a second."""
    stream = ends.source.get_stream("slow", "K", min_size=1000)
    stream.put(1)
    assert eventually(lambda: ends.values() == [1], 2)
    assert stream.close()
    assert stream.close()
    with pytest.raises(ClosedError, match="has ended"):
        stream.put(2)


def test_end_brings_the_rest(ends: Ends) -> None:
    """The seed lost what had not filled a batch."""
    stream = ends.source.get_stream("end", "K", min_size=4)
    for n in range(10):
        stream.append(n)
    stream.put("END")
    assert stream.close()
    assert ends.values() == list(range(10))


def test_an_item_whose_listen_raises_is_counted_and_stops_no_other(ends: Ends) -> None:
    """The sender sees how many failed."""
    seen: list[int] = []

    def pick(message: Message) -> None:
        if message.value % 3 == 0:
            raise ValueError("no multiples of three")
        seen.append(message.value)

    ends.node("T.b", {"PICK": pick})
    with ends.source.get_stream("picky", "PICK", to="T.b") as stream:
        for n in range(9):
            stream.put(n)
    assert seen == [1, 2, 4, 5, 7, 8]
    assert (stream.statistics().failed, stream.statistics().arrived) == (3, 6)


def test_a_full_queue_refuses_and_counts(ends: Ends) -> None:
    """Exactly the items that `put` refused are missing, and it said so of each."""
    go = threading.Event()
    seen: list[int] = []

    def wait(message: Message) -> None:
        go.wait(20)
        seen.append(message.value)

    ends.node("T.b", {"WAIT": wait})
    stream = ends.source.get_stream("full", "WAIT", min_size=1, q_size=10, to="T.b")
    taken = [n for n in range(40) if stream.put(n, timeout_s=0.0)]
    go.set()
    assert stream.close()
    assert stream.overflowed == 40 - len(taken) > 0
    assert seen == taken


def test_items_arrive_once_over_a_link_that_breaks(ends: Ends) -> None:
    """The connection is cut again and again while 600 items go."""
    with BreakingLink(ends.port, life_s=0.4) as link:
        stream = ends.source.get_stream("broken", "K", min_size=7, port=link.port, q_size=50)
        for n in range(600):
            assert stream.put(n, timeout_s=20)
            if n % 50 == 0:  # let some time pass, in which connections end
                assert eventually(lambda: stream.statistics().waiting == 0, 20)
        assert eventually(lambda: link.breaks >= 2, 10)
        stream.put(600, timeout_s=20)
        assert stream.close(30)
    assert ends.values() == list(range(601))
    assert stream.statistics().unknown == 0


def test_a_recipient_without_that_listen_fails_the_items(ends: Ends) -> None:
    """Nothing is lost silently: the count says how many."""
    with ends.source.get_stream("nobody", "NOKEY") as stream:
        stream.put(1)
    assert stream.statistics().failed == 1


def test_an_item_is_taken_as_it_is_and_one_that_cannot_be_sent_is_refused(ends: Ends) -> None:
    """A source may fill the same array again and again; a bad item costs itself and nothing else."""
    array, entry = np.zeros(3), {"n": [0]}
    with ends.source.get_stream("reused", "K", min_size=100) as stream:
        for n in range(4):
            array[:] = entry["n"][0] = n
            stream.put(array)
            stream.put(entry)
            with pytest.raises(UnsendableError, match="cannot be sent"):
                stream.put({"file": object()})
    assert [value[0] for value in ends.values()[::2]] == [0, 1, 2, 3]
    assert [value["n"] for value in ends.values()[1::2]] == [[0], [1], [2], [3]]
    assert stream.statistics().arrived == 8


def test_a_recipient_that_answers_otherwise_fails_the_items(ends: Ends) -> None:
    """A listen for STREAM of somebody's own, which returns nothing, stops no stream."""
    ends.node("T.b", {"STREAM": lambda _: None})
    with ends.source.get_stream("odd", "K", min_size=1, to="T.b") as stream:
        stream.put(1)
        assert eventually(lambda: stream.statistics().failed == 1, 5)
        stream.put(2)
    assert stream.statistics().failed == 2


def test_a_batch_that_is_too_much_for_one_message_goes_in_several(ends: Ends) -> None:
    """Each of these items can be sent; 40 of them hold more sets than a message may."""
    items = [[{n, m} for m in range(200)] for n in range(40)]
    with ends.source.get_stream("sets", "K", min_size=40) as stream:
        for item in items:
            stream.put(item)
    assert ends.values() == items
    assert stream.statistics().batches > 1


def test_a_stream_whose_name_is_taken_says_so(ends: Ends) -> None:
    """The second of two streams under one name refuses items instead of failing them."""
    with ends.source.get_stream("twice", "K") as first:
        first.put(1)
        assert eventually(lambda: first.statistics().arrived == 1)
        second = ends.source.get_stream("twice", "K")
        assert eventually(lambda: second._node.problem is not None)
        with pytest.raises(DuplicateIdError, match=r"p1\.task_twice"):
            second.put(2)
        second.close()
        first.put(3)
    assert ends.values() == [1, 3]


def test_waiting_items_are_bounded_in_bytes_too(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue of 1024 images would take the memory of the machine; one item always has room."""
    monkeypatch.setattr(message_stream, "MAX_WAITING_BYTES", 1000)
    stream = ends.source.get_stream("heavy", "K", min_size=1000, to="T.late")
    assert stream.put(bytes(2000), timeout_s=0.0)
    assert not stream.put(bytes(10), timeout_s=0.0)
    assert stream.overflowed == 1
    late = ends.node("T.late", {"K": ends.heard.append})
    assert stream.close()
    assert late.is_connected
    assert ends.values() == [bytes(2000)]


def test_a_node_without_a_station_says_so() -> None:
    """There is nobody to stream to."""
    node = NetNode("alone", None, None, router_port=0)
    try:
        with pytest.raises(AddressError, match="upstream"):
            node.get_stream("s", "K")
    finally:
        node.release()


# ---- text ------------------------------------------------------------------------------------------------------------


def test_a_stream_tells_about_itself(ends: Ends) -> None:
    """For logs."""
    with ends.source.get_stream("s", "K") as stream:
        assert isinstance(stream, MessageStream)
        assert repr(stream) == "<MessageStream s of p1.task_s: K to T, 0 waiting>"
