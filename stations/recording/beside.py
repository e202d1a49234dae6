"""What a recorder takes beside the live streams: a Pilot's nothing, the Terminal's messages and backfill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pipeline import PipelineError
from stations.rows_ledger import RowsTold, with_produced

from .backfill_intake import BackfillIntake, Current
from .durable import DurableTeller
from .late import LateRecordings
from .rows_intake import RowsIntake
from .session import SessionRecorder

MakeBackfill = Callable[[Current, LateRecordings], BackfillIntake]
Summary = dict[str, dict[str, Any]]
log = logging.getLogger(__name__)


class Beside:
    """Takes nothing; belongs to the recorder's thread, but for `ask`."""

    @property
    def rows_lag(self) -> int:
        """Parts of rows that wait in their ring."""
        return 0

    def leave(self, run: str) -> None:
        """Let go of the recording of that name, which is begun, or goes on."""

    def begin(self, session: SessionRecorder, pilots: Mapping[str, list[str]], now: float) -> None:
        """Take for this session from now on; `pilots` are to hear what is on the disk of their streams."""

    def do_work(self, _now: float) -> int:
        """Take what has come; return how much that was."""
        return 0

    def is_waiting(self) -> bool:
        """Whether something of the session is still to be taken."""
        return False

    def ask(self) -> RowsTold | None:
        """Return what the Terminal says that it accepted; None if it does not."""
        return None

    def end(self, summary: Callable[[], Summary], _told: RowsTold | None) -> Summary:
        """Take for no session any more; return its summary, taken meanwhile, with what others say was produced."""
        return summary()

    def close(self) -> None:
        """Let go of everything."""


class TerminalSide(Beside):
    """Takes rows of messages, and what comes out of Pilots' spools; tells Pilots what is on the disk.

    Args:
        rows: where the rows come from.
        ask_rows: asks the Terminal which it accepted; raises when it does not answer.
        backfill: where late blocks come from: makes one from what returns the recording that runs, and those over.
        late: recordings that are over.
        teller: tells Pilots what is on the disk.
    """

    def __init__(
        self,
        rows: RowsIntake,
        ask_rows: Callable[[], Any],
        backfill: MakeBackfill,
        late: LateRecordings,
        teller: DurableTeller,
    ) -> None:
        self._rows = rows
        self._ask_rows = ask_rows
        self._late = late
        self._backfill = backfill(lambda: self._session, late)
        self._teller = teller
        self._session: SessionRecorder | None = None
        self._pilots: Mapping[str, list[str]] = {}

    @property
    def rows_lag(self) -> int:
        """Parts of rows that wait in their ring."""
        return self._rows.lag

    def leave(self, run: str) -> None:
        """Close a recording that is over: it is to go on."""
        self._late.close(run)

    def begin(self, session: SessionRecorder, pilots: Mapping[str, list[str]], now: float) -> None:
        """Take rows and backfill for this session."""
        self._session, self._pilots = session, pilots
        self._rows.begin(session, now)

    def do_work(self, now: float) -> int:
        """Store what has come, tell Pilots what is due; return how much was stored."""
        done = self._backfill.do_work(now)
        for run, late in self._late.items():
            late.tick(now)
            self._teller.tick(late, self._backfill.pilots(run), now)
        if self._session is not None:
            done += self._rows.do_work(now)
            self._teller.tick(self._session, self._pilots, now)
        return done

    def is_waiting(self) -> bool:
        """Whether rows or late blocks of the session wait in a ring."""
        return self._session is not None and bool(self._rows.lag or self._backfill.lag(str(self._session.directory)))

    def ask(self) -> RowsTold | None:
        """Ask the Terminal; from any thread."""
        try:
            return msgspec.convert(self._ask_rows(), RowsTold)
        except (PipelineError, msgspec.ValidationError) as error:  # what the ring brought says the same
            log.warning("the Terminal does not say which rows it accepted: %s", error)
            return None

    def end(self, summary: Callable[[], Summary], told: RowsTold | None) -> Summary:
        """Leave the rows' ring, then take the summary, and put the rows that were accepted beside it."""
        self._rows.end()
        self._session = None
        return with_produced(
            summary(), origins=_by_hex(self._rows.origins), accepted=_by_hex(self._rows.accepted), told=told
        )

    def close(self) -> None:
        """Leave every ring, close every recording."""
        self._backfill.close()
        self._late.close_all()


def _by_hex(births: Mapping[int, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    return {f"{birth:016x}": keys for birth, keys in births.items()}
