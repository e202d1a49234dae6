"""Takes what comes out of Pilots' spools to the recording that it belongs to: the one that runs, or one that is over.

Nothing is taken out of a ring whose recording is not here: it then stays in the spool.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.backfill_name import BACKFILL, PILOT, RUN, live_of
from pipeline.block import Block
from pipeline.errors import BlockError
from pipeline.stream_spec import StreamSpec
from shm import BlobReader, ShmError, list_segments

from .errors import RecordingError
from .intake import READER, News
from .late import LateRecordings
from .session import SessionRecorder

SEARCH_S: Final = 0.5
"""How often rings are looked for."""
AT_ONCE: Final = 8
"""Blocks taken from one ring before the live streams have their turn."""
QUIET_S: Final = 2.0
"""A recording that is over is closed so long after the last block of it."""

Current = Callable[[], SessionRecorder | None]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Joined:
    reader: BlobReader
    spec: StreamSpec
    heard_at: float

    @property
    def run(self) -> str:
        return str(self.spec.meta.get(RUN, ""))

    @property
    def pilot(self) -> str:
        return str(self.spec.meta.get(PILOT, ""))


class BackfillIntake:
    """Reads every ring of a backfill below a prefix; belongs to the recorder's thread.

    Args:
        prefix: beginning of the rings' full names, e.g. ``demo/T/``.
        news: told of every ring.
        current: returns the recording that runs.
        late: opens those that are over.
    """

    def __init__(self, prefix: str, news: News, current: Current, late: LateRecordings) -> None:
        self._prefix = prefix
        self._news = news
        self._current = current
        self._late = late
        self._joined: dict[str, _Joined] = {}
        self._refused: dict[str, str] = {}
        self._search_at = 0.0

    def do_work(self, now: float) -> int:
        """Look for rings when it is time, store what has come; return how many blocks were handled."""
        if now >= self._search_at:
            self._search_at = now + SEARCH_S
            self._search(now)
            self._close_quiet(now)
        return sum(self._read(joined, now) for joined in list(self._joined.values()))

    def lag(self, run: str) -> int:
        """Return how many blocks of a run wait in rings."""
        return sum(joined.reader.lag for joined in self._joined.values() if joined.run == run)

    def pilots(self, run: str) -> dict[str, list[str]]:
        """Return whose spool a run's blocks come from: streams by Pilot."""
        found: dict[str, list[str]] = {}
        for name, joined in self._joined.items():
            if joined.run == run:
                found.setdefault(joined.pilot, []).append(live_of(name))
        return found

    def close(self) -> None:
        """Leave every ring."""
        for name in list(self._joined):
            self._leave(name)

    def __repr__(self) -> str:
        return f"<BackfillIntake {self._prefix} rings={len(self._joined)}>"

    def _search(self, now: float) -> None:
        for name, joined in list(self._joined.items()):
            if not joined.reader.lag and joined.reader.is_superseded:
                self._leave(name)
        for info in list_segments(self._prefix):
            name = info.full_name.removeprefix(self._prefix)
            if name.endswith(BACKFILL) and info.ring is not None and name not in self._joined:
                self._join(name, now)

    def _join(self, name: str, now: float) -> None:
        try:
            reader = BlobReader.attach(f"{self._prefix}{name}", policy="lossless", reader=READER, start="oldest")
        except ShmError as error:
            self._refuse(name, str(error))
            return
        try:
            joined = _Joined(reader, StreamSpec.from_meta(dict(reader.meta)), now)
            self._session(joined.run)
        except (BlockError, RecordingError) as error:
            self._refuse(name, str(error))
            reader.close()
            return
        self._refused.pop(name, None)
        self._joined[name] = joined
        self._news.follow(name, reader)

    def _session(self, run: str) -> SessionRecorder:
        current = self._current()
        return current if current is not None and str(current.directory) == run else self._late.open(run)

    def _read(self, joined: _Joined, now: float) -> int:
        handled = 0
        while handled < AT_ONCE and (blob := joined.reader.read(timeout_s=0)) is not None:
            handled += 1
            joined.heard_at = now
            try:
                block = Block.from_blob(blob.data)
                self._session(joined.run).backfill(block, joined.spec)
            except (BlockError, RecordingError) as error:  # the spool keeps it, and sends it again
                log.error("ring %s blob %d: %s", joined.reader.name, blob.sequence, error)  # noqa: TRY400 - says all
        return handled

    def _close_quiet(self, now: float) -> None:
        for run in self._late.runs():
            heard = max((joined.heard_at for joined in self._joined.values() if joined.run == run), default=0.0)
            if now - heard >= QUIET_S:
                self._late.close(run)

    def _refuse(self, name: str, why: str) -> None:
        if self._refused.get(name) != why:  # it is tried again and again
            self._refused[name] = why
            log.warning("backfill of %s is left in its spool: %s", live_of(name), why)

    def _leave(self, name: str) -> None:
        joined = self._joined.pop(name)
        self._news.follow(name, None)
        joined.reader.close()
