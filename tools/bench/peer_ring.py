"""Our ring as a peer of the side-by-side harness: writer and readers through the public API only.

    export BENCH_PEERS='ring|peer_ring|Peer|tflFL;ring, hybrid|peer_ring|PeerHybrid|tfl'
    PYTHONPATH=tools/bench:. python run.py run …

Small items are copied out one call each, images are looked at where they are. Readers are lossless and the writer can
wait, as the other peers are configured.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, ClassVar

import numpy as np
from workload import Base  # type: ignore[import-not-found]  # the harness's own module, on its path

from pipeline import Context, NoticeWaiter, Notifier
from shm import FutexWaiter, HybridWaiter, RingReader, RingWriter, Run, SpinWaiter, View, WaiterFactory, segment_name

COPY_BELOW = 65536


class Producer:
    """Writes one item a call."""

    def __init__(self, name: str, cfg: Any, notifier: Notifier | None = None) -> None:
        ring = RingWriter.create(
            name, shape=cfg.shape, dtype=cfg.dtype, slots=cfg.depth, can_wait=True, timeout_s=60, notifier=notifier
        )
        self.send = ring.write
        self.close = ring.close


class CopyingConsumer:
    """Copies each item into one array of its own."""

    def __init__(self, ring: RingReader) -> None:
        self.close = ring.close
        out = np.empty((1, *ring.shape), ring.dtype)
        flat = out.reshape(-1).view("<u8")
        read_into, wait = ring.read_into, ring.wait

        def recv(timeout_s: float) -> Any:
            return flat if read_into(out, None, timeout_s) else None

        def recv_noticed(timeout_s: float) -> Any:
            return flat if read_into(out) or (wait(timeout_s) and read_into(out)) else None

        self.recv = recv if isinstance(ring.waiter, FutexWaiter) else recv_noticed


class LookingConsumer:
    """Looks at each item where it is; `release` tells whether it stayed whole."""

    def __init__(self, ring: RingReader) -> None:
        self._ring = ring
        self.close = ring.close
        self._flat: dict[int, Any] = {}
        self._view: View | None = None
        self._run: Run | None = None

    def recv(self, timeout_s: float) -> Any:
        """Return the next item as words, or None."""
        ring = self._ring
        if not ring.lag and not ring.wait(timeout_s):
            return None
        view = ring.view(1)
        run = view.__enter__()
        if not run.count:
            view.__exit__(None, None, None)
            return None
        self._view, self._run = view, run
        slot = run.first % ring.slots
        flat = self._flat.get(slot)
        if flat is None:
            flat = self._flat[slot] = run.data[0].reshape(-1).view("<u8")
        return flat

    def release(self) -> bool:
        """Give the item back."""
        if self._view is None or self._run is None:
            return True
        self._view.__exit__(None, None, None)
        return self._run.good


class Peer(Base):  # type: ignore[misc]  # see above
    """A reader that sleeps on the futex."""

    name = "pipeline ring"
    as_shape = True
    waiter: ClassVar[WaiterFactory] = FutexWaiter

    def setup(self) -> None:
        """Choose a name; before the fork."""
        self.ring = f"bench-{os.getpid()}"

    def producer(self) -> Producer:
        """Create the ring."""
        return Producer(self.ring, self.cfg)

    def consumer(self, i: int) -> CopyingConsumer | LookingConsumer:
        """Attach to it."""
        waiter = type(self).waiter
        ring = RingReader.attach(self.ring, policy="lossless", reader=f"c{i}", waiter=waiter, wait_for_s=10)
        return CopyingConsumer(ring) if self.cfg.nbytes < COPY_BELOW else LookingConsumer(ring)


class PeerHybrid(Peer):
    """A reader that spins for 100 us before it sleeps."""

    name = "pipeline ring, hybrid"
    waiter: ClassVar[WaiterFactory] = partial(HybridWaiter, spin_s=100e-6)


class PeerSpin(Peer):
    """A reader with a core of its own."""

    name = "pipeline ring, spin"
    waiter: ClassVar[WaiterFactory] = SpinWaiter


class PeerNotice(Peer):
    """A reader that sleeps until a notice over zmq."""

    name = "pipeline ring, zmq notices"

    def producer(self) -> Producer:
        """Create the ring, and where its notices are published."""
        self._context = Context()
        return Producer(self.ring, self.cfg, Notifier(self._context, segment_name("r", self.ring)))

    def consumer(self, i: int) -> CopyingConsumer | LookingConsumer:
        """Attach to it."""
        self._context = Context()
        waiter = NoticeWaiter.on(self._context)
        ring = RingReader.attach(self.ring, policy="lossless", reader=f"c{i}", waiter=waiter, wait_for_s=10)
        return CopyingConsumer(ring) if self.cfg.nbytes < COPY_BELOW else LookingConsumer(ring)
