"""Small envelopes travel together; what a stranger makes of that costs a counter and nothing more."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import Hub, Message, NetNode, value
from pipeline.bundle import MARK, MAX_BUNDLE, is_bundle, open_bundle, pack_bundle
from pipeline.errors import MalformedError
from pipeline.transport import port_of

ENVELOPES = st.lists(st.lists(st.binary(max_size=40), max_size=5), max_size=20)


@given(ENVELOPES)
def test_a_bundle_comes_apart_as_it_was_put_together(envelopes: Sequence[Sequence[bytes]]) -> None:
    """Whatever the frames hold, empty ones too."""
    frame = pack_bundle(envelopes)
    assert is_bundle(frame)
    assert open_bundle([b"identity", frame], 1) == envelopes


def test_the_bytes_of_a_bundle_are_these() -> None:
    """A NUL, the version, then msgpack: an array of arrays of bin."""
    assert pack_bundle([[b"T", b"", b"x"]]) == bytes.fromhex("00 01 91 93 c4 01 54 c4 00 c4 01 78")


@given(st.binary(max_size=200))
def test_a_strangers_bundle_is_read_or_refused(rest: bytes) -> None:
    """Nothing else is raised, whatever follows the mark."""
    try:
        found = open_bundle([MARK + rest])
    except MalformedError:
        return
    assert all(isinstance(frame, bytes) for envelope in found for frame in envelope)


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([b"\x00\x02\x90"], "version"),
        ([b"\x00"], "version"),
        ([MARK + b"\x90", b"more"], "followed by 1"),
        ([MARK + b"\xdd\xff\xff\xff\xff"], "4294967295 envelopes"),
        ([MARK + b"\xdc\x01\x01" + b"\x90" * 257], "257 envelopes"),
        ([MARK + b"\xdc\x01\x00" + b"\x90" * 20], "cannot be read"),
        ([MARK + b"\x91" * 2000], "cannot be read"),
        ([MARK + bytes(MAX_BUNDLE)], "at most"),
    ],
)
def test_a_bad_bundle_is_refused_by_its_reason(frames: list[bytes], why: str) -> None:
    """Lengths are checked against what is there before anything is made of them."""
    with pytest.raises(MalformedError, match=why):
        open_bundle(frames)


def test_one_bad_envelope_does_not_take_its_bundle_along() -> None:
    """The others of the same bundle arrive; the bad one is counted."""
    heard: list[object] = []
    done = threading.Event()

    def hear(message: Message) -> None:
        heard.append(message.value)
        if len(heard) == 2:
            done.set()

    with Hub("T", {"K": hear}, listen_endpoint="tcp://127.0.0.1:0") as station:
        node = NetNode("T.a", "T", port_of(station.endpoint))
        try:
            assert node.wait_connected(5)
            links = node._links
            upstream = node._upstream
            assert upstream is not None

            def send_bad() -> None:  # on the thread that owns the socket, so that they leave together
                links.send(upstream, [b"T", b"nonsense"])

            def send_all() -> None:
                for number in (1, 2):
                    node._mailbox.post(send_bad)
                    node.send("T", "K", number, repeat=False)

            node._mailbox.post(send_all)
            assert done.wait(5)
        finally:
            node.release()
        assert heard == [1, 2]
        assert station.statistics().malformed >= 1


def test_a_station_forwards_without_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A content is decoded where it is addressed to, and by nobody on the way."""
    read: list[str] = []
    decode = value.decode_frames

    def counted(decoder: msgspec.msgpack.Decoder[object], frames: Sequence[bytes]) -> object:
        read.append(threading.current_thread().name)
        return decode(decoder, frames)

    for module in ("message", "listening"):
        monkeypatch.setattr(f"pipeline.{module}.decode_frames", counted)
    with Hub("T", listen_endpoint="tcp://127.0.0.1:0") as station:
        ends = [NetNode(name, "T", port_of(station.endpoint), {"K": lambda m: m.value}) for name in ("T.a", "T.b")]
        try:
            assert all(end.wait_connected(5) for end in ends)
            receipts = [ends[0].send("T.b", "K", number) for number in range(300)]
            assert [receipt.result(10) for receipt in receipts] == list(range(300))
        finally:
            for end in ends:
                end.release()
        assert station.statistics().forwarded >= 600
    assert set(read) == {"T.a.io", "T.b.io"}
