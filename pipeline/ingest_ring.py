"""The Terminal's ring of one stream: taken over after a restart, kept through new births, never waited for.

A recorder that is still to come, or that died and is being restarted, finds everything that it has not taken: for a
while the ring is not granted anew, and the rest stays in the Pilot's ring.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from shm import BlobReader, BlobWriter, ShmError, segment_name

from .backfill_name import RUN, is_backfill
from .block import Block, BlockHeader
from .errors import BlockError
from .notify import Notifier
from .stream_spec import StreamSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .transport import Context

JOIN_S: Final = 0.05
"""A reader that joins in the middle of a store is waited for so long; everybody else is never in the way."""


PATIENCE_S: Final = 5.0
"""So long what no lossless reader has taken is kept for one that is still to come, or to come back after its death."""


class IngestRing:
    """Writes blocks into one blob ring; belongs to the ingest's thread.

    Args:
        name: full name of the ring, ``<rig>/T/<stream>``.
        spec: the stream, checked.
        context: for its notices.
        lossless: names of the readers that may be lossless; None: anybody.

    Raises:
        ShmError: the ring cannot be made; the message says why.
    """

    def __init__(self, name: str, spec: StreamSpec, context: Context, *, lossless: Iterable[str] | None = None) -> None:
        self.name = name
        self._parked: deque[Block] = deque()
        self._notifier = Notifier(context, segment_name("r", name))
        meta, self.last = _left_behind(name, spec)
        try:
            self._writer = BlobWriter.create(
                name,
                max_bytes=spec.slot_bytes,
                slots=spec.slots,
                can_wait=True,
                timeout_s=JOIN_S,
                notifier=self._notifier,
                lossless=lossless,
                meta=meta,
            )
        except ShmError:
            self._notifier.close()
            raise
        self._shape = _shape(spec)
        self._taken = self._writer.published
        self._keep_until = time.monotonic() + PATIENCE_S

    def fits(self, spec: StreamSpec) -> bool:
        """Tell whether blocks of this spec can go into the ring as it is."""
        return _shape(spec) == self._shape

    @property
    def room(self) -> int:
        """Blocks that can be granted without lapping a lossless reader."""
        return max(0, self._free() - len(self._parked))

    def store(self, block: Block) -> None:
        """Put a block into the ring; park it when a reader that joined meanwhile is in the way."""
        self._parked.append(block)
        self.unpark()

    def unpark(self) -> None:
        """Put parked blocks into the ring as far as there is room."""
        while self._parked and self._free() > 0:
            block = self._parked.popleft()
            self._writer.write(*block.to_blob(), time_ns=time.monotonic_ns())

    def close(self, *, unlink: bool) -> None:
        """End the ring; parked blocks were never acknowledged and are left to the forwarder."""
        self._parked.clear()
        self._writer.close(unlink=unlink)
        self._notifier.close()

    @property
    def is_parked(self) -> bool:
        """Whether blocks wait in front of the ring; they must not be acknowledged yet."""
        return bool(self._parked)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept for a lossless reader."""
        return not self._parked and self._free() == self._writer.slots

    def _free(self) -> int:
        writer = self._writer
        slowest, now = writer.slowest, time.monotonic()
        if slowest is not None:
            self._taken, self._keep_until = slowest, now + PATIENCE_S
        elif now >= self._keep_until:
            return writer.slots
        return writer.slots - (writer.published - self._taken)

    def __repr__(self) -> str:
        return f"<IngestRing {self.name} room={self.room} parked={len(self._parked)}>"


def _shape(spec: StreamSpec) -> tuple[Any, ...]:
    """Return what a ring must have in common with a stream: also the run, of a backfill the birth, as its meta says."""
    birth = spec.birth if is_backfill(spec.stream) else None
    return spec.slot_bytes, spec.slots, spec.meta.get(RUN), birth


def _left_behind(name: str, spec: StreamSpec) -> tuple[Mapping[str, Any], BlockHeader | None]:
    """Return the meta that the ring must have, and the header of the last block that a dead ingest put into it.

    A ring left behind is taken over only when it is described in the same words, and the words of an earlier birth
    or epoch of the stream do no harm: each block says itself what it is.
    """
    meta: Mapping[str, Any] = {**spec.to_meta(), "epoch": 0}
    try:
        reader = BlobReader.attach(name, policy="latest", reader="ingest", start="oldest")
    except ShmError:
        return meta, None
    try:
        if reader.max_bytes != spec.slot_bytes or _shape(StreamSpec.from_meta(dict(reader.meta))) != _shape(spec):
            return meta, None
        return reader.meta, _last_header(reader)
    except BlockError:  # no ring of a stream
        return meta, None
    finally:
        reader.close()


def _last_header(reader: BlobReader) -> BlockHeader | None:
    try:
        return Block.from_blob(reader.latest().data).header
    except (BlockError, ShmError):
        return None
