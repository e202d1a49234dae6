"""The newest of what was sent as messages, from plots' nodes to rows of the page.  Pure: time comes in as an argument.

Messages come from other processes and other versions: what is missing is left out, never an error.
"""

from __future__ import annotations

import reprlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

KEPT: Final = 64
"""Rows at once; the one that was silent for longest goes."""
_TEXT: Final = 160

Row = dict[str, Any]


class _Short(reprlib.Repr):
    """A value in a line."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict = self.maxlist = self.maxtuple = 8
        self.maxstring = self.maxother = 60

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, np.ndarray):
            return f"{x.dtype} {'x'.join(map(str, x.shape)) or 'scalar'}"
        if isinstance(x, float):
            return f"{x:.6g}"
        if isinstance(x, Mapping) and level > 1:
            return " · ".join(f"{key} {self.repr1(value, level - 1)}" for key, value in list(x.items())[: self.maxdict])
        return x[: self.maxstring] if isinstance(x, str) else super().repr1(x, level)


_short: Final = _Short()


class Values:
    """The newest value of each sender and key; usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: OrderedDict[tuple[str, str, str], Row] = OrderedDict()
        self.version = 0
        """Grows with every change."""

    @property
    def rows(self) -> list[Row]:
        """Rows of `frames.Values`, by Pilot, sender and key."""
        with self._lock:
            return [dict(self._rows[name]) for name in sorted(self._rows)]

    def on_value(self, pilot: str, value: object, wall_ns: int) -> None:
        """Take what a plot got: a mapping with `sender`, `key` and `value`."""
        fields = value if isinstance(value, Mapping) else {"value": value}
        sender, key = str(fields.get("sender", pilot))[:60], str(fields.get("key", ""))[:60]
        text = _short.repr(fields.get("value"))[:_TEXT]
        self._put(pilot, sender, key, text, wall_ns)

    def on_state(self, pilot: str, value: object, wall_ns: int) -> None:
        """Take the state that a Pilot told."""
        if isinstance(value, Mapping) and isinstance(value.get("state"), str):
            self._put(pilot, pilot, "STATE", value["state"][:60], wall_ns)

    def on_stop(self, pilot: str) -> None:
        """The run has ended: what stands there is not news any more."""
        with self._lock:
            for name, row in self._rows.items():
                if name[0] == pilot:
                    row["stopped"] = True
            self.version += 1

    def _put(self, pilot: str, sender: str, key: str, text: str, wall_ns: int) -> None:
        name = (pilot, sender, key)
        with self._lock:
            known = self._rows.get(name)
            if key == "STATE" and known is not None and known["text"] == text:
                return  # a sign of life is no news
            self._rows[name] = {"sender": sender, "key": key, "text": text, "wall_ms": wall_ns / 1e6, "stopped": False}
            self._rows.move_to_end(name)
            if len(self._rows) > KEPT:
                self._rows.popitem(last=False)
            self.version += 1

    def __repr__(self) -> str:
        return f"<Values {len(self._rows)} rows, version {self.version}>"
