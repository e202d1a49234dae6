"""What is sent when: the forwarding of one stream, on a virtual clock."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.block import BlockFlag
from pipeline.channel import Credit, Open, Opened, Refused
from pipeline.forward_effects import Cut, ForwardState, RingState, Spill
from pipeline.forward_stream import ForwardStream
from pipeline.stream_spec import StreamSpec

BLOCK, KEEP, MOST, PLENTY = 4, 32, 56, 2**40
SPEC = StreamSpec(stream="pilot1.cam0", birth=1, dtype='"<i8"', shape=(1,), block_items=BLOCK, slots=64)
LIVE = RingState(0, 0)


def opened_stream(origin: int = 0, limit: int = PLENTY, spec: StreamSpec = SPEC) -> ForwardStream:
    """Return a stream that the Terminal has opened."""
    stream = ForwardStream(spec, origin=origin, start=origin, keep=KEEP, most=MOST)
    stream.link(True, 0.0)
    opening = stream.step(RingState(origin, 0), 0.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, spec.stream, origin, None, False, limit))
    return stream


def sent(stream: ForwardStream, ring: RingState, now: float = 0.0) -> list[Cut]:
    """Return everything that leaves now."""
    cuts = []
    while isinstance(cut := stream.step(ring, now), Cut):
        stream.done(cut)
        cuts.append(cut)
    return cuts


def spans(cuts: list[Cut]) -> list[tuple[int, int]]:
    """Return (first, count) of each."""
    return [(cut.first, cut.count) for cut in cuts]


def test_only_whole_blocks_leave_and_they_count_from_the_origin() -> None:
    """A partial block waits until it is full; the grid begins at the origin, not at 0."""
    stream = opened_stream(origin=3)
    assert [(3, 4), (7, 4)] == spans(sent(stream, RingState(13, 0)))
    assert [(11, 4)] == spans(sent(stream, RingState(15, 0)))


def test_first_block_says_that_the_run_begins() -> None:
    """And only the first."""
    cuts = sent(opened_stream(), RingState(12, 0))
    assert [BlockFlag.BEGIN, BlockFlag.NONE, BlockFlag.NONE] == [cut.flags for cut in cuts]


def test_stop_closes_the_block_and_sends_the_end() -> None:
    """Items up to the end sequence, short block, END; over only when the Terminal says so."""
    stream = opened_stream()
    stream.stop(6)
    cuts = sent(stream, RingState(9, 0))
    assert [(0, 4), (4, 2), (6, 0)] == spans(cuts)
    assert cuts[-1].flags & BlockFlag.END
    assert not stream.is_finished
    stream.credited(Credit(1, SPEC.stream, 6, True, PLENTY))
    assert stream.is_finished


def test_stop_ahead_of_the_source_waits_for_its_last_items() -> None:
    """The end sequence may not be published yet; a ring that ends before it ends the run."""
    stream = opened_stream()
    stream.stop(10)
    assert [(0, 4)] == spans(sent(stream, RingState(6, 0)))
    assert [(4, 3), (7, 0)] == spans(sent(stream, RingState(7, 0, is_final=True)))


def test_a_finite_ring_ends_its_run() -> None:
    """No STOP is needed when no item can follow."""
    cuts = sent(opened_stream(), RingState(5, 0, is_final=True))
    assert [(0, 4), (4, 1), (5, 0)] == spans(cuts)


def test_an_empty_run_is_begin_and_end_at_once() -> None:
    """Nothing was produced, and that is told."""
    stream = opened_stream(origin=7)
    stream.stop(7)
    (cut,) = sent(stream, RingState(7, 0))
    assert (7, 0, BlockFlag.BEGIN | BlockFlag.END) == (cut.first, cut.count, cut.flags)


def test_a_new_writer_begins_a_new_block() -> None:
    """Times jump where the writer changed, so a block never reaches across it."""
    stream = opened_stream()
    sent(stream, RingState(6, 0, epoch=0))
    cuts = sent(stream, RingState(16, 0, epoch=1, takeover=6))
    assert [(4, 2), (6, 4), (10, 4)] == spans(cuts)
    assert [0, 1, 1] == [cut.epoch for cut in cuts]


def test_a_link_that_breaks_behind_a_takeover_sends_the_same_blocks_again() -> None:
    """What was sent and did not arrive is cut as before: no block reaches across the two writers."""
    stream = opened_stream()
    ring = RingState(16, 0, epoch=1, takeover=6)
    before = sent(stream, ring)
    stream.link(False, 1.0)
    stream.link(True, 2.0)
    opening = stream.step(ring, 2.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, SPEC.stream, 4, 0, False, PLENTY))

    again = sent(stream, ring, 2.0)
    assert before[1:] == again
    assert [(4, 2, 0), (6, 4, 1), (10, 4, 1)] == [(cut.first, cut.count, cut.epoch) for cut in again]


def test_a_replaced_ring_is_drained_without_an_end() -> None:
    """The run goes on in the ring that took its place."""
    stream = opened_stream()
    stream.detach()
    assert [(0, 4), (4, 2)] == spans(sent(stream, RingState(6, 0, is_final=True)))
    stream.credited(Credit(1, SPEC.stream, 6, False, PLENTY))
    assert stream.step(RingState(6, 0, is_final=True), 0.0) is None
    assert stream.is_finished
    assert not stream.has_ended


def test_stop_between_two_rings_still_sends_the_end() -> None:
    """A run that was stopped while its sensor was away is ended by the ring that is left."""
    stream = opened_stream()
    stream.detach()
    sent(stream, RingState(4, 0, is_final=True))
    stream.credited(Credit(1, SPEC.stream, 4, False, PLENTY))
    stream.step(RingState(4, 0, is_final=True), 0.0)
    stream.stop(4)
    opening = stream.step(RingState(4, 0, is_final=True), 0.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, SPEC.stream, 4, 0, False, PLENTY))
    (end,) = sent(stream, RingState(4, 0, is_final=True))
    assert end.flags & BlockFlag.END


def test_lapped_items_are_told_in_the_next_block() -> None:
    """Whole blocks are given up, so that the grid does not shift, with the reason in-band."""
    stream = opened_stream()
    (first, *_) = sent(stream, RingState(80, 16 + 1))
    assert 0 == first.first % BLOCK
    assert ("lapped", first.first) == (first.lost_reason, first.lost)
    assert first.flags & BlockFlag.BEGIN


def test_what_is_lapped_at_the_end_of_a_run_costs_no_more_than_that() -> None:
    """What the ring still has is sent, and then the END."""
    stream = opened_stream()
    stream.stop(70)
    cuts = sent(stream, RingState(70, 30))
    assert (cuts[0].lost, cuts[0].lost_reason) == (cuts[0].first, "lapped")
    assert 30 <= cuts[0].first <= 44
    assert 70 == cuts[-1].first == cuts[-2].first + cuts[-2].count
    assert cuts[-1].flags & BlockFlag.END


def test_link_down_keeps_half_the_ring_then_drops_the_oldest() -> None:
    """Up to `keep` items wait for the link; beyond, whole blocks are given up, counted under `link`."""
    stream = opened_stream()
    sent(stream, RingState(8, 0))
    stream.credited(Credit(1, SPEC.stream, 8, False, PLENTY))
    stream.link(False, 1.0)
    stream.step(RingState(8 + KEEP, 0), 2.0)
    assert 0 == stream.losses.total("link")
    stream.step(RingState(8 + KEEP + 5, 0), 3.0)
    assert 2 * BLOCK == stream.losses.total("link")
    assert 16 == stream.needed
    stream.link(True, 4.0)
    opening = stream.step(RingState(45, 0), 4.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, SPEC.stream, 8, 0, False, PLENTY))
    cut = sent(stream, RingState(45, 0))[0]
    assert (16, 8, "link") == (cut.first, cut.lost, cut.lost_reason)


def test_what_arrived_before_the_link_broke_is_not_lost() -> None:
    """Blocks that were on their way when the link broke, and given up meanwhile, may have arrived."""
    stream = opened_stream()
    sent(stream, RingState(24, 0))
    stream.link(False, 1.0)
    stream.step(RingState(24 + KEEP, 0), 2.0)
    assert 24 == stream.losses.total("link")
    stream.link(True, 3.0)
    opening = stream.step(RingState(56, 0), 3.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, SPEC.stream, 24, 0, False, PLENTY))
    cut = sent(stream, RingState(56, 0))[0]
    assert (24, 0) == (cut.first, cut.lost)
    assert 0 == stream.losses.total("link")


def test_without_credit_a_live_ring_drops_and_a_patient_one_waits() -> None:
    """Back-pressure reaches a source that can wait, and no other."""
    live = opened_stream(limit=0)
    live.step(RingState(100, 0), 0.0)
    assert live.losses.total("link") >= 100 - MOST
    patient = opened_stream(limit=0, spec=msgspec.structs.replace(SPEC, can_wait=True))
    patient.step(RingState(60, 0), 0.0)
    assert 0 == patient.losses.total("link")
    assert 0 == patient.needed


def test_a_patient_ring_does_not_wait_for_a_link_that_stays_away() -> None:
    """After a second even a file goes on, and what it cannot send is counted."""
    patient = opened_stream(spec=msgspec.structs.replace(SPEC, can_wait=True))
    patient.link(False, 10.0)
    patient.step(RingState(60, 0), 10.5)
    assert 0 == patient.losses.total("link")
    patient.step(RingState(60, 0), 11.5)
    assert 0 < patient.losses.total("link")


def test_two_reasons_are_told_apart() -> None:
    """A block carries one reason; a loss of another kind before it goes as a gap of its own."""
    stream = opened_stream()
    stream.link(False, 1.0)
    stream.step(RingState(KEEP + 8, 0), 2.0)
    stream.step(RingState(200, 136), 3.0)
    stream.link(True, 4.0)
    opening = stream.step(RingState(200, 136), 4.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, SPEC.stream, 0, 0, False, PLENTY))
    cuts = sent(stream, RingState(200, 136))
    lost = [(cut.lost_reason, cut.lost) for cut in cuts if cut.lost]
    assert ["link", "lapped", "link"] == [reason for reason, _ in lost]
    assert cuts[len(lost) - 1].first == sum(count for _, count in lost)
    assert [BlockFlag.GAP, BlockFlag.GAP] == [cut.flags & BlockFlag.GAP for cut in cuts[:2]]


def test_a_refused_stream_asks_again_a_second_later() -> None:
    """The Terminal may have no room now, and have it later."""
    stream = ForwardStream(SPEC, origin=0, start=0, keep=KEEP, most=MOST)
    stream.link(True, 0.0)
    assert isinstance(stream.step(LIVE, 0.0), Open)
    stream.refused(Refused(1, SPEC.stream, "memory is full"), 0.0)
    assert stream.step(LIVE, 0.5) is None
    assert "memory is full" == stream.refusal
    assert isinstance(stream.step(LIVE, 1.0), Open)


def test_answers_to_an_older_opening_are_ignored() -> None:
    """Neither credit nor END of another connection counts."""
    stream = opened_stream(limit=0)
    stream.credited(Credit(0, SPEC.stream, 0, True, PLENTY))
    stream.opened(Opened(7, SPEC.stream, 0, 0, True, PLENTY))
    assert ForwardState.OPEN is stream.state
    assert [] == sent(stream, RingState(8, 0))


def test_resume_goes_on_where_the_terminal_is() -> None:
    """A restarted Pilot knows nothing: next and origin come from the Terminal's ring."""
    stream = ForwardStream(SPEC, origin=None, start=90, keep=KEEP, most=MOST)
    stream.link(True, 0.0)
    opening = stream.step(RingState(90, 30), 0.0)
    assert isinstance(opening, Open)
    assert (None, 90) == (opening.origin, opening.start)
    stream.opened(Opened(opening.opening, SPEC.stream, 72, 4, False, PLENTY))
    cuts = sent(stream, RingState(90, 30))
    assert [(72, 4), (76, 4), (80, 4), (84, 4)] == spans(cuts)
    assert {4} == {cut.origin for cut in cuts}


