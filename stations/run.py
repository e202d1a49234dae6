"""Runs the part of a rig that belongs on this machine: its processes, and the agents that conduct them.

One thread does it all: it starts children (the kernel ties their parent-death signal to the thread that made them),
looks after them, and carries out what the conductor decides.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from pipeline import Message, NetNode
from pipeline.log import start_log, stop_log

from . import roster
from .conductor import Conductor
from .config import Rig, claim_folder
from .errors import BAD_INPUT_EXIT, AlreadyToldError, OutputError, RigFailedError
from .folders import make_folder
from .ledger import Account, RecordingAccount
from .own_recording import closed_recording
from .pilot_agent import PilotAgent
from .riglock import RigLock, first_free
from .supervisor import Death, Supervisor, SupervisorEvent

if TYPE_CHECKING:
    from .terminal_agent import TerminalAgent

BALANCED: Final = 0
UNBALANCED: Final = 3
PENDING: Final = 4
INTERRUPTED: Final = 130
TICK_S: Final = 0.02

Listens = dict[str, Callable[[Message], Any]]
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What whoever starts a rig may choose."""

    role: roster.Role = "both"
    duration_s: float | None = None
    """Seconds from START, or from the order of a rig that stands by, to STOP; None: until every finite source has
    ended, or for ever."""
    drain_s: float | None = None
    """Seconds that the end waits for what is in the pilots' spools; the rig file's if None."""
    output: Path | None = None
    """Folder in which the recording gets a folder of its own; the rig file's if None."""
    on_page: Callable[[str], None] | None = None
    """Called with the page's address once the page is served."""
    may_rename: bool = False
    """Take ``name-2``, ``name-3``, … when a rig of this name runs on this machine already."""
    standby: bool = False
    """Acquire, but record nothing before `pipeline record` says so: its folder is made then."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended."""

    recording: Path | None = None
    view_url: str | None = None
    accounts: dict[str, Account] = field(default_factory=dict)
    pilot_recordings: dict[str, RecordingAccount] = field(default_factory=dict)
    """What pilots recorded themselves, by pilot."""
    events: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int = BALANCED

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `--json` prints them."""
        return {
            "recording": str(self.recording) if self.recording else None,
            "view_url": self.view_url,
            "streams": msgspec.to_builtins(self.accounts),
            "pilot_recordings": msgspec.to_builtins(self.pilot_recordings),
            "events": self.events,
        }


def run_rig(rig: Rig, options: RunOptions, report: Report) -> RunResult:
    """Run a rig until it ends, by itself or by SIGINT or SIGTERM; a further signal ends it sooner.

    Args:
        rig: the rig, checked.
        options: which part of it, how long, into which folder.
        report: hears one line for people about whatever happens.

    Raises:
        BadInputError: something that the rig names cannot be; nothing is left running.
        RigFailedError: a process whose death stops the rig died.
    """
    name, lock = _take_name(rig, options)
    with lock:
        rig = msgspec.structs.replace(rig, rig=msgspec.structs.replace(rig.rig, name=name))
        rig = roster.with_ports(rig)
        run = _Run(rig, options, report)
        lock.announce(roster.announcements(rig, options.role))
        with _signals_to(run.ask_to_stop), run:
            result = run.until_done()
        return run.with_own_recordings(result)


class _Run:
    def __init__(self, rig: Rig, options: RunOptions, report: Report) -> None:
        self._rig = rig
        self._options = options
        self._report = report
        self._output = _writable(options.output or Path(rig.rig.output))
        self._recording: Path | None = None
        self._log_options = roster.log_options(rig, self._output)
        self._supervisor = Supervisor(self._log_options, self._on_process)
        self._terminal: TerminalAgent | None = None
        self._pilots: dict[str, PilotAgent] = {}
        self._own: dict[str, Path] = {}
        """Where the pilots on this machine record, where only pilots are."""
        self._stops: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(stop_log)
            start_log(self._process, self._log_options)
            stack.callback(self._recorded)
            if self._options.role == "pilot":
                self._pilots = {pilot: self._pilot_agent(pilot, stack) for pilot in self._rig.pilots}
            else:
                self._terminal = self._terminal_agent(stack, None if self._options.standby else self._claim())
            stack.enter_context(self._supervisor)
            for spec in roster.children(self._rig, self._options.role, self._output):
                self._supervisor.start(spec)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def _process(self) -> str:
        """What this process is called in its log: the agent that it is."""
        station = next(iter(self._rig.pilots), "") if self._options.role == "pilot" else self._rig.terminal.id
        return f"_{station}"

    def ask_to_stop(self, why: str) -> None:
        """End the run in order; again, leave in the spools what is there; or else at once."""
        self._stops.append(why)

    def until_done(self) -> RunResult:
        """Run; return how it ended."""
        heard = 0
        while True:
            busy = self._supervisor.do_work()
            _raise_if_fatal(self._supervisor.fatal)
            asked = len(self._stops)
            if self._terminal is None:
                if asked:
                    return RunResult()
            else:
                if asked > heard:
                    if asked - heard > 1 or (heard and not self._terminal.conductor.is_draining):
                        break
                    heard = asked
                    self._terminal.stop(self._stops[-1])
                busy += self._terminal.do_work()
                if self._terminal.accounts is not None:
                    return self._result(self._terminal, self._terminal.accounts)
            if not busy:
                time.sleep(TICK_S)
        return RunResult(self._recorded(), exit_code=INTERRUPTED)

    def with_own_recordings(self, result: RunResult) -> RunResult:
        """Return the result with what pilots recorded, where there is no Terminal that has their accounts."""
        own = {pilot: closed_recording(directory) for pilot, directory in self._own.items()}
        return replace(result, pilot_recordings={**own, **result.pilot_recordings})

    def _where(self, recording: Path) -> dict[str, str]:
        """Return what members are told of the recording's folder."""
        return {"directory": str(recording.absolute()), "name": recording.relative_to(self._output).as_posix()}

    def _claim(self) -> Path:
        self._recording = claim_folder(self._rig, self._output, datetime.now(UTC))
        return self._recording

    def _recorded(self) -> Path | None:
        """Return the recording's folder if there is something in it; an empty one is given up."""
        if self._recording is not None and self._recording.is_dir():
            with suppress(OSError):  # it is not empty
                self._recording.rmdir()
        return self._recording if self._recording is not None and self._recording.is_dir() else None

    def _terminal_agent(self, stack: ExitStack, recording: Path | None) -> TerminalAgent:
        from .terminal_agent import TerminalAgent  # a Pilot's machine has no [terminal] extra

        rig = self._rig
        conductor = Conductor(
            roster.recorder_id(rig),
            {pilot: [f"{pilot}.{stream}" for stream in section.streams] for pilot, section in rig.pilots.items()},
            {"rig": rig.name, "max_loss_s": rig.rig.max_loss_s} | ({} if recording is None else self._where(recording)),
            self._options.duration_s,
            rig.rig.drain_s if self._options.drain_s is None else self._options.drain_s,
            required=[stream for _, stream, entry in rig.streams() if entry.is_required],
            records_streams=rig.terminal.record,
            standby=recording is None,
        )
        terminal = rig.terminal
        agent = TerminalAgent(
            conductor,
            lambda listens: NetNode(
                f"_{terminal.id}", terminal.id, terminal.msg_port, listens, upstream_ip=terminal.ip
            ),
            directory=recording,
            claim=lambda: (recording := self._claim(), self._where(recording)),
            view=roster.view_id(rig),
            report=self._report,
            on_page=self._on_page,
        )
        stack.callback(agent.close)
        return agent

    def _pilot_agent(self, pilot: str, stack: ExitStack) -> PilotAgent:
        port = self._rig.pilots[pilot].msg_port
        agent = PilotAgent(
            pilot,
            lambda listens: NetNode(f"_{pilot}", pilot, port, listens),
            terminal_agent=f"_{self._rig.terminal.id}",
            on_kill=self.ask_to_stop,
            on_recording=self._on_recording,
        )
        stack.callback(agent.close)
        return agent

    def _on_process(self, event: SupervisorEvent) -> None:
        if self._terminal is not None:
            self._terminal.on_process(event)
        for pilot, agent in self._pilots.items():
            if event.name == pilot or event.name.startswith(f"{pilot}."):
                agent.on_process(event)

    def _on_recording(self, pilot: str, directory: str) -> None:
        self._own[pilot] = Path(directory)
        self._report(f"{pilot} records into {directory}")

    def _on_page(self, url: str) -> None:
        self._report(f"page: {url}")
        if self._options.on_page is not None:
            self._options.on_page(url)

    def _result(self, agent: TerminalAgent, accounts: dict[str, Account]) -> RunResult:
        balanced = all(account.balanced for account in accounts.values())
        balanced = balanced and all(own.is_balanced for own in agent.recordings.values())
        pending = any(account.pending for account in accounts.values())
        return RunResult(
            self._recorded(),
            roster.view_url(self._rig),
            accounts,
            agent.recordings,
            [{"kind": note.kind, **note.fields} for note in agent.events if note.kind != "ledger"],
            UNBALANCED if not balanced else PENDING if pending else BALANCED,
        )


def _take_name(rig: Rig, options: RunOptions) -> tuple[str, RigLock]:
    terminals = [] if options.role == "pilot" else [rig.terminal.id]
    pilots = [] if options.role == "terminal" else list(rig.pilots)
    stations = terminals + pilots
    return first_free(rig.name, stations) if options.may_rename else (rig.name, RigLock(rig.name, stations))


def _raise_if_fatal(death: Death | None) -> None:
    if death is None:
        return
    if death.code == BAD_INPUT_EXIT:
        raise AlreadyToldError(f"{death.name} cannot run; its own line says why")
    raise RigFailedError(f"{death.name} (pid {death.pid}) died, {death.cause}, and its rig file says to stop then")


def _writable(folder: Path) -> Path:
    try:
        make_folder(folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot hold recordings: {error.strerror}; choose another folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot hold recordings: not writable; choose another folder")
    return folder


@contextmanager
def _signals_to(ask_to_stop: Callable[[str], None]) -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request while the block runs."""
    names = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the terminal was closed"}
    before = {
        number: signal.signal(number, lambda n, _frame: ask_to_stop(names[signal.Signals(n)])) for number in names
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
