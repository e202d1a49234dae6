"""Acquires between START and STOP: one source, one ring, and a count kept apart from it.

One thread `serve`s and is the only one that touches source and ring; any other may `start`, `stop`, `leave` and look
at the `account`.

    idle ──start──► running ──source ended──► ended ──stop──► idle
      ▲               │ stop
      └───────────────┘

A START while running, or before the STOP that follows an end, changes nothing: it may come twice.  Each run after the
first opens the source anew (a device that idled holds old images, a file begins again); after an end it also makes a
new ring, since readers took the old one for complete.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import msgspec

from .errors import SourceDamagedError, StationError
from .orders import Orders
from .sources.loop import Outcome, SensorLoop, Writer
from .sources.parameters import set_parameter
from .sources.source import Source

State = Literal["idle", "running", "ended", "left"]

ANSWER_S: Final = 8.0
"""Seconds that a source may take to open, or to come back from `read_into`, before START or STOP says so."""

log = logging.getLogger(__name__)


class Ring(Writer, Protocol):
    """What an acquisition needs of a ring, beside claiming."""

    @property
    def published(self) -> int:
        """Items that are whole."""
        ...

    @property
    def birth(self) -> int:
        """Which generation it is."""
        ...

    def end(self) -> None:
        """Tell the readers that nothing follows."""
        ...

    def close(self, *, unlink: bool = True) -> None:
        """Let go of it."""
        ...


class CountPage(Protocol):
    """Where the count stands for others to see."""

    def set_base(self, value: int) -> None:
        """Write what the ring's `published` was when this process took it."""
        ...

    def set_counted(self, value: int) -> None:
        """Write how many items this process published since."""
        ...


class Account(msgspec.Struct, frozen=True):
    """What a sensor says of itself; the answer to START, STOP and STATE."""

    state: State
    published: int
    """From the ring's header."""
    counted: int
    """Counted by this process: ``base + counted == published`` while nothing is being published."""
    base: int
    origin: int
    """Where the current or last run began."""
    birth: int
    slips: int = 0
    """How often the schedule was more than a second late and began anew."""
    repaired: int = 0
    """Times of the source that had to be moved to come after those before them."""
    problem: str = ""
    """Why the source ended before its end, in words: what it reads is damaged."""


