"""The plots' nodes, ``P_<pilot>``: what the Terminal sends them is shown, newest value by newest value.

| key | value | what it does |
|---|---|---|
| DATA, CONTINUOUS | `sender`, `key`, `value`, `timestamp` | a row of the page's messages |
| STATE | `state` | a row, when it changes |
| START | | nothing: values come with DATA |
| STOP | | the Pilot's rows are marked as old |
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from pipeline import Message, NetNode

from .values import Values


def open_plots(values: Values, pilots: Iterable[str], terminal: str, ip: str, port: int) -> list[NetNode]:
    """Return a node for each Pilot's plot; who calls releases them."""
    return [NetNode(f"P_{pilot}", terminal, port, _listens(values, pilot), upstream_ip=ip) for pilot in pilots]


def _listens(values: Values, pilot: str) -> dict[str, Any]:
    def on_value(message: Message) -> None:
        values.on_value(pilot, message.value, time.time_ns())

    return {
        "DATA": on_value,
        "CONTINUOUS": on_value,
        "STATE": lambda message: values.on_state(pilot, message.value, time.time_ns()),
        "START": lambda _message: None,
        "STOP": lambda _message: values.on_stop(pilot),
    }
