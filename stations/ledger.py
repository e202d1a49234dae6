"""The ledger: for every stream, produced = stored + dropped[reason] + pending + in flight.

`produced` comes from the Pilot's rings (positions, not counters), `stored` from the recorder's files, the reasons of
what is missing from the stream itself (a forwarder says in the next block what it had to drop before it).  A gap that
nobody explains is `unknown`; it balances only beside a death that can explain it.  Pure functions of plain values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from pipeline.losses import SPOOLED

UNKNOWN = "unknown"
"""Reason of a gap that no block explained: something died while it happened."""
RECORDER_COUNTERS: Final = 2048
"""Counters that the recorder's page has room for: nine for each stream."""

Sequences = Mapping[str, Mapping[str, int]]
"""Of each stream one sequence per birth (16 hex digits)."""


class Span(msgspec.Struct, frozen=True):
    """What one ring generation brought to a run: items `origin` to `end`, the last not included."""

    origin: int
    end: int


class Produced(msgspec.Struct, frozen=True):
    """A Pilot's account of one stream at STOP."""

    births: dict[str, Span]
    """By birth (16 hex digits) of the ring generation."""
    published: int | None = None
    """Items in the ring as its header has it; None when the source's process keeps no count."""
    counted: int | None = None
    """Items that the source's process counted itself, apart from the ring."""
    pending: int = 0
    """Items in the Pilot's spool that were not known to be recorded."""
    problem: str = ""
    """Why the source ended before its end, in words."""
    kept: dict[str, list[tuple[int, int]]] = {}
    """What the spool held at STOP: ranges of items by birth."""


class Stored(msgspec.Struct, frozen=True):
    """The recorder's account of one ring generation of one stream."""

    origin: int
    end: int
    stored: int
    gaps: list[tuple[int, int, str]] = []
    """(first item, items, reason); an answer to STOP has one for each reason, which counts all."""


class Account(msgspec.Struct, frozen=True):
    """The ledger row of one stream."""

    produced: int
    stored: int
    dropped: dict[str, int]
    in_flight: int
    balanced: bool
    """Every item is stored, dropped for a reason, or waits in a spool."""
    problem: str = ""
    """Why it does not balance, in words."""
    pending: int = 0
    """Items that wait in the Pilot's spool."""


class PilotRecording(msgspec.Struct, frozen=True):
    """What a Pilot says of its own recording at STOP."""

    directory: str
    """Its folder, on the Pilot's machine."""
    streams: dict[str, dict[str, Stored]] = {}
    """By stream and birth."""
    problem: str = ""
    """Why there is no account."""


class PilotAccount(msgspec.Struct, frozen=True):
    """A Pilot's answer to STOP."""

    streams: dict[str, Produced] = {}
    recording: PilotRecording | None = None
    """What its own recorder has; None if nothing was recorded there."""


class RecordingAccount(msgspec.Struct, frozen=True):
    """A Pilot's own recording, balanced."""

    directory: str
    """On the Pilot's machine."""
    streams: dict[str, Account]
    problem: str = ""

    @property
    def is_balanced(self) -> bool:
        """Whether every item is stored there, or missing for a reason."""
        return not self.problem and all(account.balanced for account in self.streams.values())


def account(produced: Produced | None, births: Mapping[str, Stored], *, deaths: Iterable[str] = ()) -> Account:
    """Balance one stream.

    Args:
        produced: the Pilot's account; None when the Pilot could not be asked.
        births: the recorder's account by birth.
        deaths: names of processes that died during the run; with none, nothing may be unknown.
    """
    spans = dict(produced.births) if produced is not None else {}
    for birth, row in births.items():
        known = spans.get(birth)
        spans[birth] = (
            Span(min(row.origin, known.origin), max(row.end, known.end)) if known else Span(row.origin, row.end)
        )
    total = sum(span.end - span.origin for span in spans.values())
    stored = sum(row.stored for row in births.values())
    dropped = _dropped(births)
    pending = dropped.pop(SPOOLED, 0)
    in_flight = total - stored - pending - sum(dropped.values())
    if produced is not None and 0 < in_flight <= produced.pending - pending:  # the run ended before its stream told it
        pending, in_flight = pending + in_flight, 0
    problem = _problem(produced, dropped, in_flight, tuple(deaths))
    return Account(total, stored, dropped, in_flight, not problem, problem, pending)


def _dropped(births: Mapping[str, Stored]) -> dict[str, int]:
    reasons: Counter[str] = Counter()
    for row in births.values():
        for _, count, reason in row.gaps:
            reasons[reason or UNKNOWN] += count
    return dict(sorted(reasons.items()))


def _problem(produced: Produced | None, dropped: Mapping[str, int], in_flight: int, deaths: tuple[str, ...]) -> str:
    if produced is None:
        return "the Pilot gave no account"
    if in_flight:
        return f"{in_flight} items are neither stored nor dropped"
    if dropped.get(UNKNOWN) and not deaths:
        return f"{dropped[UNKNOWN]} items are missing and no process died"
    if produced.counted is not None and produced.counted != produced.published:
        return f"the source counted {produced.counted} items, its ring holds {produced.published}"
    return produced.problem