@pytest.mark.parametrize("published", [64, 65, 67])
def test_nothing_is_given_up_before_it_was_produced(published: int) -> None:
    """Giving up whole blocks never reaches into the future."""
    stream = opened_stream(limit=0)
    stream.step(RingState(published, published - 1), 0.0)
    assert stream.sent <= published


class Kept:
    """A spool's index, as far as a stream asks it."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []

    def covered(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return what of it is kept."""
        return [(max(a, first), min(b, end)) for a, b in self.runs if a < end and first < b]


def insured_stream(kept: Kept) -> ForwardStream:
    """Return a stream that the Terminal has opened, in front of a spool."""
    stream = ForwardStream(SPEC, origin=0, start=0, keep=KEEP, most=MOST, spooled=kept)  # type: ignore[arg-type]
    stream.link(True, 0.0)
    opening = stream.step(RingState(0, 0), 0.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, SPEC.stream, 0, None, False, PLENTY))
    return stream


def spilled(stream: ForwardStream, kept: Kept, ring: RingState, *, has_room: bool = True) -> list[tuple[int, int]]:
    """Do everything that the stream wants; return what went into the spool."""
    found = []
    while (effect := stream.step(ring, 0.0)) is not None:
        if isinstance(effect, Spill):
            stream.spilled(effect, is_kept=has_room)
            if has_room:
                found.append((effect.cut.first, effect.cut.first + effect.cut.count))
                kept.runs.append(found[-1])
        elif isinstance(effect, Cut):
            stream.done(effect)
            ended = bool(effect.flags & BlockFlag.END)
            stream.credited(Credit(stream._opening, SPEC.stream, stream.told, ended, PLENTY))
    return found


