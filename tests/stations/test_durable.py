"""What Pilots are told of a recording's disk: what is on it, and what it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.full_disk import disk_full_at
from support.recordings import BIRTH, MadeStream
from support.waiting import eventually

from stations.recording import SessionRecorder
from stations.recording.durable import AGAIN, REPEAT_S, DurableTeller

NAME = "pilot1.cam0"
PERIOD_S = 0.25


def test_a_pilot_hears_what_is_durable_and_at_once_what_the_disk_takes_no_more(tmp_path: Path) -> None:
    """When something is new, and again every second; also of a stream of which nothing was stored."""
    told: list[dict[str, Any]] = []
    teller = DurableTeller(lambda _pilot, value: told.append(value), PERIOD_S)
    pilots = {"pilot1": [NAME, "pilot1.ephys"]}
    made = MadeStream(shape=(64, 64, 3))
    session = SessionRecorder(tmp_path / "a", "demo", pilots["pilot1"])
    session.store(made.block(0, origin=0, codec="raw"), made.spec)
    session.streams[NAME].flush()
    assert eventually(lambda: session.streams[NAME].durable == 1, 5)
    teller.tick(session, pilots, 0.0)
    teller.tick(session, pilots, PERIOD_S)
    assert [{NAME: {f"{BIRTH:016x}": [[0, 1]]}, "pilot1.ephys": {}}] == [value["streams"] for value in told]
    with disk_full_at(200_000):
        for block in made.blocks(1, 40, codec="raw"):
            session.store(block, made.spec)
    teller.tick(session, pilots, 2 * PERIOD_S)
    teller.tick(session, pilots, 3 * PERIOD_S)
    teller.tick(session, pilots, 2 * PERIOD_S + REPEAT_S)
    session.close()

    assert [[], [NAME], [NAME]] == [value["full"] for value in told]
    assert str(tmp_path / "a") == told[0]["run"]


def test_every_run_is_told_again_in_turn_and_what_grew_at_once(tmp_path: Path) -> None:
    """However many gaps a stream has, a Pilot that missed a message hears it all in the end; late items come first."""
    told: list[list[list[int]]] = []
    teller = DurableTeller(lambda _pilot, value: told.append(value["streams"][NAME][f"{BIRTH:016x}"]), PERIOD_S)
    pilots = {"pilot1": [NAME]}
    made = MadeStream(shape=(2, 2, 1))
    session = SessionRecorder(tmp_path / "a", "demo", pilots["pilot1"])
    last = 8 * AGAIN - 1
    for first in range(1, last + 1, 2):
        session.store(made.block(first, origin=0, lost=1, lost_reason="link"), made.spec)
    recorder = session.streams[NAME]
    recorder.flush()
    assert eventually(lambda: recorder.durable == 4 * AGAIN, 5)
    teller.tick(session, pilots, 0.0)
    recorder.backfill(made.block(4, origin=0), made.spec)
    recorder.flush()
    assert eventually(lambda: recorder.durable == 4 * AGAIN + 1, 5)
    teller.tick(session, pilots, PERIOD_S)
    for turn in range(1, 5):
        teller.tick(session, pilots, turn * REPEAT_S)
    session.close()

    assert [[3, 6], [last, last + 1]] == told[1]
    assert {(3, 6), *((at, at + 1) for at in range(7, last, 2))} < {tuple(run) for runs in told[2:] for run in runs}
    assert max(len(runs) for runs in told[1:]) <= AGAIN + 1
