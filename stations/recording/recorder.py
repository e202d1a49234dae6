"""What a recorder does: sessions begun, fed and closed as it is told; no process, no node.

One thread owns the rings, the files and the session; listens run elsewhere, leave a task for it and wait.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from pipeline import Message
from shm import Counters
from stations.ledger import Sequences
from stations.rows_ledger import RowsTold

from .beside import Beside
from .errors import RecordingError
from .rotation import ENDLESS, Rotation
from .session import Kept, SessionRecorder
from .summary import by_reason

WAIT_S: Final = 0.02
"""Longest wait for news: a lost notice delays by no more."""
STOP_S: Final = 10.0
"""Seconds that STOP waits for the streams' ENDs when it does not say."""
CLOSE_S: Final = 3.0
"""Seconds that a recorder which leaves takes for what waits in the rings."""
ANSWER_S: Final = 5.0
"""Seconds beyond that in which closing the files must be done."""
KEY_SHOWN: Final = 48
"""Characters of ``data/<key>`` in the label of a counter, which has 56 bytes."""
BALANCE_S: Final = 0.25
"""How often the counters of the ledger are brought up to date."""
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


class StartOrder(msgspec.Struct, frozen=True):
    """The value of START."""

    directory: str
    streams: list[str] = []
    resume: bool = False
    rig: str = ""
    pilots: dict[str, list[str]] = {}
    """Whose streams they are: who is to hear what is on the disk."""
    origins: dict[str, dict[str, int]] = {}
    """Where the run begins in rings of items, by stream and birth (16 hex digits)."""


class StopOrder(msgspec.Struct, frozen=True):
    """The value of STOP."""

    timeout_s: float = STOP_S
    kept: dict[str, dict[str, list[tuple[int, int]]]] = {}
    """What the Pilots' spools hold: ranges of items by stream and birth; what of it is missing is pending."""
    ends: dict[str, dict[str, int]] = {}
    """Where the run ends in rings of items, as `origins`."""
    directory: str = ""
    """The recording that is meant; empty: the one that runs."""


class Intake(Protocol):
    """Where the blocks of the live streams come from."""

    @property
    def streams(self) -> list[str]:
        """The streams that have a ring."""
        ...

    @property
    def is_drained(self) -> bool:
        """Whether all that was announced by `stop` was read."""
        ...

    def begin(self, session: SessionRecorder, now: float, origins: Sequences) -> None:
        """Read for this session from now on."""

    def do_work(self, now: float) -> int:
        """Store what has come; return how many blocks that were."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Wait until there is news."""

    def stop(self, ends: Sequences) -> None:
        """The run is over at these sequences."""

    def end(self) -> None:
        """Read for no session any more."""

    def lag(self, stream: str) -> int:
        """Return how much of a stream waits in its ring."""
        ...

    def lapped(self, stream: str) -> int:
        """Return how much of a stream was overwritten before it was read."""
        ...


