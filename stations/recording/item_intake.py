"""Reads a Pilot's own rings of items and hands them to a session as blocks: recording without Terminal and link.

Each stream is one ring after the other under one name.  A ring that was there at START is recorded from the sequence
that START names, one that came later from its beginning; a recorder that was killed goes on behind what is in the
files.  The reader is lossless: a source that can wait waits for the recording too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pipeline.errors import BlockError
from pipeline.forward_effects import RingState
from pipeline.notify import Notices
from pipeline.ring_cutter import RingCutter
from pipeline.ring_look import LOOK_S, RingLook, until_full_s
from shm import LosslessRefusedError, RingReader, SegmentNotFoundError, ShmError
from stations.ledger import Sequences

from .intake import JOINED, READER
from .item_cuts import ItemCuts
from .session import SessionRecorder

SEARCH_S: Final = 0.02
"""How often a ring that is not there is tried."""
AT_ONCE: Final = 32
"""Blocks cut out of one ring before the others have their turn."""

log = logging.getLogger(__name__)


class ItemSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one stream's items are."""

    ring: str
    """Full name of its ring."""
    codec: str = "auto"


@dataclass(slots=True)
class _Followed:
    """One ring that is read."""

    stream: str
    reader: RingReader
    cutter: RingCutter
    cuts: ItemCuts
    look: RingLook
    look_at: float
    is_replaced: bool = False
    lapped: int = 0
    """Items overwritten before they were read, by this process."""

    @property
    def birth(self) -> str:
        return f"{self.reader.birth:016x}"

    @property
    def idle_s(self) -> float:
        """Seconds for which the source, at its rate, cannot fill another block; 0 if it might at any time."""
        if self.cuts.stop_at is not None:
            return 0.0
        return until_full_s(self.cutter.spec, self.cuts.at, self.reader.published)

    def ring(self) -> RingState:
        """Return the ring as it is now."""
        return self.look.state(is_replaced=self.is_replaced)


