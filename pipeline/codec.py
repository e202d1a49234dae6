"""Codecs of block payloads: a registry by name.

Compression happens once, where a stream leaves its machine, and the bytes made here are what the recorder stores.
Which codec a stream has, and how it is set, is `codec_choice`'s business; whoever decodes needs only its name.
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

COMPRESSORS: Final = tuple(blosc.cnames)
FILTERS: Final = {"noshuffle": blosc.NOSHUFFLE, "shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}
BLOSC_OVERHEAD: Final = 16
"""Bytes a blosc buffer may be larger than what it holds."""
_BLOSC_HEADER: Final = struct.Struct("<BBBBIII")
"""blosc 1 buffer header: format, lz format, flags, typesize, bytes, block bytes, compressed bytes."""
_MAX_TYPESIZE: Final = 255


@dataclass(frozen=True, slots=True)
class BloscSettings:
    """How blosc compresses; any blosc decompresses it."""

    compressor: str = "lz4"
    """One of `COMPRESSORS`."""
    level: int = 5
    """0 to 9; of lz4 the acceleration: above 5 it only gets slower on camera images."""
    filter: str = "bitshuffle"
    """One of `FILTERS`."""


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
    """Blosc 1 buffers: what HDF5 filter 32001 reads.

    Args:
        settings: of `encode`; they make no difference to `decode_into`.
        name: under which payloads travel.
    """

    def __init__(self, settings: BloscSettings = BloscSettings(), name: str = "blosc") -> None:
        self.name = name
        self._settings = settings
        self._filter = FILTERS[settings.filter]

    def encode(self, block: NDArray[np.uint8], typesize: int) -> Buffer:
        """Compress on this thread, with the GIL released."""
        size = typesize if typesize <= _MAX_TYPESIZE else 1
        payload: bytes = blosc.compress(block, size, self._settings.level, self._filter, self._settings.compressor)
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
