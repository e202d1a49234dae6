"""Bytes on the wire: golden frames, and decoders that no bytes can hurt."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import AddressError, MalformedError, Message
from pipeline.arrays import PackedArray
from pipeline.listening import read_outcome
from pipeline.message import DEFAULT_TTL
from pipeline.peers import make_identity, read_identity
from pipeline.wire import (
    DELIMITER,
    MAX_HOPS,
    TAG_BYTES,
    VERSION,
    Envelope,
    Kind,
    Tag,
    check_address,
    open_envelope,
    read_tag,
    read_way,
)

README = Path(__file__).parents[2] / "pipeline" / "README.md"
GOLDEN_TAG = bytes.fromhex("01 01 0807060504030201 0900000000000000 1817161514131211 0500000000000000")
GOLDEN_CONTENT = bytes.fromhex(
    "9a 01 a3615f31 a162 a161 a14b 81a17801 80 b4323032362d31312d32305431323a30303a30305a 05 80"
)
FIELDS: dict[str, Any] = {
    "id": "a_1",
    "to": "b",
    "sender": "a",
    "key": "K",
    "value": {"x": 1},
    "timestamp": "2026-11-20T12:00:00Z",
}


def test_golden_bytes_of_a_message() -> None:
    """What version 1 looks like for ever; a change here is a new version."""
    tag = Tag(VERSION, Kind.MESSAGE, 0x0102030405060708, 9, 0x1112131415161718, 5)
    body = Message(**FIELDS).serialize()
    frames = Envelope([b"b"], tag.pack() + b"a", [bytes(part) for part in body]).frames()
    assert [b"b", GOLDEN_TAG + b"a", b"", GOLDEN_CONTENT] == frames
    envelope = open_envelope([bytes(frame) for frame in frames])
    assert tag == read_tag(envelope.trace)
    assert (b"a",) == read_way(envelope.trace)
    assert {"x": 1} == Message(envelope.body).value
    assert 5 == DEFAULT_TTL


def test_golden_bytes_of_an_array() -> None:
    """An extension in the content that describes the buffer after it."""
    import numpy as np

    frames = Message(**FIELDS | {"value": np.array([[1, 2]], "<i2")}).serialize()
    assert bytes.fromhex("c70d 01 94 00 a33c6932 920102 a3726177") in bytes(frames[0])
    assert b"\x01\x00\x02\x00" == frames[1]


@pytest.mark.parametrize(
    ("value", "golden"),
    [
        ({1}, "d5 03 91 01"),
        (frozenset((b"a",)), "d6 04 91 c4 01 61"),
        (1 - 2j, "d8 02 000000000000f03f 00000000000000c0"),
        (date(2026, 11, 20), "c7 0b 05 64 323032362d31312d3230"),
        (datetime(2026, 11, 20, 12), "c7 14 05 6e 323032362d31312d32305431323a30303a3030"),  # noqa: DTZ001
        (datetime(2026, 11, 20, 12, tzinfo=UTC), "d6 ff 6b003640"),
        (time(1, 2), "c7 09 05 74 30313a30323a3030"),
        (Decimal("1.50"), "c7 05 05 44 312e3530"),
        (UUID(int=7), "c7 11 05 75 00000000000000000000000000000007"),
        (timedelta(-1, 2, 3), "c7 0d 05 69 ffffffff 02000000 03000000"),
        ((1, 2), "92 01 02"),
    ],
)
def test_golden_bytes_of_values(value: Any, golden: str) -> None:
    """Extensions 2 to 5, and msgpack's own timestamp."""
    (content,) = Message(**FIELDS | {"value": value}).serialize()
    before, after = GOLDEN_CONTENT.split(b"\x81\xa1\x78\x01")
    assert before + bytes.fromhex(golden) + after == content


def test_kinds_are_numbered_as_the_readme_says() -> None:
    """The table of kinds is the table in the code."""
    rows = dict(re.findall(r"^\| (\d+) \| `([A-Z]+)` \|", README.read_text(), re.MULTILINE))
    assert {str(int(kind)): kind.name for kind in Kind} == rows


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"b"],
        [b"b", b""],
        [b"", GOLDEN_TAG + b"a", b""],
        [b"b"] * (MAX_HOPS + 3),
        [b"b", b"x" * TAG_BYTES, b"", *[b"x"] * 300],
    ],
)
def test_frames_that_are_no_envelope_are_refused(frames: list[bytes]) -> None:
    """Too few, no delimiter, no address, too many."""
    with pytest.raises(MalformedError):
        open_envelope(frames)


