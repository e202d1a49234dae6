"""Over a link that is cut, loses, delays or is narrow, the recording is what was produced.

The Pilot and the Terminal are two `pipeline run`s with a rig file each, as on two machines.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bad_link import PILOT, TERMINAL, Link, why_not
from support.rigs import RunningRig, camera_and_signal, pipeline

from pipeline.reduction import reduced
from stations.free_ports import free_ports
from stations.recording import Recording

h5py = pytest.importorskip("h5py")
WHY_NOT = why_not()
needs_link = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

HEAD = """
[rig]
name = "{name}"
drain_s = 300

[terminal]
ip = "{ip}"
MSGPORT = {port}
DATAPORT = {data_port}
"""
RIG = HEAD + camera_and_signal(1)
FULL = """
[pilots.p1]
spool_bytes = 10_000_000_000
backfill_mb_s = 100

[pilots.p1.streams.cam]
source = "synthetic:camera"
shape = [480, 640, 3]
rate = 120

[pilots.p1.streams.sig]
source = "synthetic:signal"
channels = 32
rate = 30_000
"""
PORTS = dict(zip(("port", "data_port"), free_ports(), strict=False))
RELAYED = dict(zip(("port", "data_port"), free_ports(), strict=False))


@contextmanager
def two_machines(
    folder: Path,
    name: str,
    duration_s: float,
    *,
    ips: tuple[str, str],
    within: Sequence[str] = (),
    pilot: dict[str, int],
    rig: str = RIG,
) -> Iterator[RunningRig]:
    """Run a Terminal, and a Pilot that has its own words for where that is; yield the Terminal's run."""
    with ExitStack() as stack:
        for side in ("terminal", "pilot"):
            (folder / side).mkdir()
        text = rig.format(name=name, ip=ips[0], **PORTS)
        options = ("--role", "terminal", "--duration", str(duration_s))
        terminal = stack.enter_context(RunningRig(folder / "terminal", text, *options, within=within))
        there = rig.format(name=name, ip=ips[1], **pilot)
        stack.enter_context(RunningRig(folder / "pilot", there, "--role", "pilot", within=within))
        terminal.wait_for("recording p1.cam")
        yield terminal


@contextmanager
def linked(folder: Path, link: Link, name: str, duration_s: float, text: str = RIG) -> Iterator[RunningRig]:
    """Run both at the two ends of a link."""
    ips = (TERMINAL, f"{PILOT}:0;{TERMINAL}")  # zmq's words for where to connect from, and where to
    with two_machines(folder, name, duration_s, ips=ips, within=link.within, pilot=PORTS, rig=text) as rig:
        yield rig


def assert_whole(
    rig: RunningRig, seconds: float, rates: tuple[int, int] = (30, 1000), timeout_s: float = 150.0
) -> dict[str, Any]:
    """The run ended balanced, with nothing dropped or pending, and its files hold it."""
    result = rig.finish(timeout_s)
    assert rig.process.returncode == 0, f"{rig.said}\n{result}"
    for name, row in result["streams"].items():
        assert row["produced"] == row["stored"], (name, row, rig.said)
        assert (row["dropped"], row["pending"], row["balanced"]) == ({}, 0, True), (name, row)
    for stream, rate in zip(("p1.cam", "p1.sig"), rates, strict=True):
        assert result["streams"][stream]["produced"] >= 0.9 * rate * seconds
    check = pipeline("verify", str(rig.recording))
    assert check.returncode == 0, check.stdout
    streams: dict[str, Any] = result["streams"]
    return streams


def seconds_after_stop(rig: RunningRig) -> float:
    """Return how long after the order to stop the last item was acquired; all on one machine, so on one clock."""
    (stop,) = [event["monotonic_ns"] for event in rig.events() if event["kind"] == "stop"]
    newest = 0
    for path in rig.recording.glob("*.h5"):
        with h5py.File(path, "r") as file:
            newest = max(newest, int(file["blocks"]["time_ns"].max()))
    return (newest - stop) / 1e9


