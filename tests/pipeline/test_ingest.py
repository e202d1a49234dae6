"""The Terminal's end: what it takes, what it refuses, what it remembers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from support.streams import STREAM, Wire, eventually, samples, signal_ring, stored_items, wire, write
from support.waiting import eventually as is_soon

from pipeline.backfill_name import backfill_of
from pipeline.block import Block, BlockFlag, BlockHeader
from pipeline.channel import Credit, Open, Opened, Refused, Word, from_frames, to_frames
from pipeline.codec import checksum
from pipeline.errors import BlockError
from pipeline.ingest_stream import REWIND_S, IngestStream, Verdict
from pipeline.stream_spec import StreamSpec
from pipeline.transport import Context, Socket
from shm import BlobReader, list_segments, shm_space

SPEC = StreamSpec(stream=STREAM, birth=77, dtype='"<i4"', shape=(2,), block_items=4, slots=16, rate=100.0)


def block(first: int, *, count: int = 4, lost: int = 0, origin: int = 0, flags: int = 0, **changes: Any) -> Block:
    """Return a raw block of samples that prove themselves."""
    payload = np.pad(samples(first, count), ((0, 4 - count), (0, 0))).tobytes() if count else b""
    header = BlockHeader(
        stream=SPEC.stream, birth=SPEC.birth, epoch=1, flags=flags, first=first, count=count, block_items=4,
        origin=origin, lost=lost, lost_reason="link" if lost else "", time_ns=0, period_ns=1, dtype=SPEC.dtype,
        shape=SPEC.shape, codec="raw", raw_bytes=len(payload), payload_bytes=len(payload), crc=checksum(payload),
    )  # fmt: skip
    return Block(msgspec.structs.replace(header, **changes), b"", payload)


def end(at: int, origin: int = 0) -> Block:
    """Return the END of a run."""
    return block(at, count=0, origin=origin, flags=int(BlockFlag.END))


class Peer:
    """A Pilot made of bare sockets."""

    def __init__(self, both: Wire, identity: bytes) -> None:
        self.context = Context()
        assert both.ingest is not None
        self._last = 0
        self.socket: Socket = self.context.dealer(both.ingest.endpoint, identity)

    def send(self, message: Any) -> None:
        self.socket.send(to_frames(message))

    def heard(self, kind: type[Word]) -> int:
        """Take what has come; return the number of the last opening that a word of this kind named."""
        while (frames := self.socket.receive()) is not None:
            word = from_frames(frames)
            if isinstance(word, kind):
                self._last = word.opening
        return self._last

    def hear(self) -> Any:
        heard: list[Any] = []

        def has_heard() -> bool:
            heard.append(self.socket.receive())
            return heard[-1] is not None

        eventually(has_heard)
        return from_frames(heard[-1])


@pytest.fixture
def both() -> Iterator[Wire]:
    with wire() as both:
        yield both


@pytest.fixture
def peer(both: Wire) -> Iterator[Peer]:
    peer = Peer(both, b"pilot1/a")
    yield peer
    peer.context.close()


class TestMachine:
    """The judgement of blocks, without I/O."""

    def opened(self, last: BlockHeader | None = None, origin: int | None = 0) -> IngestStream:
        stream = IngestStream(SPEC, last)
        stream.open(Open(1, SPEC, origin, 0), room=16)
        return stream

    def test_takes_blocks_that_follow_each_other(self) -> None:
        """Losses that are told are no hole."""
        stream = self.opened()
        takes = [stream.take(b) for b in (block(0), block(12, lost=8), end(16))]
        assert [Verdict.STORE] * 3 == takes
        assert (16, True) == (stream.next, stream.is_ended)

    def test_drops_what_it_has(self) -> None:
        """Sent again after a broken link, a block is not stored again."""
        stream = self.opened()
        stream.take(block(0))
        assert Verdict.DUPLICATE is stream.take(block(0))

    def test_asks_once_for_what_is_missing(self) -> None:
        """A hole makes the forwarder go back; what it sent meanwhile is not taken."""
        stream = self.opened()
        assert Verdict.AHEAD is stream.take(block(4))
        rewind = stream.rewind(room=16, now=0.0)
        assert rewind is not None
        assert 0 == rewind.next
        assert Verdict.AHEAD is stream.take(block(8))
        assert stream.rewind(room=16, now=0.1) is None
        assert [Verdict.STORE, Verdict.STORE] == [stream.take(block(0)), stream.take(block(4))]

    def test_asks_again_when_the_wanted_block_is_damaged_again(self) -> None:
        """Nobody else would: the forwarder believes that all was sent."""
        stream = self.opened()
        assert Verdict.DAMAGED is stream.take(block(0, crc=1))
        assert stream.rewind(room=16, now=0.0) is not None
        assert Verdict.DAMAGED is stream.take(block(0, crc=1))
        assert stream.credit(16, 0.1, is_late=True) is None
        again = stream.credit(16, REWIND_S, is_late=True)
        assert isinstance(again, Opened)
        assert 0 == again.next

    def test_a_damaged_block_is_not_stored(self) -> None:
        """And it comes again."""
        stream = self.opened()
        assert Verdict.DAMAGED is stream.take(block(0, crc=1))
        assert "fails its CRC" in stream.why
        assert Verdict.STORE is stream.take(block(0))

    @pytest.mark.parametrize(
        ("last", "origin", "expected"),
        [
            (None, 0, (40, None, False)),
            (block(8).header, 0, (12, 0, False)),
            (block(8).header, None, (12, 0, False)),
            (block(8).header, 9, (40, None, False)),
            (block(8, birth=78).header, 0, (40, None, False)),
            (end(12).header, 0, (12, 0, True)),
            (end(12).header, None, (40, None, False)),
            (end(0).header, 0, (40, None, False)),
        ],
    )
    def test_knows_the_run_that_its_ring_holds(
        self, last: BlockHeader | None, origin: int | None, expected: tuple[int, int | None, bool]
    ) -> None:
        """The same run goes on; another one, or an unknown one, begins where the forwarder says."""
        stream = IngestStream(SPEC, last)
        opened = stream.open(Open(1, SPEC, origin, 40), room=16)
        assert expected == (opened.next, opened.origin, opened.ended)


def test_grants_only_what_its_ring_has_room_for(both: Wire, peer: Peer) -> None:
    """A lossless reader that stands still stops the flow; the ingest itself never waits."""
    peer.send(Open(1, SPEC, 0, 0))
    opened = peer.hear()
    assert isinstance(opened, Opened)
    assert 0 < opened.limit <= SPEC.slots * SPEC.slot_bytes
    with BlobReader.attach(both.ring_name, policy="lossless", reader="recorder", start="oldest") as recorder:
        slots = recorder.slots
        sent, limit = 0, opened.limit
        while (sent + 1) * SPEC.slot_bytes <= limit:
            peer.send(block(4 * sent))
            sent += 1
            if (sent + 1) * SPEC.slot_bytes > limit and sent < slots:
                while limit < (sent + 1) * SPEC.slot_bytes:
                    credit = peer.hear()
                    assert isinstance(credit, Credit)
                    limit = credit.limit
        assert slots == sent
        eventually(lambda: recorder.published == sent)
        assert not recorder.demoted
        for _ in range(slots // 2):
            assert recorder.read(1.0) is not None
        while limit < (sent + 1) * SPEC.slot_bytes:
            limit = peer.hear().limit


def test_a_stream_is_not_given_to_a_second_connection_while_the_first_lives(both: Wire, peer: Peer) -> None:
    """A forgery cannot take a stream away; the honest blocks go on being taken."""
    peer.send(Open(1, SPEC, 0, 0))
    assert isinstance(peer.hear(), Opened)
    forger = Peer(both, b"pilot1/b")
    forger.send(Open(1, msgspec.structs.replace(SPEC, birth=5, shape=(3,), slots=9), 7, 7))
    refused = forger.hear()
    assert isinstance(refused, Refused)
    assert "is being sent by pilot1/" in refused.reason
    peer.send(block(0))
    eventually(lambda: both.counters.read()[f"{STREAM}.received_blocks"] == 1)
    forger.context.close()


def test_an_older_connection_is_no_longer_heard(both: Wire, peer: Peer) -> None:
    """Whoever opens after the first has been silent for a second sends the stream."""
    peer.send(Open(1, SPEC, 0, 0))
    assert isinstance(peer.hear(), Opened)
    younger = Peer(both, b"pilot1/b")

    def is_opened() -> bool:
        younger.send(Open(1, SPEC, 0, 0))
        return isinstance(younger.hear(), Opened)

    eventually(is_opened)
    peer.send(block(0))
    eventually(lambda: both.counters.read().get(f"{STREAM}.refused.unknown") == 1)
    younger.send(block(0))
    eventually(lambda: both.counters.read()[f"{STREAM}.received_blocks"] == 1)
    younger.context.close()


def test_a_stream_is_given_on_at_once_when_its_connection_is_gone(both: Wire, peer: Peer) -> None:
    """A Pilot that lost its link, or was killed, is not kept waiting."""
    peer.send(Open(1, SPEC, 0, 0))
    assert isinstance(peer.hear(), Opened)
    peer.socket.close()
    younger = Peer(both, b"pilot1/b")
    began = time.monotonic()

    def is_opened() -> bool:
        younger.send(Open(1, SPEC, 0, 0))
        return isinstance(younger.hear(), Opened)

    eventually(is_opened)
    assert time.monotonic() - began < 0.5
    younger.context.close()


def test_a_hostile_peer_costs_a_counter(both: Wire, peer: Peer) -> None:
    """Garbage of every kind is counted, and the next honest stream goes through."""
    for frames in ([b""], [b"\x01B"], [b"\x01O", b"\xc1"], [b"\x02O", b""], [b"x"] * 9, to_frames(block(0))):
        peer.socket.send(frames)
    eventually(lambda: both.counters.read().get("ingest.refused.damaged") == 5)
    eventually(lambda: both.counters.read().get("ingest.refused.unknown") == 1)
    peer.send(Open(1, SPEC, 0, 0))
    assert isinstance(peer.hear(), Opened)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slots": shm_space()[0] // SPEC.slot_bytes + 1}, "are free"),
        ({"shape": (2**20, 2**20)}, "at most"),
        ({"dtype": '"O"'}, "objects"),
    ],
)
def test_a_stream_that_cannot_be_kept_is_refused_in_words(
    both: Wire, peer: Peer, changes: dict[str, Any], said: str
) -> None:
    """The Pilot is told why."""
    peer.send(Open(1, msgspec.structs.replace(SPEC, **changes), 0, 0))
    refused = peer.hear()
    assert isinstance(refused, Refused)
    assert said in refused.reason


def test_a_damaged_block_comes_again(both: Wire, peer: Peer) -> None:
    """A byte flipped on the wire is named, counted, and costs nothing."""
    peer.send(Open(1, SPEC, 0, 0))
    peer.hear()
    frames = to_frames(block(0))
    frames[3] = bytes([bytes(frames[3])[0] ^ 1]) + bytes(frames[3])[1:]
    peer.socket.send(frames)
    peer.send(block(4))
    rewind = peer.hear()
    assert isinstance(rewind, Opened)
    assert 0 == rewind.next
    for first in (0, 4):
        peer.send(block(first))
    eventually(lambda: both.counters.read()[f"{STREAM}.received_items"] == 8)
    counts = both.counters.read()
    assert (1, 1) == (counts[f"{STREAM}.refused.damaged"], counts[f"{STREAM}.refused.ahead"])


def test_a_stream_of_another_size_gets_a_ring_of_its_own(both: Wire, peer: Peer) -> None:
    """Readers of the old ring see it end."""
    peer.send(Open(1, SPEC, 0, 0))
    peer.hear()
    with BlobReader.attach(both.ring_name) as old:
        peer.send(Open(2, msgspec.structs.replace(SPEC, birth=78, shape=(40,)), 0, 0))
        peer.hear()
        assert old.ended
        assert old.is_superseded
    with BlobReader.attach(both.ring_name) as new:
        assert 78 == new.meta["birth"]


def test_the_ring_outlives_the_ingest() -> None:
    """What a new ingest finds under the name it goes on with: same ring, next item, nothing twice."""
    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM)
        both.forwarder.start(STREAM)
        write(ring, 640)
        eventually(lambda: both.forwarder.state()[STREAM].acked == 640)
        with BlobReader.attach(both.ring_name, policy="drop_oldest", start="oldest") as reader:
            both.stop_terminal()
            both.start_terminal()
            write(ring, 64)
            both.forwarder.stop(STREAM)
            both.eventually_finished()
            assert not reader.is_superseded
            blocks = [Block.from_blob(blob.data) for blob in iter(lambda: reader.read(0.0), None)]
        assert np.array_equal(samples(0, 704), stored_items(blocks))
        assert len(blocks) == len({block.header.first for block in blocks})


def test_the_ring_of_a_backfill_goes_once_it_is_over_and_taken(
    monkeypatch: pytest.MonkeyPatch, both: Wire, peer: Peer
) -> None:
    """What a reader has not taken stays; the next pass makes a ring of its own."""
    monkeypatch.setattr("pipeline.ingest.RETIRE_S", 0.1)
    assert both.ingest is not None
    state, spec = both.ingest.state, msgspec.structs.replace(SPEC, stream=backfill_of(STREAM))
    end_flag = int(BlockFlag.END)
    for opening in (1, 2):
        peer.send(Open(opening, spec, None, 0))
        eventually(lambda opened=opening: peer.heard(Opened) == opened)
        with BlobReader.attach(f"{both.rig}/T/{spec.stream}", policy="lossless", start="oldest") as taker:
            peer.send(block(0, stream=spec.stream))
            peer.send(block(4, count=0, flags=end_flag, stream=spec.stream))
            eventually(lambda: state()[spec.stream].ended)
            assert not is_soon(lambda: spec.stream not in state(), 0.5)
            assert [0, 4] == [Block.from_blob(taker.read().data).header.first for _ in range(2)]
            eventually(lambda: spec.stream not in state())
            eventually(lambda reader=taker: reader.is_superseded)
    assert [] == list_segments(f"{both.rig}/T/{spec.stream}")


def test_messages_survive_the_wire() -> None:
    """Each word, and nothing of another version."""
    words: list[Word] = [Open(1, SPEC, None, 3), Opened(1, STREAM, 5, None, False, 9), Credit(1, STREAM, 5, True, 9),
             Refused(1, STREAM, "no room")]  # fmt: skip
    assert words == [from_frames([bytes(f) for f in to_frames(word)]) for word in words]
    with pytest.raises(BlockError):
        from_frames([b"\x02O", b""])
