"""Which counters tell what a stream has lost.  Pure.

The Terminal counts what Pilots say they had to drop, the recorder what was overwritten before it was stored.
"""

from __future__ import annotations

from collections.abc import Mapping

UNSTORED = "unstored"
"""Blocks that the recorder was too slow for."""


def losses_of(counts: Mapping[str, int], stream: str) -> dict[str, int]:
    """Return the losses of a stream by reason, without reasons that never happened.

    Args:
        counts: values by label; `STREAM.lost.REASON` are items, the recorder's `STREAM.lapped` blocks.
        stream: name without the rig.
    """
    lost = {
        label.removeprefix(f"{stream}.lost."): count
        for label, count in counts.items()
        if label.startswith(f"{stream}.lost.")
    }
    lost[UNSTORED] = counts.get(f"{stream}.lapped", 0)
    return {reason: count for reason, count in lost.items() if count > 0}
