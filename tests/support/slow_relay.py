"""A relay of TCP connections that delays every byte, as its own process: `python -m support.slow_relay SECONDS A:B …`.

For each pair of ports on loopback, what connects to A is connected to B; at most `WINDOW` bytes are under way, each
way.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final

WINDOW: Final = 4 * 1024 * 1024


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Pass bytes on, each `delay_s` after it came."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    held = 0
    is_free = asyncio.Event()

    async def deliver() -> None:
        nonlocal held
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - loop.time())
            writer.write(data)
            await writer.drain()
            held -= len(data)
            is_free.set()
            if not data:
                return

    delivery = asyncio.create_task(deliver())
    try:
        while data := await reader.read(65536):
            held += len(data)
            under_way.put_nowait((loop.time() + delay_s, data))
            while held > WINDOW:
                is_free.clear()
                await is_free.wait()
        under_way.put_nowait((loop.time() + delay_s, b""))
        await delivery
    except OSError:
        delivery.cancel()
    finally:
        writer.close()


async def serve(delay_s: float, pairs: list[tuple[int, int]]) -> None:
    """Relay until killed."""

    def relay_to(port: int) -> asyncio.base_events.Server | object:
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(carry(reader, far_writer, delay_s), carry(far_reader, writer, delay_s))
            writer.close()

        return relay

    servers = [await asyncio.start_server(relay_to(there), "127.0.0.1", here) for here, there in pairs]  # type: ignore[arg-type]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    ports = [tuple(map(int, pair.split(":"))) for pair in sys.argv[2:]]
    asyncio.run(serve(float(sys.argv[1]), [(here, there) for here, there in ports]))
