"""Control messages through a station, beside raw ROUTER and DEALER sockets with one process between them.

Sender, station and receiver are three processes on loopback TCP, ours and the raw ones alike.  The raw ones carry the
same value under an address; they encode nothing, confirm nothing and send nothing twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from types import ModuleType

from . import control_ours
from .child import Child
from .promises import CONFIRMED, ROUND_TRIP, UNCONFIRMED
from .rows import Row, at_least, compared
from .transports import control_raw


def measure_control(seconds: float, repeats: int, report: Callable[[str], None]) -> list[Row]:
    """Return the rows, ours and the raw ones measured in turns.

    Args:
        seconds: length of one measurement; there are five in a repeat.
        repeats: of each.
        report: hears how far it is.

    Raises:
        BenchError: a process failed, or messages were lost.
    """
    ours, raw = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for repeat in range(repeats):
        for found, side in ((ours, control_ours), (raw, control_raw)):
            for figure, value in _measure(side, seconds).items():
                found[figure].append(value)
        report(f"repeat {repeat + 1} of {repeats}")
    return [
        compared("round trip p50", "µs", ours["p50_us"], raw["p50_us"], ROUND_TRIP, at_most=True),
        compared("round trip p99", "µs", ours["p99_us"], raw["p99_us"], at_most=True),
        compared("one way, unconfirmed", "1/s", ours["posts"], raw["posts"]),
        at_least("one way, unconfirmed", "1/s", ours["posts"], UNCONFIRMED),
        at_least("one way, confirmed", "1/s", ours["confirmed"], CONFIRMED),
    ]


def _measure(side: ModuleType, seconds: float) -> dict[str, float]:
    children: list[Child] = []
    try:
        children.append(Child("station", side.station))
        port = children[0].hear()["port"]
        children.append(Child("receiver", partial(side.receive, port)))
        children[1].hear()
        children.append(Child("sender", partial(side.send, port, seconds)))
        return children[2].hear()
    finally:
        for child in reversed(children):
            child.kill()
            child.close()
