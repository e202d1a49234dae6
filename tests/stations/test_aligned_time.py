"""Times of recorded items on the Terminal's clock, by what the recording's probes say."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.clocks import THERE, Clock, S, burst
from support.recordings import MadeStream

from pipeline.clock_burst import PROBES, Answered, Burst
from pipeline.errors import ClockDomainError
from shm import clock_domain
from stations.recording import Recording, SessionRecorder

CAM, SOUND = "pilot1.cam0", "T.sound"
PILOT = f"monotonic:{THERE.boot}"
OFFSET_NS = 7 * S


def on_clock(made: MadeStream, domain: str) -> MadeStream:
    """The same stream, stamped by the clock of that name."""
    made.spec = msgspec.structs.replace(made.spec, clock=msgspec.structs.replace(made.spec.clock, domain=domain))
    return made


def record(folder: Path, *streams: MadeStream) -> None:
    """Record 40 items of each stream, and bursts that compare the Pilot's clock with ours."""
    session, rng = SessionRecorder(folder, "demo"), random.Random(3)
    clock = Clock(OFFSET_NS, 20.0)
    for second in range(0, 60, 10):
        probes = [
            Answered(p.sent, p.received, p.answered, p.returned, p.received) for p in burst(clock, second * S, rng)
        ]
        told = Burst(name="pilot1", ours=clock_domain(), theirs=PILOT, host="box2", probes=probes)
        session.journal.append(PROBES, **msgspec.to_builtins(told))
    for made in streams:
        for block in made.blocks(0, 40):
            session.store(block, made.spec)
    session.close()


def test_items_of_another_machine_come_onto_the_terminals_clock(tmp_path: Path) -> None:
    """The truth is within the uncertainty of every item; raw times stay as they are."""
    cam = on_clock(MadeStream(rate=1), PILOT)
    record(tmp_path / "a", cam)
    with Recording(tmp_path / "a") as recording:
        stream = recording[CAM]
        times, uncertainty = stream.aligned_time
        raw = cam.times(0, 40)
        truth = (raw - OFFSET_NS) / (1 + 20e-6)
        np.testing.assert_array_equal(raw, stream.time)
        assert np.all(np.abs(times - truth) <= uncertainty)
        assert 0 < uncertainty[0] < 10_000_000
        part = stream.between(int(raw[10]), int(raw[20]))
        np.testing.assert_array_equal(times[10:20], part.aligned_time.time_ns)


def test_items_of_the_terminals_machine_are_exact(tmp_path: Path) -> None:
    """They are its own clock's times."""
    here = on_clock(MadeStream(SOUND, shape=(2,), dtype="<i4", block_items=8), clock_domain())
    record(tmp_path / "a", here)
    with Recording(tmp_path / "a") as recording:
        times, uncertainty = recording[SOUND].aligned_time
        np.testing.assert_array_equal(here.times(0, 40), times)
        assert not np.any(uncertainty)


def test_births_of_two_clocks_are_each_aligned_by_their_own(tmp_path: Path) -> None:
    """The same sensor on the Pilot, then on the Terminal's machine."""
    first, second = on_clock(MadeStream(rate=1), PILOT), on_clock(MadeStream(rate=1, birth=7), clock_domain())
    record(tmp_path / "a", first, second)
    with Recording(tmp_path / "a") as recording:
        stream = recording[CAM]
        times, uncertainty = stream.aligned_time
        births = np.array([item.birth for item in stream.items()])
        np.testing.assert_array_equal(second.times(0, 40), np.asarray(times)[births == 7])
        assert not np.any(np.asarray(uncertainty)[births == 7])
        assert np.all(np.asarray(uncertainty)[births != 7] > 0)


def test_a_clock_that_was_never_compared_is_refused_at_once(tmp_path: Path) -> None:
    """Opening and reading go on without it; a part without its items is no part of the trouble."""
    known, unknown = on_clock(MadeStream(), clock_domain()), on_clock(MadeStream(birth=7), f"monotonic:{'c' * 32}")
    record(tmp_path / "a", known, unknown)
    with Recording(tmp_path / "a") as recording:
        stream = recording[CAM]
        assert 80 == len(stream)
        with pytest.raises(ClockDomainError, match="no probe relates"):
            _ = stream.aligned_time
        part = stream.part(stream.table.between(lambda birth: (0, 2**62) if birth != 7 else (0, 0)))
        np.testing.assert_array_equal(known.times(0, 40), part.aligned_time.time_ns)
