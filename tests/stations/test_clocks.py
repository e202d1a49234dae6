"""Times of a recording on one clock: what its journal says of the machines' clocks."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.clocks import HERE, MS, THERE, Clock, S, burst

from pipeline.clock_burst import PROBES, Answered, Burst
from pipeline.errors import ClockDomainError
from stations.recording import Journal, read_journal
from stations.recording.clocks import Clocks

TERMINAL, PILOT = f"monotonic:{HERE.boot}", f"monotonic:{THERE.boot}"
AGAIN = "monotonic:cc"


class Told:
    """A journal of bursts, every ten seconds."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "session.jsonl")
        self.rng = random.Random(11)
        self.clocks: list[Clocks] = []

    def bursts(
        self, clock: Clock, seconds: range, *, ours: str = TERMINAL, theirs: str = PILOT, ahead: int = 0
    ) -> None:
        """Tell of bursts of a clock that is read `ahead` of ours."""
        for second in seconds:
            probes = [
                Answered(p.sent + ahead, p.received, p.answered, p.returned + ahead, p.received + 10**18)
                for p in burst(clock, second * S, self.rng)
            ]
            told = Burst(name="pilot1", ours=ours, theirs=theirs, host="box2", probes=probes)
            self.journal.append(PROBES, **msgspec.to_builtins(told))

    def read(self) -> Clocks:
        self.journal.close()
        return Clocks(read_journal(self.journal.path))


@pytest.fixture
def told(tmp_path: Path) -> Any:
    told = Told(tmp_path)
    yield told
    told.journal.close()


def test_times_of_a_pilot_come_onto_the_terminals_clock(told: Told) -> None:
    """A drift of 50 ppm and a step of 200 ms between: all true times are within what is stated."""
    told.journal.append("recording", clock_domain=TERMINAL)
    clock = Clock(7 * S, 50.0)
    clock.steps.append((61 * S, 200 * MS))
    told.bursts(clock, range(0, 120, 10))
    clocks = told.read()

    ours = np.linspace(0, 130 * S, 900).astype(np.int64).reshape(2, -1)
    times, off = clocks.align(PILOT, np.vectorize(clock.at)(ours))
    assert ours.shape == times.shape == off.shape
    assert np.all(np.abs(times - ours) <= off)
    assert np.all(off[(ours < 60 * S) | ((ours > 70 * S) & (ours < 110 * S))] < MS)
    assert "box2" in str(clocks.domain(PILOT))
    assert "<Clocks 1 compared, 1 steps>" == repr(clocks)


def test_several_pilots_of_one_machine_are_one_clock(told: Told) -> None:
    """Their bursts come in any order and overlap."""
    clock = Clock(7 * S, 50.0)
    told.bursts(clock, range(0, 60, 10))
    told.bursts(clock, range(0, 60, 10))
    clocks = told.read()
    (relation,) = clocks.relations.values()
    assert not relation.steps
    ours = np.arange(0, 60 * S, S // 3)
    times, off = clocks.align(PILOT, [clock.at(int(now)) for now in ours])
    assert np.all(np.abs(times - ours) <= off)
    assert np.all(off < MS)


def test_the_terminals_own_times_are_certain(told: Told) -> None:
    """The same machine in the same boot: nothing changes, whether it was probed or not."""
    told.journal.append("recording", clock_domain=TERMINAL)
    told.bursts(Clock(0, 0.0), range(0, 30, 10), theirs=TERMINAL)
    times, off = told.read().align(TERMINAL, [5, 2**62])
    assert ([5, 2**62], [0, 0]) == (times.tolist(), off.tolist())


def test_a_terminal_that_was_started_anew_is_reached_over_a_pilot(told: Told) -> None:
    """Its second boot counts from another zero; both asked the same Pilot."""
    told.journal.append("recording", clock_domain=TERMINAL)
    clock = Clock(7 * S, 50.0)
    told.bursts(clock, range(0, 60, 10))
    told.journal.append("resumed", clock_domain=AGAIN)
    told.bursts(clock, range(90, 150, 10), ours=AGAIN, ahead=-80 * S)
    clocks = told.read()

    assert TERMINAL == clocks.terminal
    times, off = clocks.align(AGAIN, [20 * S, 40 * S])
    assert np.all(np.abs(times - [100 * S, 120 * S]) <= off)
    assert np.all(off < 30 * MS)


def test_a_clock_that_nothing_relates_is_refused(told: Told) -> None:
    """The error names the clocks that could be used."""
    told.bursts(Clock(0, 0.0), range(0, 30, 10))
    clocks = told.read()
    for domain, said in (("monotonic:zz", "'monotonic:zz'.*box2"), ("", "names no clock"), ("utc", "'utc'")):
        with pytest.raises(ClockDomainError, match=said):
            clocks.align(domain, [1])


def test_a_journal_without_probes_knows_its_own_clock_alone(told: Told) -> None:
    """As it is where no other machine took part; one of before there were probes knows none."""
    told.journal.append("recording", clock_domain=TERMINAL)
    clocks = told.read()
    assert [3] == clocks.align(TERMINAL, [3])[0].tolist()
    with pytest.raises(ClockDomainError, match="compared: none"):
        clocks.align(PILOT, [3])
    with pytest.raises(ClockDomainError, match="compared: none"):
        Clocks(type(read_journal(told.journal.path))((), ())).align(TERMINAL, [3])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "p", "ours": TERMINAL, "theirs": "utc"},
        {"name": "p", "ours": TERMINAL, "theirs": PILOT, "probes": [[1, 2]]},
        {"name": "p", "ours": TERMINAL, "theirs": PILOT, "probes": [[1, 2, 3, 2**62, 5]]},
        {"name": "p", "ours": TERMINAL, "theirs": PILOT, "probes": [["a", None, 3, 4, 5]]},
    ],
)
def test_a_burst_that_cannot_be_is_told_of_and_left_out(told: Told, fields: dict[str, Any]) -> None:
    """The rest of the journal is as good as without it."""
    told.journal.append(PROBES, **fields)
    clock = Clock(7 * S, 50.0)
    told.bursts(clock, range(0, 30, 10))
    clocks = told.read()
    assert ["line 1: not a burst of probes"] == [problem[:29] for problem in clocks.problems]
    times, off = clocks.align(PILOT, [clock.at(15 * S)])
    assert abs(times[0] - 15 * S) <= off[0] < MS


def test_stamps_are_journalled_as_they_were_taken(told: Told) -> None:
    """Every raw probe can be read again, bit for bit."""
    told.bursts(Clock(7 * S, 50.0), range(0, 10, 10))
    told.journal.close()
    (event,) = read_journal(told.journal.path).events
    found = msgspec.convert(event.fields, Burst)
    again = random.Random(11)
    assert burst(Clock(7 * S, 50.0), 0, again) == [answered.probe() for answered in found.probes]
