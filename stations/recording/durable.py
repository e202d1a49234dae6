"""Tells Pilots what is on the disk of a recording, so that they may forget it, and what it does not take: DURABLE."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .session import SessionRecorder

MOST_RANGES: Final = 4096
"""Of one birth; the newest are told, the others were told before."""
REPEAT_S: Final = 1.0
"""Said again so often, for nobody confirms it."""

Tell = Callable[[str, dict[str, Any]], object]
"""Sends a value to a Pilot."""


class DurableTeller:
    """Belongs to the recorder's thread.

    Args:
        tell: sends to a Pilot, unconfirmed.
        period_s: how often something new is said.
    """

    def __init__(self, tell: Tell, period_s: float) -> None:
        self._tell = tell
        self._period_s = period_s
        self._said: dict[tuple[str, str], tuple[int, list[str], float]] = {}

    def tick(self, session: SessionRecorder, pilots: Mapping[str, Iterable[str]], now: float) -> None:
        """Tell each Pilot about its streams in a recording, if it is time.

        Args:
            session: the recording.
            pilots: streams by Pilot.
            now: seconds, monotonic.
        """
        run = str(session.directory)
        for pilot, streams in pilots.items():
            items, was_full, at = self._said.get((run, pilot), (-1, [], -REPEAT_S))
            if now - at < self._period_s:
                continue
            durable = sum(session.streams[name].durable for name in streams if name in session.streams)
            full = [name for name in streams if name in session.streams and session.streams[name].failed]
            if (durable, full) != (items, was_full) or now - at >= REPEAT_S:
                self._said[run, pilot] = (durable, full, now)
                self._tell(pilot, {"run": run, "streams": _ranges(session, streams), "full": full})

    def forget(self, run: str) -> None:
        """A recording was closed."""
        self._said = {key: said for key, said in self._said.items() if key[0] != run}


def _ranges(session: SessionRecorder, streams: Iterable[str]) -> dict[str, dict[str, list[list[int]]]]:
    return {
        name: {
            f"{birth:016x}": [[first, end] for first, end in ranges.newest(MOST_RANGES)]
            for birth, ranges in session.streams[name].durable_ranges().items()
        }
        for name in streams
        if name in session.streams
    }
