"""Codecs of block payloads: a registry by name, and the choice made per stream while it runs.

Compression happens once, where a stream leaves its machine, and the bytes made here are what the recorder stores.
`blosc` is bitshuffle + lz4: byte shuffle gives a noisy camera image a ratio of 1.00, bitshuffle 1.25.  What does not
shrink is sent `raw` (`AutoCodec`), tried again now and then.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import blosc
import numpy as np

try:
    from isal.isal_zlib import crc32  # the same sum in a third of the time
except ImportError:
    from zlib import crc32

from .errors import BlockError, UnknownCodecError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

# blosc keeps the GIL by default: the thread that compresses would starve the one that talks to the Terminal
# (165 wake-ups a second instead of 3400), and its default of one thread per core takes them from the sensors.
blosc.set_releasegil(True)
blosc.set_nthreads(1)

LEVEL: Final = 5
"""lz4's acceleration in blosc's words; above 5 it only gets slower on camera images."""
BLOSC_OVERHEAD: Final = 16
"""Bytes a blosc buffer may be larger than what it holds."""
_BLOSC_HEADER: Final = struct.Struct("<BBBBIII")
"""blosc 1 buffer header: format, lz format, flags, typesize, bytes, block bytes, compressed bytes."""
_MAX_TYPESIZE: Final = 255


class Codec(Protocol):
    """Turns the bytes of a block into its payload and back."""

    name: str

    def encode(self, block: NDArray[np.uint8], typesize: int) -> Buffer:
        """Return the payload of `block` (1-D bytes, contiguous); memory of its own, but of `raw`."""

    def decode_into(self, payload: Buffer, out: NDArray[np.uint8]) -> None:
        """Fill `out` (1-D bytes, exactly the size of the block).

        `payload` must not change meanwhile: copy it out of shared memory first.

        Raises:
            BlockError: the payload does not decode to exactly ``out.nbytes`` bytes; nothing was written beyond `out`.
        """


class RawCodec:
    """The bytes as they are."""

    name = "raw"

    def encode(self, block: NDArray[np.uint8], typesize: int) -> Buffer:  # noqa: ARG002 - the protocol's signature
        """Return the block itself: who sends it later copies it, or knows that nobody writes there."""
        return block.data

    def decode_into(self, payload: Buffer, out: NDArray[np.uint8]) -> None:
        """Copy the bytes."""
        data = np.frombuffer(memoryview(payload), np.uint8)
        if data.nbytes != out.nbytes:
            raise BlockError(f"raw payload has {data.nbytes} bytes, the block {out.nbytes}; the block is corrupt")
        out[:] = data


class BloscCodec:
    """Bitshuffle and lz4 in a blosc 1 buffer: what HDF5 filter 32001 reads."""

    name = "blosc"

    def encode(self, block: NDArray[np.uint8], typesize: int) -> Buffer:
        """Compress on this thread, with the GIL released."""
        size = typesize if typesize <= _MAX_TYPESIZE else 1
        payload: bytes = blosc.compress(block, size, LEVEL, blosc.BITSHUFFLE, "lz4")
        return payload

    def decode_into(self, payload: Buffer, out: NDArray[np.uint8]) -> None:
        """Decompress straight into `out`, after the sizes in the buffer's own header were found to fit."""
        view = memoryview(payload).cast("B")
        if view.nbytes < _BLOSC_HEADER.size:
            raise BlockError(f"blosc payload has {view.nbytes} bytes, its header alone {_BLOSC_HEADER.size}")
        _, _, _, _, raw_bytes, _, buffer_bytes = _BLOSC_HEADER.unpack_from(view)
        # blosc believes this header: a larger number from the network would be written beyond `out`.
        if raw_bytes != out.nbytes or buffer_bytes != view.nbytes:
            raise BlockError(
                f"blosc payload says {raw_bytes} bytes in {buffer_bytes}, expected {out.nbytes} in {view.nbytes}"
            )
        # These are all the checks of blosc.cbuffer_validate, which (1.11.4) never lets go of what it was given.
        try:
            written = blosc.decompress_ptr(view, out.ctypes.data)
        except blosc.blosc_extension.error as error:
            raise BlockError(f"blosc payload of {view.nbytes} bytes does not decode: {error}") from error
        if written != out.nbytes:
            raise BlockError(f"blosc payload decodes to {written} of {out.nbytes} bytes; the block is corrupt")