class Recorder:
    """Records one session after the other; `do_work` belongs to one thread, the `l_…` listens to any.

    Args:
        rig: the rig's name.
        max_loss_s: seconds of recording that a death may cost.
        rotation: how large a segment may get.
        intake: where the blocks come from.
        beside: what is taken beside them.
        counters: what `pipeline-top` sees.
        on_disk: hears of a stream that the disk takes no more, and why; with an empty text, that it does again.
    """

    def __init__(
        self,
        rig: str,
        max_loss_s: float,
        *,
        rotation: Rotation = ENDLESS,
        intake: Intake,
        beside: Beside,
        counters: Counters,
        on_disk: Callable[[str, str], object] = lambda _stream, _error: None,
    ) -> None:
        self.rig = rig
        self.max_loss_s = max_loss_s
        self._rotation = rotation
        self.session: SessionRecorder | None = None
        self._intake = intake
        self._beside = beside
        self._counters = counters
        self._on_disk = on_disk
        self._failed: set[str] = set()
        self._balance_at = 0.0
        self._told: RowsTold | None = None
        self._kept: Kept = {}
        self._tasks: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._stop: tuple[float, Future[Any]] | None = None
        self._last: dict[str, Any] = {}
        self._last_directory = ""
        self._coherence: dict[str, Any] = {}

    def do_work(self, now: float) -> int:
        """Carry out what was asked, store what has come, flush what is due; return how much was done."""
        done = self._run_tasks() + self._beside.do_work(now)
        if self.session is None:
            return done
        done += self._intake.do_work(now)
        self.session.tick(now)
        self._count(self.session)
        if now >= self._balance_at:
            self._balance_at = now + BALANCE_S
            self._balance(self.session)
        self._tell_failed(self.session)
        if self._stop is not None and (now >= self._stop[0] or (not done and self._is_drained(self.session))):
            self._finish()
        return done

    def wait(self) -> None:
        """Wait for something to do, at most 20 ms.

        Also when nothing is recorded: a socket that is never looked at does not carry out its disconnects, and libzmq
        (4.3.5, `!_io_error`) then aborted one process in four when the writers of the rings left.
        """
        self._intake.wait(WAIT_S)

    def l_start(self, message: Message) -> dict[str, Any]:
        """Begin a recording, or go on with one.

        Raises:
            RecordingError: the folder cannot take it, or another recording is running.
        """
        order = msgspec.convert(message.value, StartOrder)
        return self._ask(lambda: self._start(order), ANSWER_S)

    def l_stop(self, message: Message) -> dict[str, Any]:
        """Store everything up to each stream's END, close the files; return the account."""
        order = msgspec.convert(message.value or {}, StopOrder)
        told = self._beside.ask() if self.session is not None else None
        answer: Future[dict[str, Any]] = Future()
        self._tasks.put((lambda: self._begin_stop(order, told, answer), Future()))
        return answer.result(order.timeout_s + ANSWER_S)

    def l_state(self, _message: Message) -> dict[str, Any]:
        """Say how far everything is."""
        return self._ask(self.state, ANSWER_S)

    def l_cohere(self, _message: Message) -> dict[str, Any]:
        """Say what is stored, to be compared with what others have; after a STOP what was at its end."""
        return self._ask(lambda: self._coherence if self.session is None else self.session.coherence(), ANSWER_S)

    def l_event(self, message: Message) -> None:
        """Append an event to the journal of the recording that runs, if one does."""
        fields = dict(message.value)
        kind = str(fields.pop("kind", "event"))

        def append() -> None:
            if self.session is not None:
                self.session.journal.append(kind, **fields)

        self._ask(append, ANSWER_S)

    def state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        session = self.session
        if session is None:
            return {"state": "idle", "directory": "", "max_loss_s": self.max_loss_s, "streams": {}}
        streams = {
            name: {
                "stored": recorder.stored,
                "durable": recorder.durable,
                "lag": self._intake.lag(name),
                "lapped": self._intake.lapped(name),
                "ended": recorder.ended,
                "failed": recorder.failed,
            }
            for name, recorder in session.streams.items()
        }
        for rows in session.rows.values():
            told = {"stored": rows.stored, "durable": rows.durable, "failed": rows.failed}
            streams[rows.stream] = {**told, "lag": self._beside.rows_lag, "lapped": 0, "ended": True}
        state = "recording" if self._stop is None else "stopping"
        directory = str(session.directory)
        return {"state": state, "directory": directory, "max_loss_s": self.max_loss_s, "streams": streams}

    def close(self) -> None:
        """Close what is being recorded; whoever waits for a STOP gets its account."""
        if self.session is not None:
            self._intake.stop({})
            until = time.monotonic() + CLOSE_S
            while self._intake.do_work(now := time.monotonic()) + self._beside.do_work(now) and now < until:
                self.session.tick(now)
            self._finish()
        self._beside.close()

    def __repr__(self) -> str:
        return f"<Recorder {self.rig} {self.session or 'idle'}>"

    def _ask(self, task: Callable[[], Answer], timeout_s: float) -> Answer:
        answer: Future[Answer] = Future()
        self._tasks.put((task, answer))
        return answer.result(timeout_s)

    def _run_tasks(self) -> int:
        done = 0
        while True:
            try:
                task, answer = self._tasks.get_nowait()
            except queue.Empty:
                return done
            done += 1
            try:
                answer.set_result(task())
            except Exception as error:  # it belongs to whoever asked
                answer.set_exception(error)

    def _start(self, order: StartOrder) -> dict[str, Any]:
        directory = Path(order.directory).absolute()
        if self.session is None:
            self._beside.leave(str(directory))
            self._failed.clear()
            self._kept = {}
            self._balance_at = 0.0
            self.session = SessionRecorder(
                directory,
                self.rig,
                order.streams,
                max_loss_s=self.max_loss_s,
                resume=order.resume,
                rotation=self._rotation,
            )
            self._intake.begin(self.session, time.monotonic(), order.origins)
            self._beside.begin(self.session, order.pilots, time.monotonic())
            log.info("%s %s", "going on in" if self.session.resumed else "recording into", directory)
        elif self.session.directory != directory:
            raise RecordingError(f"recording into {self.session.directory} already; STOP that first")
        stored = {recorder.stream: recorder.stored for recorder in self.session.recorders()}
        return {"directory": str(directory), "streams": self._intake.streams, "stored": stored}

    def _begin_stop(self, order: StopOrder, told: RowsTold | None, answer: Future[dict[str, Any]]) -> None:
        known = self._last_directory if self.session is None else str(self.session.directory)
        if order.directory and str(Path(order.directory).absolute()) != known:
            answer.set_exception(RecordingError(f"{order.directory} is not recorded here, {known or 'nothing'} is"))
        elif self.session is None:
            answer.set_result(self._last)  # asked again: the answer got lost
        elif self._stop is not None:
            self._stop[1].add_done_callback(lambda first: answer.set_result(first.result()))
        else:
            self._intake.stop(order.ends)
            self._stop, self._told = (time.monotonic() + order.timeout_s, answer), told
            self._kept = {
                stream: {int(birth, 16): runs for birth, runs in births.items()}
                for stream, births in order.kept.items()
            }

    def _is_drained(self, session: SessionRecorder) -> bool:
        # A stream that was expected and has neither a ring nor an item has no END to wait for.
        begun = [name for name, recorder in session.streams.items() if recorder.births]
        is_waiting = self._beside.is_waiting() or not self._intake.is_drained
        return not is_waiting and session.is_drained({*begun, *self._intake.streams})

    def _finish(self) -> None:
        session, self.session = self.session, None
        if session is None:
            return
        self._intake.end()
        self._last = self._beside.end(lambda: by_reason(session.close(self._kept)), self._told)
        self._last_directory = str(session.directory)
        self._coherence = session.coherence()
        self._count(session)
        self._balance(session)
        log.info("closed %s: %s", session.directory, {name: row["stored"] for name, row in self._last.items()})
        if self._stop is not None:
            _, answer = self._stop
            self._stop = None
            answer.set_result(self._last)

    def _tell_failed(self, session: SessionRecorder) -> None:
        for recorder in session.recorders():
            if bool(recorder.failed) != (recorder.stream in self._failed):
                (self._failed.add if recorder.failed else self._failed.discard)(recorder.stream)
                self._on_disk(recorder.stream, recorder.failed)

    def _count(self, session: SessionRecorder) -> None:
        for name, recorder in session.streams.items():
            self._set(name, stored=recorder.stored, durable=recorder.durable)
            self._set(name, lag=self._intake.lag(name), lapped=self._intake.lapped(name))
        for rows in session.rows.values():
            self._set(rows.stream[:KEY_SHOWN], stored=rows.stored, durable=rows.durable)

    def _balance(self, session: SessionRecorder) -> None:
        """Bring the ledger's counters up to date; only now and then, for they cost a look at every gap."""
        for name, recorder in session.streams.items():
            self._set(name, **recorder.balance())

    def _set(self, stream: str, **values: int) -> None:
        for label, value in values.items():
            self._counters.counter(f"{stream}.{label}").set(value)
