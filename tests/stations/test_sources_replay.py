"""A recorded stream comes once more: the same items, as far apart as they were, and nothing made up."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.recordings import MadeStream, late, late_spec, spoil
from support.rings import ListRing, ManualClock

from pipeline.stream_spec import ClockStamp
from stations.errors import SourceDamagedError, SourceError
from stations.recording import Recording, SessionRecorder
from stations.sources import open_source
from stations.sources.loop import SensorLoop

CAM = "pilot1.cam0"
EPHYS = "pilot1.ephys"


class Jittery(MadeStream):
    """A stream whose items come when they like."""

    def times(self, first: int, count: int) -> NDArray[np.int64]:
        index = np.arange(first, first + count, dtype=np.int64)
        return super().times(first, count) + index * 1234567 % 4_000_000


def ephys(**options: Any) -> MadeStream:
    return MadeStream(**{"stream": EPHYS, "shape": (8,), "dtype": "<i2", "block_items": 64, "rate": 4000, **options})


def record(folder: Path, *runs: tuple[MadeStream, list[tuple[int, int]]]) -> Path:
    """Record these items of each stream; what lies between two pieces is a gap."""
    session = SessionRecorder(folder / "rec", "demo")
    for made, pieces in runs:
        for first, end in pieces:
            for block in made.blocks(first, end):
                session.store(block, made.spec)
    session.close()
    return folder / "rec"


def play(
    recording: Path, *, items: int | None = None, clock: ManualClock | None = None, **options: Any
) -> tuple[SensorLoop, ListRing]:
    """Replay to the end, or until so many items came."""
    source = open_source(f"replay:{recording}", options)
    try:
        ring, halt = ListRing(source.spec.shape, source.spec.dtype), threading.Event()  # type: ignore[arg-type]
        loop = SensorLoop(
            source,
            ring,
            clock=clock or ManualClock(),
            on_count=lambda count: halt.set() if items is not None and count >= items else None,
        )
        loop.run(halt)
    finally:
        source.close()
    return loop, ring


def offsets(ring: ListRing) -> list[int]:
    """When each item came, ns after the first."""
    return [time - ring.times[0] for time in ring.times]


def test_a_source_is_what_was_recorded(tmp_path: Path) -> None:
    """dtype, shape, rate, labels, unit and meta; beside them stands where it is from."""
    path = record(tmp_path, (ephys(meta={"gain": 3}), [(0, 200)]))
    source = open_source(f"replay:{path}")
    spec = source.spec
    source.close()
    assert ((8,), "<i2", 4000.0, ("a", "ü"), "V") == (spec.shape, spec.dtype, spec.rate, spec.labels, spec.unit)
    assert (True, True, True, True) == (spec.can_wait, spec.paced, spec.regular, spec.finite)
    assert {"gain": 3, "replayed": {"recording": "rec", "stream": EPHYS, "missing": 0}} == spec.meta


@pytest.mark.parametrize("speed", [1, 4, 0.5])
@pytest.mark.parametrize(
    "made", [MadeStream(CAM), ephys(), Jittery("p.host", shape=(5,), dtype="<f8", rate=20, regular=False)], ids=str
)
def test_items_come_when_they_came(tmp_path: Path, made: MadeStream, speed: float) -> None:
    """Bit for bit, as far apart as they were by the speed, and not before they are due."""
    clock = ManualClock(7_000_000_000)
    _, ring = play(record(tmp_path, (made, [(0, 200)])), rate=speed, clock=clock)
    recorded = made.times(0, 200)
    np.testing.assert_array_equal(made.items(0, 200), np.stack(ring.items))
    expected = (recorded - recorded[0]) / speed
    # Each time within a block is counted in periods of whole nanoseconds.
    assert np.abs(np.array(offsets(ring)) - expected).max() <= 64
    assert 7_000_000_000 == ring.times[0]
    assert clock.waits[-1] == ring.times[-1] == clock.time_ns
    assert len(clock.waits) == len(ring.claims)


def test_as_recorded_the_times_are_exact(tmp_path: Path) -> None:
    """At real time and at full speed not one nanosecond differs; at full speed nobody waits."""
    made = Jittery("p.host", shape=(5,), dtype="<f8", rate=20, regular=False)
    path = record(tmp_path, (made, [(0, 100)]))
    recorded = made.times(0, 100)
    for rate in (1, "max"):
        clock = ManualClock()
        _, ring = play(path, rate=rate, clock=clock)
        assert (recorded - recorded[0]).tolist() == offsets(ring)
        assert (rate == "max") == (not clock.waits)


def test_samples_come_in_small_blocks(tmp_path: Path) -> None:
    """10 ms at once, however long the recorded blocks are."""
    _, ring = play(record(tmp_path, (ephys(), [(0, 640)])))
    assert 40 == max(len(claim.items) for claim in ring.claims)
    assert list(range(0, 640 * 250_000, 250_000)) == offsets(ring)


def test_a_gap_is_a_gap_in_time(tmp_path: Path) -> None:
    """Nothing is made up for it; how many are missing is told."""
    made = MadeStream(CAM, rate=100)
    path = record(tmp_path, (made, [(0, 10), (30, 40), (45, 50)]))
    source = open_source(f"replay:{path}")
    assert {"recording": "rec", "stream": CAM, "missing": 25} == source.spec.meta["replayed"]
    source.close()
    _, ring = play(path)
    kept = [*range(10), *range(30, 40), *range(45, 50)]
    assert [number * 10_000_000 for number in kept] == offsets(ring)
    np.testing.assert_array_equal(made.items(0, 50)[kept], np.stack(ring.items))


def test_a_gap_of_samples_begins_a_block_of_its_own(tmp_path: Path) -> None:
    """No claim reaches over it, so no sample behind it gets a time within it."""
    _, ring = play(record(tmp_path, (ephys(), [(0, 70), (1000, 1064)])), rate="max")
    assert [*range(70), *range(1000, 1064)] == [offset // 250_000 for offset in offsets(ring)]


@pytest.mark.parametrize("begin", [0, 262, 320, 382, 799], ids="at item {}".format)
def test_replay_begins_where_it_is_told(tmp_path: Path, begin: int) -> None:
    """So long after the recording's first item: within a block, in a gap, at the last item."""
    made = ephys()
    path = record(tmp_path, (made, [(0, 300), (350, 800)]))
    _, ring = play(path, offset_s=begin / 4000)
    kept = [number for number in (*range(300), *range(350, 800)) if number >= begin]
    np.testing.assert_array_equal(made.items(0, 800)[kept], np.stack(ring.items))
    assert [5_000_000_000 + (number - begin) * 250_000 for number in kept] == ring.times


