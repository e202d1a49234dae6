"""What became of an export: plain values, printed or turned into JSON by whoever asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class ExportReport:
    """What became of an export."""

    format: str
    output: str
    streams: dict[str, int] = field(default_factory=dict)
    """Items of each stream."""
    notes: dict[str, int] = field(default_factory=dict)
    """Lines of what went along: events, gaps, rows of messages."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Streams that the format cannot hold, and why."""
    damaged: list[str] = field(default_factory=list)
    """What of the recording is damaged and therefore not in the export."""
    resumed_pieces: int = 0
    """Pieces that an interrupted export had written already."""
    verified: bool = False
    """Whether the result was read again."""
    lossy: str = ""
    differences: list[str] = field(default_factory=list)
    """What is not in the result as it is in the recording."""

    @property
    def ok(self) -> bool:
        """Whether all of it is there."""
        return not self.damaged and not self.differences

    def lines(self) -> list[str]:
        """Return what a person wants to read, the verdict last."""
        found = [f"{name}: {items} items" for name, items in self.streams.items()]
        found += [f"{name}: {count} lines" for name, count in self.notes.items()]
        found += [f"{name}: left out: {reason}" for name, reason in self.left_out.items()]
        found += [f"damaged, not exported: {what}" for what in self.damaged]
        found += [f"differs: {what}" for what in self.differences]
        if self.resumed_pieces:
            found.append(f"went on behind {self.resumed_pieces} pieces of an export that was interrupted")
        if self.lossy:
            found.append(f"{self.format} is lossy: {self.lossy}")
        verdict = "NOT WHOLE" if not self.ok else self._verdict() if self.verified else "written"
        return [*found, f"{self.output}: {verdict}"]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {**asdict(self), "ok": self.ok}

    def _verdict(self) -> str:
        return "read again: counts and times are the recording's" if self.lossy else "read again: bit for bit"
