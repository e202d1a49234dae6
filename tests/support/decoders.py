"""Every decoder of bytes that others made, in one table: what it may raise, what it may take, and bytes it reads."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import numpy as np
from support.recordings import MadeStream

from pipeline import Message, PackedArray, PipelineError, deserialize_array, serialize_array
from pipeline.arrays import MAX_ARRAY_BYTES
from pipeline.block import Block, header_of_blob
from pipeline.bundle import open_bundle, pack_bundle
from pipeline.channel import Credit, Open, Opened, Refused, from_frames, to_frames
from pipeline.codec import codec_of
from pipeline.errors import BlockError, MalformedError
from pipeline.forward_effects import RingState
from pipeline.forward_stream import ForwardStream
from pipeline.ingest_stream import IngestStream
from pipeline.listening import read_outcome
from pipeline.notify import Notices
from pipeline.peers import make_identity, read_identity
from pipeline.session import Session
from pipeline.stream_spec import MAX_BLOCK_BYTES, StreamSpec
from pipeline.value import encode_frames
from pipeline.wire import VERSION, Kind, Outcome, Tag, open_envelope, read_address, read_tag, read_way
from stations.recording.journal import decode_line, encode_line
from stations.rows_ring import RowAssembler, RowCounts, RowHead, encode_counts, encode_row

Frames = Sequence[bytes]
KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True, repr=False)
class Decoder:
    """One decoder.

    Attributes:
        name: for the test's id.
        decode: reads frames.
        errors: all that it may raise.
        seeds: frames that it reads.
        most: bytes that it may allocate, beyond 100 for each byte that it is given.
        header: which frame is the header of a block, whose CRC mutations must get past.
    """

    name: str
    decode: Callable[[Frames], object]
    errors: tuple[type[Exception], ...]
    seeds: tuple[Frames, ...]
    most: int = 256 * KIB
    header: int | None = None

    def __repr__(self) -> str:
        return f"<Decoder {self.name}>"


def frames_of(*parts: Any) -> list[bytes]:
    return [bytes(part) for part in parts]


VALUES: Final = (
    None,
    {"lick": 3, "when": 1.5, "who": "ann", "raw": b"\0\1", "list": [1, [2, {"a": None}]]},
    {"sets": [{1, 2}, frozenset(("a",)), {(1, 2), 1j}]},
    [date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.5"), UUID(int=5), 2 - 1j],
    {"image": np.arange(12, dtype="<u2").reshape(3, 4), "t": np.array(["2020"], "M8[ns]")},
    [np.zeros((2, 0)), np.array([(1, 2.0)], [("a", ">i2"), ("b", "<f8", (1,))]), np.array("x")],
)
BODIES: Final = tuple(
    frames_of(
        *Message(
            id="a_1", to="b", sender="a", key="K", value=v, subject="s", timestamp="2026", blosc=squeeze
        ).serialize()
    )
    for v in VALUES
    for squeeze in (False, True)
)
OUTCOMES: Final = tuple(frames_of(*encode_frames(Outcome(VERSION, v))) for v in VALUES)
TAGS: Final = tuple(Tag(VERSION, kind, 7, 3, other, 1).pack() for kind in Kind for other in (0, 9))
ENVELOPES: Final = tuple(
    frames_of(b"b", tag + way, b"", *BODIES[index % len(BODIES)])
    for index, tag in enumerate(TAGS)
    for way in (b"a", b"x\0a")
)
MADE: Final = (
    MadeStream(),
    MadeStream("p.sig", shape=(4,), dtype="<i2", block_items=16, regular=False),
    MadeStream("p.rec", shape=(), dtype="<f8", block_items=4),
)
BLOCKS: Final = tuple(
    block for made in MADE for block in (made.block(0), made.block(64, codec="raw"), made.block(32, 1), made.end(9))
)
OPENS: Final = tuple(Open(1, made.spec, origin, 5) for made in MADE for origin in (None, 0))
TALK: Final = tuple(
    frames_of(*to_frames(word))
    for word in (
        *OPENS,
        *BLOCKS,
        *(Opened(1, made.spec.stream, 64, 0, False, 10**6) for made in MADE),
        *(Credit(1, made.spec.stream, 64, True, 10**6) for made in MADE),
        Refused(1, "pilot1.cam0", "no room"),
    )
)


def _array(frames: Frames) -> object:
    return PackedArray.unpack(frames[0], list(frames[1:])).expand() if frames else None


def _text_array(frames: Frames) -> object:
    return deserialize_array({"NUMPY_ARRAY": b"".join(frames).decode("latin-1")})


def _envelope(frames: Frames) -> object:
    envelope = open_envelope(frames)
    return read_tag(envelope.trace), read_way(envelope.trace), [read_address(step) for step in envelope.path]


def _bundle(frames: Frames) -> object:
    """A hub opens a bundle, then each envelope in it."""
    return [open_envelope(envelope) for envelope in (open_bundle(frames) if frames else [])]


def _session(frames: Frames) -> object:
    """What a hub does with an envelope that is for it: both halves of a session, twice."""
    session = Session(9, 100.0)
    envelope = open_envelope(frames)
    for now in (101.0, 102.0):
        session.on_envelope(read_way(envelope.trace), read_tag(envelope.trace), envelope.body, now)
    return session.on_tick(200.0)


def _identity(frames: Frames) -> object:
    found = read_identity(b"".join(frames))
    assert found is None or make_identity(*found) == b"".join(frames)
    return found


def _notice(frames: Frames) -> None:
    """Never raises: what is not understood wakes nobody."""
    notices = Notices.__new__(Notices)
    notices._followed = {}
    for frame in frames:
        notices._hear(frame)


def _codec(name: str) -> Callable[[Frames], object]:
    return lambda frames: codec_of(name).decode_into(b"".join(frames), np.empty(576, np.uint8))


def _block(frames: Frames) -> object:
    return _use(Block.from_frames(frames))


def _blob(frames: Frames) -> object:
    blob = b"".join(frames)
    return header_of_blob(blob), _use(Block.from_blob(blob))


def _use(block: Block) -> object:
    """What a reader does, and, for a block of a stream that it knows, the ingest."""
    spec = next((made.spec for made in MADE if made.spec.stream == block.header.stream), MADE[0].spec)
    block.decode()
    block.item_times()
    return block.check(spec)


def _ingest(frames: Frames) -> object:
    """A stream's first words, as the Terminal takes them."""
    message = from_frames(frames)
    if isinstance(message, Open):
        message.spec.check()
        machine = IngestStream(message.spec, None)
        machine.open(message, 4)
        machine.take(BLOCKS[0])
        return StreamSpec.from_meta(message.spec.to_meta()), machine.credit(4, 0.0, is_late=True)
    if isinstance(message, Block):
        machine = IngestStream(MADE[0].spec, None)
        machine.open(OPENS[1], 4)
        machine.take(message)
        return machine.rewind(4, 0.0), machine.credit(4, 1.0, is_late=True)
    return message


