"""A running rig under fire at every socket that it has open: nobody dies, nothing is lost, nobody grows."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from support.hostile import Attack
from support.rigs import SMALL, RunningRig, pipeline
from support.waiting import eventually

from pipeline import NetNode
from pipeline.notify import runtime_dir
from pipeline.transport import port_of
from stations.running import find_station

pytest.importorskip("h5py")

GROWTH_BYTES = 96 * 2**20
"""RSS that a process may gain."""


def processes(rig: RunningRig) -> dict[int, psutil.Process]:
    """Return the rig's processes by pid."""
    parent = psutil.Process(rig.process.pid)
    return {process.pid: process for process in (parent, *parent.children(recursive=True))}


def ports(rig: RunningRig) -> list[int]:
    """Return every TCP port that the rig listens on."""
    return sorted(
        connection.laddr.port
        for process in processes(rig).values()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    )


def notice_paths(rig: RunningRig) -> list[str]:
    """Return the path of every ipc socket that the rig listens on."""
    found = {
        connection.laddr
        for process in processes(rig).values()
        for connection in process.net_connections("unix")
        if connection.laddr.startswith(str(runtime_dir()))
    }
    return sorted(found)


def ask_around(rig: str) -> dict[str, dict[str, int]]:
    """Return what each station has counted; they answer, after all that."""
    told = {}
    for station in ("T", "p1"):
        with NetNode("T.asker", "T", port_of(find_station(rig).endpoint)) as node:
            told[station] = node.request(station, "NODES", timeout_s=5)["statistics"]
    return told


def attack(folder: Path, count: int, seed: int) -> None:
    """Fire `count` messages at a rig that records, then hold it to its recording."""
    with RunningRig(folder, SMALL.format(name=f"hostile-{seed}")) as rig:
        rig.wait_for("recording p1.cam")
        assert eventually(lambda: rig.recording.exists() and any(rig.recording.glob("*.h5")), 20)
        before = processes(rig)
        sizes = {pid: process.memory_info().rss for pid, process in before.items()}
        tcp, ipc = ports(rig), notice_paths(rig)
        assert len(tcp) >= 4, f"the control ports of T and p1, the data port, the page: {tcp}"
        assert ipc
        fire = Attack(seed, "p1.cam")
        try:
            for port in tcp:
                fire.at_port(port, count // (len(tcp) + 1))
            for path in ipc:
                fire.at_path(path, count // (len(tcp) + 1) // len(ipc))
        finally:
            fire.close()
        assert fire.fired >= count
        grown = {p.cmdline()[-1]: p.memory_info().rss - sizes[pid] for pid, p in processes(rig).items() if pid in sizes}
        assert set(before) == set(processes(rig)), rig.said
        told = ask_around(f"hostile-{seed}")
        time.sleep(1.0)  # time that is recorded after the attack, not a wait for a condition
        rig.process.terminate()
        result = rig.finish()

    for station, heard in told.items():
        assert heard["malformed"] + heard["forged"] > count // 50, (station, heard)
    print(fire.fired, {name: f"{size / 2**20:.1f} MiB" for name, size in grown.items()})
    assert max(grown.values()) < GROWTH_BYTES, grown
    assert [] == [event for event in rig.events() if event["kind"] == "death"]
    for name in ("p1.cam", "p1.sig"):
        row = result["streams"][name]
        assert row["balanced"], result
        assert row["produced"] == row["stored"], result
    assert 0 == pipeline("verify", str(rig.recording)).returncode
    logs = list((folder / "out" / "logs").glob("*.jsonl"))
    assert len(before) <= len(logs)
    for log in logs:
        text = log.read_text()
        assert "Traceback" not in text, text[text.index("Traceback") - 500 :][:3000]
        assert text.count("\n") < 1000 + count // 20, f"{log.name} has {text.count(chr(10))} lines"


@pytest.mark.timeout(90)
def test_hundreds_of_hostile_messages_cost_nothing(tmp_path: Path) -> None:
    """Random, mutated, forged, truncated and oversized, at TCP ports and ipc sockets, by zmq and raw."""
    attack(tmp_path, 600, seed=1)


@pytest.mark.stress
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_hostile_messages_cost_nothing(tmp_path: Path) -> None:
    """The same at full size, others."""
    attack(tmp_path, 100_000, seed=2)
