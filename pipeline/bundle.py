"""Many small envelopes in one frame: what waits for the same neighbour travels together.

A bundle is the only frame of its message: a NUL (no address begins with one), the version, then a msgpack array of
envelopes, each the array of its frames (`wire.py`), as bin.  A hop takes bundles apart and makes new ones, for whoever
is next; it never looks into an envelope.  Nothing waits to be bundled: what gathers in a turn of the I/O thread goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from .errors import MalformedError
from .wire import VERSION, Buffer

SMALL: Final = 8 * 1024
"""Envelopes of more bytes travel by themselves, their buffers uncopied."""
BUNDLE_BYTES: Final = 64 * 1024
"""Bytes of envelopes after which a bundle goes."""
BUNDLE_MESSAGES: Final = 256
MAX_BUNDLE: Final = 2 * (BUNDLE_BYTES + SMALL)
"""Longest bundle that is read: what it can make of memory is bounded by this."""
MARK: Final = bytes((0, VERSION))

_FIXARRAY: Final = 0x90
_ARRAY_WIDTH: Final = {0xDC: 2, 0xDD: 4}
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[list[bytes]]).decode


def pack_bundle(envelopes: Sequence[Sequence[Buffer]]) -> bytes:
    """Return the frame that carries envelopes, each a sequence of frames."""
    return MARK + _encode(envelopes)


def is_bundle(frame: bytes) -> bool:
    """Tell a bundle from an address."""
    return frame[:1] == b"\0"


def _count(frame: bytes) -> int:
    """Return how many envelopes msgpack's head of the array announces; the rest is the decoder's business."""
    kind = frame[2] if len(frame) > 2 else 0
    if kind & 0xF0 == _FIXARRAY:
        return kind & 0x0F
    width = _ARRAY_WIDTH.get(kind, 0)
    return int.from_bytes(frame[3 : 3 + width], "big")


def open_bundle(frames: Sequence[bytes], start: int = 0) -> list[list[bytes]]:
    """Return the envelopes of a bundle.

    Raises:
        MalformedError: it is not alone, too long, of another version, or not what `pack_bundle` makes.
    """
    frame = frames[start]
    if len(frames) != start + 1:
        raise MalformedError(f"a bundle is followed by {len(frames) - start - 1} frames")
    if len(frame) > MAX_BUNDLE:
        raise MalformedError(f"bundle of {len(frame)} bytes; at most {MAX_BUNDLE}")
    if frame[:2] != MARK:
        raise MalformedError(f"bundle version {frame[1:2]!r}; this is {VERSION}")
    if _count(frame) > BUNDLE_MESSAGES:
        raise MalformedError(f"bundle of {_count(frame)} envelopes; at most {BUNDLE_MESSAGES}")
    try:
        return _decode(memoryview(frame)[2:])
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise MalformedError(f"bundle cannot be read: {error}") from error
