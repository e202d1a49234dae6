"""Tells Pilots what is on the disk of a recording, so that they may forget it, and what it does not take: DURABLE.

Nobody confirms it, and a stream may have a hundred thousand gaps.  So each time only what grew is told, with the newest
run; and every second some more of all the runs, in turn, so that each is told again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .session import SessionRecorder
from .stream_recorder import StreamRecorder

AGAIN: Final = 512
"""Runs of a stream that are told again every second."""
REPEAT_S: Final = 1.0

Tell = Callable[[str, dict[str, Any]], object]
"""Sends a value to a Pilot."""
Runs = dict[str, list[list[int]]]
"""By birth (16 hex digits): runs [first, end) of items."""


@dataclass(slots=True)
class _Said:
    """What one Pilot was told of one recording."""

    items: int = -1
    full: list[str] = field(default_factory=list)
    at: float = -REPEAT_S
    repeat_at: float = 0.0
    turn: dict[str, int] = field(default_factory=dict)
    """By stream, how many of its runs were told again."""


class DurableTeller:
    """Belongs to the recorder's thread.

    Args:
        tell: sends to a Pilot, unconfirmed.
        period_s: how often something new is said.
    """

    def __init__(self, tell: Tell, period_s: float) -> None:
        self._tell = tell
        self._period_s = period_s
        self._said: dict[tuple[str, str], _Said] = {}

    def tick(self, session: SessionRecorder, pilots: Mapping[str, Iterable[str]], now: float) -> None:
        """Tell each Pilot about its streams in a recording, if it is time.

        Args:
            session: the recording.
            pilots: streams by Pilot.
            now: seconds, monotonic.
        """
        run = str(session.directory)
        for pilot, names in pilots.items():
            said = self._said.setdefault((run, pilot), _Said())
            if now - said.at < self._period_s:
                continue
            streams = {name: session.streams[name] for name in names if name in session.streams}
            items = sum(recorder.durable for recorder in streams.values())
            full = [name for name, recorder in streams.items() if recorder.failed]
            is_due = now >= said.repeat_at
            if (items, full) == (said.items, said.full) and not is_due:
                continue
            told = {name: _runs(name, recorder, said, again=AGAIN * is_due) for name, recorder in streams.items()}
            said.items, said.full, said.at = items, full, now
            said.repeat_at = now + REPEAT_S if is_due else said.repeat_at
            self._tell(pilot, {"run": run, "streams": told, "full": full})

    def forget(self, run: str) -> None:
        """A recording was closed."""
        self._said = {key: said for key, said in self._said.items() if key[0] != run}

    def __repr__(self) -> str:
        return f"<DurableTeller of {len(self._said)} Pilots and recordings>"


def _runs(name: str, recorder: StreamRecorder, said: _Said, *, again: int) -> Runs:
    """Return what is told of a stream: what grew, the newest, and `again` runs of all, in turn."""
    durable, grown = recorder.durable_ranges(), recorder.take_grown()
    begin, before = said.turn.get(name, 0), 0
    found: Runs = {}
    for birth, ranges in durable.items():
        runs = {ranges.around(first) for first in grown.get(birth, ())}
        runs.update(ranges.runs(-1))
        if again:
            runs.update(ranges.runs(max(0, begin - before), max(0, begin + again - before)))
            before += ranges.run_count
        found[f"{birth:016x}"] = [list(run) for run in sorted(runs)]
    if again:
        said.turn[name] = begin + again if begin + again < before else 0
    return found
