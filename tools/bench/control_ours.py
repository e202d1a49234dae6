"""Our nodes and station, for `control.py`."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from pipeline import Hub, Message, NetNode, Receipt
from pipeline.transport import port_of

from .child import BenchError, Control

VALUE: Final = {"state": "RUN", "trial": 12, "x": 0.5}
"""What is sent: a small dict, as rigs do."""
_WINDOW: Final = 1024
"""Confirmed messages without an end that the sender has at once."""
_AHEAD: Final = 4096
"""Unconfirmed messages that are on the way at once."""
_PATIENCE_S: Final = 20.0


def station(control: Control) -> None:
    """Forward until killed."""
    with Hub("T", listen_endpoint="tcp://127.0.0.1:0") as hub:
        control.report(port=port_of(hub.endpoint))
        control.wait()


def receive(port: int, control: Control) -> None:
    """Count what comes, and answer."""
    seen = [0, 0.0, 0.0]

    def count(_message: Message) -> None:
        now = time.perf_counter()
        seen[1] = seen[1] or now
        seen[0], seen[2] = seen[0] + 1, now

    def take(_message: Message) -> list[float]:
        found, seen[:] = list(seen), [0, 0.0, 0.0]
        return found

    listens = {"ECHO": lambda message: message.value, "COUNT": count, "LOOK": lambda _: seen[0], "TAKE": take}
    node = NetNode("T.b", "T", port, listens)
    node.wait_connected(_PATIENCE_S)
    control.report()
    control.wait()


def send(port: int, seconds: float, control: Control) -> None:
    """Measure, report, wait to be killed."""
    node = NetNode("T.a", "T", port)
    node.wait_connected(_PATIENCE_S)
    p50, p99 = _round_trips(node, seconds)
    control.report(p50_us=p50, p99_us=p99, posts=_posts(node, seconds), confirmed=_confirmed(node, seconds))
    control.wait()


def _round_trips(node: NetNode, seconds: float) -> tuple[float, float]:
    for _ in range(100):
        node.request("T.b", "ECHO", VALUE)
    trips = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        node.request("T.b", "ECHO", VALUE)
        trips.append((time.perf_counter() - begin) * 1e6)
    trips.sort()
    return trips[len(trips) // 2], trips[len(trips) * 99 // 100]


def _posts(node: NetNode, seconds: float) -> float:
    """Return messages a second that arrived while as many were sent as can be taken.

    Unconfirmed messages that nobody has room for are dropped, so no more than `_AHEAD` are on the way.
    """
    sent = 0
    end = time.perf_counter() + seconds
    look = node.send("T.b", "LOOK")
    while time.perf_counter() < end:
        for _ in range(_AHEAD // 2):
            node.send("T.b", "COUNT", VALUE, repeat=False)
        sent += _AHEAD // 2
        look.result(_PATIENCE_S)  # asked a half before this one, so that the next is on the way meanwhile
        look = node.send("T.b", "LOOK")
    look.result(_PATIENCE_S)
    deadline = time.perf_counter() + _PATIENCE_S
    while (arrived := node.request("T.b", "LOOK")) < sent:
        if time.perf_counter() > deadline:
            raise BenchError(f"{arrived} of {sent} messages arrived")
        time.sleep(0.02)
    arrived, first, last = node.request("T.b", "TAKE")
    return float(arrived / (last - first))


def _confirmed(node: NetNode, seconds: float) -> float:
    """Return messages a second that were run and confirmed."""
    flying: deque[Receipt] = deque()
    count, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + seconds:
        flying.append(node.send("T.b", "COUNT", VALUE))
        count += 1
        if len(flying) >= _WINDOW:
            flying.popleft().result(_PATIENCE_S)
    for receipt in flying:
        receipt.result(_PATIENCE_S)
    return count / (time.perf_counter() - begin)
