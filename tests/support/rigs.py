"""A real rig for a test: `pipeline run` as a user starts it, and a hand on its processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from support.waiting import eventually

PIPELINE = str(Path(sys.executable).with_name("pipeline"))


def camera_and_signal(planes: int) -> str:
    """Return two streams of a rig file, both of whose items prove themselves; small enough for any machine.

    Args:
        planes: of the camera's images: 1 for gray ones, which a slow link carries too.
    """
    return f"""
[pilots.p1.streams.cam]
source = "synthetic:camera"
shape = [120, 160, {planes}]
rate = 30

[pilots.p1.streams.sig]
source = "synthetic:signal"
channels = 4
rate = 1000
"""


SMALL = f"""
[rig]
name = "{{name}}"
{camera_and_signal(3)}"""


class RunningRig:
    """`pipeline run` on a rig file, in a folder of its own.

    Args:
        folder: for the rig file, the recording and the logs.
        text: of the rig file.
        options: further ones of `pipeline run`.
        within: a command that runs it somewhere else, such as a network namespace.
        output: where it records; a folder beside the rig file if None.
    """

    def __init__(
        self, folder: Path, text: str, *options: str, within: Sequence[str] = (), output: Path | None = None
    ) -> None:
        self.folder = folder
        self.output = output or folder / "out"
        path = folder / "rig.toml"
        path.write_text(text)
        self._errors = folder / "stderr.txt"
        command = [
            *within,
            PIPELINE,
            "run",
            str(path),
            "--no-browser",
            "--json",
            "--output",
            str(self.output),
            *options,
        ]
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder)

    @property
    def said(self) -> str:
        """What it has told on stderr so far."""
        return self._errors.read_text()

    @property
    def recording(self) -> Path:
        """Folder of the recording."""
        (found,) = [path for path in self.output.iterdir() if path.name not in ("logs", "spool")]
        return found

    def events(self) -> list[dict[str, Any]]:
        """Return the lines of the journal that are whole."""
        lines = (self.recording / "session.jsonl").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_for(self, text: str, timeout_s: float = 60.0) -> None:
        """Wait until stderr says `text`."""
        assert eventually(lambda: text in self.said or self.process.poll() is not None, timeout_s), self.said
        assert text in self.said, self.said

    def pid(self, name: str) -> int:
        """Return the pid of the child of that name."""
        (found,) = [
            child.pid for child in psutil.Process(self.process.pid).children() if child.cmdline()[-1:] == [name]
        ]
        return found

    def has(self, name: str) -> bool:
        """Tell whether the child of that name runs."""
        return any(child.cmdline()[-1:] == [name] for child in psutil.Process(self.process.pid).children())

    def kill(self, name: str) -> float:
        """SIGKILL a child; return the time (time.time) at which it was done."""
        psutil.Process(self.pid(name)).send_signal(signal.SIGKILL)
        return time.time()

    def finish(self, timeout_s: float = 90.0) -> dict[str, Any]:
        """Wait for the end; return the JSON object that it printed."""
        out, _ = self.process.communicate(timeout=timeout_s)
        assert out, self.said
        result: dict[str, Any] = json.loads(out)
        return result

    def stop(self) -> dict[str, Any]:
        """End it as Ctrl-C does; return what it printed."""
        self.process.send_signal(signal.SIGINT)
        return self.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def pipeline(*arguments: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
    """Run a command of `pipeline` to its end."""
    return subprocess.run([PIPELINE, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
