"""Pilots below Pilots: streams of a grandchild are recorded, and messages find their way down and up."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from support.rigs import RunningRig, pipeline
from support.waiting import eventually

from pipeline import NetNode, RemoteError
from pipeline.transport import port_of
from stations.running import find_station

pytest.importorskip("h5py")

RIG = """
[rig]
name = "{name}"
SUBJECT = "mouse-7"

[pilots.mother]
LINEAGE = "PARENT"
CHILDID = "son"
forward = {{ VALVE = "mother.valve" }}

[pilots.son]
LINEAGE = "CHILD"
PARENTID = "mother"
CHILDID = ["grandson"]
SUBJECT = "mouse-8"

[pilots.grandson]
LINEAGE = "CHILD"
PARENTID = "son"

[pilots.grandson.streams.sig]
source = "synthetic:signal"
channels = 4
rate = 500
"""


def test_a_grandchild_records_and_is_reached_and_comes_back(tmp_path: Path) -> None:
    """Its items are all stored; PING and CHILD reach it through those above, also after the Pilot above was killed."""
    name = f"kin-{uuid.uuid4().hex[:8]}"
    with RunningRig(tmp_path, RIG.format(name=name)) as rig:
        rig.wait_for("recording grandson.sig")
        found = find_station(name)
        node = NetNode("me", found.station, port_of(found.endpoint))
        valve = NetNode("mother.valve", "mother", pilot_port(node), {"VALVE": lambda message: message.value * 2})
        try:
            assert node.request("grandson", "PING", timeout_s=5)["id"] == "grandson"
            assert node.request("mother", "CHILD", {"KEY": "CHILD", "x": 1}, timeout_s=10)
            assert node.request("mother", "VALVE", 21, timeout_s=5) == 42
            with pytest.raises(RemoteError, match="no Pilots below"):
                node.request("grandson", "CHILD", {"KEY": "PING"}, timeout_s=5)
            rig.kill("son")
            rig.wait_for("son is back")
            assert eventually(lambda: is_reached(node), 10)
        finally:
            valve.release()
            node.release()
        result = rig.stop()

    stream = result["streams"]["grandson.sig"]
    assert rig.process.returncode == 0, rig.said
    assert stream["produced"] == stream["stored"] > 200
    assert pipeline("verify", str(rig.recording)).returncode == 0


def is_reached(node: NetNode) -> bool:
    try:
        return bool(node.request("grandson", "PING", timeout_s=1)["id"] == "grandson")
    except Exception:
        return False


def pilot_port(node: NetNode) -> int:
    return port_of(node.request("mother", "NODES", timeout_s=5)["endpoint"])
