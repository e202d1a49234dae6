"""One end of the wire as a process of its own, to be killed: ``python -m support.stream_ends ROLE ...``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pipeline.forward import Forwarder
from pipeline.ingest import Ingest
from pipeline.transport import Context
from shm import Counters

from .streams import signal_ring, write

TESTS = Path(__file__).resolve().parents[1]


class End:
    """A process that is one end; `kill` ends it as a crash does."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.stream_ends", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
        )
        self.said = self.hear()

    def tell(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._reap()

    def close(self) -> None:
        """Let it end by itself: it ends when its input does."""
        if self.process.poll() is None and self.process.stdin is not None:
            self.process.stdin.close()
        self._reap()

    def _reap(self) -> None:
        self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def be_terminal(rig: str, endpoint: str) -> None:
    """Receive until the input ends; say the endpoint."""
    with (
        Counters.create(f"{rig}/T") as counters,
        Context() as context,
        Ingest("T", rig, context, endpoint, counters) as ingest,
    ):
        print(ingest.endpoint, flush=True)
        sys.stdin.read()


def be_pilot(rig: str, endpoint: str, stream: str, origin: str) -> None:
    """Forward one stream; a number on the input stops it there and is answered when the Terminal has it all."""
    with (
        Counters.create(f"{rig}/pilot1") as counters,
        Context() as context,
        Forwarder("pilot1", rig, context, endpoint, counters) as forwarder,
    ):
        forwarder.add(stream)
        print(forwarder.start(stream, "resume" if origin == "resume" else int(origin)), flush=True)
        for line in sys.stdin:
            forwarder.stop(stream, int(line))
            while not forwarder.finished(stream):
                time.sleep(0.002)
            print(dict(forwarder.state()[stream].dropped), flush=True)


def be_writer(rig: str) -> None:
    """Write the samples' ring: a number on the input publishes so many more, and the end of the input ends it."""
    with signal_ring(rig) as ring:
        print(ring.birth, flush=True)
        for line in sys.stdin:
            write(ring, int(line))
            print(ring.published, flush=True)


def main(role: str, *arguments: str) -> None:
    """Be what the first argument says."""
    roles: dict[str, Callable[..., None]] = {"terminal": be_terminal, "pilot": be_pilot, "writer": be_writer}
    roles[role](*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
