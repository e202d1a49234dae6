"""Reads the Terminal's ring of message rows and hands the rows to a session.

Two readers of the same ring: the one reads ahead, the other, which the writer waits for, stands where the files end.
So whatever a recorder had in memory when it was killed is in the ring still.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from shm import BlobReader, RingObserver, SegmentNotFoundError, ShmError
from stations.rows_ring import META, READER, Row, RowAssembler, RowCounts

from .session import SessionRecorder

JOINED: Final = "rows_joined"
"""Kind of the event that tells at which rows the recording began."""
SEARCH_S: Final = 0.1
AT_ONCE: Final = 512
"""Parts taken before the blocks have their turn."""
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Joined:
    """The ring that is read."""

    keeper: BlobReader
    scout: BlobReader
    counts: RowCounts
    assembler: RowAssembler = field(default_factory=RowAssembler)
    read_to: int = 0
    """Everything before this part of the ring was handed over."""

    @property
    def birth(self) -> int:
        return self.keeper.birth

    @property
    def clock(self) -> tuple[str, int, int]:
        clock = self.keeper.clock
        return clock.domain, clock.monotonic_ns, clock.realtime_ns

    def close(self) -> None:
        self.scout.close()
        self.keeper.close()


class RowsIntake:
    """Reads one ring after the other under one name, in one thread.

    Args:
        name: full name of the ring, ``<rig>/<terminal>/rows``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.origins: dict[int, Mapping[str, int]] = {}
        """By birth: rows of each key that came before the recording."""
        self.accepted: dict[int, Mapping[str, int]] = {}
        """By birth: rows of each key that the ring has brought."""
        self._session: SessionRecorder | None = None
        self._joined: _Joined | None = None
        self._search_at = self._flush_at = 0.0
        self._refused = ""

    def begin(self, session: SessionRecorder, now: float) -> None:
        """Read for this session from now on, or what a dead recorder had not stored."""
        self.end()
        self._session = session
        self.origins, self.accepted = {}, {}
        for event in session.before.of_kind(JOINED):
            self.origins.setdefault(int(event.fields["ring"], 16), event.fields["counts"])
        self._join(skip=not session.resumed)
        self._search_at, self._flush_at = now + SEARCH_S, now + session.max_loss_s / 2

    def do_work(self, now: float) -> int:
        """Store what has arrived, flush when it is time; return how many parts were handled."""
        session = self._session
        if session is None:
            return 0
        if now >= self._search_at:
            self._search_at = now + SEARCH_S
            self._look_around()
        joined = self._joined
        done = self._read(joined, session) if joined is not None else 0
        if now >= self._flush_at:
            self._flush_at = now + session.max_loss_s / 2
            self._commit()
        elif joined is not None and joined.scout.position - joined.keeper.position > joined.keeper.slots // 4:
            self._commit()  # the writer would wait
        return done

    @property
    def lag(self) -> int:
        """Parts that wait in the ring."""
        return self._joined.scout.lag if self._joined is not None else 0

    def end(self) -> None:
        """Read for no session any more."""
        self._leave()
        self._session = None

    def __repr__(self) -> str:
        return f"<RowsIntake {self.name} {'joined' if self._joined else 'no ring'} lag={self.lag}>"

    def _look_around(self) -> None:
        joined = self._joined
        if joined is not None and not joined.scout.lag and joined.keeper.is_superseded and not joined.scout.lag:
            self._leave()
        if self._joined is None:
            self._join(skip=False)

    def _join(self, *, skip: bool) -> None:
        """Join the ring if it is there; with `skip` what it holds already is counted and passed over."""
        assert self._session is not None  # noqa: S101 - only called while a session is there
        try:
            start: Literal["oldest"] | int = "oldest" if skip else _where_another_died(self.name)
            keeper = BlobReader.attach(self.name, policy="lossless", reader=READER, start=start)
        except SegmentNotFoundError:
            return
        except ShmError as error:
            self._refuse(str(error))
            return
        if dict(keeper.meta) != dict(META):
            keeper.close()
            self._refuse(f"{self.name}: {keeper.meta} is not {META}")
            return
        try:
            scout = BlobReader.attach(self.name, policy="drop_oldest", reader=READER, start=keeper.position)
        except ShmError as error:  # replaced between the two
            keeper.close()
            self._refuse(str(error))
            return
        if scout.birth != keeper.birth:
            scout.close()
            keeper.close()
            return
        joined = self._joined = _Joined(keeper, scout, RowCounts(), read_to=keeper.position)
        if skip:
            self._pass_over(joined, keeper.published)
        if joined.birth not in self.origins:
            counts = dict(joined.counts.keys) if skip else {}
            self.origins[joined.birth] = counts
            self._session.journal.tell(JOINED, ring=f"{joined.birth:016x}", at=joined.read_to, counts=counts)
        for key, origin in self.origins[joined.birth].items():
            self._session.row(key).know(joined.birth, origin)

    def _pass_over(self, joined: _Joined, to: int) -> None:
        while joined.scout.position < to and (blob := joined.scout.read(timeout_s=0)) is not None:
            found = joined.assembler.feed(blob.data)
            if found is not None:
                joined.counts.take(found)
            if joined.assembler.is_between:
                joined.read_to = blob.sequence + 1
        joined.keeper.seek(joined.read_to)

    def _read(self, joined: _Joined, session: SessionRecorder) -> int:
        handled = 0
        while handled < AT_ONCE and (blob := joined.scout.read(timeout_s=0)) is not None:
            handled += 1
            found = joined.assembler.feed(blob.data)
            if found is not None:
                joined.counts.take(found)
            if isinstance(found, Row):
                session.row(found.key).store(found, joined.birth, joined.clock)
            if joined.assembler.is_between:
                joined.read_to = blob.sequence + 1
        if handled:
            self.accepted[joined.birth] = joined.counts.keys
        return handled

    def _commit(self) -> None:
        """Flush the files, then give up the rows' places in the ring."""
        if self._session is None:
            return
        for recorder in self._session.rows.values():
            recorder.flush()
        joined = self._joined
        if joined is not None and joined.read_to > joined.keeper.position:
            joined.keeper.seek(joined.read_to)

    def _leave(self) -> None:
        self._commit()
        joined, self._joined = self._joined, None
        if joined is not None:
            if joined.assembler.damaged:
                log.error("%s: %d parts were no part of a row", self.name, joined.assembler.damaged)
            joined.close()

    def _refuse(self, why: str) -> None:
        if self._refused != why:  # it is tried again and again
            self._refused = why
            log.warning("ring of rows is left alone: %s", why)


def _where_another_died(name: str) -> Literal["oldest"] | int:
    """Return where a recorder stood that was killed: the writer has kept that for us, and may overwrite the rest."""
    with RingObserver.attach(name) as ring:
        dead = [row.position for row in ring.readers() if row.name == READER and row.policy == "lossless"]
    return min(dead) if dead else "oldest"
