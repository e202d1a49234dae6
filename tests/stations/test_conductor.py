"""The conductor brings every member to where the run is, whoever dies when, and always ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stations.conductor import DISK_BACK, DISK_FAILED, MEMBERS_S, STOP_S, STREAMS_S, Conductor
from stations.conductor_effects import Effect, Finished, Handshake, Note, Send, StreamState
from stations.standby import OrderStamp, RecordOrder

RECORDER = "T.recorder"
PILOTS = {"pilot1": ["pilot1.cam0"], "pilot2": ["pilot2.ephys"]}
BIRTH = "00000000000000a1"
STAMP = OrderStamp(7, 10**10, "c")
WHERE = {"directory": "d", "name": "n"}


def a_run(duration_s: float | None = None) -> Conductor:
    return Conductor(RECORDER, PILOTS, {"directory": "d"}, duration_s)


def here(name: str, boot: str = "1") -> Handshake:
    return Handshake(name, "recorder" if name == RECORDER else "pilot", boot)


def sends(effects: list[Effect]) -> list[tuple[str, str]]:
    return [(effect.to, effect.key) for effect in effects if isinstance(effect, Send)]


def answer_of(send: Send) -> Any:
    if send.key in ("ARM", "START"):
        return None
    if send.to == RECORDER:
        return {stream: {"births": {BIRTH: {"origin": 0, "end": 10, "stored": 10}}} for stream in send.value["streams"]}
    return {"streams": {stream: {"births": {BIRTH: {"origin": 0, "end": 10}}} for stream in send.value["streams"]}}


def all_up(run: Conductor, now: float = 0.0) -> list[Effect]:
    return [effect for name in (RECORDER, *PILOTS) for effect in run.on_handshake(here(name), now)]


def started(duration_s: float | None = None) -> Conductor:
    run = a_run(duration_s)
    all_up(run)
    for name in (RECORDER, *PILOTS):
        run.on_answer(name, "START", None, 0.0)
    return run


def test_nobody_starts_before_everybody_is_there() -> None:
    """The recorder is told first, and only when the last member came up."""
    run = a_run()
    assert [] == sends(run.on_handshake(here(RECORDER), 0.0) + run.on_handshake(here("pilot1"), 0.0))

    assert [(RECORDER, "START")] == sends(run.on_handshake(here("pilot2"), 0.0))


def test_nobody_starts_before_what_is_required_is_ready() -> None:
    """A stream that its Pilot has not told of is not; one that nobody requires does not count."""
    run = Conductor(RECORDER, PILOTS, {"directory": "d"}, required=["pilot1.cam0"])
    assert [] == sends(all_up(run))
    assert [] == sends(run.on_streams({"pilot1.cam0": StreamState(missing="it sleeps")}, 1.0))
    assert [] == sends(run.on_streams({"pilot2.ephys": StreamState()}, 2.0))

    ready = {"pilot1.cam0": StreamState(), "pilot2.ephys": StreamState(missing="it sleeps")}
    assert [(RECORDER, "START")] == sends(run.on_streams(ready, 3.0))


def test_a_run_that_waits_says_for_what_once_and_when_it_changes() -> None:
    """Not while a rig comes up as they do; first of members, then of streams."""
    run = Conductor(RECORDER, PILOTS, {"directory": "d"}, required=["pilot1.cam0"])

    def told(now: float) -> list[dict[str, str]]:
        return [effect.fields["missing"] for effect in run.on_tick(now) if isinstance(effect, Note)]

    run.on_handshake(here(RECORDER), 0.0)
    absent = dict.fromkeys(PILOTS, "it has not come up")
    assert [[], [], [absent], []] == [told(now) for now in (0.0, MEMBERS_S - 0.1, MEMBERS_S, MEMBERS_S + 9)]
    for pilot in PILOTS:
        run.on_handshake(here(pilot), 40.0)
    untold = {"pilot1.cam0": "its Pilot has not told of it"}
    assert [[], [untold], []] == [told(now) for now in (40.0, 40.0 + STREAMS_S, 42.5)]
    run.on_streams({"pilot1.cam0": StreamState(missing="it sleeps")}, 42.6)
    assert [[], [{"pilot1.cam0": "it sleeps"}]] == [told(now) for now in (42.7, 42.7 + STREAMS_S)]
    run.on_streams({"pilot1.cam0": StreamState()}, 45.0)
    assert [] == told(50.0)
    assert "starting" == run.phase


def test_pilots_start_once_the_recorder_records() -> None:
    """Not one item is forwarded before it can be stored."""
    run = a_run()
    all_up(run)

    assert [("pilot1", "START"), ("pilot2", "START")] == sends(run.on_answer(RECORDER, "START", None, 0.0))


def test_a_run_stops_pilots_first_and_the_recorder_last() -> None:
    """What is under way arrives before the files are closed."""
    run = started(duration_s=5.0)
    assert [] == sends(run.on_tick(4.9))
    assert [("pilot1", "STOP"), ("pilot2", "STOP")] == sends(run.on_tick(5.0))
    reply = {"streams": {"pilot1.cam0": {"births": {BIRTH: {"origin": 0, "end": 10}}}}}
    assert [] == sends(run.on_answer("pilot1", "STOP", reply, 5.1))

    assert [(RECORDER, "STOP")] == sends(run.on_answer("pilot2", "STOP", {}, 5.2))


def test_a_member_that_died_is_brought_back_into_the_run() -> None:
    """Its new boot has answered nothing, so it is told again; the recorder resumes its files."""
    run = started()
    run.on_death("pilot1")
    assert [("pilot1", "START")] == sends(run.on_handshake(here("pilot1", "2"), 1.0))

    run.on_death(RECORDER)
    (send,) = [effect for effect in run.on_handshake(here(RECORDER, "2"), 2.0) if isinstance(effect, Send)]
    assert send.value["resume"] is True


def test_a_run_of_finite_sources_ends_when_the_last_has_ended() -> None:
    """Live streams do not keep it open."""
    run = started()
    assert [] == run.on_streams({"pilot1.cam0": StreamState(finite=True)}, 1.0)
    assert [] == run.on_streams({"pilot2.ephys": StreamState(finite=False)}, 1.0)

    assert [("pilot1", "STOP"), ("pilot2", "STOP")] == sends(
        run.on_streams({"pilot1.cam0": StreamState(finite=True, finished=True)}, 2.0)
    )


def test_a_pilot_that_stays_away_does_not_keep_the_files_open() -> None:
    """After the deadline the recorder is stopped without it, and the run says so."""
    run = started()
    run.on_death("pilot2")
    run.stop("asked", 10.0)
    run.on_answer("pilot1", "STOP", {}, 10.1)
    effects = run.on_tick(10.0 + STOP_S)

    assert [(RECORDER, "STOP")] == sends(effects)
    assert Note("silent", {"names": ["pilot2"]}) in effects


def stopping_with_pending(items: int, drain_s: float = 30.0) -> Conductor:
    """Return a run whose pilots have answered STOP at 10 s, one of them with items in its spool."""
    run = Conductor(RECORDER, PILOTS, {"directory": "d"}, None, drain_s)
    all_up(run)
    for name in (RECORDER, *PILOTS):
        run.on_answer(name, "START", None, 0.0)
    run.stop("asked", 10.0)
    run.on_answer("pilot1", "STOP", {"streams": {"pilot1.cam0": {"births": {}, "pending": items}}}, 10.0)
    return run


def pending(items: int) -> dict[str, StreamState]:
    return {"pilot1.cam0": StreamState(finished=True, pending=items)}


def test_the_end_waits_for_what_is_in_a_spool() -> None:
    """And says so; the recorder closes its files when the spool is empty."""
    run = stopping_with_pending(500)
    effects = run.on_answer("pilot2", "STOP", {}, 10.1)
    assert effects == [Note("pending", {"streams": {"pilot1.cam0": 500}, "drain_s": 30.0})]
    assert run.is_draining
    assert [] == run.on_streams(pending(20), 11.0)
    assert [(RECORDER, "STOP")] == sends(run.on_streams(pending(0), 12.0))


def test_the_end_does_not_wait_longer_for_a_spool_than_it_may() -> None:
    """What is still in it stays pending."""
    run = stopping_with_pending(500)
    run.on_answer("pilot2", "STOP", {}, 10.0)
    assert [] == sends(run.on_tick(39.9))
    assert [(RECORDER, "STOP")] == sends(run.on_tick(40.0))
    assert {"pilot1.cam0": 500} == run.pending


def test_whoever_stops_again_leaves_in_the_spool_what_is_there() -> None:
    """At once."""
    run = stopping_with_pending(500)
    run.on_answer("pilot2", "STOP", {}, 10.0)
    assert [(RECORDER, "STOP")] == sends(run.stop("Ctrl-C", 11.0))


def test_a_run_that_may_not_wait_does_not() -> None:
    """drain_s = 0."""
    run = stopping_with_pending(500, drain_s=0.0)
    assert [(RECORDER, "STOP")] == sends(run.on_answer("pilot2", "STOP", {}, 10.0))


def test_the_end_does_not_wait_for_what_a_full_disk_cannot_take() -> None:
    """Whichever is known first; what waits is told once the run is over, with what to do."""
    early = stopping_with_pending(500)
    early.on_disk(DISK_FAILED, "pilot1.cam0", 10.0, error="full")
    assert [(RECORDER, "STOP")] == sends(early.on_answer("pilot2", "STOP", {}, 10.1))

    late = stopping_with_pending(500)
    assert [] == sends(late.on_answer("pilot2", "STOP", {}, 10.1))
    effects = late.on_disk(DISK_FAILED, "pilot1.cam0", 10.2, error="full")
    assert Note(DISK_FAILED, {"stream": "pilot1.cam0", "error": "full"}) in effects
    assert [(RECORDER, "STOP")] == sends(effects)
    stored = {"births": {BIRTH: {"origin": 0, "end": 510, "stored": 10, "gaps": [(10, 500, "spooled")]}}}
    effects = late.on_answer(RECORDER, "STOP", {"pilot1.cam0": stored, "pilot2.ephys": {"births": {}}}, 10.3)
    assert Note("disk_pending", {"streams": {"pilot1.cam0": 500}}) in effects
    assert [500] == [effect.accounts["pilot1.cam0"].pending for effect in effects if isinstance(effect, Finished)]


def test_a_disk_that_has_room_again_is_waited_for() -> None:
    """So is a recorder that came back: it may find room."""
    for recovers in (
        lambda run: run.on_disk(DISK_BACK, "pilot1.cam0", 10.05),
        lambda run: run.on_handshake(here(RECORDER, "2"), 10.05),
    ):
        run = stopping_with_pending(500)
        run.on_disk(DISK_FAILED, "pilot1.cam0", 10.0, error="full")
        recovers(run)
        assert not [send for send in sends(run.on_answer("pilot2", "STOP", {}, 10.1)) if send[1] == "STOP"]
        assert run.is_draining


def test_the_recorder_hears_at_its_stop_what_is_in_the_spools() -> None:
    """Of what it misses that is pending."""
    run = started()
    run.stop("asked", 10.0)
    kept = {BIRTH: [(40, 80)]}
    run.on_answer("pilot1", "STOP", {"streams": {"pilot1.cam0": {"births": {}, "kept": kept}}}, 10.0)
    effects = run.on_answer("pilot2", "STOP", {"streams": {"pilot2.ephys": {"births": {}}}}, 10.0)
    (send,) = [effect for effect in effects if isinstance(effect, Send)]
    assert {"pilot1.cam0": kept} == send.value["kept"]


def test_stopping_before_the_start_ends_at_once() -> None:
    """Nothing was asked of anybody."""
    assert Finished({}) in a_run().stop("interrupted", 0.0)


def standing_by(duration_s: float | None = None) -> Conductor:
    run = Conductor(RECORDER, PILOTS, {"rig": "r"}, duration_s, standby=True)
    assert [("pilot1", "ARM"), ("pilot2", "ARM")] == sends(all_up(run))
    for name in PILOTS:
        run.on_answer(name, "ARM", {}, 1.0)
    return run


def told_of_start(run: Conductor, now: float) -> list[Effect]:
    """Let everybody answer START, the recorder first; return what the last answer leads to."""
    run.on_answer(RECORDER, "START", None, now)
    run.on_answer("pilot1", "START", {"pilot1.cam0": {"began": {"before_s": 1.9, "why": "so"}}}, now)
    return run.on_answer("pilot2", "START", {"pilot2.ephys": {}}, now)


def test_a_run_that_stands_by_tells_so_once_and_starts_nobody() -> None:
    """When all pilots are armed; the recorder is told nothing."""
    run = Conductor(RECORDER, PILOTS, {"rig": "r"}, standby=True)
    assert run.cannot_record.startswith(
        "the rig is still coming up, it waits for T.recorder: it has not come up; pilot1"
    )
    all_up(run)
    assert [] == run.on_answer("pilot1", "ARM", {}, 0.1)
    told = Note("standby", {"streams": ["pilot1.cam0", "pilot2.ephys"], "rig": "r"})
    assert [told] == run.on_answer("pilot2", "ARM", {}, 0.2)
    assert [] == run.on_tick(1e6)
    assert ("standby", "", False) == (run.phase, run.cannot_record, run.is_recording)


def test_a_pilot_that_died_while_standing_by_is_armed_again() -> None:
    """Nobody else hears of it."""
    run = standing_by()
    run.on_death("pilot2")
    assert [("pilot2", "ARM")] == sends(run.on_handshake(here("pilot2", "2"), 5.0))
    assert [] == run.on_answer("pilot2", "ARM", {}, 5.1)
    assert "standby" == run.phase


def test_an_order_starts_the_recorder_and_then_the_pilots_with_the_time_of_the_order() -> None:
    """However long the recorder takes: each Pilot is told how long ago the order was when it is told to START."""
    run = standing_by()
    (send,) = run.record(RecordOrder(2.0, by="anna"), STAMP, WHERE, 10.0)
    assert send == Send(RECORDER, "START", {**send.value, "directory": "d", "resume": False})  # type: ignore[union-attr]
    first, second = run.on_answer(RECORDER, "START", None, 10.5)
    assert isinstance(first, Send)
    assert isinstance(second, Send)
    told = {"from_s": 2.0, "at_ns": 10**10, "clock": "c", "ago_s": 0.5}
    assert {"order": told, "run": "d", "resume": False}.items() <= first.value.items()
    assert first.value["order"] == second.value["order"]
    order = {"from_s": 2.0, "duration_s": None, "by": "anna", "wall_ns": 7, "monotonic_ns": 10**10, "clock": "c"}
    (note,) = told_of_start(run, 10.6)
    assert isinstance(note, Note)
    assert {"order": order, "began": {"pilot1.cam0": {"before_s": 1.9, "why": "so"}}}.items() <= note.fields.items()
    assert run.cannot_record == "the rig records already, into d"


def test_a_pilot_that_was_away_at_the_order_begins_when_it_is_back() -> None:
    """With all that its rings retain of the time since; one that has forwarded already resumes."""
    run = standing_by()
    run.on_death("pilot2")
    run.record(RecordOrder(2.0), STAMP, WHERE, 10.0)
    assert [("pilot1", "START")] == sends(run.on_answer(RECORDER, "START", None, 10.1))
    (_, send) = run.on_handshake(here("pilot2", "2"), 13.0)
    assert isinstance(send, Send)
    assert 3.0 == send.value["order"]["ago_s"]
    told_of_start(run, 13.1)
    run.on_death("pilot2")
    (_, send) = run.on_handshake(here("pilot2", "3"), 14.0)
    assert isinstance(send, Send)
    assert send.value["resume"] is True


@pytest.mark.parametrize(("told_s", "ordered_s", "ends"), [(None, 3.0, 13.0), (5.0, None, 15.0), (5.0, 3.0, 13.0)])
def test_the_duration_counts_from_the_order(told_s: float | None, ordered_s: float | None, ends: float) -> None:
    """That of the order goes before that of the run."""
    run = standing_by(told_s)
    run.record(RecordOrder(0.0, ordered_s), STAMP, WHERE, 10.0)
    told_of_start(run, 10.9)
    assert [] == run.on_tick(ends - 0.1)
    assert [("pilot1", "STOP"), ("pilot2", "STOP")] == sends(run.on_tick(ends))


def test_a_run_that_is_stopped_while_standing_by_ends_without_a_recording() -> None:
    """Its sensors are told to rest; a Pilot that is away is not waited for; the recorder never hears of it."""
    run = standing_by()
    run.on_death("pilot2")
    assert [("pilot1", "STOP")] == sends(run.stop("Ctrl-C", 3.0))
    assert "the run is over" == run.cannot_record
    assert [Finished({})] == run.on_answer("pilot1", "STOP", {}, 3.1)

    silent = standing_by()
    silent.stop("Ctrl-C", 3.0)
    assert Finished({}) in silent.on_tick(3.0 + STOP_S)


class Rig:
    """A run and its members, who die, come back, answer and fail as they are told."""

    def __init__(self, *, standby: bool = False) -> None:
        self.run = Conductor(RECORDER, PILOTS, {"directory": "d"}, 3.0, standby=standby)
        self.boots = dict.fromkeys((RECORDER, *PILOTS), 0)
        self.pending: list[Send] = []
        self.finished: list[Finished] = []
        self.now = 0.0

    def take(self, effects: list[Effect]) -> None:
        self.pending.extend(effect for effect in effects if isinstance(effect, Send))
        self.finished.extend(effect for effect in effects if isinstance(effect, Finished))

    def die(self, name: str) -> None:
        self.take(self.run.on_death(name))
        self.pending = [send for send in self.pending if send.to != name]

    def come_back(self, name: str) -> None:
        self.pending = [send for send in self.pending if send.to != name]
        self.boots[name] += 1
        self.take(self.run.on_handshake(here(name, str(self.boots[name])), self.now))

    def answer(self, _name: str) -> None:
        if self.pending:
            send = self.pending.pop(0)
            self.take(self.run.on_answer(send.to, send.key, answer_of(send), self.now))

    def fail(self, _name: str) -> None:
        if self.pending:
            send = self.pending.pop(0)
            self.take(self.run.on_failure(send.to, send.key, "no", self.now))

    def fill(self, _name: str) -> None:
        self.take(self.run.on_disk(DISK_FAILED, "pilot1.cam0", self.now))

    def empty(self, _name: str) -> None:
        self.take(self.run.on_disk(DISK_BACK, "pilot1.cam0", self.now))

    def tick(self, _name: str) -> None:
        self.take(self.run.on_tick(self.now))

    def order(self, _name: str) -> None:
        if not self.run.cannot_record:
            self.take(self.run.record(RecordOrder(1.0), STAMP, WHERE, self.now))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_run_ends_whoever_dies_when(data: st.DataObject) -> None:
    """Random deaths, returns, errors and answers; afterwards, everybody answering, the run finishes."""
    rig = Rig(standby=data.draw(st.booleans()))
    happenings = [rig.die, rig.come_back, rig.answer, rig.fail, rig.fill, rig.empty, rig.tick, rig.order]
    for _ in range(data.draw(st.integers(0, 40))):
        rig.now += data.draw(st.sampled_from([0.0, 0.3, 2.0]))
        data.draw(st.sampled_from(happenings))(data.draw(st.sampled_from(sorted(rig.boots))))
    for name in rig.boots:
        rig.come_back(name)
    if not rig.run.cannot_record:
        rig.take(rig.run.stop("nobody ordered", rig.now))
    for _ in range(100):
        while rig.pending:
            rig.answer("")
        rig.now += 1.0
        rig.tick("")

    assert 1 == len(rig.finished)


def own(stored: int, gaps: list[tuple[int, int, str]]) -> dict[str, Any]:
    """Return a Pilot's STOP answer: ten items were produced, of which its own recording has `stored`."""
    births = {BIRTH: {"origin": 0, "end": 10, "stored": stored, "gaps": gaps}}
    recording = {"directory": "/own", "streams": {"pilot1.cam0": births}}
    return {
        "streams": {"pilot1.cam0": {"births": {BIRTH: {"origin": 0, "end": 10}}, "pending": 4}},
        "recording": recording,
    }