def _forward(frames: Frames) -> object:
    """The Terminal's answers, as the Pilot takes them."""
    message = from_frames(frames)
    stream = ForwardStream(MADE[0].spec, origin=0, start=0, keep=4, most=8)
    stream.link(True, 0.0)
    ring = RingState(published=16, oldest=8)
    stream.step(ring, 0.1)
    if isinstance(message, Refused):
        stream.refused(message, 0.2)
    elif isinstance(message, Credit | Opened):
        stream.opened(Opened(1, "pilot1.cam0", 0, 0, False, 10**6))
        stream.opened(message) if isinstance(message, Opened) else stream.credited(message)
    return [stream.step(ring, now) for now in (0.3, 2.0, 3.0)], stream.needed, repr(stream)


def _spec(frames: Frames) -> object:
    spec = StreamSpec.from_meta(_json(b"".join(frames)))
    spec.check()
    return spec.to_meta()


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return {}


def _line(frames: Frames) -> object:
    """A line as it is, and one whose CRC was made right: a program of another version may have written it."""
    line = b"".join(frames)
    body = line[: line.rfind(b',"crc":"')]
    mended = body + b',"crc":"' + f'{zlib.crc32(body):08x}"}}'.encode()
    return decode_line(line, 1), decode_line(mended, 2)


