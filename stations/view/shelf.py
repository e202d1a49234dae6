"""Finds the Terminal's rings and keeps a feed for each; one thread owns it.

A stream whose ring was replaced (another shape, a restarted Terminal) gets a new feed with a new number, so that a page
never mixes the two.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline import StreamReader
from pipeline.backfill_name import is_backfill
from pipeline.errors import PipelineError
from pipeline.stream_spec import StreamSpec
from shm import Counters, OverrunError, RingEmptyError, ShmError, clock_domain, list_segments
from stations.rows_ring import RING

from .chronicle import Chronicle
from .frames import Events, Frame, Status, ValueRows
from .losses import losses_of
from .streams import About, Feed, as_status
from .values import Values

SEARCH_S: Final = 1.0
"""Seconds between two looks for rings: nobody minds a camera that appears a second late."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Shown:
    reader: StreamReader
    feed: Feed


class Shelf:
    """What the page shows of a rig: its streams, its events, its recording."""

    def __init__(
        self,
        rig: str,
        terminal: str,
        chronicle: Chronicle,
        clock: Callable[[], int] = time.monotonic_ns,
        values: Values | None = None,
    ) -> None:
        """Args: names of rig and Terminal, what is told by messages, CLOCK_MONOTONIC in ns, what plots got."""
        self._rig = f"{rig}/"
        self._prefix = f"{rig}/{terminal}/"
        self._pages: dict[str, Counters] = {}
        self._chronicle = chronicle
        self._values = values or Values()
        self._clock = clock
        self._shown: dict[str, _Shown] = {}
        self._refused: set[str] = set()
        self._numbers = 0
        self._search_at = 0

    def __repr__(self) -> str:
        return f"<Shelf {self._prefix} {len(self._shown)} streams>"

    def news(self) -> list[tuple[int, Frame]]:
        """Look for rings when it is time; return what is new in each stream."""
        now = self._clock()
        if now >= self._search_at:
            self._search_at = now + int(SEARCH_S * 1e9)
            self._search()
        frames = []
        for name, shown in list(self._shown.items()):
            try:
                frame = shown.feed.news(now)
            except (OverrunError, RingEmptyError):
                continue  # it went round while we looked, or holds nothing but an END: the next item is soon enough
            except (ShmError, PipelineError) as error:
                self._drop(name, error)
                continue
            if frame is not None:
                frames.append((shown.feed.id, frame))
                shown.reader.blocks.seek(shown.reader.blocks.published)  # for those who look at our lag
        return frames

    def status(self) -> Status:
        """Return how everything is now."""
        now = self._clock()
        counts = self._counts()
        standings = [
            shown.feed.standing(now, losses_of(counts, name) if self._pages else None)
            for name, shown in sorted(self._shown.items())
        ]
        return Status(time.time() * 1e3, self._chronicle.recording(now), as_status(standings))

    def events(self) -> tuple[int, Events]:
        """Return the newest events and their version."""
        return self._chronicle.version, Events(self._chronicle.events)

    def values(self) -> tuple[int, ValueRows]:
        """Return the newest values of messages and their version."""
        return self._values.version, ValueRows(self._values.rows)

    def close(self) -> None:
        """Let go of all rings and counters."""
        for shown in self._shown.values():
            shown.reader.close()
        for page in self._pages.values():
            page.close()
        self._shown.clear()
        self._pages.clear()

    def _search(self) -> None:
        segments = [info for info in list_segments(self._rig) if not info.problem]
        self._take_rings(
            {i.full_name: i.ring.birth for i in segments if i.ring is not None and i.full_name.startswith(self._prefix)}
        )
        self._take_pages({info.full_name for info in segments if info.kind == "counters"})

    def _take_rings(self, found: dict[str, int]) -> None:
        """Leave rings that are gone or were replaced, join new ones."""
        for name, shown in list(self._shown.items()):
            if found.get(self._prefix + name) != shown.reader.blocks.birth:
                shown.reader.close()
                del self._shown[name]
        for full_name in sorted(found.keys() - {f"{self._prefix}{RING}"}):  # messages have no picture
            name = full_name.removeprefix(self._prefix)
            if name not in self._shown and not is_backfill(name):
                self._show(full_name, name)

    def _take_pages(self, found: set[str]) -> None:
        """Open the counters of this rig's processes anew: a process that came back may have a new page."""
        for page in self._pages.values():
            page.close()
        self._pages = {}
        for name in found:
            try:
                self._pages[name] = Counters.attach(name)
            except ShmError:  # removed between the two looks
                continue

    def _show(self, full_name: str, name: str) -> None:
        try:
            reader = StreamReader.attach(full_name, policy="latest", reader="view")
        except (ShmError, PipelineError) as error:
            if full_name not in self._refused:  # told once; a ring that is being made is refused for a moment
                self._refused.add(full_name)
                log.warning("ring %s is not shown: %s", full_name, error)
            return
        self._numbers += 1
        self._shown[name] = _Shown(reader, Feed(self._numbers, _about(name, reader.spec), reader))

    def _drop(self, name: str, error: Exception) -> None:
        """Let go of a ring that cannot be read; the next search tries it anew."""
        log.warning("stream %s cannot be drawn: %s", name, error)
        self._shown.pop(name).reader.close()

    def _counts(self) -> dict[str, int]:
        """Return the counters of all the rig's processes; their labels begin with the stream."""
        return {label: count for page in self._pages.values() for label, count in page.read().items()}


def _about(name: str, spec: StreamSpec) -> About:
    return About(
        name=name,
        target_hz=spec.rate,
        labels=spec.labels,
        unit=spec.unit,
        same_clock=spec.clock.domain == clock_domain(),
    )
