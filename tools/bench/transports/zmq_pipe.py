"""Raw pyzmq: PUSH to PULL, or to several readers XPUB to SUB that drops nothing.

Frames of 64 KiB and more are not copied by either side, smaller ones are, which is quicker.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zmq  # noqa: TID251  # it is what our transport is measured against

from tools.bench.transport import PATIENCE_S, free_port

if TYPE_CHECKING:
    from tools.bench.feed import Feed
    from tools.bench.sink import Sink
    from tools.bench.transport import Job

COPY_BELOW: Final = 65536


class ZmqIpc:
    """Over a Unix socket."""

    block = 0

    def __init__(self, job: Job) -> None:
        self._job = job
        self._copy = job.payload.bytes < COPY_BELOW
        self._endpoint = self._choose_endpoint()

    def write(self, feed: Feed) -> None:
        """Send each item as one frame."""
        one = self._job.readers == 1
        with zmq.Context() as context, context.socket(zmq.PUSH if one else zmq.XPUB) as out:
            out.sndhwm = self._job.payload.slots
            out.sndtimeo = int(PATIENCE_S * 1000)
            if not one:
                out.setsockopt(zmq.XPUB_NODROP, 1)
                out.setsockopt(zmq.XPUB_VERBOSE, 1)  # tell of every subscriber
            out.bind(self._endpoint)
            feed.start()
            for _ in range(0 if one else self._job.readers):
                out.recv()  # a subscription; what is sent before it arrives is lost
            send, copy = out.send, self._copy
            for item in feed:
                send(item.data, 0, copy)

    def read(self, sink: Sink) -> None:
        """Receive each item as one frame."""
        with zmq.Context() as context, context.socket(zmq.PULL if self._job.readers == 1 else zmq.SUB) as source:
            source.rcvhwm = self._job.payload.slots
            source.rcvtimeo = int(PATIENCE_S * 1000)
            if self._job.readers > 1:
                source.subscribe(b"")
            source.connect(self._endpoint)
            sink.start()
            take, receive = sink.take, source.recv
            if self._copy:
                while not take(memoryview(receive()).cast("Q")):
                    pass
            else:
                while not take(receive(copy=False).buffer.cast("Q")):
                    pass

    def close(self) -> None:
        """Remove the socket's file."""
        if self._endpoint.startswith("ipc://"):
            Path(self._endpoint.removeprefix("ipc://")).unlink(missing_ok=True)

    def _choose_endpoint(self) -> str:
        return f"ipc://{tempfile.gettempdir()}/bench-{os.getpid()}.zmq"


class ZmqTcp(ZmqIpc):
    """Over loopback."""

    def _choose_endpoint(self) -> str:
        return f"tcp://127.0.0.1:{free_port()}"
