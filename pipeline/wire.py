"""What stands in each frame of a control message, and how to read it without trusting it.

On the wire a message is::

    [ to_0, ... to_n,        addresses: explicit hops, the final recipient last (one, as a rule)
      trace,                 34 bytes of tag, then the ids it has passed, NUL between them, the origin first
      b"",                   delimiter
      content,               msgpack, see `Content`; absent where the tag says it all
      buffer, ... ]          raw bytes of arrays

A hop reads the addresses, appends its id to the trace and passes everything else on as it came: first send, resend and
forward carry the same bytes.  The trace backwards is the way home for every reply.  `pipeline/README.md` has the table
of bytes; unknown versions and kinds are malformed, which costs a counter, never more.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgspec

from .errors import AddressError, MalformedError

Buffer = bytes | memoryview

VERSION: Final = 1
MAX_ID_BYTES: Final = 200
MAX_HOPS: Final = 32
"""Ids in one trace, and addresses in one list of hops; more is a loop."""
MAX_BUFFERS: Final = 256
MAX_CONTENT_BYTES: Final = 16 * 1024 * 1024
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Largest frame that a control socket accepts; zmq disconnects a peer that announces more.  Streams carry more."""
DELIMITER: Final = b""


class Kind(IntEnum):
    """What an envelope is; the second byte of its tag."""

    MESSAGE = 1
    """A confirmed message."""
    POST = 2
    """An unconfirmed message (NOREPEAT): sent once, never answered."""
    ASK = 3
    """The sender asks what became of a message, and makes the recipient refuse it if it has not run."""
    RECEIVED = 4
    """Accepted; it runs or waits to run."""
    DONE = 5
    """The listen returned; content is its value."""
    FAILED = 6
    """The listen raised; content is the text."""
    REFUSED = 7
    """It has not run here and will not."""
    STRANGER = 8
    """What you say is bound to another boot than mine; it has not run here and will not."""
    SETTLED = 9
    """All my messages to you below this number are over; forget them."""
    UNROUTABLE = 10
    """A hop found no way to the address; content says which."""
    BEAT = 11
    """Between neighbours: I am here."""
    TAKEN = 12
    """Between neighbours: your id is taken by somebody who is alive."""
    BYE = 13
    """Between neighbours: I leave."""


_USUAL: Final = 4
"""Frames of most messages: one address, trace, delimiter, content."""
_TAG: Final = struct.Struct("<BBQQQQ")
TAG_BYTES: Final = _TAG.size


class Tag(NamedTuple):
    """The fixed part of a trace: which message this is about.

    `boot` and `counter` name the message: the origin's boot and its count; in an answer they are those of the message
    that is answered.  `other` is the boot that a MESSAGE or ASK is bound to (0: any), in answers the boot of who
    answers.
    `number` is the lowest counter not yet settled (MESSAGE, POST, ASK, SETTLED) or the answerer's uptime in
    microseconds.
    """

    version: int
    kind: int
    boot: int
    counter: int
    other: int
    number: int

    def pack(self) -> bytes:
        """Return the 34 bytes."""
        return _TAG.pack(*self)


class Content(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The header of a message: everything but its addresses and its arrays."""

    version: int
    id: str
    to: str
    sender: str
    key: str
    value: Any
    flags: dict[str, Any]
    timestamp: str
    ttl: int
    extra: dict[str, Any]


class Outcome(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The content of DONE (value: what the listen returned), FAILED and UNROUTABLE (value: the text)."""

    version: int
    value: Any


class Envelope(NamedTuple):
    """A message as a hop sees it: where to, where from, and the rest unread."""

    path: Sequence[bytes]
    trace: bytes
    body: Sequence[bytes]

    def frames(self) -> list[Buffer]:
        """Return the frames as they go on the wire."""
        return [*self.path, self.trace, DELIMITER, *self.body]


def open_envelope(frames: Sequence[bytes], start: int = 0) -> Envelope:
    """Find addresses, trace and body in frames from the wire, looking at nothing else.

    Raises:
        MalformedError: they are no envelope.
    """
    if len(frames) - start == _USUAL and not frames[start + 2] and frames[start + 1] and frames[start]:
        return Envelope(frames[start : start + 1], frames[start + 1], frames[start + 3 :])
    end = start
    for end in range(start, min(len(frames), start + MAX_HOPS + 2)):
        if not frames[end]:
            break
    else:
        raise MalformedError(f"no delimiter in the first {MAX_HOPS + 2} of {len(frames)} frames")
    if end < start + 2:
        raise MalformedError("no address before the delimiter")
    if len(frames) - end > MAX_BUFFERS + 2:
        raise MalformedError(f"{len(frames)} frames; at most {MAX_BUFFERS} buffers may follow the content")
    return Envelope(frames[start : end - 1], frames[end - 1], frames[end + 1 :])


def read_tag(trace: bytes) -> Tag:
    """Read the tag of a trace.

    Raises:
        MalformedError: too short, or a version that is not ours.
    """
    if len(trace) <= TAG_BYTES:
        raise MalformedError(f"trace of {len(trace)} bytes; it has at least {TAG_BYTES + 1}")
    if trace[0] != VERSION:
        raise MalformedError(f"wire version {trace[0]}; this is {VERSION}")
    return Tag._make(_TAG.unpack_from(trace))


def read_way(trace: bytes) -> Sequence[bytes]:
    """Return the ids that a trace has passed, the origin first.

    Raises:
        MalformedError: empty ids, or more than `MAX_HOPS`.
    """
    return _way_of(trace[TAG_BYTES:])


@functools.lru_cache(1024)  # a node hears from few, again and again
def _way_of(ids: bytes) -> tuple[bytes, ...]:
    way = tuple(ids.split(b"\0"))
    if len(way) > MAX_HOPS:
        raise MalformedError(f"{len(way)} hops; at most {MAX_HOPS}: the message runs in a circle")
    if not all(0 < len(step) <= MAX_ID_BYTES for step in way):
        raise MalformedError("empty or overlong id in the trace")
    return way


def check_address(address: object) -> bytes:
    """Return an address as it stands in a frame.

    Raises:
        AddressError: not text of 1 to 200 UTF-8 bytes without NUL.
    """
    if not isinstance(address, str):
        raise AddressError(f"address {address!r} is a {type(address).__name__}; an address is text")
    data = address.encode()
    if not 0 < len(data) <= MAX_ID_BYTES or b"\0" in data:
        raise AddressError(f"address {address[:40]!r} of {len(data)} bytes; 1 to {MAX_ID_BYTES}, without NUL")
    return data


def check_path(hops: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return all hops to a recipient, the recipient last, as they stand in frames.

    Raises:
        AddressError: one of them is no address, or there are too many.
    """
    if len(hops) == 1 and type(hops[0]) is str:
        return (_check_once(hops[0]),)
    if len(hops) > MAX_HOPS:
        raise AddressError(f"{len(hops)} hops to {hops[-1]}; at most {MAX_HOPS}")
    return tuple(map(check_address, hops))


_check_once: Final = functools.lru_cache(1024)(check_address)
"""A rig has few addresses and uses them again and again."""


def read_address(data: bytes) -> str:
    """Return an address from a frame as text.

    Raises:
        MalformedError: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"address {data[:40]!r} is not UTF-8") from error
