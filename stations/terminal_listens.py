"""What people at the Terminal ask of the whole rig, and what Pilots and their nodes send it as messages.

| key | from | effect |
|---|---|---|
| DATA, CONTINUOUS | a Pilot, its nodes | a row of the recording; goes on to `_T`, the newest to `P_<pilot>` |
| ROWS | the recorder | how many rows were accepted, by key |
| CHANGE | anybody | PARAM of `pilot`: `stream`, `parameter`, `value`; answers the value taken, which is an event |
| MARK | anybody | `text`, `by`: `_T` writes it into the journal and answers with when and where; else fails |
| RECORD | anybody | `from_s`, `duration_s`, `by`: `_T` records what stands by; answers where, and from when on |
| STOPALL | anybody | `_T` ends the run: Pilots and recorder stop; plots hear STOP |
| COHERE | anybody | what Pilots have published and the recorder has stored, by stream, and whether they match |
| FILE | anybody | fails: this version exchanges no files |
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import msgspec

from pipeline import Message, OutcomeError

from .coherence import compare
from .plots import NewestGate, Plotted
from .rows import MessageRows
from .standby import RecordOrder
from .station import Listen, Station, refuse_file

ASK_S: Final = 10.0


class RigChange(msgspec.Struct, frozen=True):
    """What CHANGE asks."""

    pilot: str
    stream: str
    parameter: str
    value: Any


class Mark(msgspec.Struct, frozen=True):
    """What MARK asks; a text alone is one, too."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    by: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """Who says so; the sender of the message if empty."""


class TerminalListens:
    """Listens of the Terminal beside those that concern who is there.

    Args:
        station: the Terminal.
        pilots: ids of its Pilots; looked at anew for each message.
        rows: takes what is to be recorded.
        draw_fps: how often a plot gets the newest value.
        recorders: who is asked what is stored; the Terminal's own recorder if None.
    """

    def __init__(
        self,
        station: Station,
        pilots: dict[str, Any],
        rows: MessageRows,
        draw_fps: float,
        recorders: list[str] | None = None,
    ) -> None:
        self._station = station
        self._pilots = pilots
        self._rows = rows
        self._gate = NewestGate(1.0 / draw_fps)
        self._recorders = [f"{station.id}.recorder"] if recorders is None else recorders
        self._agent = f"_{station.id}"

    def listens(self) -> dict[str, Listen]:
        """Return what is done for each key."""
        return {
            "DATA": self.l_data,
            "CONTINUOUS": self.l_data,
            "ROWS": lambda _message: self._rows.account(),
            "CHANGE": self.l_change,
            "MARK": self.l_mark,
            "RECORD": self.l_record,
            "STOPALL": self.l_stopall,
            "COHERE": self.l_cohere,
            "FILE": refuse_file,
        }

    def on_tick(self, now: float) -> None:
        """Send what was held for a plot and whose time has come."""
        self._plot(self._gate.on_tick(now))

    def l_data(self, message: Message) -> int:
        """Record a value, pass it on; return the number of its row."""
        number = self._rows.append(row_key(message), message)
        self._station.hub.send(self._agent, msg=message)
        self._plot(self._gate.offer(message, time.monotonic()))
        return number

    def l_change(self, message: Message) -> Any:
        """Set a parameter of a source somewhere in the rig; return the value that it took."""
        change = msgspec.convert(message.value, RigChange)
        fields = {"stream": change.stream, "parameter": change.parameter, "value": change.value}
        taken = self._station.request(change.pilot, "PARAM", fields, timeout_s=ASK_S)
        said = {"kind": "param", "name": f"{change.pilot}.{change.stream}", "parameter": change.parameter}
        self._station.send(self._agent, "EVENT", {**said, "value": taken, "by": str(message.sender)})
        return taken

    def l_mark(self, message: Message) -> dict[str, Any]:
        """Write a mark into the journal of the recording that runs; return it with its times and the recording."""
        value = message.value if isinstance(message.value, dict) else {"text": message.value}
        mark = msgspec.convert(value, Mark)
        told = {"text": mark.text, "by": mark.by or str(message.sender)}
        return msgspec.convert(self._station.request(self._agent, "MARK", told, timeout_s=ASK_S), dict[str, Any])

    def l_record(self, message: Message) -> dict[str, Any]:
        """Begin to record what stands by; return the recording's folder, and where each stream begins."""
        order = msgspec.convert(message.value or {}, RecordOrder)
        told = msgspec.structs.replace(order, by=order.by or str(message.sender))
        begun = self._station.request(self._agent, "RECORD", msgspec.to_builtins(told), timeout_s=ASK_S)
        return msgspec.convert(begun, dict[str, Any])

    def l_stopall(self, message: Message) -> None:
        """End the run, by way of the agent that conducts it; tell the plots."""
        self._station.request(self._agent, "STOPALL", {"by": str(message.sender)}, timeout_s=ASK_S)
        for pilot in self._pilots:
            self._station.send(f"P_{pilot}", "STOP", repeat=False)

    def l_cohere(self, _message: Message) -> dict[str, Any]:
        """Compare what was published with what is stored, stream by stream; what cannot be asked is None."""
        published: dict[str, Any] = {}
        for pilot in self._pilots:
            published |= self._ask(pilot) or {}
        rows = {f"data/{key}": entry for key, entry in self._rows.account()["keys"].items()}
        stored: dict[str, Any] = {}
        for recorder in self._recorders:
            stored |= self._ask(recorder) or {}
        return compare({**published, **rows}, stored)

    def _ask(self, who: str) -> dict[str, Any] | None:
        try:
            return msgspec.convert(self._station.request(who, "COHERE", timeout_s=ASK_S), dict[str, Any])
        except (OutcomeError, msgspec.ValidationError):
            return None

    def _plot(self, plotted: list[Plotted]) -> None:
        for one in plotted:
            self._station.send(one.to, one.key, one.value, repeat=False)


def row_key(message: Message) -> str:
    """Return the key of a message's row: ``DATA`` for DATA, what it calls itself for CONTINUOUS.

    That is `inner_key`, of the message or in its value, or `key` in its value, else ``CONTINUOUS``.
    """
    key = str(message.key)
    if key != "CONTINUOUS":
        return key
    value = message.value if isinstance(message.value, dict) else {}
    named = message["inner_key"] if "inner_key" in message else value.get("inner_key", value.get("key"))
    return named if isinstance(named, str) and named else key
