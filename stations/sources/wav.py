"""``wav:PATH``: the samples of a WAV file, of any number of channels."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from stations.errors import SourceError, SourceFailedError

from .files import check_file
from .options import Rate
from .riff import FLOAT, PCM, RiffError, WavHeader, read_header
from .source import Array, SourceSpec

_DTYPES: Final = {
    (PCM, 1): "|u1",  # 8-bit WAV is unsigned with its zero at 128
    (PCM, 2): "<i2",
    (PCM, 3): "<i4",  # three bytes have no dtype; values stay within 24 bits
    (PCM, 4): "<i4",
    (FLOAT, 4): "<f4",
    (FLOAT, 8): "<f8",
}


class WavSource:
    """Samples of shape (channels,), the file's own values: 8, 16, 24, 32-bit integers or 32, 64-bit floats.

    24-bit values come as int32, sign-extended, unscaled.

    Args:
        path: a WAV file; it is read as it is needed, never whole.
        rate: samples per second where the header's is wrong or another is wanted; ``"max"`` as fast as lossless readers
            take them, while times go on by the header's rate.
        loop: begin again at the end, for ever.
    """

    def __init__(self, path: Path, /, *, rate: Rate | None = None, loop: bool = False) -> None:
        self.path = path
        self._rate = rate
        self._loop = loop
        self._file: BinaryIO | None = None
        self._header: WavHeader | None = None
        self._spec: SourceSpec | None = None
        self._left = 0

    @property
    def spec(self) -> SourceSpec:
        """Channels, dtype and rate of the file; valid after `open`."""
        if self._spec is None:
            raise SourceError(f"sound {self.path} is not open")
        return self._spec

    def open(self) -> None:
        """Open the file at its first sample.

        Raises:
            SourceError: no such file, not a WAV file, compressed, without samples.
        """
        check_file(self.path)
        self.close()
        self._file = self.path.open("rb")
        try:
            header = read_header(self._file)
        except RiffError as error:
            hint = f"convert it: ffmpeg -i {self.path.name} -c:a pcm_s16le out.wav"
            raise SourceError(f"cannot read {self.path} as WAV: {error}; {hint}") from error
        dtype = _DTYPES.get((header.kind, header.sample_bytes))
        if dtype is None:
            what = f"{8 * header.sample_bytes}-bit {'floats' if header.kind == FLOAT else 'integers'}"
            raise SourceError(f"{self.path} holds {what}; 8, 16, 24, 32-bit integers and 32, 64-bit floats are read")
        if header.count == 0:
            raise SourceError(f"{self.path} holds no samples; was its recorder stopped in order?")
        is_free = self._rate == "max"
        self._spec = SourceSpec(
            shape=(header.channels,),
            dtype=dtype,
            rate=header.rate if self._rate is None or self._rate == "max" else self._rate,
            can_wait=True,
            paced=not is_free,
            finite=not self._loop,
            meta={"file": self.path.name},
        )
        self._header = header
        self._rewind()

    def read_into(self, out: Array) -> int:
        """Read the next samples; 0 at the end of a file that does not loop."""
        if self._file is None or self._header is None:
            raise SourceError(f"sound {self.path} is not open")
        if self._left == 0 and self._loop:
            self._rewind()
        count = min(len(out), self._left)
        wide = self._header.sample_bytes == 3
        values = np.empty((count, self._header.channels, 3), np.uint8) if wide else out[:count]
        wanted = count * self._header.channels * self._header.sample_bytes
        if self._read_bytes(values) != wanted:
            raise SourceFailedError(f"{self.path} became shorter while it was read; it is still being written")
        if wide:
            out[:count] = widen(values)
        self._left -= count
        return count

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _rewind(self) -> None:
        if self._file is not None and self._header is not None:
            self._file.seek(self._header.start)
            self._left = self._header.count

    def _read_bytes(self, values: Array) -> int:
        """Fill ``values`` from the file; return how many bytes came."""
        if self._file is None:
            return 0
        target = values if values.flags.c_contiguous else np.empty_like(values, order="C")
        got = self._file.readinto(target.view(np.uint8).reshape(-1))  # type: ignore[attr-defined]  # BufferedReader has it
        if target is not values:
            values[...] = target
        return int(got)


def widen(values: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return little-endian 24-bit values as int32, sign kept; (n, channels, 3) to (n, channels)."""
    wide = np.zeros((*values.shape[:-1], 4), np.uint8)
    wide[..., 1:] = values  # into the upper three bytes: the shift back brings the sign down
    widened: NDArray[np.int32] = wide.view("<i4")[..., 0] >> 8
    return widened