def test_a_pilot_s_own_recording_has_an_account_of_its_own() -> None:
    """What waits in a spool for the Terminal does not count there: what it lacks is missing."""
    run = Conductor(RECORDER, {"pilot1": PILOTS["pilot1"]}, {"directory": "d", "name": "sub/d"}, drain_s=0.0)
    run.on_handshake(here(RECORDER), 0.0)
    run.on_handshake(here("pilot1"), 0.0)
    (start,) = [effect for effect in run.on_answer(RECORDER, "START", None, 0.0) if isinstance(effect, Send)]
    assert "sub/d" == start.value["recording"]
    run.on_answer("pilot1", "START", None, 0.0)
    run.stop("asked", 1.0)
    run.on_answer("pilot1", "STOP", own(8, [(3, 2, "recorder")]), 1.0)
    stored = {"pilot1.cam0": {"births": {BIRTH: {"origin": 0, "end": 10, "stored": 6, "gaps": [(6, 4, "spooled")]}}}}
    effects = run.on_answer(RECORDER, "STOP", stored, 2.0)
    (done,) = [effect for effect in effects if isinstance(effect, Finished)]
    assert (6, 4) == (done.accounts["pilot1.cam0"].stored, done.accounts["pilot1.cam0"].pending)
    recording = done.recordings["pilot1"]
    account = recording.streams["pilot1.cam0"]
    assert ("/own", True, 8, {"recorder": 2}, 0) == (
        recording.directory, recording.is_balanced, account.stored, account.dropped, account.pending,
    )  # fmt: skip
    assert ["recorded"] == [note.kind for note in effects if isinstance(note, Note) and "directory" in note.fields]


