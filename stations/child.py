"""The life of a child process: how it is configured, how it ends, what its exit code means.

A child is `python -m stations PART NAME`.  Its first line on stdin is a `Brief` in JSON; stdin stays open as long as
the parent lives, so its end means that the parent is gone.  The kernel's parent-death signal says the same a little
earlier (Linux).  One thread hears both and sets `Child.stopping`; whoever does not leave within `GRACE_S` is ended.

| exit code | meaning | what the supervisor does |
|---|---|---|
| 0 | ended as asked | nothing |
| 2 | what was asked for cannot be (one line on stderr says why) | ends the rig if the child never ran before |
| other | it died | follows the child's policy |
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import msgspec

from pipeline.errors import DuplicateIdError, EndpointError, EndpointInUseError, NotLoopbackError
from pipeline.log import LogOptions, start_log
from shm import SpaceError, WriterAliveError

from .errors import BAD_INPUT_EXIT, BadInputError

GRACE_S: Final = 8.0
"""Seconds that a child has to leave once its parent is gone or it was told to stop: a recorder drains and closes."""
_PR_SET_PDEATHSIG: Final = 1
_CANNOT_BE: Final = (
    BadInputError,
    SpaceError,
    WriterAliveError,
    DuplicateIdError,
    EndpointInUseError,
    EndpointError,
    NotLoopbackError,
)

Config = TypeVar("Config")
log = logging.getLogger(__name__)


class Brief(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the parent tells a child on the first line of stdin."""

    name: str
    """Who the child is: a node address such as ``pilot1.cam0``."""
    parent: int
    """Pid of the parent, to notice one that died before the child could ask to be told."""
    log: LogOptions
    config: msgspec.Raw
    """The part's own configuration, JSON."""


class Child:
    """This process, seen as somebody's child."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = threading.Event()
        """Set when this process should leave; every loop of a part waits on it or looks at it."""

    def stop(self) -> None:
        """Ask this process to leave; it is ended if it has not done so after `GRACE_S`."""
        if not self.stopping.is_set():
            self.stopping.set()
            timer = threading.Timer(GRACE_S, _end_at_once)
            timer.daemon = True
            timer.start()
            signal.setitimer(signal.ITIMER_REAL, GRACE_S + 1.0)  # the kernel ends what cannot even run the timer

    def __repr__(self) -> str:
        return f"<Child {self.name} {'stopping' if self.stopping.is_set() else 'running'}>"


def run_child(config_type: type[Config], body: Callable[[Child, Config], None]) -> NoReturn:
    """Be a child process: read the brief, run `body`, exit with the code that says how it went.

    Args:
        config_type: msgspec Struct or dataclass of the part's configuration.
        body: the part; it returns soon after `Child.stopping` is set.
    """
    brief = msgspec.json.decode(sys.stdin.buffer.readline(), type=Brief)
    child = Child(brief.name)
    _leave_with_parent(child, brief.parent)
    try:
        start_log(brief.name, brief.log)
        log.info("started, pid %d", os.getpid())
        body(child, msgspec.json.decode(brief.config, type=config_type))
    except _CANNOT_BE as error:
        log.error("cannot run: %s", error)  # noqa: TRY400 - expected, told in one line
        sys.stderr.write(f"pipeline: {brief.name}: {one_line(error)}\n")
        sys.exit(BAD_INPUT_EXIT)
    except Exception:
        log.exception("died")
        traceback.print_exc()
        sys.exit(1)
    log.info("left as asked")
    sys.exit(0)


def one_line(error: BaseException | str) -> str:
    """Return an error's text on one line, or its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _leave_with_parent(child: Child, parent: int) -> None:
    # A handler runs in the midst of the main thread, maybe inside `stopping.wait` with its lock held: setting the event
    # there would wait for that lock for ever.  So the interpreter writes to a pipe, and a thread sets the event.
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # what a fork of ours hears is not for us
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which then ends us in order
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was asked
        child.stop()
    threading.Thread(target=_wait_for_end, args=(child, heard), name="parent", daemon=True).start()


def _wait_for_end(child: Child, heard: int) -> None:
    """Wait for SIGTERM, or until stdin ends because the parent is gone."""
    stdin = sys.stdin.fileno()
    while True:
        ready, _, _ = select.select([stdin, heard], [], [])
        if heard in ready and signal.SIGTERM in os.read(heard, 4096):
            break
        if stdin in ready and not os.read(stdin, 4096):
            break
    child.stop()


def _end_at_once() -> None:
    log.error("did not leave within %.0f s; ending at once", GRACE_S)
    os._exit(1)