def test_what_arrived_and_does_not_become_durable_is_kept_before_the_ring_goes_round() -> None:
    """The recorder is dead, the Terminal's ring will go round: nothing is lost, and nothing is told as lost."""
    kept = Kept()
    stream = insured_stream(kept)
    stream.durable(0)
    assert [] == spilled(stream, kept, RingState(40, 0))
    stream.durable(20)
    assert [] == spilled(stream, kept, RingState(20 + MOST, 12))
    found = spilled(stream, kept, RingState(24 + MOST, 16))
    assert found[0][0] == 20
    assert found == [(first, first + BLOCK) for first in range(20, found[-1][1], BLOCK)]
    assert stream.sent == 24 + MOST
    assert 0 == stream.losses.total("spooled")
    stream.durable(24 + MOST)
    assert [] == spilled(stream, kept, RingState(60 + MOST, 52))


def test_what_is_kept_at_the_end_is_cut_as_it_was_sent_also_across_a_takeover() -> None:
    """It arrived and nobody says that it is durable: the blocks that the spool takes are those of the two writers."""
    kept = Kept()
    stream = ForwardStream(SPEC, origin=0, start=0, keep=KEEP, most=MOST, spooled=kept, reserve=8)  # type: ignore[arg-type]
    stream.link(True, 0.0)
    opening = stream.step(LIVE, 0.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, SPEC.stream, 0, None, False, PLENTY))
    stream.durable(0)
    ring = RingState(16, 0, epoch=1, takeover=6)
    before = [(cut.first, cut.count, cut.epoch) for cut in sent(stream, ring)]
    stream.credited(Credit(1, SPEC.stream, 14, False, PLENTY))
    stream.step(ring, 0.0)
    stream.stop(16)
    stream.abandon()
    cuts = []
    while isinstance(effect := stream.step(ring, 0.0), Spill):
        cuts.append((effect.cut.first, effect.cut.count, effect.cut.epoch))
        stream.spilled(effect, is_kept=True)

    assert [(0, 4, 0), (4, 2, 0), (6, 4, 1), (10, 4, 1)] == before
    assert [*before, (14, 2, 1)] == cuts


