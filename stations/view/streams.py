"""The streams that the page shows: what is new in each, encoded once for everybody who watches.

All of this runs in one thread of the view, which owns the readers; nothing is decoded unless `Feed.news` is called, and
that happens only while a page can take a picture.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np

from shm import Item, Run

from . import frames
from .pictures import Kind, encode, kind_of
from .traces import MAX_CHANNELS, TraceWindow, window_for

FAST_HZ: Final = 200.0
FAST_WINDOW_S: Final = 2.0
SLOW_WINDOW_S: Final = 20.0
"""Streams below FAST_HZ are shown for longer: forty points of telemetry tell nothing."""
RATE_WINDOW_S: Final = 2.0
"""Seconds over which a rate is measured."""
STALE_PERIODS: Final = 10.0
STALE_S: Final = 1.0
"""A stream is stale when its newest item is older than both; blocks of samples are up to 0.1 s old by design."""


class Reader(Protocol):
    """What a feed needs of `pipeline.StreamReader`."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def published(self) -> int: ...  # noqa: D102
    @property
    def ended(self) -> bool: ...  # noqa: D102
    def latest(self) -> Item: ...  # noqa: D102
    def window(self, n: int) -> Run: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class About:
    """What the stream's spec says beside shape and dtype."""

    name: str
    target_hz: float | None = None
    labels: tuple[str, ...] = ()
    unit: str = ""
    same_clock: bool = True
    """Whether item times are of this machine's CLOCK_MONOTONIC and boot; otherwise ages are unknown."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One stream in `frames.Status`; None is unknown."""

    id: int
    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    unit: str
    labels: tuple[str, ...]
    channels: int
    """Channels drawn; 0 unless kind is "traces"."""
    state: str
    """"live" | "stale" | "ended" | "waiting" (no item yet)."""
    rate: float | None
    """Items per second, measured."""
    target: float | None
    """Items per second as the source promised."""
    bytes_per_s: float | None
    """Decoded bytes per second."""
    age_ms: float | None
    items: int
    drops: Mapping[str, int] | None


class Rate:
    """Items per second over the last seconds, from positions."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, position: int) -> None:
        """Note a position at a time (s, any origin)."""
        if self._seen and position < self._seen[-1][1]:  # the stream began anew
            self._seen.clear()
        self._seen.append((now, position))
        while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_WINDOW_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """The rate; None before half a second was watched."""
        if not self._seen or self._seen[-1][0] - self._seen[0][0] < 0.5:
            return None
        (t0, p0), (t1, p1) = self._seen[0], self._seen[-1]
        return (p1 - p0) / (t1 - t0)


class Feed:
    """One stream: its reader, and what was last drawn of it."""

    def __init__(self, number: int, about: About, reader: Reader) -> None:
        self.id = number
        self.about = about
        self.kind = kind_of(reader.shape, reader.dtype)
        self._reader = reader
        self._rate = Rate()
        self._drawn = 0
        self._time_ns: int | None = None
        self._channels = min(math.prod(reader.shape), MAX_CHANNELS) if self.kind == "traces" else 0
        self._window: TraceWindow | None = None

    def __repr__(self) -> str:
        return f"<Feed {self.about.name} {self.kind} drawn={self._drawn}>"

    def news(self, now_ns: int) -> frames.Frame | None:
        """Return a frame of what is newest, None when that was returned before or nothing is drawn of this stream."""
        published = self._reader.published
        if published == self._drawn or self.kind == "other":
            return None
        self._drawn = published
        return self._image(now_ns) if self.kind == "image" else self._lines(published, now_ns)

    def _image(self, now_ns: int) -> frames.Image:
        item = self._reader.latest()
        picture = encode(item.data)
        self._time_ns = item.time_ns
        return frames.Image(
            stream=self.id,
            sequence=item.sequence,
            age_ms=self._age_ms(now_ns),
            width=picture.width,
            height=picture.height,
            low=picture.low,
            high=picture.high,
            payload=picture.jpeg,
        )

    def _lines(self, published: int, now_ns: int) -> frames.Lines | None:
        if self._window is None or published < self._window.end:  # first, or the sensor began anew
            self._window = self._new_window()
        wanted = min(published - self._window.end, self._window.buckets * self._window.step)
        run = self._reader.window(wanted)
        if len(run.data) == 0:
            return None
        self._window.add(run.first, run.data)
        self._time_ns = int(run.times[-1])
        traces = self._window.draw(rate=self.about.target_hz, own_scale=bool(self.about.labels))
        return frames.Lines(
            stream=self.id,
            sequence=self._window.end,
            age_ms=self._age_ms(now_ns),
            channels=self._window.channels,
            buckets=self._window.buckets,
            span_s=traces.span_s,
            low=[float(value) for value in traces.low],
            high=[float(value) for value in traces.high],
            last=[float(value) if math.isfinite(value) else None for value in traces.last],
            payload=traces.levels.tobytes(),
        )

    def standing(self, now_ns: int, drops: Mapping[str, int] | None) -> Standing:
        """Return how the stream is now; also notes its position for the rate."""
        published = self._reader.published
        self._rate.add(now_ns / 1e9, published)
        rate = self._rate.per_second
        age_ms = self._age_ms(now_ns)
        item_bytes = self._reader.dtype.itemsize * math.prod(self._reader.shape)
        return Standing(
            id=self.id,
            name=self.about.name,
            kind=self.kind,
            shape=self._reader.shape,
            dtype=str(self._reader.dtype),
            unit=self.about.unit,
            labels=self.about.labels,
            channels=self._channels,
            state=self._state(published, age_ms),
            rate=rate,
            target=self.about.target_hz,
            bytes_per_s=rate * item_bytes if rate is not None else None,
            age_ms=age_ms,
            items=published,
            drops=drops,
        )

    def _state(self, published: int, age_ms: float | None) -> str:
        if self._reader.ended:
            return "ended"
        if published == 0:
            return "waiting"
        limit_s = max(STALE_S, STALE_PERIODS / self.about.target_hz if self.about.target_hz else 0.0)
        return "stale" if age_ms is not None and age_ms > limit_s * 1e3 else "live"

    def _age_ms(self, now_ns: int) -> float | None:
        if self._time_ns is None or not self.about.same_clock:
            return None
        return (now_ns - self._time_ns) / 1e6

    def _new_window(self) -> TraceWindow:
        rate = self.about.target_hz
        seconds = FAST_WINDOW_S if rate is not None and rate >= FAST_HZ else SLOW_WINDOW_S
        return window_for(self._channels, rate, seconds=seconds)


def as_status(standings: list[Standing]) -> list[dict[str, Any]]:
    """Return standings as they go over the wire."""
    return [asdict(standing) for standing in standings]
