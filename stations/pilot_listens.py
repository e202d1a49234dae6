"""What is asked of a Pilot's sensors, and what its nodes send on as messages.

| key | from | effect |
|---|---|---|
| PARAM, CHANGE | the Terminal | the sensor of `stream` sets `parameter` to `value`; answers the value taken |
| COHERE | the Terminal | what each stream has published: count, last sequence, by birth |
| DATA, CONTINUOUS | a node, a Pilot below | goes on to the Terminal as of this Pilot; answers the number of the row |
| FILE | anybody | fails: this version exchanges no files |
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pipeline import Message
from pipeline.forward import Forwarder

from .errors import StationError
from .station import Listen, Station, refuse_file
from .suggest import did_you_mean

SENSOR_S: Final = 9.0


class StreamChange(msgspec.Struct, frozen=True):
    """What PARAM asks."""

    stream: str
    parameter: str
    value: Any


class PilotListens:
    """Listens of a Pilot beside those of its run.

    Args:
        station: the Pilot.
        terminal: address of the Terminal.
        forwarder: knows what was published.
        sensors: addresses of its streams, full names.
    """

    def __init__(self, station: Station, terminal: str, forwarder: Forwarder, sensors: list[str]) -> None:
        self._station = station
        self._terminal = terminal
        self._forwarder = forwarder
        self._sensors = sensors

    def listens(self) -> dict[str, Listen]:
        """Return what is done for each key."""
        return {
            "PARAM": self.l_param,
            "CHANGE": self.l_param,
            "COHERE": self.l_cohere,
            "DATA": self.l_data,
            "CONTINUOUS": self.l_data,
            "FILE": refuse_file,
        }

    def l_param(self, message: Message) -> Any:
        """Set a parameter of a source; return the value that it took.

        Raises:
            StationError: there is no such stream, or no sensor of ours fills it.
        """
        change = msgspec.convert(message.value, StreamChange)
        name = change.stream if "." in change.stream else f"{self._station.id}.{change.stream}"
        if name not in self._sensors:
            raise StationError(f"{self._station.id} has no sensor {name!r}; {did_you_mean(name, self._sensors)}")
        fields = {"parameter": change.parameter, "value": change.value}
        return self._station.request(name, "PARAM", fields, timeout_s=SENSOR_S)

    def l_cohere(self, _message: Message) -> dict[str, Any]:
        """Return what each stream has published since its run began."""
        found: dict[str, Any] = {}
        for stream, report in self._forwarder.state().items():
            origin = report.origin if report.origin is not None else report.published
            row = {"count": report.published - origin, "last": report.published - 1}
            births = {} if report.birth is None else {f"{report.birth:016x}": row}
            found[stream] = {**row, "births": births}
        return found

    def l_data(self, message: Message) -> Any:
        """Send a value on to the Terminal, as one of this Pilot's."""
        message.pilot = self._station.id
        receipt = self._station.hub.send(self._terminal, msg=message)
        return receipt.result(SENSOR_S)

    def __repr__(self) -> str:
        return f"<PilotListens of {self._station.id}>"
