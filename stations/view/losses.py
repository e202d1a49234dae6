"""Which counters tell what a stream has lost.  Pure.

A Pilot counts what it gave up, by reason; the Terminal counts what it heard of that in all; the recorder counts what
was overwritten before it was stored.  Other machines' Pilots count where we cannot look: the Terminal's word fills in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UPSTREAM: Final = "upstream"
"""Lost before the Terminal, by a Pilot whose reasons cannot be seen from here."""
UNSTORED: Final = "unstored"
"""Blocks that the recorder was too slow for."""


def losses_of(counts: Mapping[str, int], stream: str) -> dict[str, int]:
    """Return the losses of a stream by reason, without reasons that never happened.

    Args:
        counts: values by label: `STREAM.dropped.REASON` and `STREAM.received_lost` in items, `STREAM.lapped` in blocks.
        stream: name without the rig, e.g. "pilot1.cam0".
    """
    begin = f"{stream}.dropped."
    lost = {label.removeprefix(begin): count for label, count in counts.items() if label.startswith(begin)}
    lost[UPSTREAM] = counts.get(f"{stream}.received_lost", 0) - sum(lost.values())
    lost[UNSTORED] = counts.get(f"{stream}.lapped", 0)
    return {reason: count for reason, count in lost.items() if count > 0}
