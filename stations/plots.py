"""Who draws gets the newest value of each sender, DRAWFPS times a second at most.  A state machine without I/O.

The first value goes at once.  Those that come sooner than a plot could draw them are held, each newer one in the place
of the one before, and the last goes when its time has come: a plot never ends on an old value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline import Message


@dataclass(frozen=True, slots=True)
class Plotted:
    """Send a value to the plot of a Pilot."""

    to: str
    """Address of the plot's node."""
    key: str
    value: dict[str, Any]
    """`sender`, `key`, `value` and `timestamp` of the message."""


class NewestGate:
    """Lets the newest value of each sender and key through, not more often than every `period_s`."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._due: dict[tuple[str, str], float] = {}
        self._held: dict[tuple[str, str], Plotted] = {}

    def offer(self, message: Message, now: float) -> list[Plotted]:
        """Take a message; return what is to be sent now."""
        who = (str(message.sender), str(message.key))
        value = {"sender": who[0], "key": who[1], "value": message.value, "timestamp": message.timestamp}
        plotted = Plotted(f"P_{pilot_of(message)}", who[1], value)
        if now < self._due.get(who, now):
            self._held[who] = plotted
            return []
        self._held.pop(who, None)
        self._due[who] = now + self._period_s
        return [plotted]

    def on_tick(self, now: float) -> list[Plotted]:
        """Return what was held and whose time has come."""
        ready = [who for who in self._held if now >= self._due[who]]
        for who in ready:
            self._due[who] = now + self._period_s
        for who in [who for who, due in self._due.items() if now > due + 60 * self._period_s and who not in self._held]:
            del self._due[who]
        return [self._held.pop(who) for who in ready]

    def __repr__(self) -> str:
        return f"<NewestGate of {len(self._due)} senders, {len(self._held)} held>"


def pilot_of(message: Message) -> str:
    """Return the Pilot whose plot a message is for: what it says itself, else the station of its sender."""
    value = message.value if isinstance(message.value, dict) else {}
    said = message["pilot"] if "pilot" in message else value.get("pilot")
    if isinstance(said, str) and said:
        return said
    return str(message.sender).removeprefix("_").partition(".")[0]
