"""Names on the wire: of a stream's backfill, a stream of its own, and of what a spec's meta says of its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

BACKFILL: Final = "~backfill"
RUN: Final = "~run"
"""In a spec's meta: the recording that the stream belongs to."""
PILOT: Final = "~pilot"
"""In the meta of a backfill: whose spool it comes from."""


def backfill_of(stream: str) -> str:
    """Return the name of a stream's backfill."""
    return f"{stream}{BACKFILL}"


def is_backfill(name: str) -> bool:
    """Tell whether a stream is the backfill of another one."""
    return name.endswith(BACKFILL)


def live_of(name: str) -> str:
    """Return the stream that a backfill belongs to; a live stream's name as it is."""
    return name.removesuffix(BACKFILL)


def own_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a source said of its stream, without what was added on the way."""
    return {key: value for key, value in meta.items() if key not in (RUN, PILOT)}
