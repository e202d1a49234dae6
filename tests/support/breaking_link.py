"""A TCP relay whose connections break, again and again, losing what is under way."""

from __future__ import annotations

import asyncio
import random
import threading
from types import TracebackType
from typing import Self


class BreakingLink:
    """Relays to a port of this machine; each connection lives for up to `life_s`, then is reset.

    Attributes:
        port: where to connect.
        breaks: connections cut so far.
    """

    def __init__(self, target_port: int, *, life_s: float, seed: int = 1) -> None:
        self.port = 0
        self.breaks = 0
        self._target_port = target_port
        self._life_s = life_s
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="breaking-link")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def heal(self) -> None:
        """Let connections live from now on."""
        self._life_s = 3600.0

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        pipes = asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
        try:
            await asyncio.wait_for(pipes, self._life_s * (0.2 + self._random.random()))
        except (TimeoutError, OSError):
            self.breaks += 1
        finally:
            writer.transport.abort()
            far_writer.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
