"""What the backfill of a stream is called on the wire: a stream of its own, beside the live one."""

from __future__ import annotations

from typing import Final

BACKFILL: Final = "~backfill"


def backfill_of(stream: str) -> str:
    """Return the name of a stream's backfill."""
    return f"{stream}{BACKFILL}"


def is_backfill(name: str) -> bool:
    """Tell whether a stream is the backfill of another one."""
    return name.endswith(BACKFILL)


def live_of(name: str) -> str:
    """Return the stream that a backfill belongs to; a live stream's name as it is."""
    return name.removesuffix(BACKFILL)
