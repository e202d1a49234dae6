"""The forwarder's second hand: reads the spool and sends it, behind the live streams and no faster than it may.

One backfill a stream at a time, oldest run first; it belongs to the forwarder's thread.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec

from .backfill import Backfill, Refill
from .backfill_name import backfill_of
from .block import Block, BlockHeader
from .budget import Budget
from .channel import Credit, Open, Opened, Refused, to_frames
from .codec import checksum
from .errors import BlockError
from .spool_file import read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .channel import Word
    from .spool import Spool
    from .spool_run import SpoolRun
    from .transport import Socket

RATE_BYTES_S: Final = 20_000_000
"""Bytes a second of backfill, when nobody says."""
LOOK_S: Final = 0.1
"""How often the spool is looked at for runs that nobody backfills."""

log = logging.getLogger(__name__)


class Backfiller:
    """Backfills everything that a spool holds.

    Args:
        spool: read and trimmed here.
        rate_bytes_s: bytes a second that the link may carry of it.
    """

    def __init__(self, spool: Spool, rate_bytes_s: float = RATE_BYTES_S) -> None:
        self._spool = spool
        self._budget = Budget(rate_bytes_s)
        self._machines: dict[str, Backfill] = {}
        self._full: set[tuple[str, str]] = set()
        """(run, stream) whose recording takes nothing, as it said last."""
        self._is_up = False
        self._look_at = 0.0
        self.items: dict[str, int] = {}
        """Items sent by live stream."""

    def link(self, is_up: bool) -> None:
        """Note that the connection was made or lost."""
        self._is_up = is_up
        for machine in self._machines.values():
            machine.link(is_up)

    def receive(self, message: Word | Block, now: float) -> None:
        """Take what the Terminal says of a backfill."""
        machine = self._machines.get(getattr(message, "stream", ""))
        if machine is None:
            return
        if isinstance(message, Opened):
            machine.opened(message)
        elif isinstance(message, Credit):
            machine.credited(message, now)
        elif isinstance(message, Refused):
            if message.reason != machine.refusal:
                log.warning("%s: the Terminal refuses it: %s", machine.spec.stream, message.reason)
            machine.refused(message, now)

    def durable(self, run: str, stream: str, births: Mapping[int, Iterable[tuple[int, int]]]) -> None:
        """Forget what the recording holds."""
        for birth, ranges in births.items():
            self._spool.forget(run, stream, birth, ranges)

    def hold(self, run: str, stream: str, now: float, *, is_full: bool) -> None:
        """Hear whether the disk of a recording takes a stream."""
        (self._full.add if is_full else self._full.discard)((run, stream))
        machine = self._machines.get(backfill_of(stream))
        if machine is not None and machine.run.head.run == run:
            machine.hold(now, is_full=is_full)

    def step(self, socket: Socket, now: float, *, may_send: bool) -> int:
        """Do what is due; send blocks only if the live streams leave room; return how much was done."""
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look_around(now)
        self._spool.tick(now)
        if not may_send:
            return 0
        return sum(self._advance(machine, socket, now) for machine in self._machines.values())

    def close(self) -> None:
        """Close the spool; what it holds stays."""
        self._spool.close()

    def _look_around(self, now: float) -> None:
        for name, machine in list(self._machines.items()):
            if machine.is_over:
                del self._machines[name]
                self._spool.drop(machine.run)
        for run in self._spool:
            if run and backfill_of(run.head.spec.stream) not in self._machines:
                self._begin(run, now)

    def _begin(self, run: SpoolRun, now: float) -> None:
        machine = Backfill(run)
        machine.link(self._is_up)
        machine.hold(now, is_full=(run.head.run, run.head.spec.stream) in self._full)
        self._machines[machine.spec.stream] = machine
        log.info("backfill of %r begins", run)

    def _advance(self, machine: Backfill, socket: Socket, now: float) -> int:
        if not self._budget.allows(now):
            return 0
        effect = machine.step(now)
        if effect is None:
            return 0
        if isinstance(effect, Open):
            socket.send(to_frames(effect))
            return 1
        block = self._block(machine, effect)
        if block is None or not socket.send(to_frames(block)):
            return 0
        machine.done(effect)
        self._budget.spend(block.header.payload_bytes)
        name = machine.run.head.spec.stream
        self.items[name] = self.items.get(name, 0) + block.header.count
        return 1

    def _block(self, machine: Backfill, refill: Refill) -> Block | None:
        """Return the block to send; None if the file does not hold it, which is noted and told in the next."""
        told = {
            "stream": machine.spec.stream,
            "flags": int(refill.flags),
            "lost": refill.lost,
            "lost_reason": refill.lost_reason,
            "origin": refill.origin,
        }
        if refill.record is None:
            return _empty(machine, refill.first, told)
        try:
            block = read_record(refill.record)
        except (BlockError, OSError) as error:
            log.error("spool: %s", error)  # noqa: TRY400 - names stream, item and file
            self._spool.spoil(machine.run, refill.record)
            return None
        return Block(msgspec.structs.replace(block.header, **told), block.times, block.payload)

    def __repr__(self) -> str:
        return f"<Backfiller {list(self._machines.values())} of {self._spool!r}>"


def _empty(machine: Backfill, first: int, told: dict[str, object]) -> Block:
    spec = machine.spec
    header = BlockHeader(
        birth=spec.birth,
        epoch=spec.epoch,
        first=first,
        count=0,
        block_items=spec.block_items,
        time_ns=0,
        period_ns=spec.period_ns,
        dtype=spec.dtype,
        shape=spec.shape,
        codec="raw",
        raw_bytes=0,
        payload_bytes=0,
        crc=checksum(b"", b""),
        **told,  # type: ignore[arg-type]
    )
    return Block(header, b"", b"")
