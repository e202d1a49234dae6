"""Stations of a rig as real processes, started and ended one by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import psutil
from support.children import ROOT
from support.waiting import eventually

from pipeline.log import LogOptions
from stations.roster import children, with_ports
from stations.supervisor import ChildSpec


class Parts:
    """Starts and ends the stations of a rig; its ports are chosen once.

    Args:
        folder: for the logs.
        rig: a rig file's text.
    """

    def __init__(self, folder: Path, rig: str) -> None:
        from stations.config import parse_rig

        self.rig = with_ports(parse_rig(rig, folder=folder))
        self._specs = {spec.name: spec for spec in children(self.rig, "both", folder)}
        self._log = LogOptions(str(folder / "logs"))
        paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
        self.errors = folder / "stderr.txt"
        with self.errors.open("w") as errors:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "support.part_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | {"PYTHONPATH": paths},
            )
        self.pids: dict[str, int] = {}

    def start(self, name: str) -> None:
        """Start a station; returns before it is there."""
        spec: ChildSpec = self._specs[name]
        brief = {"name": name, "parent": 0, "log": self._log, "config": spec.config}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(msgspec.json.encode([spec.part, brief]) + b"\n")
        self._server.stdin.flush()
        self.pids[name] = int(self._server.stdout.readline())

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End a station and wait until it is gone."""
        pid = self.pids.pop(name)
        os.kill(pid, how)
        assert eventually(lambda: not psutil.pid_exists(pid), 10), f"{name} (pid {pid}) did not leave"

    def endpoint(self, name: str) -> tuple[str, int]:
        """Return host and port of a station's control plane."""
        terminal = self.rig.terminal
        port = terminal.msg_port if name == terminal.id else self.rig.pilots[name].msg_port
        return "127.0.0.1", port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in self.pids.values():
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)
        for pid in self.pids.values():
            eventually(lambda pid=pid: not psutil.pid_exists(pid), 10)
        for stream in (self._server.stdin, self._server.stdout):
            assert stream is not None
            stream.close()
        self._server.wait(10)