@pytest.mark.parametrize("trace", [b"", GOLDEN_TAG, b"\x02" + GOLDEN_TAG[1:] + b"a"])
def test_short_tags_and_other_versions_are_refused(trace: bytes) -> None:
    """Version and length are looked at first."""
    with pytest.raises(MalformedError):
        read_tag(trace)


@pytest.mark.parametrize("way", [b"\0", b"a\0", b"\0a", b"x" * 201, b"a\0" * MAX_HOPS + b"a"])
def test_ways_with_gaps_or_circles_are_refused(way: bytes) -> None:
    """Empty ids, overlong ids, too many."""
    with pytest.raises(MalformedError):
        read_way(GOLDEN_TAG + way)


@pytest.mark.parametrize("address", ["", "a\0b", "x" * 201, 5, None])
def test_addresses_that_cannot_stand_in_a_frame_are_refused(address: object) -> None:
    """The error shows the address."""
    with pytest.raises(AddressError):
        check_address(address)


def test_identities_name_id_and_boot() -> None:
    """What a hub tells zmq of itself; anything else is not a hub of ours."""
    assert (b"pilot1.cam0", 7) == read_identity(make_identity(b"pilot1.cam0", 7))
    for bad in (b"", b"\0" * 9, b"a" + b"\x01" * 9, b"\xff\0" + b"\x01" * 8, b"a\0b\0" + b"\x01" * 8):
        assert read_identity(bad) is None


HOSTILE = [
    b"",
    b"\xc1",
    b"\xdd\xff\xff\xff\xff\x01",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x91" * 100_000,
    b"\x80\x05\x95\x0e\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.",
    GOLDEN_CONTENT[:-3],
    b"\x9a\x02" + GOLDEN_CONTENT[2:],
    GOLDEN_CONTENT.replace(b"\x81\xa1\x78\x01", b"\xd4\x01\x90"),
    GOLDEN_CONTENT.replace(b"\x81\xa1\x78\x01", b"\xd4\x09\x90"),
    GOLDEN_CONTENT[:-1] + b"\x81\xa6sender\xa1z",
]


@pytest.mark.parametrize("content", HOSTILE)
def test_hostile_contents_are_malformed_and_nothing_else(content: bytes) -> None:
    """Corpus: claims of 4 GiB, deep nesting, pickles, cut and forged contents."""
    with pytest.raises(MalformedError):
        Message([content])


@pytest.mark.parametrize(
    "header",
    [
        b"\x94\x00\xa1O\x91\x01\xa3raw",
        b"\x94\x00\xa3<f8\x91\x7f\xa3raw",
        b"\x94\x07\xa3<f8\x91\x01\xa3raw",
        b"\x94\x00\xa3<f8\x91\xff\xa3raw",
        b"\x94\x00\xa3<f8\x91\x01\xa4pick",
        b"\x94\x00\xd9\x20" + b"(1000000000,1000000000,1000)f8  " + b"\x91\x01\xa3raw",
        b"\x94\x00\xa2u1\x92\xce\xff\xff\xff\xff\xce\xff\xff\xff\xff\xa5blosc",
    ],
)
def test_hostile_array_headers_are_malformed(header: bytes) -> None:
    """Objects, sizes that do not fit, buffers that are not there, unknown codecs, sizes beyond memory."""
    with pytest.raises(MalformedError):
        PackedArray.unpack(header, [b"x" * 8])


def test_a_damaged_compressed_array_is_malformed() -> None:
    """Found out when it is expanded, without reading beyond its buffer."""
    packed = PackedArray.unpack(b"\x94\x00\xa2u1\x91\x40\xa5blosc", [b"x" * 40])
    with pytest.raises(MalformedError):
        packed.expand()


@settings(max_examples=500)
@given(frames=st.lists(st.binary(max_size=80), max_size=6), cut=st.integers(0, 60), junk=st.binary(max_size=6))
def test_no_bytes_raise_anything_but_malformed(frames: list[bytes], cut: int, junk: bytes) -> None:
    """Random frames, and true ones cut and spoilt, through every decoder."""
    spoilt = GOLDEN_CONTENT[:cut] + junk + GOLDEN_CONTENT[cut + len(junk) :]
    for decode in (
        lambda: open_envelope(frames),
        lambda: Message(frames, expand_arrays=True),
        lambda: Message([spoilt, *frames], expand_arrays=True),
        lambda: read_tag(b"".join(frames)),
        lambda: read_way(b"".join(frames)),
        lambda: read_outcome([spoilt]),
        lambda: read_outcome(frames),
    ):
        with suppress(MalformedError):
            decode()


def test_delimiter_is_empty() -> None:
    """No address can be mistaken for it."""
    assert b"" == DELIMITER
