"""Two ends of streams of messages: in this process, or a Station and a producer as processes of their own.

``python -m support.message_streams station | producer PORT STREAM BYTES``; they speak JSON lines (`support.children`).
"""

from __future__ import annotations

import json
import resource
import sys
import threading
from contextlib import ExitStack
from typing import Any

import numpy as np

from pipeline import Hub, Message, NetNode, Pace
from pipeline.transport import port_of
from stations.station import Station

QUICK = Pace(beat_s=0.1, late_s=0.3, lost_s=0.7)


class Ends:
    """A station, a recipient behind it, and a node that streams to it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.heard: list[Message] = []
        self.station = stack.enter_context(Hub("T", {"K": self.heard.append}, listen_endpoint="tcp://127.0.0.1:0"))
        self.port = port_of(self.station.endpoint)
        self.source = self.node("p1.task")

    def node(self, name: str, listens: dict[str, Any] | None = None, port: int = 0) -> NetNode:
        node = NetNode(name, "T", port or self.port, listens, pace=QUICK)
        self._stack.callback(node.release)
        assert node.wait_connected(5)
        return node

    def values(self) -> list[Any]:
        return [message.value for message in self.heard]


def array_of(number: int, nbytes: int) -> np.ndarray[Any, Any]:
    """Return an array that proves itself: every element is its number."""
    return np.full(nbytes // 8, number, "<i8")


def is_whole(array: np.ndarray[Any, Any]) -> bool:
    """Tell whether an array is one of `array_of`."""
    return bool((array == array[0]).all())


class _Heard:
    """What a Station's listens saw."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.torn = 0
        self.gate = threading.Event()
        self.gate.set()

    def l_array(self, message: Message) -> None:
        self.gate.wait(60)
        array = message.value["image"] if isinstance(message.value, dict) else message.value
        self.torn += not is_whole(array)
        self.numbers.append(int(array[0]))

    def l_gate(self, message: Message) -> None:
        self.gate.set() if message.value else self.gate.clear()

    def l_heard(self, _message: Message) -> dict[str, Any]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"numbers": self.numbers, "torn": self.torn, "peak": peak}


def station() -> None:
    """A Station that notes the arrays it gets by ARRAY, tells them by HEARD, and waits while GATE is false."""
    heard = _Heard()
    listens = {"ARRAY": heard.l_array, "GATE": heard.l_gate, "HEARD": heard.l_heard}
    with Station("T", listens, listen_endpoint="tcp://127.0.0.1:0") as ours:
        print(json.dumps({"port": port_of(ours.endpoint)}), flush=True)
        sys.stdin.readline()


def producer(port: int, stream: str, nbytes: int) -> None:
    """A node that streams arrays without end, and says when the first have arrived."""
    node = NetNode("p1.task", "T", port)
    flow, said = node.get_stream(stream, "ARRAY", min_size=4, q_size=16), False
    for number in range(1 << 40):
        flow.put(array_of(number, nbytes), timeout_s=30)
        if not said and flow.statistics().arrived >= 8:
            said = True
            print(json.dumps({"ring": flow._ring.name}), flush=True)


if __name__ == "__main__":
    station() if sys.argv[1] == "station" else producer(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
