"""What a node sends as DATA is in the recording: every value, in order, whoever is killed meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.parts import Parts
from support.rigs import SMALL, RunningRig, pipeline
from support.waiting import eventually

from pipeline import Message, NetNode, PipelineError, Receipt
from stations.free_ports import free_ports
from stations.recording import Recording

pytest.importorskip("h5py")

COUNT = 2000
AGENT_COUNT = 300
PORT = """
[pilots.p1]
MSGPORT = {port}
"""


def value_of(number: int) -> Any:
    """Return a value: dicts, numbers, text, lists, arrays in turn, each with its number."""
    kinds: list[Callable[[int], Any]] = [
        lambda n: {"trial": n, "response": "left" if n % 2 else "right", "rt": n / 7},
        lambda n: n,
        lambda n: f"{n} ü",
        lambda n: [n, None, n % 2 == 0, {"nested": [n]}],
        lambda n: {"n": n, "trace": np.arange(n % 400, dtype="<f8") * n},
    ]
    return kinds[number % len(kinds)](number)


def is_same(sent: Any, found: Any) -> bool:
    """Compare values with arrays in them."""
    if isinstance(sent, dict) and "trace" in sent:
        return bool(sent["n"] == found["n"] and np.array_equal(sent["trace"], found["trace"]))
    return bool(sent == found)


def send_all(port: int, middle: Callable[[], object]) -> list[Receipt]:
    """Send all values through the Pilot, some hundred a second; do something when half are sent."""
    node = NetNode("p1.task", "p1", port)
    try:
        receipts = []
        for number in range(COUNT):
            receipts.append(node.send("T", "DATA", value_of(number)))
            if number % 10 == 0:
                assert receipts[-1].wait(30.0) is not None
            if number == COUNT // 2:
                middle()
        assert eventually(lambda: all(receipt.is_final for receipt in receipts), 45), receipts[-1]
        return receipts
    finally:
        node.release()


def kill(pids: list[int]) -> None:
    """SIGKILL some processes at once."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "victims",
    [
        ["p1"],
        ["T.recorder", "T"],
        *(pytest.param(victims, marks=pytest.mark.stress) for victims in ([], ["T.recorder"], ["T"])),
    ],
    ids=" and ".join,
)
def test_every_message_is_a_row_in_order(tmp_path: Path, victims: list[str]) -> None:
    """2 000 values beside a camera: what was answered `done` is on disk once; ledger and verify agree."""
    port = next(free_ports())
    name = "-".join(["rows", *victims]).replace(".", "-")
    text = SMALL.format(name=name) + PORT.format(port=port)
    with RunningRig(tmp_path, text) as rig:
        rig.wait_for("recording p1.cam")
        receipts = send_all(port, lambda: kill([rig.pid(victim) for victim in victims]))
        rig.process.terminate()
        result = rig.finish()

    assert 0 == rig.process.returncode, (rig.said, result)
    sent = [number for number, receipt in enumerate(receipts) if receipt.state == "done"]
    unsure = {number for number, receipt in enumerate(receipts) if receipt.state == "unknown"}
    assert "T" in victims or not unsure, len(unsure)
    assert COUNT - len(unsure) == len(sent), {receipt.state for receipt in receipts}
    rows = list(Recording(rig.recording).rows("DATA"))
    numbers = [_number_of(row["value"]) for row in rows]
    assert sorted(set(numbers)) == numbers
    assert set(sent) <= set(numbers) <= {*sent, *unsure}
    assert all(is_same(value_of(number), row["value"]) for number, row in zip(numbers, rows, strict=True))
    assert list(range(len(rows))) == [row["sequence"] for row in rows]
    assert {"p1.task"} == {row["sender"] for row in rows}

    account = result["streams"]["data/DATA"]
    assert (len(rows), len(rows), True) == (account["produced"], account["stored"], account["balanced"])
    assert set(victims) == {event["name"] for event in rig.events() if event["kind"] == "death"}
    check = pipeline("verify", str(rig.recording), "--json")
    assert 0 == check.returncode, check.stdout
    assert len(rows) == json.loads(check.stdout)["streams"]["data/DATA"]["stored"]


def test_the_terminals_own_node_hears_every_value(tmp_path: Path) -> None:
    """What a node behind a Pilot sends to the Terminal is heard by `_T`, once, in order, however it is sent."""
    rig = f'[rig]\nname = "agent-{uuid.uuid4().hex[:8]}"\n[pilots.p1]\n'
    heard: list[Message] = []
    listens = {"DATA": heard.append, **dict.fromkeys(("HANDSHAKE", "STATE", "EVENT"), lambda _: None)}
    with Parts(tmp_path, rig) as parts, contextlib.ExitStack() as stack:
        for station in ("T", "p1"):
            parts.start(station)
        agent = NetNode("_T", "T", parts.endpoint("T")[1], listens)
        stack.callback(agent.release)
        task = NetNode("p1.task", "p1", parts.endpoint("p1")[1])
        stack.callback(task.release)
        assert eventually(lambda: _sees(task, "p1", "T") and _sees(agent, "T", "_T"), 30), parts.errors.read_text()
        receipts = [task.send("T", "DATA", value_of(number)) for number in range(AGENT_COUNT)]
        assert list(range(AGENT_COUNT)) == [receipt.result(30) for receipt in receipts]
        with task.get_stream("more", "DATA", min_size=10, to="T") as stream:
            for number in range(AGENT_COUNT, 2 * AGENT_COUNT):
                assert stream.put({"trial": number}, timeout_s=30)
        assert AGENT_COUNT == stream.statistics().arrived
        assert eventually(lambda: len(heard) >= 2 * AGENT_COUNT, 30), len(heard)
        assert list(range(2 * AGENT_COUNT)) == [_number_of(message.value) for message in heard]
        assert all(is_same(value_of(n), heard[n].value) for n in range(AGENT_COUNT))
        assert {"p1.task", "p1.task_more"} == {message.sender for message in heard}


def _sees(node: NetNode, station: str, other: str) -> bool:
    """Whether a station has met another."""
    try:
        peers = node.request(station, "NODES", timeout_s=1.0)["peers"]
    except PipelineError:
        return False
    return any(peer["id"] == other and peer["state"] == "ALIVE" for peer in peers)


def _number_of(value: Any) -> int:
    if isinstance(value, dict):
        return int(value.get("trial", value.get("n")))
    if isinstance(value, list):
        return int(value[0])
    return int(str(value).split(maxsplit=1)[0])


def test_a_row_can_be_read_while_the_rig_runs(tmp_path: Path) -> None:
    """Within a second of its answer a value is in a file that others open."""
    port = next(free_ports())
    with RunningRig(tmp_path, SMALL.format(name="rows-live") + PORT.format(port=port)) as rig:
        rig.wait_for("recording p1.cam")
        node = NetNode("p1.task", "p1", port)
        try:
            assert 0 == node.request("T", "DATA", {"trial": 1})
            assert 0 == node.request("T", "CONTINUOUS", {"inner_key": "LICKS", "n": 1})
        finally:
            node.release()
        began = time.monotonic()
        assert eventually(lambda: {"DATA", "LICKS"} == set(_readable(rig.recording)), 5.0)
        assert time.monotonic() - began < 2.0
        rig.process.terminate()
        result = rig.finish()

    assert all(row["balanced"] for row in result["streams"].values()), result


def _readable(recording: Path) -> list[str]:
    return [key for key in Recording(recording).row_keys if list(Recording(recording).rows(key))]
