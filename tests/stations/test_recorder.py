"""The recorder's process: rings in, files out, told by messages, killed and brought back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.recorder_bench import RECORDER, RIG, Bench, put
from support.recordings import BIRTH, MadeStream

from pipeline import Message, RemoteError
from pipeline.block import BlockFlag
from shm import Counters
from stations.recording import Recording, read_journal, verify
from stations.rows import MessageRows

CAM, EPHYS = "pilot1.cam0", "pilot1.ephys"
HEX = f"{BIRTH:016x}"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    try:
        yield bench
    finally:
        bench.close()


def test_records_what_the_rings_bring_until_their_ends(bench: Bench) -> None:
    """START, blocks in rings that exist and that come later, STOP: every item in the files, and an account of each."""
    cam = MadeStream(CAM)
    ephys = MadeStream(EPHYS, shape=(8,), dtype="<i2", block_items=16, rate=3000)
    greeting = bench.greeted()
    ring = bench.ring(cam)
    put(ring, *cam.blocks(0, 5))  # of before: not part of the recording
    folder = bench.folder / "recording"

    started = bench.ask("START", {"directory": str(folder), "streams": [CAM, EPHYS], "rig": RIG})
    assert ("recording", str(folder), 0.5) == tuple(map(bench.ask("STATE").get, ("state", "directory", "max_loss_s")))
    put(ring, cam.block(10, flags=int(BlockFlag.BEGIN), origin=10), *cam.blocks(11, 200), cam.end(200))
    later = bench.ring(ephys)
    put(later, *ephys.blocks(0, 1000), ephys.end(1000))
    bench.ask("EVENT", {"kind": "mark", "text": "here"})
    bench.until(lambda: bench.stored(CAM) == 190 and bench.stored(EPHYS) == 1000)
    bench.until(lambda: Counters.attach(f"{RIG}/{RECORDER}").read().get(f"{CAM}.durable") == 190)
    account = bench.ask("STOP", {"timeout_s": 5.0})

    assert (RECORDER, "recorder", "idle") == (greeting["id"], greeting["kind"], greeting["state"])
    assert [CAM] == started["streams"]
    cam_births = {HEX: {"origin": 10, "end": 200, "stored": 190, "gaps": []}}
    ephys_births = {HEX: {"origin": 0, "end": 1000, "stored": 1000, "gaps": []}}
    assert {"stored": 190, "births": cam_births, "ended": True} == account[CAM]
    assert {"stored": 1000, "births": ephys_births, "ended": True} == account[EPHYS]
    assert account == bench.ask("STOP")  # asked again: the same
    assert verify(folder).ok, verify(folder).lines()
    np.testing.assert_array_equal(cam.items(10, 190), np.stack([item.data for item in Recording(folder)[CAM].items()]))
    assert ["here"] == [event.fields["text"] for event in read_journal(folder / "session.jsonl").of_kind("mark")]


def test_killed_recorder_comes_back_and_nothing_is_missing(bench: Bench) -> None:
    """After kill -9 the supervisor starts another; told to resume, it takes the rest from the rings."""
    cam = MadeStream(CAM)
    bench.greeted()
    folder = bench.folder / "recording"
    ring = bench.ring(cam, slots=400)
    put(ring, *cam.blocks(0, 3))
    bench.ask("START", {"directory": str(folder), "streams": [CAM]})
    put(ring, cam.block(20, flags=int(BlockFlag.BEGIN), origin=20), *cam.blocks(21, 60))
    bench.until(lambda: bench.ask("STATE")["streams"][CAM]["durable"] == 40)
    put(ring, *cam.blocks(60, 80))
    bench.until(lambda: bench.stored(CAM) == 60)

    os.kill(bench.supervisor.pids()[RECORDER], signal.SIGKILL)
    put(ring, *cam.blocks(80, 100))
    bench.greeted()
    bench.ask("START", {"directory": str(folder), "streams": [CAM], "resume": True})
    put(ring, *cam.blocks(100, 120), cam.end(120))
    account = bench.ask("STOP", {"timeout_s": 5.0})

    assert {HEX: {"origin": 20, "end": 120, "stored": 100, "gaps": []}} == account[CAM]["births"]
    assert verify(folder).ok, verify(folder).lines()
    assert list(range(20, 120)) == [item.sequence for item in Recording(folder)[CAM].items()]
    assert ["recording", "resumed"] == [
        event.kind for event in read_journal(folder / "session.jsonl").of_kind("recording", "resumed")
    ]


def test_stop_waits_no_longer_than_it_was_told(bench: Bench) -> None:
    """A stream whose END never comes is closed with what there is."""
    cam = MadeStream(CAM)
    bench.greeted()
    ring = bench.ring(cam)
    bench.ask("START", {"directory": str(bench.folder / "recording")})
    put(ring, *cam.blocks(0, 9))

    account = bench.ask("STOP", {"timeout_s": 0.5})

    assert (9, False) == (account[CAM]["stored"], account[CAM]["ended"])


def test_the_answer_to_stop_sums_gaps_up(bench: Bench) -> None:
    """One for each reason, however often a stream was thinned; `session.json` and the files have each."""
    cam = MadeStream(CAM)
    bench.greeted()
    ring = bench.ring(cam, slots=400)
    folder = bench.folder / "recording"
    bench.ask("START", {"directory": str(folder), "streams": [CAM]})
    put(ring, cam.block(0, flags=int(BlockFlag.BEGIN)))
    put(
        ring,
        *(cam.block(at, lost=1, lost_reason="lapped" if at % 4 else "link") for at in range(2, 200, 2)),
        cam.end(199),
    )
    account = bench.ask("STOP", {"timeout_s": 5.0})

    assert [[1, 50, "lapped"], [3, 49, "link"]] == account[CAM]["births"][HEX]["gaps"]
    assert 99 == len(verify(folder).streams[CAM].gaps)
    assert verify(folder).ok, verify(folder).lines()


def test_folder_that_cannot_be_written_is_refused_and_the_recorder_lives(bench: Bench) -> None:
    """The answer names the folder; another START works."""
    bench.greeted()
    (bench.folder / "file").write_text("")

    with pytest.raises(RemoteError, match="file/recording: cannot record there: Not a directory"):
        bench.ask("START", {"directory": str(bench.folder / "file" / "recording")})
    bench.ask("START", {"directory": str(bench.folder / "b")})
    with pytest.raises(RemoteError, match="already; STOP that first"):
        bench.ask("START", {"directory": str(bench.folder / "c")})
    with pytest.raises(RemoteError, match=r"/c is not recorded here, .*/b is"):
        bench.ask("STOP", {"directory": str(bench.folder / "c")})

    assert {} == bench.ask("STOP")


def test_rows_of_messages_are_recorded_beside_the_streams(bench: Bench) -> None:
    """START, messages, a kill in the middle, STOP: every row once, the account has what the Terminal accepted."""
    bench.greeted()
    folder = bench.folder / "recording"
    with MessageRows.create(RIG, "T", slots=256) as rows:
        bench.station.listens["ROWS"] = lambda _message: rows.account()

        def append(first: int, end: int) -> None:
            for number in range(first, end):
                value = {"trial": number, "trace": np.arange(number % 9)}
                rows.append("DATA", Message(id="1", to="T", sender="p1.task", key="DATA", value=value))

        append(0, 3)  # of before: counted, not recorded
        bench.ask("START", {"directory": str(folder), "streams": []})
        append(3, 200)
        bench.until(lambda: bench.stored("data/DATA") == 197)
        os.kill(bench.supervisor.pids()[RECORDER], signal.SIGKILL)
        append(200, 300)
        bench.greeted()
        bench.ask("START", {"directory": str(folder), "streams": [], "resume": True})
        append(300, 400)
        bench.until(lambda: bench.stored("data/DATA") == 397)
        running = bench.ask("COHERE")
        account = bench.ask("STOP", {"timeout_s": 5.0})
        birth = f"{rows.birth:016x}"

    assert {"origin": 3, "end": 400, "stored": 397, "gaps": []} == account["data/DATA"]["births"][birth]
    assert {"births": {birth: {"origin": 3, "end": 400}}} == account["data/DATA"]["produced"]
    coherence = {"count": 397, "last": 399, "births": {birth: {"count": 397, "last": 399}}}
    assert coherence == running["data/DATA"] == bench.ask("COHERE")["data/DATA"]
    found = list(Recording(folder).rows("DATA"))
    assert list(range(3, 400)) == [row["value"]["trial"] for row in found]
    np.testing.assert_array_equal(np.arange(398 % 9), found[395]["value"]["trace"])
    assert verify(folder).ok, verify(folder).lines()
