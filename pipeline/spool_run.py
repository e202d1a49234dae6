"""What a spool holds of one run of a stream's birth: records in the order of their items, until they are durable."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .spool_file import Damage, SpoolHead, SpoolRecord

_first = attrgetter("first")


class SpoolRun:
    """An index; the bytes are in the files.

    Attributes:
        head: whose items they are.
        items: how many are kept.
    """

    def __init__(self, head: SpoolHead) -> None:
        self.head = head
        self.items = 0
        self._records: list[SpoolRecord] = []
        self._files: Counter[Path] = Counter()
        self._damaged: list[tuple[int, int]] = []

    def add(self, record: SpoolRecord) -> None:
        """Note one more."""
        if self._records and self._records[-1].first > record.first:
            insort(self._records, record, key=_first)
        else:
            self._records.append(record)
        self._files[record.path] += 1
        self.items += record.items

    def add_damage(self, damage: Damage) -> None:
        """Note that what lay between two records cannot be read; beyond the last nobody knows how much it was."""
        if damage.before is not None:
            self._damaged.append((damage.before if damage.after is None else damage.after, damage.before))

    def spoil(self, record: SpoolRecord) -> list[Path]:
        """A record turned out to be damaged: its items are lost; return the files that hold nothing more."""
        self._damaged.append((record.first, record.end))
        at = self._records.index(record)
        return self._take_out(at, at + 1)

    def at(self, sequence: int) -> SpoolRecord | None:
        """Return the first record that begins at `sequence` or later."""
        at = bisect_left(self._records, sequence, key=_first)
        return self._records[at] if at < len(self._records) else None

    def damage_in(self, first: int, end: int) -> tuple[int, int] | None:
        """Return the first run of damaged items that lies in ``[first, end)``."""
        cut = [(max(a, first), min(b, end)) for a, b in self._damaged if a < end and first < b]
        return min(cut, default=None)

    def covered(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the runs of ``[first, end)`` that are kept."""
        runs: list[tuple[int, int]] = []
        at = bisect_left(self._records, first, key=_first)
        for record in self._records[max(0, at - 1) :]:
            if record.first >= end:
                break
            a, b = max(record.first, first), min(record.end, end)
            if a >= b:
                continue
            if runs and runs[-1][1] >= a:
                runs[-1] = (runs[-1][0], max(b, runs[-1][1]))
            else:
                runs.append((a, b))
        return runs

    def ranges(self) -> list[tuple[int, int]]:
        """Return all runs that are kept."""
        return self.covered(self._records[0].first, self._records[-1].end) if self._records else []

    def forget(self, ranges: Iterable[tuple[int, int]]) -> list[Path]:
        """Take out the records that lie in ``[first, end)`` ranges; return the files that hold nothing more."""
        emptied: list[Path] = []
        for first, end in ranges:
            low = bisect_left(self._records, first, key=_first)
            high = bisect_left(self._records, end, key=_first)
            while high > low and self._records[high - 1].end > end:
                high -= 1
            emptied += self._take_out(low, high)
        return emptied

    def holds(self, path: Path) -> bool:
        """Tell whether a file has records that are still kept."""
        return path in self._files

    def _take_out(self, low: int, high: int) -> list[Path]:
        emptied = []
        for record in self._records[low:high]:
            self.items -= record.items
            self._files[record.path] -= 1
            if not self._files[record.path]:
                del self._files[record.path]
                emptied.append(record.path)
        del self._records[low:high]
        return emptied

    def __bool__(self) -> bool:
        return bool(self._records)

    def __repr__(self) -> str:
        spec = self.head.spec
        return f"<SpoolRun {spec.stream} {spec.birth:016x} of {self.head.run!r}: {self.items} items>"