def _rows(frames: Frames) -> object:
    """Never raises: what is no row is counted."""
    assembler = RowAssembler()
    return [assembler.feed(frame) for frame in (*frames, *frames)]


def _row_seeds() -> Iterable[Frames]:
    for body in BODIES[2:6]:
        head = RowHead("DATA", 3, 17, tuple(map(len, body)))
        for part_bytes in (64, 4096):
            yield [b"".join(bytes(part) for part in blob) for blob in encode_row(head, body, 5, part_bytes)]
    yield [b"".join(bytes(part) for part in encode_counts(RowCounts({"DATA": 3}, 3)))]


def _arrays() -> Iterable[Frames]:
    for array in (np.arange(6.0).reshape(2, 3), np.zeros((3, 0), "<M8[s]"), np.zeros(2, [("a", "u1"), ("b", "S3")])):
        for compress in (False, True):
            packed = PackedArray.pack(array, compress=compress)
            yield frames_of(packed.header(0), packed.data)


def _packed_texts() -> Iterable[Frames]:
    for array in (np.arange(40), np.asfortranarray(np.ones((3, 4), ">f4")), np.zeros(2, [("a", "u1")])):
        yield [serialize_array(array)["NUMPY_ARRAY"].encode()]


SAMPLE: Final = np.arange(576, dtype=np.uint8) // 7

DECODERS: Final = (
    Decoder("message", Message, (MalformedError,), BODIES),
    Decoder("message-expanded", lambda f: Message(f, expand_arrays=True), (MalformedError,), BODIES, MAX_ARRAY_BYTES),
    Decoder("outcome", read_outcome, (MalformedError,), OUTCOMES, MAX_ARRAY_BYTES),
    Decoder("array", _array, (MalformedError,), tuple(_arrays()), MAX_ARRAY_BYTES),
    Decoder("array-in-json", _text_array, (MalformedError,), tuple(_packed_texts()), MAX_ARRAY_BYTES),
    Decoder("envelope", _envelope, (MalformedError,), ENVELOPES),
    Decoder(
        "bundle", _bundle, (MalformedError,), tuple([pack_bundle(ENVELOPES[i : i + 3])] for i in range(0, 9, 3)), MIB
    ),
    Decoder("session", _session, (MalformedError,), ENVELOPES),
    Decoder("identity", _identity, (), ([make_identity(b"pilot1.cam0", 7)], [make_identity("µ".encode(), 2**63)])),
    Decoder("notice", _notice, (), ([b"/plr1\0" + bytes(8)], [b"\0welcome/plr1"])),
    Decoder("codec-raw", _codec("raw"), (BlockError,), ([SAMPLE.tobytes()],)),
    Decoder("codec-blosc", _codec("blosc"), (BlockError,), ([bytes(codec_of("blosc").encode(SAMPLE, 2))],)),
    Decoder("block", _block, (PipelineError,), tuple(frames_of(*b.to_frames()) for b in BLOCKS), MAX_BLOCK_BYTES, 0),
    Decoder("blob", _blob, (PipelineError,), tuple(frames_of(*b.to_blob()) for b in BLOCKS), MAX_BLOCK_BYTES, 1),
    Decoder("channel-to-ingest", _ingest, (BlockError,), TALK, header=1),
    Decoder("channel-to-forwarder", _forward, (BlockError,), TALK, header=1),
    Decoder("stream-spec", _spec, (BlockError,), tuple([json.dumps(made.spec.to_meta()).encode()] for made in MADE)),
    Decoder("journal", _line, (), ([encode_line("gap", {"stream": "a", "birth": "ff", "count": 3})[:-1]],)),
    Decoder("rows", _rows, (), tuple(_row_seeds())),
)


def mend_crc(frame: bytes) -> bytes:
    """Return a block's header frame with the CRC that fits it."""
    return struct.pack("<I", zlib.crc32(frame[4:])) + frame[4:] if len(frame) >= 4 else frame
