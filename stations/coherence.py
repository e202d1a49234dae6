"""COHERE: what was published and what is stored, compared count by count and last sequence by last sequence.

Both sides describe a stream as ``{"count": items, "last": sequence, "births": {birth: {"count", "last"}}}``; births are
ring generations, 16 hex digits.  Pure functions of plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .ledger import Produced, Stored

Side = dict[str, Any]


def compare(published: Mapping[str, Side], stored: Mapping[str, Side]) -> dict[str, dict[str, Any]]:
    """Return for each stream both sides, how many items are missing (None if a side is unknown) and whether they match.

    Only births that both sides know are compared: what a Pilot published before it was started again it does not know.
    """
    return {stream: _compare(published.get(stream), stored.get(stream)) for stream in sorted({*published, *stored})}


def _compare(published: Side | None, stored: Side | None) -> dict[str, Any]:
    if published is None or stored is None:
        return {"published": _brief(published), "stored": _brief(stored), "missing": None, "match": False}
    ours, theirs = published, stored
    common = set(published.get("births", {})) & set(stored.get("births", {}))
    if common:
        ours, theirs = _sum(published, common), _sum(stored, common)
    missing = int(ours["count"]) - int(theirs["count"])
    match = missing == 0 and ours["last"] == theirs["last"]
    return {"published": _brief(ours), "stored": _brief(theirs), "missing": missing, "match": match}


def _brief(side: Side | None) -> Side | None:
    return None if side is None else {"count": side["count"], "last": side["last"]}


def _sum(side: Side, births: set[str]) -> Side:
    rows = [row for birth, row in side["births"].items() if birth in births]
    return {"count": sum(row["count"] for row in rows), "last": rows[-1]["last"]}


def published_side(produced: Produced) -> Side:
    """Return a Pilot's account at STOP as a side."""
    births = {birth: {"count": span.end - span.origin, "last": span.end - 1} for birth, span in produced.births.items()}
    return _side(births)


def stored_side(births: Mapping[str, Stored]) -> Side:
    """Return the recorder's account at STOP as a side."""
    return _side({birth: {"count": row.stored, "last": row.end - 1} for birth, row in births.items()})


def _side(births: dict[str, dict[str, int]]) -> Side:
    last = next(reversed(births.values()))["last"] if births else -1
    return {"count": sum(row["count"] for row in births.values()), "last": last, "births": births}