@pytest.mark.parametrize("has_room", [True, False])
def test_while_the_recording_takes_nothing_all_that_is_sent_is_kept(has_room: bool) -> None:
    """At once, to the last item of the run; the live stream goes on and tells of no loss, whatever the spool takes."""
    kept = Kept()
    stream = insured_stream(kept)
    stream.durable(0)
    assert [] == spilled(stream, kept, RingState(24, 0))
    stream.durable(8, is_full=True)
    found = spilled(stream, kept, RingState(40, 0), has_room=has_room)
    assert found == ([(first, first + BLOCK) for first in range(8, 40, BLOCK)] if has_room else [])
    assert (40, 40) == (stream.sent, stream.acked)
    stream.stop(42)
    found = spilled(stream, kept, RingState(42, 0, is_final=True), has_room=has_room)
    assert found == ([(40, 42)] if has_room else [])
    assert stream.is_finished
    assert stream.is_settled
    assert 0 == stream.losses.total("spooled") + stream.losses.total("spool_full")


def test_a_run_is_settled_when_the_recording_has_its_last_item_on_its_disk() -> None:
    """A disk that fails at the very end costs nothing: what the ring has still goes into the spool."""
    kept = Kept()
    stream = insured_stream(kept)
    stream.stop(10)
    assert [] == spilled(stream, kept, RingState(10, 0, is_final=True))
    assert stream.is_finished
    assert stream.is_settled, "nobody tells what is durable"
    stream.durable(8)
    assert not stream.is_settled
    stream.durable(8, is_full=True)
    assert [(8, 10)] == spilled(stream, kept, RingState(10, 0, is_final=True))
    assert stream.is_settled


