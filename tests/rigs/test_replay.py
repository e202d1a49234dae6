"""A rig that runs from a recording records it anew: every item, its bytes, and how far apart they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.recordings import spoil
from support.rigs import SMALL, RunningRig, pipeline

from stations.recording import Recording, SegmentReader

OTHERS = """
[pilots.p2.streams.host]
source = "host"
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a camera, a signal and irregular telemetry, of two Pilots."""
    with RunningRig(tmp_path_factory.mktemp("rig"), SMALL.format(name="replayed") + OTHERS, "--duration", "2") as rig:
        rig.finish()
    assert 0 == rig.process.returncode, rig.said
    return rig.recording


def replay(recording: Path, output: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Replay a recording; return exit code, what it printed and what it said."""
    done = pipeline("replay", str(recording), "--no-browser", "--json", "--output", str(output), *options)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def items_of(folder: Path, stream: str) -> tuple[Any, Any, list[int], Any]:
    """Return items, their times, sequences, and what the file says of the stream."""
    items = list(Recording(folder)[stream].items())
    with SegmentReader(Recording(folder)[stream].paths[0]) as segment:
        head = segment.head
    return (
        np.stack([item.data for item in items]),
        np.array([item.time_ns for item in items]),
        [item.sequence for item in items],
        (head.dtype, head.shape, head.rate, head.regular, head.labels, head.unit, head.block_items),
    )


def test_replayed_at_full_speed_a_recording_is_the_same_again(recording: Path, tmp_path: Path) -> None:
    """Equal items, dtypes, counts, sequences, labels and distances in time; the new one proves itself, too."""
    code, result, said = replay(recording, tmp_path, "--rate", "max")
    assert 0 == code, said
    assert set(Recording(recording)) == set(result["streams"])
    begins = []
    for stream in result["streams"]:
        was, was_times, was_sequences, was_head = items_of(recording, stream)
        now, now_times, sequences, head = items_of(Path(result["recording"]), stream)
        assert was.dtype == now.dtype
        assert was.tobytes() == now.tobytes()
        assert len(was_sequences) == len(sequences) == result["streams"][stream]["stored"]
        assert list(range(len(sequences))) == sequences
        assert was_head == head
        assert np.diff(was_times).tolist() == np.diff(now_times).tolist()
        begins.append(now_times[0] - was_times[0])
    # Each stream counts from its own START.
    assert max(begins) - min(begins) < 500_000_000
    assert 0 == pipeline("verify", result["recording"]).returncode


def test_a_part_of_it_is_replayed_in_half_the_time(recording: Path, tmp_path: Path) -> None:
    """One stream, from half a second on, twice as fast."""
    code, result, said = replay(
        recording, tmp_path, "--rate", "2", "--from", "500ms", "--stream", "p1.cam", "--stream", "p1.sig"
    )
    assert 0 == code, said
    was, was_times, *_ = items_of(recording, "p1.cam")
    now, now_times, *_ = items_of(Path(result["recording"]), "p1.cam")
    assert {"p1.cam", "p1.sig"} == set(result["streams"])
    begin = min(items_of(recording, stream)[1][0] for stream in Recording(recording))
    assert int(np.count_nonzero(was_times >= begin + 500_000_000)) == len(now)
    assert was[-len(now) :].tobytes() == now.tobytes()
    assert np.abs(np.diff(was_times)[-len(now) + 1 :] / 2 - np.diff(now_times)).max() <= 1


def test_damage_ends_one_stream_and_the_run_says_so(recording: Path, tmp_path: Path) -> None:
    """Exit code 3 and a line with stream, file and item; the others are replayed whole and nothing is restarted."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in recording.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    spoil(copy, "p1.cam", 20)
    code, result, said = replay(copy, tmp_path / "out", "--rate", "max")
    assert 3 == code, said
    (line,) = [line for line in said.splitlines() if line.startswith("pipeline: ")]
    assert "p1.cam: recording copy: stream p1.cam is damaged: p1.cam_part-000.h5: item 20" in line
    streams = result["streams"]
    assert 20 == streams["p1.cam"]["stored"]
    assert "item 20" in streams["p1.cam"]["problem"]
    assert len(Recording(recording)["p1.sig"]) == streams["p1.sig"]["stored"]
    assert streams["p1.sig"]["balanced"]
    assert "died" not in said


def test_what_cannot_be_replayed_is_refused(recording: Path, tmp_path: Path) -> None:
    """One line, exit code 2, nothing started."""
    for options, message in (
        (["--stream", "p1.cma"], "no stream 'p1.cma'; did you mean 'p1.cam'"),
        (["--rate", "-1"], "'-1' is no speed"),
        (["--from", "ten"], "'ten' is no time"),
        (["--from", "1h"], "is behind its end"),
    ):
        code, result, said = replay(recording, tmp_path, *options)
        assert (2, {}) == (code, result)
        assert message in said
    assert 2 == pipeline("replay", str(tmp_path / "none")).returncode


def test_a_rig_file_may_replay_a_stream(recording: Path, tmp_path: Path) -> None:
    """Beside live sources, looped, until the duration is over."""
    text = f"""
[rig]
name = "mixed"
[pilots.p1.streams.again]
source = "replay:{recording}"
stream = "p1.sig"
rate = 4
loop = true
[pilots.p1.streams.host]
source = "host"
"""
    with RunningRig(tmp_path, text, "--duration", "2") as rig:
        result = rig.finish()
    assert 0 == rig.process.returncode, rig.said
    was, *_ = items_of(recording, "p1.sig")
    now, times, *_ = items_of(rig.recording, "p1.again")
    assert len(now) > len(was)
    assert was.tobytes() == now[: len(was)].tobytes()
    assert now[0].tobytes() == now[len(was)].tobytes()
    assert np.all(np.diff(times) > 0)
    assert result["streams"]["p1.again"]["balanced"]
