"""A listen that is slow, and messages without end, cost what they must and no more."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline import Hub, Message, NetNode, Receipt
from pipeline.links import MAX_QUEUED_BYTES
from pipeline.listen_pool import DEFAULT_THREADS
from pipeline.transport import Context, port_of

MB = 1 << 20
SLOW_S = 2.0
MESSAGES = 1500


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def node(stack: ExitStack, station: Hub, name: str, **listens: object) -> NetNode:
    made = NetNode(name, "T", port_of(station.endpoint), listens)  # type: ignore[arg-type]
    stack.callback(made.release)
    assert made.wait_connected(5)
    return made


def test_a_slow_listen_holds_up_nobody_else(stack: ExitStack) -> None:
    """1 500 messages wait for a listen of 2 s: few threads, little memory, other keys answered within 50 ms."""
    enough = threading.Event()
    stack.callback(enough.set)
    station = stack.enter_context(Hub("T", listen_endpoint="tcp://127.0.0.1:0"))
    node(stack, station, "T.b", SLOW=lambda _: enough.wait(SLOW_S), FAST=lambda message: message.value)
    sender = node(stack, station, "T.a")
    threads, memory = threading.active_count(), resident_bytes()
    slow = [sender.send("T.b", "SLOW", {"n": n}, deadline_s=600) for n in range(MESSAGES)]
    trips = []
    for n in range(200):
        began = time.monotonic()
        assert sender.request("T.b", "FAST", n) == n
        trips.append(time.monotonic() - began)

    assert threading.active_count() - threads <= DEFAULT_THREADS
    assert resident_bytes() - memory < 32 * MB
    assert sorted(trips)[len(trips) * 9 // 10] < 0.05
    assert not any(receipt.state in ("failed", "expired", "unknown") for receipt in slow)
    enough.set()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("messages", [20_000, pytest.param(1_000_000, marks=pytest.mark.stress)])
def test_memory_does_not_grow_with_messages(stack: ExitStack, messages: int) -> None:
    """Whatever is remembered of a message is forgotten: after a warm-up the process is as large at the end."""
    station = stack.enter_context(Hub("T", listen_endpoint="tcp://127.0.0.1:0"))
    seen = [0]

    def count(_: Message) -> None:
        seen[0] += 1

    node(stack, station, "T.b", COUNT=count)
    sender = node(stack, station, "T.a")

    def send(number: int) -> None:
        flying: deque[Receipt] = deque()
        for n in range(number):
            flying.append(sender.send("T.b", "COUNT", {"n": n}))
            if len(flying) >= 512:
                assert flying.popleft().result(30) is None
        for receipt in flying:
            receipt.result(30)
        gc.collect()

    send(messages // 4)
    before = resident_bytes()
    send(messages)
    grown = resident_bytes() - before
    print(f"{messages} messages: {grown / MB:+.1f} MiB")
    assert seen[0] == messages + messages // 4
    assert grown < 8 * MB


def test_an_unconfirmed_message_that_finds_no_room_says_so(stack: ExitStack) -> None:
    """Nobody listens upstream yet: what does not fit into the queue any more is `expired` and counted, not `sent`."""
    context = Context()
    stack.callback(context.close)
    probe = context.router("tcp://127.0.0.1:0", max_message=MB)
    port = port_of(probe.endpoint)
    probe.close(0.0)
    lonely = NetNode("T.lonely", "T", port)
    stack.callback(lonely.release)
    receipts = [lonely.send("T", "K", bytes(5 * MB), repeat=False) for _ in range(20)]
    assert all(receipt.wait(10) for receipt in receipts)
    states = [receipt.state for receipt in receipts]
    fitting = MAX_QUEUED_BYTES // (5 * MB)
    assert states == ["sent"] * fitting + ["expired"] * (20 - fitting)
    assert lonely.statistics().dropped_full == 20 - fitting
