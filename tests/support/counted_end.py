"""One end of a conversation that is counted, as a process that may be killed.

``python -m support.counted_end ROLE PORT FILE COUNT``: ROLE is ``station`` (listens on PORT, 0 for any; says which) or
``node`` (connects to PORT).  COUNT > 0 sends as many messages, numbered from the first that no life before this one has
sent, and says ``{"ended": …}`` when each has an end.  What happens goes to FILE at once, a line each: ``sent N``,
``ran PID N``, ``end N STATE``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from support.waiting import eventually

from pipeline import Hub, Message, NetNode, Pace, Patience, Receipt
from pipeline.transport import port_of

STATION, NODE = "pilot1", "pilot1.worker"
PACE = Pace(beat_s=0.1, late_s=0.4, lost_s=0.9)
PATIENCE = Patience(first_resend_s=0.1, repeat_interval_s=1.0, silence_s=20.0)
AT_ONCE = 8
"""So many parts of all messages may be without an end: whatever happens, happens in the middle."""
PAUSE_S = 0.002
"""Between two sends, or they travel in bundles and are lost by the hundred."""


class CountedEnd:
    """Writes down what it sends, runs and is told."""

    def __init__(self, role: str, port: int, file: Path) -> None:
        self._sent = 0
        if file.exists():
            self._sent = sum(line.startswith("sent ") for line in file.read_text().splitlines())
        self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._peer = NODE if role == "station" else STATION
        listens = {"COUNT": self._count}
        self.hub: Hub
        if role == "station":
            endpoint = f"tcp://127.0.0.1:{port}"
            self.hub = Hub(STATION, listens, listen_endpoint=endpoint, pace=PACE, patience=PATIENCE)
        else:
            self.hub = NetNode(NODE, STATION, port, listens, pace=PACE, patience=PATIENCE)

    def send_all(self, count: int) -> int:
        """Send what is left of `count` messages; return how many ends were told."""
        assert eventually(lambda: self.hub.peers() and self.hub.is_connected, 20)
        receipts: list[tuple[int, Receipt]] = []
        for number in range(self._sent, count):
            self._write(f"sent {number}")
            receipts.append((number, self.hub.send(self._peer, "COUNT", number)))
            receipts[-1][1].wait(PAUSE_S)
            if len(receipts) > count // AT_ONCE:
                receipts[-(count // AT_ONCE)][1].wait(30)
        for number, receipt in receipts:
            self._write(f"end {number} {receipt.wait(60)}")
        return len(receipts)

    def _count(self, message: Message) -> int:
        self._write(f"ran {os.getpid()} {message.value}")
        return int(message.value)

    def _write(self, line: str) -> None:
        os.write(self._fd, line.encode() + b"\n")


def main() -> None:
    """Send if asked to, then run until stdin ends."""
    role, port, file, count = sys.argv[1:]
    end = CountedEnd(role, int(port), Path(file))
    print(json.dumps({"port": port_of(end.hub.endpoint) if role == "station" else 0}), flush=True)
    if int(count):
        sys.stdin.readline()
        print(json.dumps({"ended": end.send_all(int(count))}), flush=True)
    sys.stdin.read()
    end.hub.release()


if __name__ == "__main__":
    main()