@needs_link
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("run_s", "cut_s"), [(30, 10), pytest.param(180, 60, marks=pytest.mark.stress)])
def test_a_link_that_is_cut_loses_nothing(tmp_path: Path, run_s: int, cut_s: int) -> None:
    """What was acquired meanwhile comes out of the spool, while live data go on."""
    with Link() as link, linked(tmp_path, link, f"cut-{run_s}", run_s) as rig:
        time.sleep(run_s / 3)  # the times of the experiment, not waits for conditions
        link.lose(100)
        time.sleep(cut_s)
        link.lose(0)
        assert_whole(rig, run_s)
        assert [event for event in rig.events() if event["kind"] == "backfilled"]


@needs_link
@pytest.mark.stress
@pytest.mark.timeout(900)
def test_a_link_that_is_cut_for_a_minute_at_full_rate_loses_nothing(tmp_path: Path) -> None:
    """640 x 480 x 3 at 120 Hz and 32 channels at 30 kHz: some 5 GB come out of the spool; 20 GB of disk are needed."""
    with Link() as link, linked(tmp_path, link, "full", 150, text=HEAD + FULL) as rig:
        time.sleep(30)  # the times of the experiment, not waits for conditions
        link.lose(100)
        time.sleep(60)
        link.lose(0)
        assert_whole(rig, 150, rates=(120, 30_000), timeout_s=500)


@needs_link
def test_a_link_that_loses_packets_loses_no_items(tmp_path: Path) -> None:
    """Five packets of a hundred, both ways."""
    with Link() as link, linked(tmp_path, link, "lossy", 5) as rig:
        link.lose(5)
        assert_whole(rig, 5)


@needs_link
@pytest.mark.parametrize("kbit_s", [3_000, pytest.param(10_000, marks=pytest.mark.stress)])
def test_a_narrow_link_loses_nothing_and_stops_at_once(tmp_path: Path, kbit_s: int) -> None:
    """Where it does not fit through, the rest comes after the end; STOP does not queue behind data."""
    with Link() as link, linked(tmp_path, link, f"narrow-{kbit_s}", 5) as rig:
        link.narrow(kbit_s)
        assert_whole(rig, 5)
        assert seconds_after_stop(rig) <= 1.0


@needs_link
def test_a_stream_that_need_not_be_whole_is_thinned_out_and_the_journal_says_so(tmp_path: Path) -> None:
    """Its drops are counted, with their reason; the other stream, which is to be whole, is."""
    thin = RIG.replace("rate = 30\n", "rate = 30\nlossless = false\n")
    with Link() as link, linked(tmp_path, link, "thin", 7, text=thin) as rig:
        link.narrow(700)
        result = rig.finish(150)
        assert rig.process.returncode == 0, f"{rig.said}\n{result}"
        cam, sig = (result["streams"][name] for name in ("p1.cam", "p1.sig"))
        assert cam["dropped"]["link"] > 25
        assert cam["produced"] == cam["stored"] + cam["dropped"]["link"]
        assert (sig["produced"], sig["dropped"], sig["pending"]) == (sig["stored"], {}, 0)
        steps = [event for event in rig.events() if event["kind"] == "ladder"]
        assert [2, 2] == [step["scale"] for step in steps[:2]]
        assert [1, 5] == [step["one_of"] for step in steps[:2]]
    assert pipeline("verify", str(rig.recording)).returncode == 0
    with Recording(rig.recording) as recording:
        cam = recording["p1.cam"]
        assert len(cam.paths) == 1, "a gap needs no new file"
        assert {1, 2} <= set(np.unique(cam.scale[:]).tolist()) <= {1, 2, 8}
        assert all(np.array_equal(image, reduced(image[None], 2)[0]) for image in cam[:][cam.scale[:] == 2])


def test_a_link_with_200_ms_there_and_back_loses_nothing(tmp_path: Path) -> None:
    """Credit is enough for the way."""
    pairs = [f"{here}:{there}" for here, there in zip(RELAYED.values(), PORTS.values(), strict=True)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-m", "support.slow_relay", "0.1", *pairs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as relay:
        try:
            assert relay.stdout is not None
            assert relay.stdout.readline() == b"ready\n"
            with two_machines(tmp_path, "far", 5, ips=("127.0.0.1",) * 2, pilot=RELAYED) as rig:
                assert_whole(rig, 5)
        finally:
            relay.kill()
