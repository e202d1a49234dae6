"""Messages of the data channel between a Pilot's forwarder (DEALER) and the Terminal's ingest (ROUTER).

    forwarder                              ingest
    OPEN(spec, origin, start)      ──►             which stream, and the run it continues or begins
                                   ◄──   OPENED(next, origin, limit)   or REFUSED(reason)
    BLOCK(header, times, payload)  ──►             while its credit lasts
                                   ◄──   CREDIT(next, limit)           as blocks went into the ring and room appears
    BLOCK(END)                     ──►
                                   ◄──   CREDIT(ended)

Each message is one kind frame (version byte, letter) and one msgpack frame; a BLOCK is the kind frame and the three
frames of `Block`.  `opening` numbers the OPENs of one connection, so that an answer to an older one is told apart.
An OPENED that nobody asked for (same `opening`) is a rewind: a block was damaged, go on from `next`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .block import Block
from .errors import UNREADABLE, BlockError
from .stream_spec import StreamSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer


class Kind(bytes, enum.Enum):
    """First frame of a data message: version 1 and a letter."""

    OPEN = b"\x01O"
    OPENED = b"\x01P"
    REFUSED = b"\x01R"
    BLOCK = b"\x01B"
    CREDIT = b"\x01C"


class Open(msgspec.Struct, frozen=True, array_like=True):
    """Forwarder: here is a stream; from which sequence do you want it?

    `origin` is the sequence at which the run begins, None to go on with the run that the Terminal's ring holds;
    `start` where I would go on if that ring holds nothing of the run.
    """

    opening: int
    spec: StreamSpec
    origin: int | None
    start: int


class Opened(msgspec.Struct, frozen=True, array_like=True):
    """Ingest: go on at `next` of the run that began at `origin` (None: I hold nothing of it); spend up to `limit`."""

    opening: int
    stream: str
    next: int
    origin: int | None
    ended: bool
    limit: int


class Credit(msgspec.Struct, frozen=True, array_like=True):
    """Ingest: everything below `next` is in my ring; you may have spent `limit` bytes since OPENED."""

    opening: int
    stream: str
    next: int
    ended: bool
    limit: int


class Refused(msgspec.Struct, frozen=True, array_like=True):
    """Ingest: I cannot take this stream; a line for a person."""

    opening: int
    stream: str
    reason: str


Word = Open | Opened | Credit | Refused

_KINDS: Final[dict[type[Word], Kind]] = {
    Open: Kind.OPEN,
    Opened: Kind.OPENED,
    Credit: Kind.CREDIT,
    Refused: Kind.REFUSED,
}
_DECODERS: Final[dict[bytes, msgspec.msgpack.Decoder[Any]]] = {
    kind.value: msgspec.msgpack.Decoder(word) for word, kind in _KINDS.items()
}
_encode: Final = msgspec.msgpack.Encoder().encode


def to_frames(message: Word | Block) -> list[Buffer]:
    """Return the wire frames of a message."""
    if isinstance(message, Block):
        return [Kind.BLOCK.value, *message.to_frames()]
    return [_KINDS[type(message)].value, _encode(message)]


def from_frames(frames: Sequence[Buffer]) -> Word | Block:
    """Read wire frames.

    Raises:
        BlockError: not a message of this version, or damaged.
    """
    kind = bytes(frames[0])[:8] if frames else b""
    if kind == Kind.BLOCK.value:
        return Block.from_frames(frames[1:])
    decoder = _DECODERS.get(kind)
    if decoder is None or len(frames) != 2:
        raise BlockError(f"a data message of kind {kind!r} and {len(frames)} frames is unknown")
    try:
        word: Word = decoder.decode(frames[1])
    except UNREADABLE as error:
        raise BlockError(f"data message {kind!r} is malformed: {error}") from error
    return word
