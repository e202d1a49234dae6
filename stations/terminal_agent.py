"""The Terminal's agent, `_T`: the node of the supervising process, which stands for the people and conducts the run.

Listens run on the node's threads and only leave work behind; `do_work` does it on the thread of whoever runs the rig.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline import Message, NetNode, Receipt
from pipeline.clock_burst import PROBES
from pipeline.ladder import FULL

from .clock_watch import CLOCK_STEP, CLOCK_UNCERTAIN
from .conductor import DISK_BACK, DISK_FAILED, PILOT_DISK, Conductor
from .conductor_effects import Effect, Handshake, Note, Send, StreamState
from .errors import NotRecordingError, NotStandingByError, OutputError, StationError
from .ledger import Account, RecordingAccount
from .recording.errors import JournalError
from .recording.journal import FILE_NAME as JOURNAL
from .recording.journal import MOST_LATE, Journal
from .standby import OrderStamp, RecordOrder
from .station import answer_ping
from .supervisor import Death, SupervisorEvent

Work = Callable[[], Iterable[Effect]]
Listens = dict[str, Callable[[Message], Any]]
WRITTEN_S: Final = 5.0
"""Seconds in which a mark must be in the journal."""
BEGUN_S: Final = 8.0
"""Seconds in which a recording that was ordered must have begun."""
log = logging.getLogger(__name__)


class TerminalAgent:
    """Carries out what the conductor decides.

    Args:
        conductor: the run.
        node: builds the agent's node from its listens, connected to the Terminal's station.
        directory: of the recording; None: there is none yet, and ...
        claim: makes it when the rig, which stands by, is told to record; also what members are told of it.
        view: address of the page, which is told of everything that happens.
        report: hears one line for people about everything that happens.
        on_page: hears the page's address once it is served.
    """

    def __init__(
        self,
        conductor: Conductor,
        node: Callable[[Listens], NetNode],
        *,
        directory: Path | None,
        claim: Callable[[], tuple[Path, dict[str, str]]],
        view: str,
        report: Callable[[str], None],
        on_page: Callable[[str], None],
    ) -> None:
        self.conductor = conductor
        self.accounts: dict[str, Account] | None = None
        self.recordings: dict[str, RecordingAccount] = {}
        """What pilots recorded themselves, once the run is over."""
        self.events: list[Note] = []
        self.values: Counter[str] = Counter()
        """How many DATA and CONTINUOUS have come."""
        self._directory = directory
        self._claim = claim
        self._ordered: Future[dict[str, Any]] | None = None
        """Answers who ordered a recording, once it runs."""
        self._view = view
        self._report = report
        self._on_page = on_page
        self._page_is_known = False
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._receipts: list[tuple[Send, Receipt]] = []
        self._unwritten: deque[dict[str, Any]] = deque(maxlen=MOST_LATE)
        self._journal: Journal | None = None
        self._is_stuck = False
        listens: Listens = {
            "HANDSHAKE": self.l_handshake,
            "STATE": self.l_state,
            "EVENT": self.l_event,
            "MARK": self.l_mark,
            "RECORD": self.l_record,
            "STOPALL": self.l_stopall,
            "DATA": self.l_data,
            "CONTINUOUS": self.l_data,
        }
        self._node = node({**listens, "PING": answer_ping})

    def do_work(self) -> int:
        """Take what came in, look at the clock and at the answers; return how much was done."""
        done = 0
        while not self._work.empty():
            self._carry_out(self._work.get()())
            done += 1
        for send, receipt in [pair for pair in self._receipts if pair[1].is_final]:
            self._receipts.remove((send, receipt))
            self._carry_out(self._answered(send, receipt))
            done += 1
        self._carry_out(self.conductor.on_tick(time.monotonic()))
        self._try_to_write_events()
        return done

    def stop(self, why: str) -> None:
        """End the run."""
        self._carry_out(self.conductor.stop(why, time.monotonic()))

    def on_process(self, event: SupervisorEvent) -> None:
        """Hear of the start or death of a process on this machine."""
        self._carry_out(self._on_process(event))

    def l_handshake(self, message: Message) -> None:
        """A member came up."""
        who = msgspec.convert(message.value, Handshake)
        self._work.put(lambda: self._met(who))

    def l_state(self, message: Message) -> None:
        """A Pilot tells how far its streams are."""
        states = msgspec.convert(message.value["streams"], dict[str, StreamState])
        self._work.put(lambda: self.conductor.on_streams(states, time.monotonic()))

    def l_event(self, message: Message) -> None:
        """Something happened on another machine."""
        fields = dict(message.value)
        kind = str(fields.pop("kind"))
        self._work.put(lambda: self._on_event(kind, fields))

    def l_mark(self, message: Message) -> dict[str, Any]:
        """Somebody says something of this moment: it is in the journal, on the disk, when this returns.

        Raises:
            NotRecordingError: nothing is being recorded.
            JournalError: the disk did not take it.
        """
        mark = {**message.value, "wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        answer: Future[dict[str, Any]] = Future()
        self._work.put(lambda: self._mark(mark, answer))
        return answer.result(WRITTEN_S)

    def l_record(self, message: Message) -> dict[str, Any]:
        """Somebody wants what stands by to be recorded: every stream is forwarded when this returns.

        Raises:
            NotStandingByError: it cannot be ordered now.
            OutputError: the recording's folder cannot be made; the rig stands by further on.
            StationError: it has not begun in time, but will as soon as everybody answers.
        """
        stamp, order = OrderStamp.now(), msgspec.convert(message.value, RecordOrder)
        answer: Future[dict[str, Any]] = Future()
        self._work.put(lambda: self._record(order, stamp, answer))
        try:
            return answer.result(BEGUN_S)
        except FutureTimeoutError as error:
            raise StationError(
                f"ordered, but not everybody has begun within {BEGUN_S:g} s; what the rig tells says who and why"
            ) from error

    def l_stopall(self, message: Message) -> None:
        """Somebody wants the run to end."""
        by = message.value.get("by") if isinstance(message.value, dict) else None
        self._work.put(lambda: self.conductor.stop(f"{by or message.sender} said STOPALL", time.monotonic()))

    def l_data(self, message: Message) -> None:
        """A value that was recorded arrived: it is counted, and is in the recording."""
        self.values[str(message.key)] += 1

    def close(self) -> None:
        """Leave; what is not in the journal yet is written."""
        self._try_to_write_events()
        self._node.release()
        if self._journal is not None:
            self._journal.close()

    def _met(self, who: Handshake) -> list[Effect]:
        if who.kind == "view":
            self._node.send(self._view, "STATE", self._state())
            if not self._page_is_known:
                self._page_is_known = True
                self._on_page(who.url)
        return self.conductor.on_handshake(who, time.monotonic())

    def _record(self, order: RecordOrder, stamp: OrderStamp, answer: Future[dict[str, Any]]) -> list[Effect]:
        why = self.conductor.cannot_record
        if why:
            answer.set_exception(NotStandingByError(why))
            return []
        try:
            self._directory, where = self._claim()
        except OutputError as error:
            answer.set_exception(error)
            return []
        self._ordered = answer
        return self.conductor.record(order, stamp, where, stamp.monotonic_ns / 1e9)

    def _answer_order(self, note: Note) -> None:
        """Tell who ordered a recording what came of it."""
        if self._ordered is None or note.kind not in ("start", "stop"):
            return
        if note.kind == "start":
            began = {
                "recording": str(self._directory and self._directory.absolute()),
                "order": note.fields["order"],
                "began": note.fields["began"],
            }
            self._ordered.set_result(began)
        else:
            self._ordered.set_exception(NotStandingByError(f"the run is over: {note.fields['why']}"))
        self._ordered = None

    def _mark(self, mark: dict[str, Any], answer: Future[dict[str, Any]]) -> list[Effect]:
        if not self.conductor.is_recording:
            phase = self.conductor.phase
            is_idle = "the rig stands by; pipeline record begins" if phase == "standby" else f"the run is {phase}"
            answer.set_exception(NotRecordingError(f"nothing is being recorded, {is_idle}"))
            return []
        self._tell(Note("mark", mark))
        try:
            self._write_events()
        except JournalError as error:
            answer.set_exception(error)
        else:
            answer.set_result({**mark, "recording": str(self._directory)})
        return []

    def _on_event(self, kind: str, fields: dict[str, Any]) -> list[Effect]:
        if kind == "death" and fields.get("name"):
            return self.conductor.on_death(str(fields.pop("name")), **fields)
        if kind in (DISK_FAILED, DISK_BACK) and "stream" in fields:
            return self.conductor.on_disk(kind, str(fields.pop("stream")), time.monotonic(), **fields)
        return [Note(kind, fields)]

    def _on_process(self, event: SupervisorEvent) -> list[Effect]:
        if isinstance(event, Death):
            return self.conductor.on_death(
                event.name, pid=event.pid, cause=event.cause, outcome=event.outcome, delay_s=event.delay_s
            )
        return [Note("restart", {"name": event.name, "pid": event.pid})] if event.again else []

    def _answered(self, send: Send, receipt: Receipt) -> list[Effect]:
        now = time.monotonic()
        try:
            value = receipt.result(0)
        except Exception as error:
            log.warning("%s of %s: %s", send.key, send.to, error)
            return self.conductor.on_failure(send.to, send.key, str(error), now)
        return self.conductor.on_answer(send.to, send.key, value, now)

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._receipts.append((effect, self._node.send(effect.to, effect.key, effect.value)))
            elif isinstance(effect, Note):
                self._tell(effect)
            else:
                self.accounts, self.recordings = effect.accounts, effect.recordings

    def _tell(self, note: Note) -> None:
        if note.kind not in _WRITTEN_ALREADY:  # stamped now: a rig may stand by for hours before there is a journal
            stamps = {"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
            self._unwritten.append({"kind": note.kind, **stamps, **note.fields})
        if note.kind == PROBES:  # for the journal alone: as many as a run is long
            return
        self.events.append(note)
        self._node.send(self._view, "EVENT", {"kind": note.kind, **note.fields}, repeat=False)
        self._node.send(self._view, "STATE", self._state(), repeat=False)
        if (line := in_words(note)) is not None:
            self._report(line)
        self._answer_order(note)

    def _state(self) -> dict[str, Any]:
        """Return what the page says of the recording."""
        return {"state": self.conductor.phase, "directory": str(self._directory or "")}

    def _try_to_write_events(self) -> None:
        try:
            self._write_events()
        except JournalError as error:
            if not self._is_stuck:
                self._report(f"{error}; the rig goes on, events are kept until the disk takes them")
            self._is_stuck = True
        else:
            self._is_stuck = False

    def _write_events(self) -> None:
        """Write what happened to the journal, once the recorder has begun it."""
        if self._journal is None:
            if not self._unwritten or self._directory is None or not (self._directory / JOURNAL).exists():
                return
            self._journal = Journal(self._directory / JOURNAL)
        if not self._unwritten:
            return
        while self._unwritten:
            self._journal.append(**self._unwritten[0])
            self._unwritten.popleft()
        self._journal.sync()


_WRITTEN_ALREADY: Final = frozenset({DISK_FAILED, DISK_BACK})
"""What its teller has written to the journal."""
_AFTER_DEATH: Final = {"restarts": "it is started again"}
_WORDS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "death": lambda f: (
        f"{f['name']} died ({f.get('cause', 'lost')}); {_AFTER_DEATH.get(f.get('outcome', ''), 'the rig goes on')}"
    ),
    "back": lambda f: f"{f['name']} is back (pid {f['pid']})",
    "waiting": lambda f: "waiting for " + "; ".join(f"{name}: {why}" for name, why in f["missing"].items()),
    "standby": lambda f: f"standing by, nothing is recorded; begin with: pipeline record --rig {f['rig']}",
    "start": lambda f: f"recording {', '.join(f['streams'])}; a death costs {f['max_loss_s']:g} s of it at most",
    "pilot_recording": lambda f: f"{f['name']} records into {f['directory']}",
    "stop": lambda f: f"stopping: {f['why']}",
    "mark": lambda f: f"mark of {f['by']}: {f['text']}",
    CLOCK_STEP: lambda f: f"{f['name']}: its {f['clock']} clock jumped by {f['size_ns'] / 1e6:+,.3f} ms",
    CLOCK_UNCERTAIN: lambda f: f"{f['name']}: its clock is only known to ±{f['uncertainty_ns'] / 1e6:,.1f} ms",
    "param": lambda f: f"{f['name']}: {f['parameter']} is {f['value']}",
    "failed": lambda f: f"{f['name']} could not {f['key']}: {f['error']}",
    "ladder": lambda f: (
        f"{f['stream']}: every block goes again"
        if f["rung"] == FULL.name
        else f"{f['stream']}: the link is slow, it goes {f['rung']}: of {f['one_of']} blocks one"
        + (f", 1/{f['scale']} of the height and width" if f["scale"] > 1 else "")
    ),
    "pending": lambda f: (
        f"waiting up to {f['drain_s']:g} s for what is in the spool: "
        f"{', '.join(f'{n} items of {stream}' for stream, n in f['streams'].items())}; Ctrl-C leaves it there"
    ),
    DISK_FAILED: lambda f: f"{f['stream']} is recorded no more, the rig goes on: {f['error']}",
    PILOT_DISK: lambda f: (
        f"{f['stream']} is recorded {'no more' if f['error'] else 'again'} by {f['name']}, the rig goes on"
        f"{': ' if f['error'] else ''}{f['error']}"
    ),
    DISK_BACK: lambda f: f"{f['stream']} is recorded again: the disk has room",
    "disk_pending": lambda f: (
        f"the disk was full: {', '.join(f'{n} items of {stream}' for stream, n in f['streams'].items())} wait in the "
        "spool; make room, run again with the same output folder, and they come into this recording"
    ),
    "silent": lambda f: f"no answer from {', '.join(f['names'])}",
}


def in_words(note: Note) -> str | None:
    """Return a line for people, None for what only the journal needs.

    A death that stops the rig is the run's own error, and told once, as that.
    """
    if note.kind == "death" and note.fields.get("outcome") == "stops the rig":
        return None
    words = _WORDS.get(note.kind)
    return words(note.fields) if words is not None else None
