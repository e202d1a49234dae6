"""A running hub under fire: nothing that arrives stops, blocks or bloats it."""

from __future__ import annotations

import random
import socket as connection
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
from support.waiting import eventually

from pipeline import Hub, Message, Pace
from pipeline.peers import make_identity
from pipeline.transport import Context, Socket, port_of
from pipeline.wire import MAX_HOPS, VERSION, Kind, Tag

CONTENT = bytes(Message(id="x_1", to="T", sender="x", key="PING", value=None).serialize()[0])


@pytest.fixture
def hub() -> Iterator[Hub]:
    listens = {"PING": lambda _: "pong"}
    with Hub("T", listens, listen_endpoint="tcp://127.0.0.1:0", pace=Pace(0.1, 0.5, 1.0)) as hub:
        yield hub


@pytest.fixture
def friend(hub: Hub) -> Iterator[Hub]:
    with Hub("pilot1", push_endpoint=hub.endpoint, push_id="T") as friend:
        assert friend.wait_connected(5)
        yield friend


def fire(socket: Socket, frames: list[bytes]) -> None:
    """Send, waiting for room."""
    deadline = time.monotonic() + 10
    while not socket.send(frames):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def volley(rng: random.Random) -> list[bytes]:
    """One hostile message: random, or almost right."""
    tag = Tag(
        VERSION, rng.choice([*Kind, 0, 14, 255]), rng.getrandbits(64), rng.getrandbits(64), 0, rng.getrandbits(64)
    )
    trace = tag.pack() + rng.choice(
        [b"x", b"x", b"y\0x", b"T", b"pilot1\0x", b"\xff\0x", b"", b"a\0" * MAX_HOPS + b"x"]
    )
    address = rng.choice([b"T", b"T", b"pilot1", b"nobody", b"\xff", b"x", b"T.cam", b"a" * 300])
    body = [
        rng.choice([CONTENT, CONTENT[:-2], b"\x80\x04\x95", b"\x91" * 5000, rng.randbytes(rng.randrange(200)), b""])
    ]
    right = [address, trace, b"", *body]
    return rng.choice(
        [
            right,
            right,
            [rng.randbytes(rng.randrange(60)) for _ in range(rng.randrange(1, 8))],
            [b"T"] * rng.randrange(1, 60),
            [address, trace[: rng.randrange(len(trace) + 1)], b"", *body],
            [address, b"\x02" + trace[1:], b"", *body],
            [b"T", *right],
            [*right, *[b"buffer"] * rng.randrange(400)],
        ]
    )


def test_hostile_messages_cost_a_counter_each(hub: Hub, friend: Hub) -> None:
    """20 000 of them, seeded: no listen but PING runs, no thread dies, and others are answered all the while."""
    rng = random.Random(4)
    process = psutil.Process()
    waits: list[float] = []
    with Context() as context:
        socket = context.dealer(hub.endpoint, make_identity(b"x", 9))
        before = 0
        for number in range(20_000):
            fire(socket, volley(rng))
            if number == 5_000:
                before = process.memory_info().rss
            if number % 1000 == 0:
                began = time.monotonic()
                assert "pong" == friend.request("T", "PING", timeout_s=5)
                waits.append(time.monotonic() - began)
        socket.close()
    assert eventually(lambda: hub.statistics().malformed > 5_000)
    assert hub.statistics().forged > 0
    assert "pong" == friend.request("T", "PING")
    assert sorted(waits)[len(waits) // 2] < 0.5
    assert process.memory_info().rss - before < 64 * 2**20


def test_a_stranger_s_routing_id_is_not_heard(hub: Hub, friend: Hub) -> None:
    """A plain zmq client, and one that claims the hub's own id."""
    tag = Tag(VERSION, Kind.BEAT, 1, 1, 1, 1).pack()
    sockets: list[Socket] = []
    with Context() as context:
        for identity in (b"somebody", make_identity(b"T", 5)):
            socket = context.dealer(hub.endpoint, identity)
            fire(socket, [b"T", tag + b"T", b""])
            sockets.append(socket)
        assert eventually(lambda: hub.statistics().malformed and hub.statistics().refused_peers)
        for socket in sockets:
            socket.close()
    assert ["pilot1"] == [peer.id for peer in hub.peers()]


def test_connections_by_the_thousand_do_not_stop_zmq_itself(hub: Hub, friend: Hub) -> None:
    """Zmq's I/O thread waits for a monitor that is full: more links came and went than a queue of it holds."""
    for _ in range(2500):
        with suppress(OSError), connection.create_connection(("127.0.0.1", port_of(hub.endpoint)), 1) as raw:
            raw.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NOBODY")
    assert eventually(lambda: friend.is_connected)
    assert "pong" == friend.request("T", "PING", timeout_s=5)


def test_an_oversized_frame_ends_its_connection_only(hub: Hub, friend: Hub) -> None:
    """Zmq refuses what announces more than the limit before a byte of it is kept."""
    with Context() as context:
        socket = context.dealer(hub.endpoint, make_identity(b"x", 9))
        fire(socket, [b"T", b"x" * 100, b"", bytes(65 * 2**20)])
        assert "pong" == friend.request("T", "PING")
        socket.close()
    assert 0 == hub.statistics().delivered - 1


def test_a_flood_for_a_slow_listen_is_bounded_and_counted(hub: Hub, friend: Hub) -> None:
    """Unconfirmed messages beyond the bound of their lane are dropped, counted, and the rest arrive."""
    gate = threading.Event()
    got: list[int] = []

    def slow(message: Message) -> None:
        gate.wait(20)
        got.append(message.value)

    hub.listens["SLOW"] = slow
    for number in range(10_000):
        friend.send("T", "SLOW", number, repeat=False)
    assert eventually(lambda: hub.statistics().dropped_busy > 0)
    assert "pong" == friend.request("T", "PING")
    gate.set()
    assert eventually(lambda: len(got) + hub.statistics().dropped_busy == 10_000)
    assert sorted(got) == got
