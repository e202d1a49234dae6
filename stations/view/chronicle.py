"""What happened and whether the rig records, from messages to rows of the page.  Pure: time comes in as an argument.

Messages come from other processes and other versions: what is missing or of another type is left out, never an error.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

KEPT: Final = 100
"""Events shown; older ones are in session.jsonl."""
BAD: Final = frozenset(
    {"died", "death", "dead", "lost", "late", "gap", "failed", "error", "demoted", "overrun", "refused"}
    | {"step", "uncertain"}
)
"""Words of a kind that make it a warning."""
_STATES: Final = (
    ("record", "recording"),
    ("run", "recording"),
    ("standby", "standby"),
    ("start", "recording"),
)
"""What a word that begins so means of the recording; all else is idle."""
_WHO: Final = ("name", "who", "stream", "id", "station", "node")
_KNOWN: Final = {*_WHO, "kind", "event", "time_ns", "wall_ns", "time", "t", "wall"}


class Chronicle:
    """The newest events and the state of the recording; usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._state = "unknown"
        self._name = ""
        self._since_ns: int | None = None
        self.version = 0
        """Grows with every event."""

    def __repr__(self) -> str:
        return f"<Chronicle {len(self._events)} events, {self._state} {self._name}>"

    @property
    def events(self) -> list[dict[str, Any]]:
        """The newest events as rows of `frames.Events`, newest last."""
        with self._lock:
            return list(self._events)

    def on_event(self, value: object, wall_ns: int) -> None:
        """Take the value of an EVENT message.

        Args:
            value: a mapping with `kind` (or `event`), whom it concerns under one of a few names, and any more fields,
                which are shown as text.
            wall_ns: wall clock now, used where the event carries none.
        """
        fields = value if isinstance(value, Mapping) else {"kind": "event", "text": value}
        kind = str(fields.get("kind") or fields.get("event") or "event")
        who = next((str(fields[key]) for key in _WHO if fields.get(key)), "")
        stamp = fields.get("wall_ns")
        row = {
            "wall_ms": (stamp if isinstance(stamp, int) else wall_ns) / 1e6,
            "kind": kind,
            "who": who,
            "text": _words(fields),
            "bad": not BAD.isdisjoint(re.split(r"[\W_]+", kind.lower())),
        }
        with self._lock:
            self._events.append(row)
            self.version += 1

    def on_state(self, value: object, now_ns: int) -> None:
        """Take the value of a STATE, START or STOP message about the recording.

        Args:
            value: a mapping with `state` (any word that begins with "record" or "run" means recording, "standby" that
                the rig stands by), `recording` or `directory` (path), `seconds` since START; what is missing keeps its
                value.
            now_ns: CLOCK_MONOTONIC.
        """
        if isinstance(value, Mapping):
            with self._lock:
                self._take_state(value, now_ns)

    def _take_state(self, value: Mapping[Any, Any], now_ns: int) -> None:
        state = value.get("state")
        if isinstance(state, str) and state:
            was = self._state
            self._state = next((shown for word, shown in _STATES if state.lower().startswith(word)), "idle")
            if self._state != was:
                self._since_ns = now_ns if self._state == "recording" else None
        path = value.get("recording") or value.get("directory")
        if isinstance(path, str):
            self._name = PurePath(path).name
        seconds = value.get("seconds")
        if isinstance(seconds, int | float) and self._state == "recording":
            self._since_ns = now_ns - int(seconds * 1e9)

    def recording(self, now_ns: int) -> dict[str, Any]:
        """Return the field `recording` of `frames.Status`."""
        with self._lock:
            seconds = (now_ns - self._since_ns) / 1e9 if self._since_ns is not None else None
            return {"state": self._state, "name": self._name, "seconds": seconds}


def _words(fields: Mapping[Any, Any]) -> str:
    """Return what else an event says, in one line."""
    text = fields.get("text") or fields.get("message")
    rest = [f"{key} {_word(value)}" for key, value in fields.items() if key not in _KNOWN | {"text", "message"}]
    return " · ".join([str(text), *rest] if text else rest)[:400]


def _word(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    # Of a mapping the keys: what it says of each is for the journal.
    return ", ".join(str(part) for part in value) if isinstance(value, list | tuple | dict) else str(value)