class ItemIntake:
    """Reads every ring that it is told of, in one thread.

    Args:
        sources: by stream.
        news: told of every ring, waited on by `wait`.
        pilot: whose rings they are: what is asked for as `recorder` and refused is asked for as the Pilot.
    """

    def __init__(self, sources: Mapping[str, ItemSource], news: Notices, pilot: str = "") -> None:
        self._sources = sources
        self._news = news
        self._names = (READER, pilot)
        self._session: SessionRecorder | None = None
        self._followed: dict[str, _Followed] = {}
        self._origins: dict[tuple[str, str], int] = {}
        self._told: set[tuple[str, str]] = set()
        """Rings that the journal names."""
        self._ends: Sequences | None = None
        """Where the run ends, once it does."""
        self._refused: dict[str, str] = {}
        self._search_at = 0.0

    def begin(self, session: SessionRecorder, now: float, origins: Sequences | None = None) -> None:
        """Read for this session: from these sequences of rings that are there, from the first of those that come."""
        self.end()
        self._session, self._ends = session, None
        self._origins = {
            (stream, birth): first for stream, births in (origins or {}).items() for birth, first in births.items()
        }
        joined = session.before.of_kind(JOINED)
        before = {(event.fields["stream"], event.fields["ring"]): int(event.fields["at"]) for event in joined}
        self._told = set(before)
        self._origins |= before
        self._search(now)

    def do_work(self, now: float) -> int:
        """Look for rings when it is time, store what has come; return how many blocks were handled."""
        if self._session is None:
            return 0
        if now >= self._search_at:
            self._search(now)
        return sum(self._read(followed, self._session) for followed in list(self._followed.values()))

    def wait(self, timeout_s: float) -> None:
        """Wait until some ring has news that may fill a block."""
        self._news.rest(timeout_s, {stream: followed.idle_s for stream, followed in self._followed.items()})

    def stop(self, ends: Sequences) -> None:
        """End the run at these sequences; in rings that are not named at what is published now."""
        if self._ends is None:
            self._ends = ends
            for followed in self._followed.values():
                self._limit(followed)

    @property
    def is_drained(self) -> bool:
        """Whether every stream was read to its end, once the run has one."""
        ends = {stream: births for stream, births in (self._ends or {}).items() if births}
        reached = {stream for stream, followed in self._followed.items() if followed.cuts.is_over}
        return reached == set(self._followed) and all(
            stream in reached and self._followed[stream].birth in births for stream, births in ends.items()
        )

    def end(self) -> None:
        """Read for no session any more."""
        for stream in list(self._followed):
            self._leave(stream)
        self._session = None

    @property
    def streams(self) -> list[str]:
        """The streams that have a ring."""
        return list(self._followed)

    def lag(self, stream: str) -> int:
        """Return how many items of a stream wait in its ring."""
        followed = self._followed.get(stream)
        return followed.reader.lag if followed is not None else 0

    def lapped(self, stream: str) -> int:
        """Return how many items of a stream were overwritten before they were read."""
        followed = self._followed.get(stream)
        return followed.lapped if followed is not None else 0

    def __repr__(self) -> str:
        return f"<ItemIntake {len(self._followed)} of {len(self._sources)} rings>"

    def _search(self, now: float) -> None:
        self._search_at = now + SEARCH_S
        for stream in self._sources:
            followed = self._followed.get(stream)
            if followed is None:
                self._adopt(stream, self._attach(stream), now)
            elif now >= followed.look_at:
                self._look_around(followed, now)

    def _look_around(self, followed: _Followed, now: float) -> None:
        """Notice that another ring took this one's place, and go on there once this one is drained."""
        followed.look_at = now + LOOK_S
        reader, cuts = followed.reader, followed.cuts
        if reader.writer_alive or not reader.is_superseded:
            return
        followed.is_replaced = True
        if cuts.stop_at is None:
            cuts.ends_run = reader.ended and cuts.at > cuts.origin  # what ended of itself has its END
        if not cuts.is_over and (cuts.stop_at is not None or cuts.ends_run or cuts.at < reader.published):
            return  # not drained
        if self._ends is not None and followed.birth in self._ends.get(followed.stream, {followed.birth: 0}):
            return  # the run ends here
        successor = self._attach(followed.stream)
        if successor is not None:
            self._leave(followed.stream)
            self._adopt(followed.stream, successor, now)

    def _attach(self, stream: str) -> RingReader | None:
        ring, problem = self._sources[stream].ring, ""
        for name in self._names:
            try:
                return RingReader.attach(ring, policy="lossless", reader=name, start="oldest")
            except LosslessRefusedError as error:
                problem = problem or str(error)
            except SegmentNotFoundError:
                return None
            except ShmError as error:
                problem = str(error)
                break
        self._refuse(stream, problem)
        return None

    def _adopt(self, stream: str, reader: RingReader | None, now: float) -> None:
        if reader is None or self._session is None:
            return
        source = self._sources[stream]
        try:
            cutter = RingCutter(reader, stream, source.codec, seconds=0.0, slots=1)
        except BlockError as error:
            self._refuse(stream, str(error))
            reader.close()
            return
        key = (stream, f"{reader.birth:016x}")
        origin = self._origins.get(key, reader.first)
        known = self._session.stream(stream).births.get(reader.birth)
        at = origin if known is None else max(origin, known.last)
        reader.seek(min(at, reader.published))
        cuts = ItemCuts(cutter.spec.block_items, origin=origin, at=at, epoch=reader.epoch)
        followed = _Followed(stream, reader, cutter, cuts, RingLook(reader), now + LOOK_S)
        self._followed[stream] = followed
        self._news.follow(stream, reader)
        if key not in self._told:
            self._told.add(key)
            self._session.journal.tell(JOINED, stream=stream, ring=key[1], at=origin, late=False)
        if self._ends is not None:
            self._limit(followed)

    def _limit(self, followed: _Followed) -> None:
        told = (self._ends or {}).get(followed.stream)
        if not told:
            followed.cuts.stop(followed.reader.published)
        elif followed.birth in told:
            followed.cuts.stop(told[followed.birth])

    def _read(self, followed: _Followed, session: SessionRecorder) -> int:
        handled = 0
        while handled < AT_ONCE and (cut := followed.cuts.step(followed.ring())) is not None:
            handled += 1
            block = followed.cutter.block(cut)
            if block is None:  # overwritten meanwhile: the next look says how much
                continue
            session.store(block, followed.cutter.spec)
            followed.lapped += cut.lost
            followed.cuts.done(cut)
            followed.reader.seek(min(followed.cuts.at, followed.reader.published))
        return handled

    def _refuse(self, stream: str, why: str) -> None:
        if self._refused.get(stream) != why:  # it is tried again and again
            self._refused[stream] = why
            log.warning("ring of %s is left alone: %s", stream, why)

    def _leave(self, stream: str) -> None:
        followed = self._followed.pop(stream)
        self._news.follow(stream, None)
        followed.reader.close()
