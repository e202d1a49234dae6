"""Finds the Terminal's rings of blocks and hands what they hold to a session.

A recorder that was killed finds the rings as they were: it goes on from where it first joined each of them, which the
journal tells, and the session passes over what is in the files already.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from pipeline.backfill_name import RUN, is_backfill
from pipeline.block import Block
from pipeline.errors import BlockError
from pipeline.stream_spec import StreamSpec
from shm import BlobReader, SegmentNotFoundError, ShmError, list_segments
from stations.rows_ring import RING

from .session import SessionRecorder

SEARCH_S: Final = 0.02
"""How often the rings of expected streams are tried: a file read at full speed fills its ring within tenths."""
SEARCH_ALL_S: Final = 1.0
"""How often all segments of the machine are looked through for rings that nobody announced: 0.5 ms each."""
AT_ONCE: Final = 32
"""Blocks taken from one ring before the others have their turn."""
READER: Final = "recorder"
JOINED: Final = "joined"
"""Kind of the event that tells from where on a ring is recorded."""
log = logging.getLogger(__name__)


class News(Protocol):
    """Waits for any of many rings to advance; `pipeline.notify.Notices` is one."""

    def follow(self, key: str, reader: BlobReader | None) -> None:
        """Wait for this ring under `key`; None: no longer."""

    def poll(self, timeout_s: float) -> set[str]:
        """Wait until some ring has news; return the keys of those that do."""


@dataclass(slots=True)
class _Joined:
    """One ring that is read."""

    stream: str
    reader: BlobReader
    spec: StreamSpec
    late: bool
    """It held blocks of before the recording began."""
    expected: int
    """Number of the ring's next blob."""
    hole: bool = False
    """A blob that could not be read came before the next."""
    lapped: int = 0
    """Blobs overwritten before they were read, by this process."""


