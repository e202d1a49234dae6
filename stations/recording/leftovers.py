"""What the rings of a dead rig still hold of one stream, as blocks in the order of its items.

The Terminal's ring has blocks as they came over the wire, the Pilot's ring the items themselves, older ones or newer
ones.  Whichever holds more is taken, the other fills up.  A block of the Terminal's is taken whole or not at all: the
times inside it are those of its ends, spread evenly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pipeline.block import Block, BlockFlag, BlockHeader
from pipeline.codec import checksum
from pipeline.errors import BlockError
from pipeline.forward_effects import Cut
from pipeline.losses import LAPPED, SPOOLED
from pipeline.ring_cutter import RingCutter
from pipeline.stream_spec import StreamSpec
from shm import OverrunError, RingObserver, Salvage

from .ranges import Ranges
from .reasons import Gap, explain

_CODEC: Final = "auto"
Part = tuple[Block, StreamSpec]


class PilotRing:
    """Cuts blocks out of a dead sensor's ring, in place and without registering.

    Args:
        name: full name of the ring.
        stream: name of its stream.

    Raises:
        ShmError: it cannot be attached.
    """

    def __init__(self, name: str, stream: str) -> None:
        self._ring = RingObserver.attach(name)
        try:
            self._cutter = RingCutter(self._ring, stream, _CODEC, seconds=0.0, slots=1)
        except BaseException:
            self._ring.close()
            raise
        self.birth, self.first = self._ring.birth, self._ring.first
        self.items = range(self._ring.oldest, self._ring.published)

    @property
    def spec(self) -> StreamSpec:
        """The stream, as its sensor described it."""
        return self._cutter.spec

    def cut(self, first: int, end: int, origin: int) -> Iterator[Part]:
        """Yield the blocks of the items ``[first, end)``, which it retains.

        Raises:
            OverrunError: another writer came.
        """
        step = self.spec.block_items
        for at in range(first, end, step):
            block = self._cutter.block(
                Cut(at, min(step, end - at), BlockFlag.NONE, 0, "", origin=origin, epoch=self._ring.epoch)
            )
            if block is None:
                raise OverrunError(f"{self._ring.name}: another writer came while it was read", first=at, lost=end - at)
            yield block, self.spec

    def close(self) -> None:
        """Let go of the ring."""
        self._ring.close()


@dataclass(slots=True)
class TerminalBlocks:
    """The blocks of one birth that a Terminal's ring holds, and what they tell of losses."""

    blocks: list[Block] = field(default_factory=list)
    told: list[Gap] = field(default_factory=list)
    origin: int | None = None

    def take(self, block: Block) -> None:
        """Note a block."""
        header = block.header
        self.origin = header.origin if self.origin is None else min(self.origin, header.origin)
        if header.lost and header.lost_reason != SPOOLED:  # the spool is the rig's, and stays there
            self.told.append(Gap(header.first - header.lost, header.lost, header.lost_reason))
        if header.count:
            self.blocks.append(block)


class TerminalRing:
    """What a dead Terminal's ring of a stream holds, by birth.

    Args:
        found: the ring's blobs.

    Raises:
        BlockError: it is no ring of a stream.
    """

    def __init__(self, found: Salvage) -> None:
        self.spec = StreamSpec.from_meta(dict(found.meta))
        self.births: defaultdict[int, TerminalBlocks] = defaultdict(TerminalBlocks)
        self.damaged = 0
        """Blobs that are no blocks, or fail their CRC."""
        for blob in found.items:
            try:
                block = Block.from_blob(blob)
            except BlockError:
                self.damaged += 1
                continue
            if checksum(block.times, block.payload) != block.header.crc:
                self.damaged += 1
                continue
            self.births[block.header.birth].take(block)

    @property
    def items(self) -> int:
        """How many items its blocks hold."""
        return sum(block.header.count for found in self.births.values() for block in found.blocks)


def merged(terminal: TerminalRing | None, pilot: PilotRing | None) -> Iterator[Part]:
    """Yield all that the rings of a stream hold, birth by birth, with a GAP before whatever neither has."""
    births: Mapping[int, TerminalBlocks] = {} if terminal is None else terminal.births
    for birth in dict.fromkeys([*births, *([] if pilot is None else [pilot.birth])]):
        own = pilot if pilot is not None and pilot.birth == birth else None
        spec = terminal.spec if terminal is not None else own.spec if own is not None else None
        if spec is not None:
            yield from _merged(birth, spec, births.get(birth, TerminalBlocks()), own)


def _merged(birth: int, spec: StreamSpec, found: TerminalBlocks, pilot: PilotRing | None) -> Iterator[Part]:
    items = pilot.items if pilot is not None else range(0)
    blocks = found.blocks
    if len(items) > len(Ranges(_span(block) for block in blocks)):
        blocks = [block for block in blocks if not _is_within(block, items)]
    kept = Ranges(_span(block) for block in blocks)
    holes = kept.holes(items.start, items.stop)
    covered = Ranges([*kept, *holes])
    if covered.end is None:
        return
    origin = _origin(found, pilot)
    parts: list[tuple[int, Iterable[Part]]] = [
        (block.header.first, [(_alone(block, origin), spec)]) for block in blocks
    ]
    if pilot is not None:
        parts += [(first, pilot.cut(first, end, origin)) for first, end in holes]
    for gap in explain(covered.holes(origin, covered.end), found.told, LAPPED):
        parts.append((gap.first, [(_gap(gap, birth, spec, origin), spec)]))
    for _, several in sorted(parts, key=lambda part: part[0]):
        yield from several


def _origin(found: TerminalBlocks, pilot: PilotRing | None) -> int:
    """Return where the run began; if only the Pilot's ring is left, where that did."""
    if found.origin is None:
        return pilot.first if pilot is not None else 0
    return min(found.origin, pilot.items.start) if pilot is not None and pilot.items else found.origin


def _span(block: Block) -> tuple[int, int]:
    return block.header.first, block.header.end


def _is_within(block: Block, items: range) -> bool:
    return items.start <= block.header.first and block.header.end <= items.stop


def _alone(block: Block, origin: int) -> Block:
    """Return a block without what it says of others: that may be here from the other ring."""
    header = msgspec.structs.replace(block.header, flags=0, lost=0, lost_reason="", origin=origin)
    return Block(header, block.times, block.payload)


def _gap(gap: Gap, birth: int, spec: StreamSpec, origin: int) -> Block:
    values: dict[str, Any] = {
        "stream": spec.stream, "birth": birth, "epoch": 0, "flags": int(BlockFlag.GAP), "first": gap.end, "count": 0,
        "block_items": spec.block_items, "origin": origin, "lost": gap.count, "lost_reason": gap.reason,
        "time_ns": 0, "period_ns": 0, "dtype": spec.dtype, "shape": spec.shape, "codec": "raw", "raw_bytes": 0,
        "payload_bytes": 0, "crc": checksum(b"", b""),
    }  # fmt: skip
    return Block(BlockHeader(**values), b"", b"")
