"""A recorder's process that a test feeds: a Terminal and its supervisor, with rings that the test fills."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.recordings import MadeStream

from pipeline import Message
from pipeline.block import Block
from pipeline.log import LogOptions
from shm import BlobWriter, clean
from stations.recorder import RecorderConfig
from stations.station import Station
from stations.supervisor import ChildSpec, Supervisor

RIG = f"rectest{os.getpid()}"
RECORDER = "T.recorder"


class Bench:
    """A Terminal and its supervisor, with a recorder below and rings that the test fills.

    Args:
        folder: for the logs.
        config: of the recorder, what differs.
    """

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.greetings: queue.Queue[dict[str, Any]] = queue.Queue()
        self.station = Station("T", {"HANDSHAKE": self._greeted}, listen_endpoint="tcp://127.0.0.1:0")
        self.supervisor = Supervisor(LogOptions(str(folder / "logs")), lambda _event: None)
        self.rings: dict[str, BlobWriter] = {}
        port = int(self.station.endpoint.rpartition(":")[2])
        told = RecorderConfig(**{"rig": RIG, "port": port, "max_loss_s": 0.5, **config})
        self.supervisor.start(ChildSpec(RECORDER, "recorder", told))

    def _greeted(self, message: Message) -> None:
        self.greetings.put(message.value)

    def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Look after the child until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            self.supervisor.do_work()
            time.sleep(0.01)

    def greeted(self) -> dict[str, Any]:
        """Wait for the recorder's HANDSHAKE."""
        self.until(lambda: not self.greetings.empty())
        return self.greetings.get()

    def ask(self, key: str, value: Any = None) -> Any:
        """Send the recorder a message and return its answer."""
        return self.station.request(RECORDER, key, value, timeout_s=20.0)

    def stored(self, stream: str) -> int:
        """Return how many items of a stream the recorder says are stored."""
        return int(self.ask("STATE")["streams"].get(stream, {}).get("stored", 0))

    def ring(self, made: MadeStream, slots: int = 64) -> BlobWriter:
        """Make the Terminal's ring of a stream."""
        spec = made.spec
        name = f"{RIG}/T/{spec.stream}"
        self.rings[name] = BlobWriter.create(
            name, max_bytes=spec.slot_bytes, slots=slots, can_wait=True, meta=spec.to_meta()
        )
        return self.rings[name]

    def close(self) -> None:
        """End everything."""
        self.supervisor.stop()
        self.station.release()
        for ring in self.rings.values():
            ring.close()
        clean(rig=RIG)  # what a recorder that was killed left


def put(ring: BlobWriter, *blocks: Block) -> None:
    """Put blocks into a ring as the ingest does."""
    for block in blocks:
        ring.write(*block.to_blob())
