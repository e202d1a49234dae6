"""What the Terminal accepted of message rows, put beside what the recorder stored; pure.

Two witnesses say what was accepted: the Terminal, when it is asked at STOP, and the ring, which holds every accepted
row and outlives a Terminal that was killed.  The Terminal's word counts; where it gives none, the ring's does, and
the journal names the death.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .rows_ring import PREFIX


class KeyCount(msgspec.Struct, frozen=True):
    """Rows of one key since the birth of the ring."""

    count: int
    last: int = -1


class RowsTold(msgspec.Struct, frozen=True):
    """The Terminal's answer to ROWS; see `MessageRows.account`."""

    birth: str
    """16 hex digits."""
    keys: dict[str, KeyCount] = {}
    refused: dict[str, int] = {}


Counts = Mapping[str, Mapping[str, int]]
"""By birth (16 hex digits), by key."""


def with_produced(
    summary: Mapping[str, Mapping[str, Any]], *, origins: Counts, accepted: Counts, told: RowsTold | None
) -> dict[str, dict[str, Any]]:
    """Return the recorder's account with `produced` of each key of rows, in the form of `ledger.Produced`.

    Args:
        summary: the recorder's account of all streams.
        origins: rows that came before the recording.
        accepted: rows that the rings brought.
        told: what the Terminal says; None when it could not be asked.
    """
    births: dict[str, dict[str, int]] = {birth: dict(keys) for birth, keys in accepted.items()}
    if told is not None:
        births[told.birth] = births.get(told.birth, {}) | {key: row.count for key, row in told.keys.items()}
    result = {name: dict(row) for name, row in summary.items()}
    for birth, keys in births.items():
        for key, end in keys.items():
            name, origin = f"{PREFIX}{key}", origins.get(birth, {}).get(key, 0)
            if name not in result and end <= origin:
                continue  # nothing of it came during the recording
            row = result.setdefault(name, {"stored": 0, "births": {}, "ended": True})
            produced = row.setdefault("produced", {"births": {}})
            produced["births"][birth] = {"origin": origin, "end": max(origin, end)}
    return result
