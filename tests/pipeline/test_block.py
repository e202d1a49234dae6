"""Blocks: bytes on the wire, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import pipeline
from pipeline.block import Block, BlockFlag, BlockHeader, header_of_blob
from pipeline.codec import checksum, codec_of
from pipeline.errors import BlockError
from pipeline.stream_spec import StreamSpec, block_items_for, dtype_json, dtype_of_json

SPEC = StreamSpec(stream="pilot1.probe", birth=0x1122334455667788, dtype='"<i2"', shape=(3,), block_items=4, slots=8)
ITEMS = np.arange(9, dtype="<i2").reshape(3, 3)


def header(**changes: Any) -> BlockHeader:
    """Return the header of a short block of three items."""
    payload = codec_of("raw").encode(np.pad(ITEMS, ((0, 1), (0, 0))).reshape(-1).view(np.uint8), 2)
    values: dict[str, Any] = {
        "stream": SPEC.stream, "birth": SPEC.birth, "epoch": 1, "flags": 1, "first": 8, "count": 3, "block_items": 4,
        "origin": 4, "lost": 4, "lost_reason": "link", "time_ns": 1000, "period_ns": 10, "dtype": SPEC.dtype,
        "shape": SPEC.shape, "codec": "raw", "raw_bytes": 24, "payload_bytes": 24, "crc": checksum(b"", payload),
    }  # fmt: skip
    return BlockHeader(**{**values, **changes})


def block(**changes: Any) -> Block:
    """Return the block of that header."""
    return Block(header(**changes), b"", np.pad(ITEMS, ((0, 1), (0, 0))).tobytes())


def test_header_on_the_wire_is_these_bytes() -> None:
    """The frame of version 1 never changes: files and peers hold it."""
    golden = (
        "da201767dc001301ac70696c6f74312e70726f6265cf112233445566778801010803040404a46c696e6bcd03e80aa5223c69322291"
        "03a37261771818ce1a3782c8"
    )
    assert golden == header().to_frame().hex()


def test_block_survives_wire_and_ring() -> None:
    """Frames and blob give the same block back, a short one without its padding."""
    sent = block()
    for received in (Block.from_frames(sent.to_frames()), Block.from_blob(b"".join(bytes(p) for p in sent.to_blob()))):
        received.check(SPEC)
        assert sent.header == received.header
        assert ITEMS.tolist() == received.decode().tolist()
        assert [1000, 1010, 1020] == received.item_times().tolist()


def test_short_block_decodes_into_an_array_of_its_length() -> None:
    """`out` has the true shape, not the padded one."""
    out = np.zeros((3, 3), "<i2")
    assert block().decode(out) is out
    assert ITEMS.tolist() == out.tolist()


def test_irregular_block_carries_its_times() -> None:
    """Times of their own win over first and period."""
    times = np.array([5, 7, 30], "<i8")
    sent = Block(header(crc=checksum(times.tobytes(), block().payload)), times.tobytes(), block().payload)
    received = Block.from_blob(b"".join(bytes(p) for p in sent.to_blob()))
    assert times.tolist() == received.item_times().tolist()


def test_block_without_items_has_no_payload() -> None:
    """END and gaps are headers only."""
    end = Block(header(count=0, flags=int(BlockFlag.END), raw_bytes=0, payload_bytes=0, crc=0), b"", b"")
    received = Block.from_frames(end.to_frames())
    received.check(SPEC)
    assert received.header.is_end
    assert (0, 3) == received.decode().shape


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_damaged_header_is_refused(at: int) -> None:
    """Any flipped bit of a header is found before it is believed."""
    frame = bytearray(header().to_frame())
    frame[at % len(frame)] ^= 4
    with pytest.raises(BlockError):
        BlockHeader.from_frame(bytes(frame))


def test_damaged_payload_names_stream_and_item() -> None:
    """A byte flipped on the way is reported with its place."""
    payload = bytearray(block().payload)
    payload[5] ^= 1
    damaged = Block(header(), b"", bytes(payload))
    with pytest.raises(BlockError, match=r"pilot1\.probe item 8"):
        damaged.check(SPEC)


@pytest.mark.parametrize(
    "changes",
    [
        {"raw_bytes": 2**40},
        {"payload_bytes": 25},
        {"count": 5},
        {"count": -1},
        {"lost": 9},
        {"raw_bytes": 0},
        {"raw_bytes": 4},
    ],
)
def test_sizes_that_do_not_fit_are_refused_on_arrival(changes: dict[str, int]) -> None:
    """Nothing is allocated by a number that the frames do not bear out."""
    with pytest.raises(BlockError):
        Block.from_frames(block(**changes).to_frames())


@pytest.mark.parametrize("changes", [{"dtype": '"<i4"'}, {"shape": (4,)}, {"birth": 1}, {"block_items": 8}])
def test_block_of_another_stream_is_refused(changes: dict[str, Any]) -> None:
    """A block is checked against the stream that was opened, not against itself."""
    with pytest.raises(BlockError):
        block(**changes).check(SPEC)


def test_other_version_is_refused_by_name() -> None:
    """The older side is told to update."""
    body = msgspec.msgpack.encode([2, "anything"])
    for content in (body, b"\xdc\x00\x13\x02" + bytes(20), b"", b"\x01"):
        with pytest.raises(BlockError, match="block version"):
            BlockHeader.from_frame(struct.pack("<I", zlib.crc32(content)) + content)


def test_header_is_read_without_its_payload() -> None:
    """What only looks at positions need not copy images."""
    assert header() == header_of_blob(b"".join(bytes(p) for p in block().to_blob()))
    with pytest.raises(BlockError):
        header_of_blob(b"\xff\xff\xff\xff12")


@pytest.mark.parametrize(
    "dtype", ["<u2", "|u1", ">f8", np.dtype([("x", "<f4"), ("y", "<i2", (2, 3)), ("z", [("re", "<f4")])])]
)
def test_dtype_survives_json(dtype: Any) -> None:
    """Also structured ones, with shapes inside."""
    assert np.dtype(dtype) == dtype_of_json(dtype_json(np.dtype(dtype)))


@pytest.mark.parametrize("text", ['"O"', "{}", '"<q99"', "", '[["a","O"]]', "7", "[" * 2000])
def test_dtype_from_a_peer_is_not_trusted(text: str) -> None:
    """Objects, nonsense and nesting are errors of ours."""
    with pytest.raises(BlockError):
        dtype_of_json(text)


@pytest.mark.parametrize(
    "changes",
    [{"shape": (0,)}, {"shape": (2**20, 2**20)}, {"block_items": 0}, {"slots": 0}, {"stream": ""}, {"dtype": '"O"'}],
)
def test_spec_that_no_honest_peer_sends_is_refused(changes: dict[str, Any]) -> None:
    """Checked before anything is allocated for it."""
    with pytest.raises(BlockError):
        msgspec.structs.replace(SPEC, **changes).check()


def test_spec_is_the_meta_of_a_ring() -> None:
    """A reader of the Terminal's ring learns everything from its meta, and long labels do not break it."""
    assert SPEC == StreamSpec.from_meta(SPEC.to_meta())
    many = msgspec.structs.replace(SPEC, labels=tuple(f"channel-{i}" for i in range(300)), meta={"x": "y" * 500})
    shortened = StreamSpec.from_meta(many.to_meta())
    assert ((), {}) == (shortened.labels, shortened.meta)


@pytest.mark.parametrize(
    ("shape", "rate", "regular", "expected"),
    [((480, 640, 3), 60.0, True, 1), ((64,), 30_000.0, True, 1024), ((64,), 1000.0, True, 64), ((64,), 20.0, False, 1),
     ((64,), None, True, 1024), ((), 1.0, True, 1), ((65_535,), None, True, 1), ((8, 8), 1000.0, True, 1)],
)  # fmt: skip
def test_block_is_an_image_or_a_power_of_two_of_samples(
    shape: tuple[int, ...], rate: float | None, regular: bool, expected: int
) -> None:
    """The first of 64 KiB or 100 ms; irregular items and images, however small, each alone."""
    assert expected == block_items_for(shape, 1, rate, regular)


def test_readme_describes_every_field() -> None:
    """The table in the README and the struct are the same list."""
    text = (Path(pipeline.__file__).parent / "README.md").read_text(encoding="utf-8")
    table = text.partition("### Block header")[2].partition("\n### ")[0]
    rows = [
        line.split("|")[2].strip(" `") for line in table.splitlines() if line.startswith("| ") and line[2].isdigit()
    ]
    assert list(BlockHeader.__struct_fields__) == rows
