"""Nodes and hubs over real sockets: requests, routes, joins, restarts, refusals."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from support.waiting import eventually

from pipeline import (
    ClosedError,
    DuplicateIdError,
    ExpiredError,
    Hub,
    Message,
    NetNode,
    Pace,
    PeerState,
    RemoteError,
    UnknownOutcomeError,
    UnroutableError,
    UnsendableError,
)
from pipeline.listening import Listen
from pipeline.transport import port_of
from stations.free_ports import free_ports

QUICK = Pace(beat_s=0.1, late_s=0.3, lost_s=0.7)
ANY_PORT = "tcp://127.0.0.1:0"


class Tree:
    """Terminal T over Pilot pilot1, with nodes on demand."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.terminal = self.station("T")
        self.pilot = self.station("pilot1", self.terminal)

    def station(self, name: str, above: Hub | None = None, endpoint: str = ANY_PORT, **options: Any) -> Hub:
        if above is not None:
            options |= {"push_endpoint": above.endpoint, "push_id": above.id}
        return self._stack.enter_context(Hub(name, listen_endpoint=endpoint, pace=QUICK, **options))

    def node(self, name: str, at: Hub, listens: dict[str, Listen] | None = None, **options: Any) -> NetNode:
        node = NetNode(name, at.id, port_of(at.endpoint), listens, pace=QUICK, **options)
        self._stack.callback(node.release)
        assert node.wait_connected(5)
        return node


@pytest.fixture
def tree() -> Iterator[Tree]:
    with ExitStack() as stack:
        tree = Tree(stack)
        assert tree.pilot.wait_connected(5)
        yield tree


def answering(value: Any) -> Listen:
    """Return a listen that returns `value`."""
    return lambda _: value


def echo(message: Message) -> Any:
    return message.value


def test_a_request_travels_node_station_station_node_and_back(tree: Tree) -> None:
    """Arrays and plain data come back as they were sent."""
    camera = tree.node("pilot1.cam0", tree.pilot, {"ECHO": echo})
    recorder = tree.node("T.recorder", tree.terminal, {"ECHO": echo})
    value = {"image": np.arange(12, dtype=">u2").reshape(3, 4), "name": "cam0"}
    answer = camera.request("T.recorder", "ECHO", value)
    assert "cam0" == answer["name"]
    np.testing.assert_array_equal(value["image"], answer["image"])
    assert 5 == recorder.request("pilot1.cam0", "ECHO", 5)
    assert 6 == tree.terminal.request("pilot1.cam0", "ECHO", 6)
    assert 7 == recorder.request("T.recorder", "ECHO", 7)


