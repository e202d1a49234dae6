"""Processes of a test: started as modules, spoken to by JSON lines, ended with the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """``python -m module args…`` whose lines on stdout are JSON objects.

    Args:
        module: to run.
        arguments: of it.
        before: command and arguments that start it, e.g. ``unshare``.
        path: folder whose packages come before ours.
    """

    def __init__(self, module: str, *arguments: str, before: tuple[str, ...] = (), path: str = "") -> None:
        paths = os.pathsep.join((*filter(None, [path]), str(ROOT), str(ROOT / "tests")))
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            cwd=path or ROOT,  # `-m` puts it before everything else
            env=os.environ | {"PYTHONPATH": paths},
            text=True,
        )

    def line(self) -> dict[str, Any]:
        """Wait for its next line."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        assert text, f"{self.process.args} ended with {self.process.wait()} before it said anything"
        said: dict[str, Any] = json.loads(text)
        return said

    def go(self) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as SIGKILL does, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stdin):
            assert stream is not None
            stream.close()


def writer(name: str, how: str = "write", **options: Any) -> Child:
    """Start a process that writes self-checking items from the first `go` to the second."""
    return Child("support.ring_process", how, name, json.dumps(options))


def reader(name: str, *, before: tuple[str, ...] = (), **options: Any) -> Child:
    """Start a process that reads and checks them."""
    return Child("support.ring_process", "read", name, json.dumps(options), before=before)
