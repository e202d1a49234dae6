"""Starts the processes of a rig, restarts those that die, ends them all when it ends.

Children are `python -m stations PART NAME`, started by `Popen` from the thread that created the supervisor, never
forked: a forked process would share zmq sockets and lose their messages.  `Supervisor.do_work` is called over and over
by that same thread (the kernel's parent-death signal is tied to it); it never waits.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, Self

import msgspec

from pipeline.log import LogOptions

from .child import GRACE_S, Brief
from .errors import BAD_INPUT_EXIT

Policy = Literal["restart", "stop", "ignore"]
"""What a death means: start it again, stop the whole rig, or go on without it."""

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 10.0
STEADY_S: Final = 10.0
"""A child that lived this long has recovered: its next death starts the backoff anew."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One process to keep running."""

    name: str
    """Node address, e.g. ``pilot1.cam0``; also the name of its log."""
    part: str
    """What it is, e.g. ``sensor``."""
    config: object
    """The part's configuration, a msgspec Struct or dataclass."""
    policy: Policy = "restart"
    rank: int = 0
    """Order of ending: lower ranks leave first (sources before stations before sinks)."""
    module: str = "stations"
    """What `python -m` runs, with `part` and `name` as arguments."""


@dataclass(frozen=True, slots=True)
class Death:
    """A child ended without being asked."""

    name: str
    pid: int
    code: int
    """Exit code; negative: the signal that killed it."""
    outcome: Literal["restarts", "stops the rig", "ignored"]
    delay_s: float = 0.0

    @property
    def cause(self) -> str:
        """Say how it ended, in words."""
        return f"killed by {signal.Signals(-self.code).name}" if self.code < 0 else f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Started:
    """A child was started; `again` after a death."""

    name: str
    pid: int
    again: bool


SupervisorEvent = Death | Started


@dataclass(slots=True)
class Backoff:
    """When to start a child again: at once at first, then ever later, forgiven after a steady life."""

    delay_s: float = FIRST_DELAY_S

    def next_delay(self, lived_s: float) -> float:
        """Return the seconds to wait after a life of `lived_s`."""
        if lived_s >= STEADY_S:
            self.delay_s = FIRST_DELAY_S
        delay, self.delay_s = self.delay_s, min(LONGEST_DELAY_S, self.delay_s * 2)
        return delay


@dataclass(slots=True)
class _Entry:
    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float | None = None
    lives: int = 0
    ending: bool = False
    backoff: Backoff = field(default_factory=Backoff)


class Supervisor:
    """Keeps children alive; one thread owns it."""

    def __init__(self, options: LogOptions, on_event: Callable[[SupervisorEvent], None]) -> None:
        """Args: options of every child's log; `on_event` hears of starts and deaths, on the owner's thread."""
        self._log_options = options
        self._on_event = on_event
        self._entries: dict[str, _Entry] = {}
        self.fatal: Death | None = None
        """The death that must end the rig, once there was one."""

    def start(self, spec: ChildSpec) -> None:
        """Start a child and keep it running.

        Raises:
            ValueError: a child of that name is kept already.
        """
        if spec.name in self._entries:
            raise ValueError(f"a child named {spec.name!r} runs already; names are unique in a rig")
        entry = self._entries[spec.name] = _Entry(spec)
        self._launch(entry)

    def do_work(self) -> int:
        """Notice deaths and start again what is due; return how much was done."""
        now = time.monotonic()
        return sum(self._look_after(entry, now) for entry in self._entries.values())

    def pids(self) -> dict[str, int]:
        """Return the pid of every child that runs."""
        return {name: entry.process.pid for name, entry in self._entries.items() if entry.process is not None}

    def stop(self, timeout_s: float = GRACE_S + 2.0) -> list[str]:
        """End all children, lowest rank first; return the names of those that had to be killed."""
        killed: list[str] = []
        for rank in sorted({entry.spec.rank for entry in self._entries.values()}):
            killed += self._stop_these([e for e in self._entries.values() if e.spec.rank == rank], timeout_s)
        return killed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Supervisor {len(self.pids())} of {len(self._entries)} running>"

    def _launch(self, entry: _Entry) -> None:
        spec = entry.spec
        brief = Brief(spec.name, os.getpid(), self._log_options, msgspec.Raw(msgspec.json.encode(spec.config)))
        command = [sys.executable, "-P", "-m", spec.module, spec.part, spec.name]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert process.stdin is not None  # noqa: S101 - tells the type checker what PIPE promises
        try:
            process.stdin.write(msgspec.json.encode(brief) + b"\n")
            process.stdin.flush()
        except BrokenPipeError:  # it died already; do_work will see it
            log.warning("%s died before it was told what to do", spec.name)
        entry.process, entry.started, entry.due = process, time.monotonic(), None
        entry.lives += 1
        self._on_event(Started(spec.name, process.pid, again=entry.lives > 1))

    def _look_after(self, entry: _Entry, now: float) -> int:
        if entry.due is not None and now >= entry.due:
            self._launch(entry)
            return 1
        if entry.process is None or entry.process.poll() is None:
            return 0
        self._bury(entry, now)
        return 1

    def _bury(self, entry: _Entry, now: float) -> None:
        pid, code = _close(entry)
        if entry.ending or code == 0:
            return
        lived_s = now - entry.started
        death = self._decide(entry, pid, code, lived_s)
        if death.outcome == "restarts":
            entry.due = now + death.delay_s
        elif death.outcome == "stops the rig" and self.fatal is None:
            self.fatal = death
        log.warning("%s (pid %d) %s after %.1f s: %s", death.name, pid, death.cause, lived_s, death.outcome)
        self._on_event(death)

    @staticmethod
    def _decide(entry: _Entry, pid: int, code: int, lived_s: float) -> Death:
        name = entry.spec.name
        if code == BAD_INPUT_EXIT and entry.lives == 1:  # it said itself that it cannot be
            return Death(name, pid, code, "stops the rig")
        if entry.spec.policy == "restart":
            return Death(name, pid, code, "restarts", entry.backoff.next_delay(lived_s))
        return Death(name, pid, code, "stops the rig" if entry.spec.policy == "stop" else "ignored")

    @staticmethod
    def _stop_these(entries: Iterable[_Entry], timeout_s: float) -> list[str]:
        running = [entry for entry in entries if entry.process is not None]
        for entry in entries:
            entry.ending, entry.due = True, None
        for entry in running:
            _ask_to_leave(entry)
        deadline = time.monotonic() + timeout_s
        return [entry.spec.name for entry in running if not _left_by(entry, deadline)]


def _ask_to_leave(entry: _Entry) -> None:
    assert entry.process is not None  # noqa: S101 - callers choose running entries
    entry.process.terminate()
    if entry.process.stdin is not None and not entry.process.stdin.closed:
        entry.process.stdin.close()


def _left_by(entry: _Entry, deadline: float) -> bool:
    assert entry.process is not None  # noqa: S101 - callers choose running entries
    try:
        entry.process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        entry.process.kill()
        _close(entry)
        return False
    _close(entry)
    return True


def _close(entry: _Entry) -> tuple[int, int]:
    """Forget an ended process; return its pid and exit code."""
    process = entry.process
    assert process is not None  # noqa: S101 - callers choose running entries
    code = process.wait()
    if process.stdin is not None and not process.stdin.closed:
        try:
            process.stdin.close()
        except BrokenPipeError:
            log.debug("%s left without reading all it was told", entry.spec.name)
    entry.process = None
    return process.pid, code
