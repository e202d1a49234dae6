"""One stream on its way into the Terminal's ring, as a machine without I/O.

The shell (`Ingest`) tells it what arrived and how many blocks the ring has room for, and stores what it accepts.

G1  The ring is the memory: after a restart, `next` and `origin` come from the header of its last block.
G2  A block is accepted iff ``first - lost`` is where the last one ended: every item once, every loss told.
G3  What is below that is a duplicate and dropped.  What is above it, or damaged, asks the forwarder to go back: once
    for all that was under way, and again after `REWIND_S` without the wanted block, which may be damaged again.
G4  Only as much is granted as the ring has room for, so nothing here ever waits.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from .channel import Credit, Open, Opened
from .credit import Grant, window_blocks
from .errors import BlockError

if TYPE_CHECKING:
    from .block import Block, BlockHeader
    from .stream_spec import StreamSpec


REWIND_S: Final = 0.5
"""Longer than what was under way needs to arrive; then the wanted block itself was damaged again."""


class Verdict(enum.Enum):
    """What becomes of a block."""

    STORE = "stored"
    DUPLICATE = "duplicate"
    DAMAGED = "damaged"
    AHEAD = "ahead"
    """One before it is missing; it will come again."""


class IngestStream:
    """Decides which blocks of one stream go into its ring.

    Args:
        spec: what the stream is made of, checked.
        last: header of the newest block in the ring, None if it is empty.
    """

    def __init__(self, spec: StreamSpec, last: BlockHeader | None) -> None:
        self.spec = spec
        self.next = 0
        self.origin: int | None = None
        self.is_ended = False
        self.why = ""
        """What was wrong with the last block that was not stored."""
        self._last = last
        self._opening = 0
        self._rewound_at: float | None = None
        self.grant = self._new_grant()

    def open(self, message: Open, room: int) -> Opened:
        """Answer an OPEN: where the run that the ring holds goes on, or that nothing is known of it (G1)."""
        self.spec = message.spec
        self.grant = self._new_grant()
        self._opening = message.opening
        self.next, self.origin, self.is_ended = self._known_run(message)
        self._rewound_at = None
        return self._opened(room)

    def take(self, block: Block) -> Verdict:
        """Judge a block; after STORE the shell must store it."""
        header = block.header
        try:
            block.check(self.spec)
        except BlockError as error:
            self.why = str(error)
            return Verdict.DAMAGED
        start = header.first - header.lost
        if start != self.next:
            self.why = f"{header.stream} block {header.first}-{header.end} (lost {header.lost}), expected {self.next}"
            return Verdict.DUPLICATE if header.end <= self.next else Verdict.AHEAD
        if self.is_ended:
            return Verdict.DUPLICATE
        self.grant.accept()
        self.next, self.origin, self.is_ended = header.end, header.origin, header.is_end
        self._last = header
        self._rewound_at = None
        return Verdict.STORE

    def rewind(self, room: int, now: float) -> Opened | None:
        """Return the message that makes the forwarder go back to `next`, None if it was sent just now (G3)."""
        if self._rewound_at is not None and now - self._rewound_at < REWIND_S:
            return None
        self._rewound_at = now
        return self._opened(room)

    def credit(self, room: int, now: float, *, is_late: bool) -> Credit | Opened | None:
        """Return the credit to announce now, if it is worth a message, or the call to go back, if it is due again.

        Args:
            room: blocks that the ring has room for.
            now: time, seconds.
            is_late: a block is not acknowledged yet, and has waited long enough.
        """
        if self._rewound_at is not None:
            return self.rewind(room, now)
        if not (is_late or self.grant.is_due(room)):
            return None
        return Credit(self._opening, self.spec.stream, self.next, self.is_ended, self.grant.limit(room))

    def standing(self, acknowledged: int) -> Credit:
        """Return the credit that stands, said again; it changes nothing for who has heard it."""
        limit = self.grant.announced * self.grant.cost
        return Credit(self._opening, self.spec.stream, acknowledged, False, limit)

    def _known_run(self, message: Open) -> tuple[int, int | None, bool]:
        last, unknown = self._last, (message.start, None, False)
        if last is None or last.birth != message.spec.birth:
            return unknown
        if message.origin is None:  # whoever asks so was restarted, and knows nothing but the stream
            return unknown if last.is_end else (last.end, last.origin, False)
        # An empty run that ended tells nothing: the next one may begin at the same sequence.
        is_same = last.origin == message.origin and not (last.is_end and last.first == last.origin)
        return (last.end, last.origin, last.is_end) if is_same else unknown

    def _opened(self, room: int) -> Opened:
        limit = self.grant.reset(room)
        return Opened(self._opening, self.spec.stream, self.next, self.origin, self.is_ended, limit)

    def _new_grant(self) -> Grant:
        spec = self.spec
        blocks_per_s = None if spec.rate is None else spec.rate / spec.block_items
        return Grant(spec.slot_bytes, window_blocks(spec.slot_bytes, blocks_per_s, spec.slots))

    def __repr__(self) -> str:
        return f"<IngestStream {self.spec.stream} next={self.next}{' ended' if self.is_ended else ''} {self.grant!r}>"
