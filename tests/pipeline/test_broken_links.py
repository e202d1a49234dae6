"""The session's promises over real sockets: links that break, recipients that are stopped and killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.breaking_link import BreakingLink
from support.waiting import eventually

from pipeline import Hub, Message, NetNode, Pace, Patience, Receipt
from pipeline.transport import port_of

QUICK = Pace(beat_s=0.1, late_s=0.3, lost_s=0.7)
HASTY = Patience(repeat_interval_s=1.0, silence_s=3.0)
COUNTING_NODE = Path(__file__).parents[1] / "support" / "counting_node.py"


@pytest.fixture
def station() -> Iterator[Hub]:
    with Hub("pilot1", listen_endpoint="tcp://127.0.0.1:0", pace=QUICK, patience=HASTY) as hub:
        yield hub


def test_two_thousand_messages_over_a_link_that_keeps_breaking_run_once_each(station: Hub) -> None:
    """Nobody restarts, so everything is done, once, however often the connection goes."""
    ran: Counter[int] = Counter()
    lock = threading.Lock()

    def count(message: Message) -> int:
        with lock:
            ran[message.value] += 1
        return int(message.value)

    station.listens["COUNT"] = count
    with BreakingLink(port_of(station.endpoint), life_s=0.4) as link:
        node = NetNode("pilot1.cam0", "pilot1", link.port, pace=QUICK, patience=Patience(repeat_interval_s=2.0))
        try:
            receipts = []
            for number in range(2000):
                receipts.append(node.send("pilot1", "COUNT", number))
                if number % 100 == 99:
                    receipts[-1].wait(2)
            assert eventually(lambda: link.breaks >= 5)
            link.heal()
            assert {"done"} == {receipt.wait(30) for receipt in receipts}
        finally:
            node.release()
    assert dict.fromkeys(range(2000), 1) == ran


class Worker:
    """The counting node as a process, again and again."""

    def __init__(self, station: Hub, file: Path) -> None:
        self._station = station
        self._file = file
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(COUNTING_NODE), str(port_of(self._station.endpoint)), str(self._file)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert eventually(self.is_heard, 20)
        return self.process

    def is_heard(self) -> bool:
        return any(peer.id == "pilot1.worker" and peer.state.value == "ALIVE" for peer in self._station.peers())

    def ran(self) -> Counter[tuple[int, int]]:
        """Return how often each (process, number) ran."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return Counter((int(line.split()[0]), int(line.split()[1])) for line in lines)

    def end(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.kill()
        self.process.wait(10)


def kill_and_restart(worker: Worker) -> None:
    worker.process.kill()
    worker.process.wait(10)
    if worker.process.stdin is not None:
        worker.process.stdin.close()
    assert eventually(lambda: not worker.is_heard())
    worker.start()


def stop_and_continue(worker: Worker) -> None:
    worker.process.send_signal(signal.SIGSTOP)
    assert eventually(lambda: not worker.is_heard())
    worker.process.send_signal(signal.SIGCONT)
    assert eventually(worker.is_heard)


@pytest.mark.parametrize("trouble", [kill_and_restart, stop_and_continue])
def test_a_recipient_s_troubles_never_make_an_end_that_lies(
    station: Hub, tmp_path: Path, trouble: Callable[[Worker], None]
) -> None:
    """At most once per life, one end each, nothing expired or failed that ran, nothing unknown without a restart."""
    worker = Worker(station, tmp_path / "ran")
    receipts: list[Receipt] = []
    try:
        for _ in range(2):
            under_way = threading.Thread(target=trouble, args=(worker,))
            for number in range(len(receipts), len(receipts) + 300):
                receipts.append(station.send("pilot1.worker", "COUNT", number))
                if number % 300 == 100:
                    under_way.start()
                receipts[-1].wait(0.005)
            under_way.join(30)
        assert "done" == station.send("pilot1.worker", "COUNT", len(receipts)).wait(20)
        assert eventually(lambda: all(receipt.is_final for receipt in receipts), 30)
        ran = worker.ran()
    finally:
        worker.end()
    assert {1} == set(ran.values())
    lives = Counter(number for _, number in ran)
    for number, receipt in enumerate(receipts):
        assert lives[number] <= 1, f"{number} ran in two lives"
        assert lives[number] == 1 or receipt.state != "done"
        assert lives[number] == 0 or receipt.state in ("done", "unknown"), f"{number} ran but is {receipt}"
    if trouble is stop_and_continue:
        assert "unknown" not in {receipt.state for receipt in receipts}