def test_where_only_pilots_record_theirs_is_the_account() -> None:
    """The Terminal's recorder is told of no stream; a Pilot that lost what nobody explains is unbalanced."""
    run = Conductor(RECORDER, {"pilot1": PILOTS["pilot1"]}, {"directory": "d"}, drain_s=0.0, records_streams=False)
    run.on_handshake(here(RECORDER), 0.0)
    (start,) = [effect for effect in run.on_handshake(here("pilot1"), 0.0) if isinstance(effect, Send)]
    assert (RECORDER, [], {}) == (start.to, start.value["streams"], start.value["pilots"])
    run.on_answer(RECORDER, "START", None, 0.0)
    run.on_answer("pilot1", "START", None, 0.0)
    run.stop("asked", 1.0)
    answer = own(7, [])
    answer["streams"]["pilot1.cam0"]["pending"] = 0
    (stop,) = [effect for effect in run.on_answer("pilot1", "STOP", answer, 1.0) if isinstance(effect, Send)]
    assert [] == stop.value["streams"]
    (done,) = [effect for effect in run.on_answer(RECORDER, "STOP", {}, 2.0) if isinstance(effect, Finished)]
    assert (7, 3, False) == tuple(
        getattr(done.accounts["pilot1.cam0"], name) for name in ("stored", "in_flight", "balanced")
    )
    assert done.accounts == done.recordings["pilot1"].streams
