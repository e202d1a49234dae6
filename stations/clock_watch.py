"""Asks every Pilot for the time, as long as the Terminal runs, and tells what came of it.

A thread of its own: whatever else the Terminal waits for, a probe leaves when it is due.  When its answer came is
read where it comes in, on the thread that owns the sockets; `pipeline.clock_prober` decides all the rest.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from pipeline import OutcomeError, PipelineError, Receipt
from pipeline.clock_burst import PROBES, Burst
from pipeline.clock_prober import TIMEOUT_S, Ask, ClockState, Effect, Prober, Tell
from shm import clock_domain

CLOCK_STEP: Final = "clock_step"
"""Kind of the event that tells of a step."""
CLOCK_UNCERTAIN: Final = "clock_uncertain"
"""Kind of the event that tells of a clock that is known badly."""
UNCERTAIN_NS: Final = 5_000_000
"""A clock of another machine that is not known better than this is known badly."""
Send = Callable[..., Receipt]
OnEvent = Callable[[str, dict[str, Any]], object]
Task = Callable[[], object]
log = logging.getLogger(__name__)


class ClockWatch:
    """Probes whoever was met; any thread may call any method.

    Args:
        send: sends a message, as `Station.send`.
        on_event: hears of a burst, a step or a clock that is known badly: its kind and its fields.
    """

    def __init__(self, send: Send, on_event: OnEvent) -> None:
        self._send = send
        self._on_event = on_event
        self._probers: dict[str, Prober] = {}
        self._uncertain: set[str] = set()
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def meet(self, pilot: str) -> None:
        """A Pilot came, or came back: it is asked at once."""
        with self._lock:
            prober = self._probers.setdefault(pilot, Prober(pilot, clock_domain()))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="clocks", daemon=True)
                self._thread.start()
        self._tasks.put(partial(self._step, prober.join))

    def states(self) -> dict[str, ClockState]:
        """Return what is known now, by Pilot."""
        with self._lock:
            now, wall = time.monotonic_ns(), time.time_ns()
            found = {pilot: prober.state(now, wall) for pilot, prober in self._probers.items()}
        return {pilot: state for pilot, state in found.items() if state is not None}

    def close(self) -> None:
        """Ask no more; a second call does nothing."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()

    def __repr__(self) -> str:
        return f"<ClockWatch {list(self._probers.values())}>"

    def _run(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=self._patience())
            except queue.Empty:
                for prober in list(self._probers.values()):
                    self._step(prober.on_tick)
                continue
            if task is None:
                return
            task()

    def _patience(self) -> float | None:
        """Return the seconds until a prober has something to do; None: none has."""
        due = min((prober.due for prober in list(self._probers.values())), default=math.inf)
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def _step(self, do: Callable[[float], list[Effect]]) -> None:
        """Let a prober do something now, and carry out what it decides."""
        with self._lock:
            effects = do(time.monotonic())
        for effect in effects:
            if isinstance(effect, Tell):
                self._tell(effect)
            else:
                self._ask(effect)

    def _ask(self, ask: Ask) -> None:
        prober = self._probers[ask.name]
        sent = time.monotonic_ns()
        try:
            receipt = self._send(ask.name, "PROBE", deadline_s=TIMEOUT_S)
        except PipelineError as error:
            log.debug("%s was not probed: %s", ask.name, error)
            self._step(partial(prober.on_loss, ask.number))
        else:
            receipt.add_callback(partial(self._come, prober, ask.number, sent))

    def _come(self, prober: Prober, number: int, sent: int, receipt: Receipt) -> None:
        returned = time.monotonic_ns()
        self._tasks.put(partial(self._answered, prober, number, sent, returned, receipt))

    def _answered(self, prober: Prober, number: int, sent: int, returned: int, receipt: Receipt) -> None:
        try:
            value = receipt.result(0)
        except OutcomeError:
            self._step(partial(prober.on_loss, number))
        else:
            self._step(partial(prober.on_answer, number, sent, returned, value))

    def _tell(self, tell: Tell) -> None:
        try:
            self._on_event(PROBES, msgspec.to_builtins(tell.burst))
            for step in tell.steps:
                self._on_event(CLOCK_STEP, msgspec.to_builtins(step))
            self._warn(tell.burst)
        except PipelineError as error:
            log.warning("a burst of %s is not in the journal: %s", tell.burst.name, error)

    def _warn(self, burst: Burst) -> None:
        """Tell once when a clock of another machine begins to be known badly."""
        state = self.states().get(burst.name)
        if state is None or burst.theirs == burst.ours or state.uncertainty_ns <= UNCERTAIN_NS:
            self._uncertain.discard(burst.name)
        elif burst.name not in self._uncertain:
            self._uncertain.add(burst.name)
            self._on_event(CLOCK_UNCERTAIN, {"name": burst.name, "uncertainty_ns": state.uncertainty_ns})