def test_loops_are_as_long_as_the_recording(tmp_path: Path) -> None:
    """Streams of one recording stay in step, lap after lap, though one is shorter."""
    long, short = MadeStream(CAM, rate=100), ephys()
    path = record(tmp_path, (long, [(0, 50)]), (short, [(40, 1000)]))
    laps = 3
    _, images = play(path, stream=CAM, loop=True, items=laps * 50)
    _, samples = play(path, stream=EPHYS, loop=True, items=laps * 960)
    begin = 5_000_000_000
    assert [begin + lap * 500_000_000 + n * 10_000_000 for lap in range(laps) for n in range(50)] == images.times[:150]
    expected = [begin + lap * 500_000_000 + n * 250_000 for lap in range(laps) for n in range(40, 1000)]
    assert expected == samples.times[: laps * 960]
    np.testing.assert_array_equal(samples.items[:960], samples.items[960:1920])


def test_a_loop_from_an_offset_returns_to_the_offset(tmp_path: Path) -> None:
    """Each lap lasts from there to the end."""
    _, ring = play(record(tmp_path, (MadeStream(CAM, rate=100), [(0, 50)])), loop=True, offset_s=0.4, items=30)
    assert list(range(0, 300_000_000, 10_000_000)) == offsets(ring)
    np.testing.assert_array_equal(ring.items[:10], ring.items[20:])


def test_a_stream_that_ended_before_the_offset_ends_at_once(tmp_path: Path) -> None:
    """Looped too: it does not search for ever."""
    path = record(tmp_path, (MadeStream(CAM, rate=100), [(0, 50)]), (ephys(), [(0, 400)]))
    loop, _ = play(path, stream=EPHYS, offset_s=0.3, loop=True)
    assert 0 == loop.counted


def test_streams_of_two_machines_are_placed_by_the_time_of_day(tmp_path: Path) -> None:
    """Their clocks began at different times; what both had read beside UTC relates them."""
    first, second = MadeStream(CAM, rate=100), MadeStream("pilot2.cam0", rate=100)
    second.spec = type(second.spec)(
        **{name: getattr(second.spec, name) for name in second.spec.__struct_fields__}
        | {"clock": ClockStamp("other box", 0, 250_000_002)}
    )
    path = record(tmp_path, (first, [(0, 50)]), (second, [(0, 50)]))
    _, ours = play(path, stream=CAM)
    _, theirs = play(path, stream="pilot2.cam0")
    assert 250_000_000 == theirs.times[0] - ours.times[0]


def test_items_with_fields_keep_them(tmp_path: Path) -> None:
    """A recorded ring of a program's own may hold structures."""
    made = MadeStream("p.events", shape=(2,), dtype="<u4")
    fields = '[["x","<i2"],["y","<i2"]]'
    made.spec = type(made.spec)(
        **{name: getattr(made.spec, name) for name in made.spec.__struct_fields__} | {"dtype": fields}
    )
    _, ring = play(record(tmp_path, (made, [(0, 20)])))
    assert [("x", "<i2"), ("y", "<i2")] == ring.items[0].dtype.descr
    assert made.items(0, 20).tobytes() == np.stack(ring.items).tobytes()


