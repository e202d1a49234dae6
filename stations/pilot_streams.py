"""What a Pilot knows of its streams: who fills them, whether they could begin, where they began, how they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pipeline.beginning import Since
from pipeline.forward import ForwardReport
from pipeline.forward_feed import Origin
from pipeline.ladder import FULL, Rung
from shm import RingObserver, SegmentNotFoundError, ShmError, clock_domain

from .conductor_effects import Handshake, StreamState
from .ledger import Produced, Span
from .pilot_config import StreamPlan
from .standby import WAITED, Began, StartOrder


class PilotStreams:
    """The streams of one Pilot; its station's lock guards them.

    Args:
        plans: how each is forwarded.
    """

    def __init__(self, plans: Mapping[str, StreamPlan]) -> None:
        self._plans = plans
        self.rings = {stream: plan.ring for stream, plan in plans.items()}
        self.sensors: dict[str, Handshake] = {}
        """Who introduced itself; a sensor has the name of its stream."""
        self._order: StartOrder | None = None
        """Says from when on the run is recorded, and ..."""
        self._since = Since(0)
        """... when that was on this machine's clock."""
        self._rungs: dict[str, Rung] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans)

    @property
    def with_sensor(self) -> set[str]:
        """The streams that a sensor of this rig fills."""
        return {stream for stream, plan in self._plans.items() if plan.has_sensor}

    def take_order(self, value: Any, now_ns: int) -> None:
        """Note from when on the next run is to be recorded; None: from when it begins.

        Args:
            value: `StartOrder`, plain data.
            now_ns: when it came, ns, monotonic.
        """
        self._order = None if value is None else msgspec.convert(value, StartOrder)
        if self._order is not None:
            self._since = Since(self._order.since_ns(now_ns, clock_domain()))

    def ordered_since(self) -> dict[str, int]:
        """Return by stream the time from which on it was ordered, ns; none that is held, none without an order."""
        return {} if self._order is None else {s: self._since.time_ns for s in self._plans if not self.is_held(s)}

    def origin(self, stream: str) -> Origin:
        """Return where a run of a stream begins."""
        return "now" if self._order is None or self.is_held(stream) else self._since

    def is_held(self, stream: str) -> bool:
        """Whether its source, one that can wait or that ends, does not begin before there is a recording."""
        return self._is_finite(stream) or bool(self._told(stream).get("can_wait"))

    def states(self, reports: Mapping[str, ForwardReport], *, is_idle: bool) -> dict[str, Any]:
        """Return `StreamState` of every stream, plain data.

        Args:
            reports: of the forwarder.
            is_idle: no run goes on, so it matters whether one could begin.
        """
        return {
            stream: msgspec.to_builtins(
                StreamState(
                    self._is_finite(stream),
                    report.state == "finished",
                    report.pending,
                    self._missing(stream) if is_idle else "",
                    self._began(stream, report),
                )
            )
            for stream, report in reports.items()
        }

    def ladder_changes(self, reports: Mapping[str, ForwardReport]) -> list[dict[str, Any]]:
        """Return what the journal is told of streams that are thinned out since the last look, more, or less."""
        told = []
        for stream, report in reports.items():
            rung = report.rung
            if rung != self._rungs.get(stream, FULL):
                self._rungs[stream] = rung
                what = {"rung": rung.name, "one_of": rung.one_of, "scale": rung.scale}
                told.append({"kind": "ladder", "stream": stream, **what, "at": report.sent})
        return told

    def _is_finite(self, stream: str) -> bool:
        return bool(self._told(stream).get("finite"))

    def _told(self, stream: str) -> dict[str, Any]:
        """Return what its sensor has said of a stream."""
        sensor = self.sensors.get(stream)
        return sensor.streams.get(stream, {}) if sensor is not None else {}

    def _missing(self, stream: str) -> str:
        """Why a stream could not begin now; empty if it could."""
        plan = self._plans[stream]
        if plan.has_sensor:
            return "" if stream in self.sensors else "its sensor has not come up"
        try:
            with RingObserver.attach(plan.ring) as ring:
                return "" if ring.writer_alive else f"nobody writes its ring ({plan.ring})"
        except SegmentNotFoundError:
            return f"its ring does not exist ({plan.ring})"
        except ShmError as error:
            return str(error)

    def _began(self, stream: str, report: ForwardReport) -> Began | None:
        """Where a stream began, once an order was carried out."""
        if self._order is None:
            return None
        if self.is_held(stream):
            return Began(None, WAITED if self._order.from_s else "")
        return self._order.began(report.beginning, self._since.time_ns)


def produced(
    report: ForwardReport, count: dict[str, Any] | None, kept: Mapping[int, list[tuple[int, int]]]
) -> Produced:
    """Return the account of one stream at STOP.

    Args:
        report: of the forwarder.
        count: what its sensor answered to STOP; None if it did not, or there is none.
        kept: ranges of items that the spool holds, by birth.
    """
    births = {}
    held = {f"{birth:016x}": runs for birth, runs in kept.items()}
    if report.birth is not None and report.origin is not None:
        end = count["published"] if count else report.sent
        births[f"{report.birth:016x}"] = Span(report.origin, max(end, report.origin))
    if count is None:
        return Produced(births, pending=report.pending, kept=held)
    counted, problem = count["base"] + count["counted"], count.get("problem", "")
    return Produced(births, count["published"], counted, report.pending, problem, held)