def test_what_arrived_before_the_link_broke_is_still_insured() -> None:
    """It arrived and is not durable: when the disk turns out to be full the spool takes it all the same."""
    kept = Kept()
    stream = insured_stream(kept)
    stream.durable(4)
    assert [] == spilled(stream, kept, RingState(20, 0))
    stream.link(False, 1.0)
    stream.link(True, 1.0)
    opening = stream.step(RingState(20, 0), 1.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, SPEC.stream, 20, 0, False, PLENTY))
    stream.durable(4, is_full=True)
    assert [(4, 8), (8, 12), (12, 16), (16, 20)] == spilled(stream, kept, RingState(20, 0))


def test_a_process_that_goes_on_with_a_run_insures_what_it_finds_in_the_ring() -> None:
    """What was published while there was no Pilot is no more durable than what follows."""
    kept = Kept()
    stream = ForwardStream(SPEC, origin=None, start=40, keep=KEEP, most=MOST, spooled=kept)  # type: ignore[arg-type]
    stream.link(True, 0.0)
    opening = stream.step(RingState(40, 0), 0.0)
    assert isinstance(opening, Open)
    stream.opened(Opened(opening.opening, SPEC.stream, 20, 0, False, PLENTY))
    stream.durable(8, is_full=True)
    assert [(first, first + BLOCK) for first in range(20, 44, BLOCK)] == spilled(stream, kept, RingState(44, 0))


def test_a_run_that_begins_with_a_full_ring_loses_nothing_to_a_terminal_that_is_slow_to_open() -> None:
    """What is overwritten next is kept, as if the link were slow; then the run goes on behind it."""
    kept = Kept()
    stream = ForwardStream(SPEC, origin=100, start=100, keep=KEEP, most=MOST, spooled=kept)  # type: ignore[arg-type]
    stream.link(True, 0.0)
    ring = RingState(156, 92)
    opening = stream.step(ring, 0.0)
    assert isinstance(opening, Open)
    assert stream.step(ring, 0.1) is None

    ring = RingState(160, 96)
    assert [(first, first + BLOCK) for first in range(100, 128, BLOCK)] == spilled(stream, kept, ring)
    stream.opened(Opened(opening.opening, SPEC.stream, 100, None, False, PLENTY))
    first, *_, last = sent(stream, ring, 0.2)
    assert (128, 28, "spooled", 100) == (first.first, first.lost, first.lost_reason, first.origin)
    assert 160 == last.first + last.count
    assert 0 == stream.losses.total("lapped")