class Intake:
    """Reads every ring below a prefix, in one thread.

    Args:
        prefix: beginning of the rings' full names, e.g. ``demo/T/``; the rest is the stream's name.
        news: told of every ring, waited on by `wait`.
    """

    def __init__(self, prefix: str, news: News) -> None:
        self._prefix = prefix
        self._news = news
        self._session: SessionRecorder | None = None
        self._joined: dict[str, _Joined] = {}
        self._known: dict[tuple[str, str], tuple[int, bool]] = {}
        """Where an earlier process of this recording joined each ring: (stream, ring) to (blob, late)."""
        self._refused: dict[str, str] = {}
        self._search_at = self._search_all_at = 0.0

    def begin(self, session: SessionRecorder, now: float, _origins: object = None) -> None:
        """Read for this session from now on: what is published later, or what a dead recorder had not stored.

        Where the run began is in the blocks.
        """
        self.end()
        self._session = session
        self._known = {
            (event.fields["stream"], event.fields["ring"]): (event.fields["at"], event.fields["late"])
            for event in session.before.of_kind(JOINED)
        }
        self._search_all(late=not session.resumed)
        self._search_at, self._search_all_at = now + SEARCH_S, now + SEARCH_ALL_S

    def do_work(self, now: float) -> int:
        """Look for new rings when it is time, store what has arrived; return how many blocks were handled."""
        if self._session is None:
            return 0
        if now >= self._search_all_at:
            self._search_all(late=False)
            self._search_all_at = now + SEARCH_ALL_S
        elif now >= self._search_at:
            self._search(self._session.streams, late=False)
            self._search_at = now + SEARCH_S
        return sum(self._read(joined, self._session) for joined in list(self._joined.values()))

    def wait(self, timeout_s: float) -> None:
        """Wait until some ring has news."""
        self._news.poll(timeout_s)

    def stop(self, ends: object) -> None:
        """Do nothing: where the run ends is in the blocks."""

    @property
    def is_drained(self) -> bool:
        """Whether whatever was announced has come: the blocks' ENDs tell."""
        return True

    def end(self) -> None:
        """Read for no session any more."""
        for stream in list(self._joined):
            self._leave(stream)
        self._session = None

    @property
    def streams(self) -> list[str]:
        """The streams that have a ring."""
        return list(self._joined)

    def lag(self, stream: str) -> int:
        """Return how many blocks of a stream wait in its ring."""
        joined = self._joined.get(stream)
        return joined.reader.lag if joined is not None else 0

    def lapped(self, stream: str) -> int:
        """Return how many blocks of a stream were overwritten before they were read."""
        joined = self._joined.get(stream)
        return joined.lapped if joined is not None else 0

    def __repr__(self) -> str:
        waiting = sum(joined.reader.lag for joined in self._joined.values())
        return f"<Intake {self._prefix} rings={len(self._joined)} waiting={waiting}>"

    def _search_all(self, *, late: bool) -> None:
        found = list_segments(self._prefix)
        rings = [info.full_name for info in found if info.ring is not None and info.ring.is_blob]
        streams = [name.removeprefix(self._prefix) for name in rings]
        self._search([name for name in streams if name != RING and not is_backfill(name)], late=late)

    def _search(self, streams: Iterable[str], *, late: bool) -> None:
        for stream in list(streams):
            joined = self._joined.get(stream)
            if joined is not None and not joined.reader.lag and joined.reader.is_superseded:
                self._leave(stream)
                joined = None
            if joined is None:
                self._join(stream, late=late)

    def _join(self, stream: str, *, late: bool) -> None:
        name = f"{self._prefix}{stream}"
        try:
            reader = BlobReader.attach(name, policy="lossless", reader=READER, start="newest" if late else "oldest")
        except SegmentNotFoundError:
            return
        except ShmError as error:
            self._refuse(stream, str(error))
            return
        try:
            spec = StreamSpec.from_meta(dict(reader.meta))
        except BlockError as error:
            self._refuse(stream, str(error))
            reader.close()
            return
        if not self._is_ours(spec):
            reader.close()
            return
        self._begin_ring(stream, reader, spec, late=late)

    def _is_ours(self, spec: StreamSpec) -> bool:
        """Tell whether a ring is of the recording that runs: a Pilot may not have heard yet that there is another."""
        assert self._session is not None  # noqa: S101 - only searched while a session is there
        own = str(self._session.directory)
        return bool(spec.meta.get(RUN, own) == own)

    def _refuse(self, stream: str, why: str) -> None:
        if self._refused.get(stream) != why:  # it is tried again and again
            self._refused[stream] = why
            log.warning("ring of %s is left alone: %s", stream, why)

    def _begin_ring(self, stream: str, reader: BlobReader, spec: StreamSpec, *, late: bool) -> None:
        assert self._session is not None  # noqa: S101 - only searched while a session is there
        birth = f"{reader.birth:016x}"
        position, late = self._known.get((stream, birth), (reader.position, late and reader.published > 0))
        if position > reader.position:
            reader.seek(position)
        self._joined[stream] = _Joined(stream, reader, spec, late, reader.position)
        self._news.follow(stream, reader)
        if (stream, birth) not in self._known:
            self._session.journal.tell(JOINED, stream=stream, ring=birth, at=position, late=late)

    def _read(self, joined: _Joined, session: SessionRecorder) -> int:
        handled = 0
        while handled < AT_ONCE and (blob := joined.reader.read(timeout_s=0)) is not None:
            handled += 1
            joined.lapped += blob.sequence - joined.expected
            missed = joined.hole or blob.sequence > joined.expected
            joined.expected = blob.sequence + 1
            try:
                block = Block.from_blob(blob.data)
            except BlockError as error:
                log.error("ring %s blob %d: %s", joined.reader.name, blob.sequence, error)  # noqa: TRY400 - says all
                joined.hole = True
                continue
            joined.hole = False
            session.store(block, joined.spec, missed=missed, joined_late=joined.late)
        return handled

    def _leave(self, stream: str) -> None:
        joined = self._joined.pop(stream)
        self._news.follow(stream, None)
        joined.reader.close()
