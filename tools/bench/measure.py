"""Measurements: one of one transport, and all in turns, several times, so that disturbances meet all alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .alone import fill_us, lap_rates, look_us
from .child import BenchError, Child, Control, hear_all
from .feed import Feed
from .payloads import PAYLOADS, Payload, make_pool
from .promises import CASES, FIGURES, FIRST_LAP, IN_PLACE_US, UNITS, Case, Promise
from .registry import make
from .rows import Row, bounded, compared
from .sink import Sink
from .transport import PATIENCE_S, Job, Transport

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACED: Final = 2.5
"""Paced measurements take so many times longer than others: there are few items a second."""
_OPEN_S: Final = 4 * PATIENCE_S

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one measurement found."""

    rate: float
    """Items a second that the slowest reader got; without readers, that were written."""
    cpu_ms: float
    """Time that all processors together spent on 1000 items, ms."""
    p50_us: float = float("nan")
    """Median time from handing an item out to its arrival, paced, µs."""
    p99_us: float = float("nan")


def measure_one(name: str, job: Job, pool: NDArray[Any], seconds: float) -> Figures:
    """Move items by one transport for `seconds`.

    Raises:
        BenchError: an item was lost or wrong, or a process failed.
    """
    transport = make(name, job)
    children: list[Child] = []
    try:
        sent, read = _conduct(transport, job, pool, seconds, children)
    except BaseException:
        for child in children:
            child.kill()
        raise
    finally:
        for child in reversed(children):
            child.close()
        transport.close()
    wrong = sum(report["wrong"] for report in read)
    if wrong:
        raise BenchError(f"{name}, {job.payload.name} to {job.readers}: {wrong} items lost or wrong")
    return _figures(sent, read)


def _conduct(
    transport: Transport, job: Job, pool: NDArray[Any], seconds: float, children: list[Child]
) -> tuple[Report, list[Report]]:
    """Start the writer, then the readers, let them run; return their reports."""

    def write(control: Control) -> None:
        transport.write(Feed(control, job, pool, seconds, transport.block))

    def read(index: int, control: Control) -> None:
        transport.read(Sink(control, job, index))

    who = f"{type(transport).__name__}, {job.payload.name} to {job.readers},"
    writer = Child(f"{who} writer", write)
    children.append(writer)
    hear_all(children, _OPEN_S)
    readers = [Child(f"{who} reader {index}", partial(read, index)) for index in range(job.readers)]
    children += readers
    hear_all(readers, _OPEN_S)
    for child in (*readers, writer):
        child.tell()
    sent, *received = hear_all(children, seconds + _OPEN_S)
    writer.tell()
    return sent, received


def _figures(sent: Report, read: list[Report]) -> Figures:
    rate = min(report["items"] / report["ns"] * 1e9 for report in read or [sent])
    cpu_ms = sum(report["busy_ns"] for report in (sent, *read)) / 1e6 / max(1, sent["items"]) * 1000
    delays = [delay / 1e3 for report in read for delay in report["delays_ns"]]
    if not delays:
        return Figures(rate, cpu_ms)
    p50, p99 = np.percentile(delays, (50, 99))
    return Figures(rate, cpu_ms, float(p50), float(p99))


class Bench:
    """All measurements, in turns.

    Args:
        seconds: length of one measurement.
        absent: transports that are left out, with all that is compared with them.
    """

    def __init__(self, seconds: float, absent: Collection[str]) -> None:
        self._seconds = seconds
        self._pools = {payload.letter: make_pool(payload) for payload in PAYLOADS}
        self._payloads = {payload.letter: payload for payload in PAYLOADS}
        self._cases = [_without(case, absent) for case in CASES]
        self._found: defaultdict[tuple[object, str], list[Figures]] = defaultdict(list)
        self._alone: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def repeat(self) -> None:
        """Measure everything once more."""
        for case in self._cases:
            payload = self._payloads[case.letter]
            seconds = self._seconds * (PACED if case.use == "paced" else 1)
            for name in case.transports():
                job = Job(payload, 0 if name == "np.copyto" else case.readers, case.use)
                figures = measure_one(name, job, self._pools[case.letter], seconds)
                self._found[case, name].append(figures)
        for payload in PAYLOADS:
            self._measure_alone(payload)

    def rows(self) -> Iterator[Row]:
        """Yield what was found, case by case."""
        for case in self._cases:
            for promise in case.promises:
                yield self._row(case, promise)
        for payload in PAYLOADS:
            letter, name = payload.letter, payload.name
            fill, look, first, later = (self._alone[letter, what] for what in ("fill", "look", "first", "later"))
            yield bounded(f"{name}, filled in place", "µs", fill, IN_PLACE_US)
            yield bounded(f"{name}, looked at in place", "µs", look, IN_PLACE_US)
            yield compared(f"{name}, first lap / later laps", "items/s", first, later, FIRST_LAP)

    def _measure_alone(self, payload: Payload) -> None:
        letter = payload.letter
        first, later = lap_rates(payload, self._pools[letter])
        found = {
            "fill": fill_us(payload, self._seconds / 2),
            "look": look_us(payload, self._seconds / 2),
            "first": first,
            "later": later,
        }
        for what, value in found.items():
            self._alone[letter, what].append(value)

    def _row(self, case: Case, promise: Promise) -> Row:
        def values(name: str) -> list[float]:
            return [getattr(figures, promise.figure) for figures in self._found[case, name]]

        how = {"touch": "", "full": ", all read", "paced": f" at {self._payloads[case.letter].rate:.0f} Hz"}[case.use]
        what = f"{self._payloads[case.letter].name} 1→{case.readers}{how}{FIGURES[promise.figure]}"
        return compared(
            f"{what}: {promise.ours} / {promise.baseline}",
            UNITS[promise.figure],
            values(promise.ours),
            values(promise.baseline),
            promise.floor,
            at_most=promise.figure != "rate",
        )


def measure(seconds: float, repeats: int, absent: Collection[str], report: Callable[[str], None]) -> list[Row]:
    """Measure everything `repeats` times.

    Args:
        seconds: length of one measurement.
        repeats: rounds; each measures everything once, in turns.
        absent: transports that are left out.
        report: told how far it is, a line each.

    Raises:
        BenchError: an item was lost or wrong on the way, or a process failed.
    """
    bench = Bench(seconds, absent)
    for number in range(repeats):
        report(f"repeat {number + 1} of {repeats}")
        bench.repeat()
    return list(bench.rows())


def _without(case: Case, absent: Collection[str]) -> Case:
    kept = tuple(promise for promise in case.promises if promise.baseline not in absent)
    return Case(case.letter, case.readers, case.use, kept)
