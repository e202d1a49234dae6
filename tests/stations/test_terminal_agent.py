"""The Terminal's agent: it stands for the people, whatever the disk does."""

from __future__ import annotations

from pathlib import Path

from support.full_disk import disk_full_at

from pipeline import Message, NetNode
from stations.conductor import Conductor
from stations.recording import Journal, read_journal
from stations.station import Station
from stations.terminal_agent import TerminalAgent


def test_events_wait_for_a_full_disk_and_the_rig_goes_on(tmp_path: Path) -> None:
    """One line says so; when there is room they are in the journal, each once."""
    said: list[str] = []
    Journal(tmp_path / "session.jsonl").close()
    terminal = Station("T", {}, listen_endpoint="tcp://127.0.0.1:0")
    port = int(terminal.endpoint.rpartition(":")[2])
    agent = TerminalAgent(
        Conductor("T.recorder", {}, {}),
        lambda listens: NetNode("_T", "T", port, listens),
        directory=tmp_path,
        claim=lambda: (tmp_path, {}),
        view="T.view",
        report=said.append,
        on_page=said.append,
    )
    try:
        with disk_full_at(0):
            for name in ("a", "b"):
                value = {"kind": "restart", "name": name}
                agent.l_event(Message(id="1", to="_T", sender="p1", key="EVENT", value=value))
                agent.do_work()
        full = list(said)
        agent.do_work()
    finally:
        agent.close()
        terminal.release()

    (line,) = full
    assert "session.jsonl" in line
    assert line.endswith("the rig goes on, events are kept until the disk takes them")
    events = read_journal(tmp_path / "session.jsonl").of_kind("restart")
    assert ["a", "b"] == [event.fields["name"] for event in events]
