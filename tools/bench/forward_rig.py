"""A whole rig at full load, for `forward.py`: what its processes cost, how late blocks are, how soon orders arrive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from pipeline import NetNode
from pipeline.block import Block
from shm import BlobReader
from stations.free_ports import free_ports

from .child import BenchError

RIG: Final = """
[rig]
name = "{name}"

[terminal]
MSGPORT = {port}

[pilots.p.streams.cam]
source = "synthetic:camera"
shape = [480, 640, 3]
rate = 120
codec = "blosc"

[pilots.p.streams.sig]
source = "synthetic:signal"
channels = 32
rate = 30_000
codec = "blosc"
"""
"""One camera and 32 channels of int16, forwarded compressed, recorded; nobody looks at the page."""
SETTLE_S: Final = 3.0
PATIENCE_S: Final = 30.0
ORDERS_S: Final = 0.02
"""Between two orders."""

Figures = dict[str, float]


def measure_rig(seconds: float, folder: Path | None) -> Figures:
    """Run the rig; return shares of a core in percent, and milliseconds.

    Raises:
        BenchError: the rig did not run, or did not balance.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-rig-") as name:
        path = Path(name) / "rig.toml"
        rig, port = f"bench-rig-{os.getpid()}", next(free_ports())
        path.write_text(RIG.format(name=rig, port=port))
        command = [sys.executable, "-m", "tools.cli", "run", str(path), "--no-browser", "--json", "--output", name]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
        ) as run:
            try:
                readers = {stream: _attach(f"{rig}/T/p.{stream}") for stream in ("cam", "sig")}
                time.sleep(SETTLE_S)
                found = _observe(run.pid, readers, port, seconds)
            finally:
                run.send_signal(signal.SIGINT)
                out, _ = run.communicate(timeout=2 * PATIENCE_S)
        if run.returncode:
            raise BenchError(f"the rig ended with {run.returncode}: {out[-2000:]!r}")
    return found


def _observe(pid: int, readers: dict[str, BlobReader], port: int, seconds: float) -> Figures:
    parts = {child.cmdline()[-1]: child for child in psutil.Process(pid).children()}
    before = {name: _cpu_s(child) for name, child in parts.items()}
    for reader in readers.values():
        reader.seek(reader.published)
    begin = time.monotonic()
    orders = _orders(port, seconds)
    spent = time.monotonic() - begin
    share = {name: (_cpu_s(child) - before[name]) / spent * 100 for name, child in parts.items()}
    late = {name: _lateness(reader) for name, reader in readers.items()}
    return {
        "pilot": share["p"],
        "terminal": share["T"] + share["T.recorder"],
        "late": max(late.values()),
        "orders": float(np.percentile(orders, 99)),
    }


def _orders(port: int, seconds: float) -> list[float]:
    """Ask the Pilot again and again, as STOP is asked; return the times until it answered, ms."""
    node, times = NetNode("T.bench", "T", port), []
    try:
        node.wait_connected(PATIENCE_S)
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            node.request("p", "PING")
            times.append((time.perf_counter() - begin) * 1e3)
            time.sleep(ORDERS_S)
    finally:
        node.release()
    return times


def _lateness(reader: BlobReader) -> float:
    """Return the 99th percentile of the times from a block's last item to its place in the Terminal's ring, ms."""
    late = []
    while (blob := reader.read(0.0)) is not None:
        late.append((blob.time_ns - int(Block.from_blob(blob.data).item_times()[-1])) / 1e6)
    reader.close()
    return float(np.percentile(late, 99))


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _attach(name: str) -> BlobReader:
    return BlobReader.attach(name, policy="drop_oldest", reader="bench", wait_for_s=PATIENCE_S)
