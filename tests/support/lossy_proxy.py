"""A bad network as a process: between nodes and their station, it loses, doubles, delays and reorders whole messages.

``python -m support.lossy_proxy PORT SEED LOSS DOUBLING MAX_DELAY_S``: relays to a station's port on this machine; says
``{"port": …}``, where nodes connect instead.  A line on stdin heals it: from then on every message passes at once.  It
says what it did when stdin ends.
"""

from __future__ import annotations

import heapq
import json
import random
import sys
import time

from pipeline import TransportError
from pipeline.transport import Context, Poller, Socket, port_of

LONG_DELAY = 0.01
"""Chance that a message is held twenty times as long: it arrives after its resend, and after the answer."""


class LossyProxy:
    """Relays each node's messages by a connection of its own, under the node's identity."""

    def __init__(self, port: int, seed: int, loss: float, doubling: float, max_delay_s: float) -> None:
        self._random = random.Random(seed)
        self._loss, self._doubling, self._max_delay_s = loss, doubling, max_delay_s
        self._target = f"tcp://127.0.0.1:{port}"
        self._context = Context()
        self._router = self._context.router("tcp://127.0.0.1:0")
        self._dealers: dict[bytes, Socket] = {}
        self._names: dict[Socket | int, bytes] = {}
        self._held: list[tuple[float, int, bytes, bool, list[bytes]]] = []
        self._order = 0
        self._poller = Poller()
        self._poller.register(self._router)
        self._poller.register(sys.stdin.fileno())
        self.counts = {"carried": 0, "lost": 0, "doubled": 0}

    @property
    def port(self) -> int:
        """Where nodes connect."""
        return port_of(self._router.endpoint)

    def run(self) -> None:
        """Relay until stdin ends."""
        while True:
            wait = self._held[0][0] - time.monotonic() if self._held else 1.0
            for source in self._poller.poll(max(0.0, wait)):
                if source == sys.stdin.fileno():
                    if not sys.stdin.readline():
                        return
                    self._loss = self._doubling = self._max_delay_s = 0.0
                elif source is self._router:
                    while (frames := self._router.receive_copy()) is not None:
                        self._take(frames[0], frames[1:], upwards=True)
                elif isinstance(source, Socket):
                    while (frames := source.receive_copy()) is not None:
                        self._take(self._names[source], frames, upwards=False)
            self._deliver(time.monotonic())

    def _take(self, name: bytes, frames: list[bytes], *, upwards: bool) -> None:
        """Hold zero, one or two copies of a message until they are due."""
        if name not in self._dealers:
            socket = self._dealers[name] = self._context.dealer(self._target, name)
            self._names[socket] = name
            self._poller.register(socket)
        copies = 1 + (self._random.random() < self._doubling)
        self.counts["doubled"] += copies - 1
        for _ in range(copies):
            if self._random.random() < self._loss:
                self.counts["lost"] += 1
                continue
            delay = self._random.random() * self._max_delay_s * (20 if self._random.random() < LONG_DELAY else 1)
            self._order += 1
            heapq.heappush(self._held, (time.monotonic() + delay, self._order, name, upwards, frames))

    def _deliver(self, now: float) -> None:
        while self._held and self._held[0][0] <= now:
            _, _, name, upwards, frames = heapq.heappop(self._held)
            self.counts["carried"] += 1
            try:
                self._dealers[name].send(frames) if upwards else self._router.send([name, *frames])
            except TransportError:
                self.counts["lost"] += 1  # that end is gone


def main() -> None:
    """Run until stdin ends."""
    port, seed, *chances = sys.argv[1:]
    proxy = LossyProxy(int(port), int(seed), *map(float, chances))
    print(json.dumps({"port": proxy.port}), flush=True)
    proxy.run()
    print(json.dumps(proxy.counts), flush=True)


if __name__ == "__main__":
    main()