class Acquisition:
    """A source that is read into a ring when told."""

    def __init__(
        self,
        source: Source,
        make_ring: Callable[[], Ring],
        page: CountPage,
        *,
        on_change: Callable[[Account], object] | None = None,
    ) -> None:
        """Take the ring.

        Args:
            source: open.
            make_ring: creates the ring, or takes it over from a process that died.
            page: shows the count.
            on_change: hears, on the serving thread, that a run began or ended by itself.
        """
        self._source = source
        self._make_ring = make_ring
        self._page = page
        self._on_change = on_change or (lambda _: None)
        self._orders = Orders()
        self._changed = threading.Condition()
        self._halt = threading.Event()
        self._state: State = "idle"
        self._wanted = False
        self._leaving = False
        self._was_read = False
        self._is_complete = False
        self._problem = ""
        self._loop: SensorLoop | None = None
        self._take_ring()

    def start(self, timeout_s: float = ANSWER_S) -> Account:
        """Begin to acquire; return when it has begun, with the origin of the run.

        Raises:
            StationError: the process is leaving, or the source did not open in time.
        """
        with self._changed:
            if self._state == "idle" and not self._wanted and not self._leaving:
                self._wanted = True
                self._halt.clear()
                self._changed.notify_all()
            self._await(lambda: self._state != "idle" or self._leaving, timeout_s, "the source has not opened")
            if self._leaving or self._state == "left":
                raise StationError("the sensor is leaving; it acquires nothing more")
            return self.account()

    def stop(self, timeout_s: float = ANSWER_S) -> Account:
        """Stop acquiring; return after the last item was published.

        Raises:
            StationError: the source did not come back from `read_into` in time.
        """
        with self._changed:
            self._wanted = False
            self._halt.set()
            self._await(lambda: self._state != "running", timeout_s, "the source does not come back from read_into")
            if self._state == "ended":
                self._state = "idle"
            return self.account()

    def set_parameter(self, name: str, value: Any, timeout_s: float = ANSWER_S) -> Any:
        """Set a parameter of the source, between two readings; return the value that it took.

        Raises:
            SourceError: there is no such parameter, or the value is none of it.
            StationError: the source did not come back from `read_into` in time.
        """

        def order() -> Any:
            return set_parameter(self._source, name, value)

        placed = self._orders.place(order)
        with self._changed:
            self._changed.notify_all()
        return placed.wait(timeout_s)

    def leave(self) -> None:
        """Make `serve` return soon."""
        with self._changed:
            self._leaving = True
            self._halt.set()
            self._changed.notify_all()

    def serve(self) -> None:
        """Acquire whenever told, until told to leave; closes the source.

        Raises:
            StationError: of the source.
            ShmError: of the ring.
        """
        try:
            while self._await_start():
                self._run()
        finally:
            with self._changed:
                self._state = "left"
                self._changed.notify_all()
            self._source.close()

    def close(self) -> None:
        """Let go of the ring and take its name away; readers see that it ended."""
        self.ring.close()

    def account(self) -> Account:
        """Return the counts as they are now."""
        loop = self._loop
        return Account(
            state=self._state,
            published=self.ring.published,
            counted=self._counted,
            base=self._base,
            origin=self._origin,
            birth=self.ring.birth,
            slips=loop.slips if loop is not None else 0,
            repaired=loop.repaired if loop is not None else 0,
            problem=self._problem,
        )

    def __repr__(self) -> str:
        return f"<Acquisition {self._state} base={self._base} counted={self._counted}>"

    def _take_ring(self) -> None:
        self.ring = self._make_ring()
        self._is_complete = False
        self._base = self._origin = self.ring.published
        self._counted = self._counted_before = 0
        self._page.set_base(self._base)
        self._page.set_counted(0)

    def _await(self, reached: Callable[[], bool], timeout_s: float, problem: str) -> None:
        if not self._changed.wait_for(reached, timeout_s):
            raise StationError(f"{problem} within {timeout_s:g} s")

    def _await_start(self) -> bool:
        with self._changed:
            while not (self._wanted or self._leaving):
                self._changed.wait_for(lambda: self._wanted or self._leaving or bool(self._orders))
                self._orders.carry_out()
            return not self._leaving

    def _run(self) -> None:
        self._freshen()
        loop = SensorLoop(self._source, self.ring, on_count=self._count, between=self._orders.carry_out)
        with self._changed:
            if not self._wanted or self._leaving:  # a STOP came while the source opened
                return
            self._loop, self._was_read = loop, True
            self._origin, self._counted_before = self.ring.published, self._counted
            self._state, self._problem = "running", ""
            self._changed.notify_all()
        self._on_change(self.account())
        has_ended = self._run_loop(loop) == "ended"
        if has_ended:
            self.ring.end()
            self._is_complete = True
        with self._changed:
            self._state = "ended" if has_ended else "idle"
            self._wanted = False
            self._changed.notify_all()
        log.info("acquired %d items, %s", loop.counted, "to the source's end" if has_ended else "then stopped")
        if has_ended:
            self._on_change(self.account())

    def _run_loop(self, loop: SensorLoop) -> Outcome:
        try:
            return loop.run(self._halt)
        except SourceDamagedError as error:  # it would come to the same place again
            log.error("%s", error)  # noqa: TRY400 - about what is read, not our failure
            self._problem = str(error)
            return "ended"

    def _freshen(self) -> None:
        if self._was_read:
            spec = self._source.spec
            self._source.close()
            self._source.open()
            if self._source.spec != spec:
                raise StationError(f"the source changed from {spec} to {self._source.spec}; its ring is made anew")
        if self._is_complete:
            self.ring.close()
            self._take_ring()

    def _count(self, counted: int) -> None:
        self._counted = self._counted_before + counted
        self._page.set_counted(self._counted)