def test_a_hop_forwards_without_reading(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stations pass messages on by their address frames: content is decoded at the two ends only."""
    decoded: list[str] = []
    read = Message._read

    def spy(self: Message, frames: Any) -> None:
        decoded.append(threading.current_thread().name)
        read(self, frames)

    monkeypatch.setattr(Message, "_read", spy)
    camera = tree.node("pilot1.cam0", tree.pilot)
    tree.node("T.recorder", tree.terminal, {"ECHO": echo})
    camera.request("T.recorder", "ECHO", 1)
    assert ["T.recorder.io"] == decoded


def test_an_explicit_list_of_hops_is_followed(tree: Tree) -> None:
    """`to` of the message is the last hop."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    tree.node("T.recorder", tree.terminal, {"TO": lambda message: message.to})
    assert "T.recorder" == camera.request(["pilot1", "T", "T.recorder"], "TO")


def test_agents_are_reached_under_their_underscore_names(tree: Tree) -> None:
    """`_T` and `_pilot1` are nodes at T and pilot1, reached from anywhere."""
    agent = tree.node("_T", tree.terminal, {"WHO": lambda _: "T"})
    pilot_agent = tree.node("_pilot1", tree.pilot, {"WHO": lambda _: "pilot1"})
    assert "T" == pilot_agent.request("_T", "WHO")
    assert "pilot1" == agent.request("_pilot1", "WHO")


def test_a_child_pilot_is_reached_at_any_depth(tree: Tree) -> None:
    """A station below a Pilot is found by what it has sent; its nodes by its name."""
    child = tree.station("child", tree.pilot)
    tree.terminal.listens["HELLO"] = lambda _: None
    child.request("T", "HELLO")
    tree.node("child.imu", child, {"ECHO": echo})
    assert 3 == tree.terminal.request("child.imu", "ECHO", 3)


@pytest.mark.parametrize("address", ["pilot9", "pilot1.nobody", "pilot9.cam0", "_pilot9"])
def test_an_unknown_address_is_an_error_at_once(tree: Tree, address: str) -> None:
    """Unroutable is told to the sender, wherever on the way it is found out."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    began = time.monotonic()
    with pytest.raises(UnroutableError, match=address):
        camera.request(address, "X")
    assert time.monotonic() - began < 2


def test_what_a_listen_raises_comes_back(tree: Tree) -> None:
    """So does the want of a listen, and a value that cannot be sent back."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    tree.pilot.listens.update({"BAD": lambda _: 1 / 0, "ODD": lambda _: {"a": [object()]}})
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        camera.request(None, "BAD")
    with pytest.raises(RemoteError, match=r"no listen for 'NONE'; it has BAD, ODD"):
        camera.request(None, "NONE")
    with pytest.raises(RemoteError, match=r"value\['a'\]\[0\]: a object cannot be sent"):
        camera.request(None, "ODD")
    with pytest.raises(UnsendableError, match=r"value\[1\]"):
        camera.send(None, "X", [1, object()])


def test_listens_can_be_changed_while_running(tree: Tree) -> None:
    """A new listen is used by the next message."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    for answer in ("one", "two"):
        tree.pilot.listens["K"] = answering(answer)
        assert answer == camera.request(None, "K")


def test_messages_of_one_key_run_in_order_and_a_slow_key_holds_up_no_other(tree: Tree) -> None:
    """1 500 messages to a slow listen: few threads, order kept, another key answered meanwhile."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    seen: list[int] = []
    gate = threading.Event()

    def slow(message: Message) -> None:
        gate.wait(10)
        seen.append(message.value)

    tree.pilot.listens.update({"SLOW": slow, "PING": lambda _: "pong"})
    receipts = [camera.send("pilot1", "SLOW", number) for number in range(1500)]
    before = threading.active_count()
    waits = []
    for _ in range(20):
        began = time.monotonic()
        assert "pong" == camera.request("pilot1", "PING")
        waits.append(time.monotonic() - began)
    assert sorted(waits)[10] < 0.05
    assert threading.active_count() <= before + 2
    gate.set()
    assert {"done"} == {receipt.wait(20) for receipt in receipts}
    assert list(range(1500)) == seen


def test_nested_requests_on_a_full_pool_complete(tree: Tree) -> None:
    """Listens that wait for answers do not use up the threads that give them: 2N on a pool of N."""
    camera = tree.node("pilot1.cam0", tree.pilot, {"INNER": echo}, threads=2)
    recorder = tree.node("T.recorder", tree.terminal, threads=2)
    for number in range(8):
        recorder.listens[f"OUTER{number}"] = lambda m: recorder.request("pilot1.cam0", "MIDDLE", m.value)
    camera.listens["MIDDLE"] = lambda m: camera.request("pilot1.cam0", "INNER", m.value)
    receipts = [camera.send("T.recorder", f"OUTER{number}", number) for number in range(8)]
    assert list(range(8)) == [receipt.result(10) for receipt in receipts]


def test_asyncio_awaits_receipts_and_requests(tree: Tree) -> None:
    """On a thread with an event loop `request` is awaitable, and many may be under way."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    tree.pilot.listens["ECHO"] = echo

    async def ask() -> list[Any]:
        answers = await asyncio.gather(*(camera.request(None, "ECHO", number) for number in range(20)))
        return [*answers, await camera.send(None, "ECHO", "sent")]

    assert [*range(20), "sent"] == asyncio.run(ask())


def test_unconfirmed_messages_end_as_sent(tree: Tree) -> None:
    """NOREPEAT: no answer is sought."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    got: list[Any] = []
    tree.pilot.listens["DATA"] = lambda message: got.append((message.value, "NOREPEAT" in message.flags))
    receipt = camera.send(None, "DATA", 3, repeat=False)
    assert "sent" == receipt.wait(5)
    assert eventually(lambda: [(3, True)] == got)


def test_nodes_with_a_router_talk_directly(tree: Tree) -> None:
    """A node without a station, reached by another on its `router_port`."""
    server = NetNode("server", None, None, {"ECHO": echo}, router_port=0, pace=QUICK)
    client = NetNode("client", "server", port_of(server.endpoint), {"ECHO": echo}, instance=False, pace=QUICK)
    try:
        assert 1 == client.request("server", "ECHO", 1)
        assert 2 == server.request("client", "ECHO", 2)
        assert 3 == client.send("server", "ECHO", 3, force_to=True).result(5)
    finally:
        client.release()
        server.release()


def test_a_second_node_of_an_id_is_refused_and_the_first_goes_on(tree: Tree) -> None:
    """The newcomer is told, loudly; once the first is gone it is let in."""
    first = tree.node("pilot1.cam0", tree.pilot, {"WHO": lambda _: "first"})
    second = NetNode("pilot1.cam0", "pilot1", port_of(tree.pilot.endpoint), {"WHO": lambda _: "second"}, pace=QUICK)
    try:
        with pytest.raises(DuplicateIdError, match=r"pilot1\.cam0 is taken at pilot1"):
            second.wait_connected(5)
        with pytest.raises(DuplicateIdError):
            second.send(None, "X")
        assert "first" == tree.terminal.request("pilot1.cam0", "WHO")
        first.release()
        assert eventually(lambda: second.is_connected)
        assert "second" == tree.terminal.request("pilot1.cam0", "WHO")
    finally:
        second.release()


def test_joins_losses_and_restarts_are_told(tree: Tree) -> None:
    """`on_peer` hears of a neighbour's arrival, its goodbye, and its return under another boot."""
    heard: list[tuple[str, PeerState, int]] = []
    tree.pilot.on_peer(lambda *event: heard.append(event))
    assert eventually(lambda: [("T", PeerState.ALIVE)] == [event[:2] for event in heard])  # was here already
    heard.clear()
    first = tree.node("pilot1.cam0", tree.pilot)
    first.release()
    assert eventually(lambda: len(heard) == 2)
    second = tree.node("pilot1.cam0", tree.pilot)
    assert eventually(lambda: len(heard) == 3)
    assert [PeerState.ALIVE, PeerState.LOST, PeerState.ALIVE] == [state for _, state, _ in heard]
    assert [first.boot, first.boot, second.boot] == [boot for *_, boot in heard]


@pytest.mark.parametrize("order", list(itertools.permutations(["T", "pilot1", "pilot1.cam0"])), ids="-".join)
def test_parts_may_start_and_restart_in_any_order(order: tuple[str, ...]) -> None:
    """Each of the tree's parts is started, stopped and started again in every order; nobody else need restart."""
    above = {"T": None, "pilot1": "T", "pilot1.cam0": "pilot1"}
    ports = dict(zip(above, free_ports(), strict=False))
    parts: dict[str, Hub] = {}

    def start(name: str) -> None:
        upper = above[name]
        parts[name] = Hub(
            name,
            {"WHO": answering(name)},
            listen_endpoint=f"tcp://127.0.0.1:{ports[name]}",
            push_endpoint=f"tcp://127.0.0.1:{ports[upper]}" if upper else None,
            push_id=upper,
            pace=QUICK,
        )

    try:
        for name in order:
            start(name)
        for name in order:
            _assert_all_talk(parts)
            parts[name].release()
            start(name)
        _assert_all_talk(parts)
    finally:
        for part in parts.values():
            part.release()


def test_a_message_waits_for_its_station_and_then_arrives() -> None:
    """Sent before anybody listens upstream; what nobody ever takes expires."""
    port = next(free_ports())
    node = NetNode("pilot1.cam0", "pilot1", port, pace=QUICK)
    try:
        receipt = node.send(None, "HELLO", 1)
        lost = node.send(None, "HELLO", 2, deadline_s=0.3)
        assert "expired" == lost.wait(5)
        with pytest.raises(ExpiredError, match="never left"):
            lost.result()
        with Hub("pilot1", {"HELLO": echo}, listen_endpoint=f"tcp://127.0.0.1:{port}", pace=QUICK):
            assert 1 == receipt.result(5)
    finally:
        node.release()


def test_a_request_to_a_listen_that_hangs_is_unknown_and_later_done(tree: Tree) -> None:
    """The caller's time is over before the listen's: it is not called expired, for it runs."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    gate = threading.Event()
    tree.pilot.listens["HANG"] = lambda _: gate.wait(10) and "late"
    began = time.monotonic()
    with pytest.raises(UnknownOutcomeError, match="HANG to pilot1"):
        camera.request("pilot1", "HANG", timeout_s=0.5)
    assert time.monotonic() - began < 2
    receipt = camera.send("pilot1", "HANG")
    assert eventually(lambda: receipt.state == "pending")
    gate.set()
    assert "late" == receipt.result(5)


def test_release_settles_everything_and_is_idempotent(tree: Tree) -> None:
    """No receipt is left open, no thread is left running, and a released node sends no more."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    gate = threading.Event()
    tree.pilot.listens["HANG"] = lambda _: gate.wait(10)
    receipt = camera.send("pilot1", "HANG")
    assert eventually(lambda: receipt.state == "received")
    camera.release()
    camera.release()
    gate.set()
    assert "unknown" == receipt.state
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pilot1.cam0")]
    with pytest.raises(ClosedError, match=r"pilot1\.cam0 was released"):
        camera.send(None, "X")


def test_status_lines(tree: Tree) -> None:
    """What a hub and a receipt say of themselves."""
    camera = tree.node("pilot1.cam0", tree.pilot)
    assert "<NetNode pilot1.cam0 peers=1 unsettled=0>" == repr(camera)
    tree.pilot.listens["ECHO"] = echo
    receipt = camera.send(None, "ECHO", 1)
    receipt.wait(5)
    assert "<Receipt ECHO to pilot1: done>" == repr(receipt)


def _assert_all_talk(parts: dict[str, Hub]) -> None:
    for asker in parts.values():
        for name in parts:
            assert _hears(asker, name), f"{asker.id} -> {name}"


def _hears(asker: Hub, name: str) -> bool:
    return eventually(lambda: _who(asker, name) == name, 3)


def _who(asker: Hub, name: str) -> Any:
    try:
        return asker.request(name, "WHO", timeout_s=1.0)
    except (RemoteError, ExpiredError, UnknownOutcomeError):
        return None
