"""Why items are missing: what was told of them, the best reason of each.

| reason | meaning |
|---|---|
| `link`, `lapped`, … | the Pilot dropped it and said so in the block that follows |
| `recorder` | it was in a ring of this machine, but the recorder was dead or too slow for it |
| `disk` | the disk did not take it, and no spool has it |
| `spooled` | pending: it is in the Pilot's spool, and comes; any other reason that the Pilot told is a better one |
| `unknown` | nobody said; only a death can explain it |
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.losses import SPOOLED

UNKNOWN: Final = "unknown"
RECORDER: Final = "recorder"
DISK: Final = "disk"
_MERITS: Final = {SPOOLED: 1, DISK: 2, RECORDER: 3, UNKNOWN: 3}


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """A run of items that is not in the recording."""

    first: int
    count: int
    reason: str

    @property
    def end(self) -> int:
        """The sequence after the last missing item."""
        return self.first + self.count


def is_guess(reason: str) -> bool:
    """Tell whether a reason is ours rather than the Pilot's."""
    return _MERITS.get(reason, 0) > _MERITS[SPOOLED]


class Reasons:
    """By sequence the best reason that was told of it, as sorted, disjoint runs.

    A reason that the Pilot told is better than that the item may still come, and that is better than ours; of two that
    are as good the first one stands.  Telling at the end, which is what a recording does, costs the same however long
    the recording is.

    Args:
        told: to begin with.
    """

    def __init__(self, told: Iterable[Gap] = ()) -> None:
        self._ends: list[int] = []
        self._runs: list[Gap] = []
        for gap in told:
            self.tell(gap)

    def tell(self, gap: Gap) -> None:
        """Note one reason of a run of items."""
        if gap.count <= 0:
            return
        if not self._ends or gap.first > self._ends[-1]:
            self._runs.append(gap)
            self._ends.append(gap.end)
            return
        merit = _MERITS.get(gap.reason, 0)
        low, high = bisect_left(self._ends, gap.first), bisect_right(self._runs, gap.end, key=_first)
        met: list[Gap] = []
        for run in self._runs[low:high]:
            if _MERITS.get(run.reason, 0) <= merit:
                met.append(run)
            else:  # only what sticks out of the new one keeps the old reason
                met += [_run(run.first, gap.first, run.reason), _run(gap.end, run.end, run.reason)]
        met = sorted(run for run in met if run.count > 0)
        merged = join_gaps([*met, *between(met, gap.first, gap.end, gap.reason)])
        self._runs[low:high] = merged
        self._ends[low:high] = [run.end for run in merged]

    def of(self, first: int, end: int, otherwise: str = UNKNOWN) -> list[Gap]:
        """Return ``[first, end)`` piece by piece with its reasons; `otherwise` where nothing was told."""
        low, high = bisect_right(self._ends, first), bisect_left(self._runs, end, key=_first)
        met = [_run(max(first, run.first), min(end, run.end), run.reason) for run in self._runs[low:high]]
        return sorted([*met, *between(met, first, end, otherwise)])

    def __iter__(self) -> Iterator[Gap]:
        return iter(self._runs)

    def __repr__(self) -> str:
        return f"<Reasons {' '.join(f'{run.first}+{run.count} {run.reason}' for run in self._runs) or 'none'}>"


def explain(holes: Iterable[tuple[int, int]], told: Iterable[Gap], otherwise: str) -> list[Gap]:
    """Give every hole its reasons.

    Args:
        holes: runs (first, end) that are missing.
        told: reasons, possibly of the same items.
        otherwise: reason of what nothing was told of.

    Returns:
        Gaps in the order of the holes; those that touch and have the same reason are one.
    """
    reasons = Reasons(told)
    return join_gaps(gap for first, end in holes for gap in reasons.of(first, end, otherwise))


def between(runs: Iterable[Gap], first: int, end: int, reason: str) -> list[Gap]:
    """Return what of ``[first, end)`` is in none of these sorted, disjoint runs."""
    found = []
    for run in runs:
        if run.first > first:
            found.append(_run(first, min(run.first, end), reason))
        first = max(first, run.end)
    found.append(_run(first, end, reason))
    return [gap for gap in found if gap.count > 0]


def join_gaps(gaps: Iterable[Gap]) -> list[Gap]:
    """Sort gaps and join those that touch and have the same reason."""
    joined: list[Gap] = []
    for gap in sorted(gaps):
        last = joined[-1] if joined else None
        if last is not None and (last.end, last.reason) == (gap.first, gap.reason):
            joined[-1] = Gap(last.first, last.count + gap.count, last.reason)
        else:
            joined.append(gap)
    return joined


def _run(first: int, end: int, reason: str) -> Gap:
    return Gap(first, end - first, reason)


def _first(gap: Gap) -> int:
    return gap.first