def test_damage_ends_its_stream_with_a_word_and_no_other(tmp_path: Path) -> None:
    """Everything before it was played; stream, file and item are named."""
    made = ephys()
    path = record(tmp_path, (made, [(0, 640)]), (MadeStream(CAM), [(0, 50)]))
    spoil(path, EPHYS, 320)
    source = open_source(f"replay:{path}", {"stream": EPHYS, "rate": "max"})
    ring = ListRing((8,), "<i2")
    with pytest.raises(
        SourceDamagedError, match=r"rec: stream pilot1.ephys is damaged: .*_part-000.h5: item 320: .*CRC"
    ):
        SensorLoop(source, ring, clock=ManualClock()).run(threading.Event())
    source.close()
    np.testing.assert_array_equal(made.items(0, 320), np.stack(ring.items))
    _, images = play(path, stream=CAM)
    assert 50 == len(images.items)


def test_a_file_that_cannot_be_opened_ends_its_stream_where_it_stands(tmp_path: Path) -> None:
    """What lies before it is played, and other streams keep their place in time."""
    path = record(tmp_path, (ephys(), [(0, 64), (128, 192)]), (MadeStream(CAM), [(0, 5)]))
    (path / f"{EPHYS}_part-001.h5").write_bytes(b"nothing")
    with pytest.raises(SourceDamagedError, match=r"ephys_part-001\.h5: cannot be opened"):
        play(path, stream=EPHYS)
    assert 5 == len(play(path, stream=CAM)[1].items)


def test_a_replay_that_is_opened_again_begins_again(tmp_path: Path) -> None:
    """After a STOP in its middle the next START plays all of it."""
    made = MadeStream(CAM)
    source = open_source(f"replay:{record(tmp_path, (made, [(0, 20)]))}", {"offset_s": 0.1})
    out = np.empty((1, *source.spec.shape), np.uint8)
    spec = source.spec
    assert 1 == source.read_into(out)
    source.close()
    source.open()
    assert spec == source.spec
    assert 1 == source.read_into(out)
    source.close()
    np.testing.assert_array_equal(made.items(10, 1), out)


def test_what_cannot_be_played_is_refused(tmp_path: Path) -> None:
    """In one line that begins with the stream's name and says what to do."""
    path = record(tmp_path, (MadeStream(CAM), [(0, 20)]), (ephys(), [(0, 64)]))
    changed = tmp_path / "changed"
    changed.mkdir()
    other = record(changed, (MadeStream(CAM), [(0, 5)]), (MadeStream(CAM, shape=(3, 3)), [(9, 12)]))
    for where, options, message in (
        (tmp_path, {}, "no recording is there"),
        (path, {}, f"holds {CAM}, {EPHYS}; say which: stream = …"),
        (path, {"stream": "pilot1.cam1"}, "has no stream 'pilot1.cam1'; did you mean 'pilot1.cam0'"),
        (path, {"stream": CAM, "offset_s": 9}, r"lasts 0.200 s; offset_s = 9 is behind its end"),
        (path, {"stream": CAM, "offset_s": -1}, "offset_s = -1: expected `?float >= 0"),
        (path, {"stream": CAM, "rate": "fast"}, "rate = 'fast': expected a number or 'max'"),
        (other, {}, r"part-001.h5: items change from \(12, 16, 3\) .* to \(3, 3\)"),
    ):
        with pytest.raises(SourceError, match=f"^cam: .*{message}") as refused:
            open_source(f"replay:{where}", options, name="cam")
        assert "\n" not in str(refused.value)


def test_real_counts_are_those_of_the_recording(tmp_path: Path) -> None:
    """As many items as `Recording` finds, at full speed."""
    path = record(tmp_path, (ephys(), [(0, 777), (800, 1003)]))
    loop, _ = play(path, rate="max")
    assert len(Recording(path)[EPHYS]) == loop.counted


def test_what_came_late_is_replayed_in_its_place(tmp_path: Path) -> None:
    """Whatever file it is in."""
    made = MadeStream(CAM, rate=100)
    session = SessionRecorder(tmp_path / "rec", "demo")
    for block in (*made.blocks(0, 5), *made.blocks(15, 20)):
        session.store(block, made.spec)
    for block in made.blocks(5, 15):
        session.backfill(late(block), late_spec(made))
    session.close()
    _, ring = play(tmp_path / "rec", rate="max")
    np.testing.assert_array_equal(made.items(0, 20), np.stack(ring.items))
    assert (made.times(0, 20) - made.times(0, 1)).tolist() == offsets(ring)
