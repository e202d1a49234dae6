"""Reading a recording as one sequence: whatever files it lies in, against plain arrays."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recordings import BIRTH, START_NS, MadeStream, late, late_spec, spoil

from pipeline.losses import SPOOLED
from stations.recording import Recording, SegmentFormatError, SessionRecorder, StreamChangedError

CAM, EPHYS = "pilot1.cam0", "pilot1.ephys"
FORMS = [
    {"shape": (3, 2), "dtype": "|u1"},
    {"shape": (2,), "dtype": "<i2", "block_items": 4},
    {"shape": (2,), "dtype": "<f4", "block_items": 4, "regular": False},
]
BOUND = st.none() | st.integers(-60, 60)
KEYS = st.integers(-60, 60) | st.builds(slice, BOUND, BOUND, st.sampled_from([None, 1, 2, 7, -1, -3]))


def interleaved(folder: Path, made: MadeStream, spooled: set[int], come: list[int], *, blocks: int) -> list[int]:
    """Record blocks of which some come late, in this order, or never; return the sequences that are stored."""
    size = made.spec.block_items
    session = SessionRecorder(folder, "demo", resume=True)
    lost = 0
    for number in range(blocks):
        if number in spooled:
            lost += size
            continue
        told = {"lost": lost, "lost_reason": SPOOLED if lost else ""}
        session.store(made.block(number * size, origin=0, **told), made.spec)
        lost = 0
    for number in come:
        session.backfill(late(made.block(number * size)), late_spec(made))
    session.close()
    numbers = (set(range(blocks)) - spooled) | set(come)
    return [number * size + within for number in sorted(numbers) for within in range(size)]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_slice_is_that_of_a_plain_array(data: st.DataObject) -> None:
    """Images and samples, two births, files that interleave, gaps: items, times, sequences."""
    form = data.draw(st.sampled_from(FORMS))
    births = [MadeStream(**form), MadeStream(**form, birth=7)]
    with tempfile.TemporaryDirectory() as name:
        items, times, sequences = [], [], []
        for made in births:
            blocks = data.draw(st.integers(2, 6))
            spooled = data.draw(st.sets(st.integers(1, blocks - 2))) if blocks > 2 else set()
            come = data.draw(st.permutations(sorted(spooled)))[: data.draw(st.integers(0, len(spooled)))]
            stored = interleaved(Path(name) / "a", made, spooled, list(come), blocks=blocks)
            items += [made.items(at, 1)[0] for at in stored]
            times += [made.times(at, 1)[0] for at in stored]
            sequences += stored
        with Recording(Path(name) / "a") as recording:
            stream = recording[CAM]
            reference = np.stack(items)
            assert (reference.shape, reference.dtype) == (stream.shape, stream.dtype)
            for key in data.draw(st.lists(KEYS, min_size=1, max_size=8)):
                if isinstance(key, int) and not -len(items) <= key < len(items):
                    with pytest.raises(IndexError):
                        stream[key]
                    continue
                np.testing.assert_array_equal(reference[key], stream[key])
                np.testing.assert_array_equal(np.array(times)[key], stream.time[key])
                np.testing.assert_array_equal(np.array(sequences)[key], stream.sequence[key])
            np.testing.assert_array_equal(reference, np.stack(list(stream)))
            found = [(item.sequence, item.time_ns, item.birth) for item in stream.items()]
            split = len(times) - len(interleaved_of(found, 7))
            assert [*zip(sequences, times, [BIRTH] * split + [7] * (len(times) - split), strict=True)] == found


def interleaved_of(found: list[tuple[int, int, int]], birth: int) -> list[int]:
    """The sequences of one birth."""
    return [sequence for sequence, _, of in found if of == birth]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_between_two_times_is_what_a_mask_finds(data: st.DataObject) -> None:
    """With bounds on items, beside them, outside, the wrong way round; blocks are cut where they must be."""
    made = MadeStream(**data.draw(st.sampled_from(FORMS)), rate=1000)
    with tempfile.TemporaryDirectory() as name:
        stored = interleaved(Path(name) / "a", made, {1, 3}, [3], blocks=6)
        stream = Recording(Path(name) / "a")["cam0"]
        times = made.times(0, 24)[stored]
        bound = st.integers(-2, 26).flatmap(lambda at: st.integers(-1, 1).map(lambda by: START_NS + at * 10**6 + by))
        from_ns, to_ns = data.draw(bound), data.draw(bound)
        part = stream.between(from_ns, to_ns)
        mask = (times >= from_ns) & (times < to_ns)
        np.testing.assert_array_equal(times[mask], part.time)
        np.testing.assert_array_equal(stream[mask], part[:])
        np.testing.assert_array_equal(np.array(stored)[mask], part.sequence)
        lacking = set(range(part.sequence[0], part.sequence[-1])) - set(stored) if len(part) else set()
        assert lacking == {at for gap in part.gaps for at in range(gap.first, gap.end)}
        part.close()
        stream.close()


def test_gaps_say_where_they_are_and_why(tmp_path: Path) -> None:
    """The reason of whoever lost it; what came late is none; the place is that of the item behind it."""
    made = MadeStream()
    session = SessionRecorder(tmp_path / "a", "demo")
    for block in made.blocks(0, 10):
        session.store(block, made.spec)
    session.store(made.block(15, lost=5, lost_reason=SPOOLED), made.spec)
    session.store(made.block(20), made.spec, missed=True)
    session.backfill(late(made.block(12)), late_spec(made))
    session.store(made.end(24, lost=2, lost_reason="lapped"), made.spec)
    session.close()
    stream = Recording(tmp_path / "a")[CAM]
    found = [(gap.first, gap.count, gap.reason, gap.position) for gap in stream.gaps]
    told = [(10, 2, SPOOLED, 10), (13, 2, SPOOLED, 11), (16, 4, "recorder", 12), (21, 1, "unknown", 13)]
    assert [*told, (22, 2, "lapped", 13)] == found
    assert [12, 15, 20] == [stream.sequence[position] for _, _, _, position in found[:3]]
    assert 1 == len({gap.birth for gap in stream.gaps})


def test_an_item_that_is_stored_twice_is_read_once(tmp_path: Path) -> None:
    """Blocks that were cut differently overlap; the second gives what the first has not."""
    made = MadeStream(shape=(2,), dtype="<i4", block_items=8)
    for number, (first, end) in enumerate([(0, 24), (12, 36)]):
        session = SessionRecorder(tmp_path / str(number), "demo")
        for block in made.blocks(first, end, origin=0):
            session.store(block, made.spec)
        session.close()
    (path,) = (tmp_path / "1").glob("*.h5")
    path.rename(tmp_path / "0" / f"{CAM}_part-001.h5")
    stream = Recording(tmp_path / "0")[CAM]
    np.testing.assert_array_equal(made.items(0, 36), stream[:])
    np.testing.assert_array_equal(made.times(0, 36), stream.time)
    np.testing.assert_array_equal(np.arange(36), stream.sequence)
    assert [] == stream.gaps


def test_times_are_calculated_with_as_if_they_were_an_array(tmp_path: Path) -> None:
    """They are made where they are asked for; a recording says what the source said."""
    made = MadeStream(EPHYS, shape=(2,), dtype="<i4", block_items=8, rate=1000)
    interleaved(tmp_path / "a", made, set(), [], blocks=4)
    stream = Recording(str(tmp_path / "a"))["ephys"]
    np.testing.assert_array_equal(np.arange(32) * 10**6, stream.time - stream.time[0])
    np.testing.assert_array_equal(np.full(31, 10**6), np.diff(stream.time))
    np.testing.assert_array_equal(made.times(0, 32) + 2, stream.utc)  # 7 ns in UTC were 5 on the stream's clock
    assert list(made.times(0, 32)) == list(stream.time)
    assert (1000.0, "V", ("a", "ü")) == (stream.rate, stream.unit, stream.labels)


def test_a_recording_is_read_while_it_is_written_and_after_its_recorder_was_killed(tmp_path: Path) -> None:
    """What was flushed is there; opened again, there is more."""
    made = MadeStream()
    session = SessionRecorder(tmp_path / "a", "demo", max_loss_s=0.1)
    for end in (20, 40):
        for block in made.blocks(end - 20, end):
            session.store(block, made.spec)
        session.tick(end)
        with Recording(tmp_path / "a") as recording:
            np.testing.assert_array_equal(made.items(0, end), recording[CAM][:])
    session._sync.close()  # all that a killed process would not have left behind
    with Recording(tmp_path / "a") as recording:
        np.testing.assert_array_equal(made.items(30, 1)[0], recording[CAM][30])


def test_a_damaged_block_is_named_where_it_is_asked_for(tmp_path: Path) -> None:
    """Stream, file and item; what lies beside it is read."""
    made = MadeStream()
    interleaved(tmp_path / "a", made, set(), [], blocks=8)
    spoil(tmp_path / "a", CAM, 3)
    stream = Recording(tmp_path / "a")[CAM]
    np.testing.assert_array_equal(made.items(0, 3), stream[:3])
    with pytest.raises(SegmentFormatError, match=r"pilot1\.cam0: pilot1\.cam0_part-000\.h5: item 3: .* CRC"):
        stream[2:5]
    rest = stream.without([3], "damaged")
    np.testing.assert_array_equal(made.items(4, 4), rest[3:])
    assert [(3, 1, "damaged", 3)] == [(gap.first, gap.count, gap.reason, gap.position) for gap in rest.gaps]


def test_a_file_that_cannot_be_read_is_told_and_its_items_are_missing(tmp_path: Path) -> None:
    """The other files are one sequence still."""
    made = MadeStream()
    interleaved(tmp_path / "a", made, {0, 1, 2}, [0, 1, 2], blocks=6)
    (tmp_path / "a" / f"{CAM}_part-000.h5").write_bytes(b"no HDF5")
    stream = Recording(tmp_path / "a")[CAM]
    assert (3, 1) == (len(stream), len(stream.problems))
    assert "part-000" in stream.problems[0]
    assert [0, 1, 2] == list(stream.sequence)


def test_a_stream_that_changes_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    """One says where it changes; the other what there is."""
    interleaved(tmp_path / "a", MadeStream(), set(), [], blocks=2)
    interleaved(tmp_path / "a", MadeStream(shape=(5,), birth=7), set(), [], blocks=2)
    recording = Recording(tmp_path / "a")
    with pytest.raises(StreamChangedError, match=r"part-001\.h5: items change from \(12, 16, 3\)"):
        len(recording[CAM])
    with pytest.raises(KeyError, match=r"no stream 'pilot1\.cam'; did you mean 'pilot1\.cam0'"):
        recording["pilot1.cam"]
    assert recording.get("sound") is None
    assert "segment" in {event.kind for event in recording.events}