_CODECS: Final[dict[str, Codec]] = {codec.name: codec for codec in (RawCodec(), BloscCodec())}


def register_codec(codec: Codec) -> None:
    """Make a codec known by its name, on both ends of the wire before the first block of it."""
    _CODECS[codec.name] = codec


def codec_names() -> tuple[str, ...]:
    """Return the names that `codec_of` knows."""
    return tuple(_CODECS)


def codec_of(name: str) -> Codec:
    """Return a codec by name.

    Raises:
        UnknownCodecError: no codec of that name is registered here.
    """
    try:
        return _CODECS[name]
    except KeyError:
        known = ", ".join(_CODECS)
        raise UnknownCodecError(f"codec {name!r} is not known here; known are {known}, or auto to choose") from None


def checksum(*parts: Buffer) -> int:
    """Return the CRC-32 of the parts joined."""
    crc = 0
    for part in parts:
        crc = crc32(part, crc)
    return crc


@dataclass(frozen=True, slots=True)
class Encoded:
    """A payload and the name of the codec that reads it."""

    codec: str
    payload: Buffer


class AutoCodec:
    """Compresses while it pays, by hysteresis.

    After `PATIENCE` blocks in a row under a ratio of `LEAST`, blocks go raw; every so often one is tried again, ever
    more rarely while it stays useless, and a ratio of `RETURN` brings compression back.
    """

    LEAST: Final = 1.05
    RETURN: Final = 1.10
    PATIENCE: Final = 3
    FIRST_PAUSE: Final = 32
    LONGEST_PAUSE: Final = 512

    def __init__(self) -> None:
        self._poor = 0
        self._pause = self.FIRST_PAUSE
        self._until_probe = 0
        self.is_bypassed = False

    def encode(self, block: NDArray[np.uint8], typesize: int) -> Encoded:
        """Return the payload of one block (1-D bytes) by the codec that pays now."""
        raw = _CODECS["raw"]
        if self.is_bypassed and self._until_probe > 0:
            self._until_probe -= 1
            return Encoded("raw", raw.encode(block, typesize))
        payload = _CODECS["blosc"].encode(block, typesize)
        ratio = block.nbytes / memoryview(payload).nbytes
        self._judge(ratio)
        if self.is_bypassed or ratio <= 1.0:
            return Encoded("raw", raw.encode(block, typesize))
        return Encoded("blosc", payload)

    def _judge(self, ratio: float) -> None:
        if self.is_bypassed:
            if ratio >= self.RETURN:
                self.is_bypassed, self._poor, self._pause = False, 0, self.FIRST_PAUSE
            else:
                self._pause = min(2 * self._pause, self.LONGEST_PAUSE)
                self._until_probe = self._pause
            return
        self._poor = self._poor + 1 if ratio < self.LEAST else 0
        if self._poor >= self.PATIENCE:
            self.is_bypassed, self._until_probe = True, self._pause

    def __repr__(self) -> str:
        return f"<AutoCodec {'raw, next try in ' + str(self._until_probe) if self.is_bypassed else 'blosc'}>"


class FixedCodec:
    """Always the same codec, as the rig file says."""

    def __init__(self, name: str) -> None:
        self._codec = codec_of(name)

    def encode(self, block: NDArray[np.uint8], typesize: int) -> Encoded:
        """Return the payload of one block (1-D bytes)."""
        return Encoded(self._codec.name, self._codec.encode(block, typesize))


def encoder_of(name: str) -> AutoCodec | FixedCodec:
    """Return the encoder for one stream: ``auto``, or a codec's name.

    Raises:
        UnknownCodecError: the name is neither.
    """
    return AutoCodec() if name == "auto" else FixedCodec(name)
