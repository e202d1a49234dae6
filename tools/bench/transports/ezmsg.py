"""ezmsg: its publisher and subscriber below Units, over its shared memory, with a graph server of its own."""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from tools.bench.transport import PATIENCE_S, free_port

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tools.bench.feed import Feed
    from tools.bench.sink import Sink
    from tools.bench.transport import Job

TOPIC: Final = "items"
BUFFERS: Final = {"a": 256, "b": 32, "c": 8}
"""At least as many as the slots of the others; its default where that is more."""
SPARE_BYTES: Final = 65536
"""Room of a buffer beside the item, for what ezmsg says about it."""
SETTLE_S: Final = 0.3


class Ezmsg:
    """A publisher and subscribers, each in an event loop of its own."""

    block = 0

    def __init__(self, job: Job) -> None:
        self._job = job
        self._address = ("127.0.0.1", free_port())
        os.environ.setdefault("EZMSG_LOGLEVEL", "ERROR")
        self._server = self._serve()

    def write(self, feed: Feed) -> None:
        """Broadcast each item."""
        asyncio.run(self._write(feed))

    def read(self, sink: Sink) -> None:
        """Look at each item where it is."""
        asyncio.run(self._read(sink))

    def close(self) -> None:
        """Stop the server."""
        self._server.terminate()
        try:
            self._server.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    async def _write(self, feed: Feed) -> None:
        payload = self._job.payload
        async with self._context() as context:
            publisher = await context.publisher(
                TOPIC,
                host="127.0.0.1",
                num_buffers=BUFFERS[payload.letter],
                buf_size=payload.bytes + SPARE_BYTES,
            )
            await feed.start_async()
            await asyncio.sleep(SETTLE_S)  # subscribers connect to us in their own time
            async for item in feed:
                await publisher.broadcast(item)

    async def _read(self, sink: Sink) -> None:
        async with self._context() as context:
            subscriber = await context.subscriber(TOPIC)
            await sink.start_async()
            is_last = False
            while not is_last:
                async with asyncio.timeout(PATIENCE_S), subscriber.recv_zero_copy() as item:
                    is_last = sink.take(_words(item))
                    del item  # or its memory could not be closed

    def _context(self) -> Any:
        return importlib.import_module("ezmsg.core").GraphContext(self._address, auto_start=False)

    def _serve(self) -> subprocess.Popen[bytes]:
        host, port = self._address
        command = [sys.executable, "-P", "-m", "ezmsg.core", "serve", "--address", f"{host}:{port}"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 2 * PATIENCE_S
        while True:
            try:
                socket.create_connection(self._address, 0.2).close()
            except OSError:
                if time.monotonic() > deadline or server.poll() is not None:
                    server.kill()
                    raise
                time.sleep(0.02)
            else:
                return server


def _words(item: NDArray[np.generic]) -> memoryview:
    return item.reshape(-1).view("u1").data.cast("Q")  # by bytes: its place in memory is not aligned
