"""Which codec a stream has: what the rig file says of it, and what is found to pay while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .codec import COMPRESSORS, FILTERS, BloscCodec, BloscSettings, Codec, codec_of
from .errors import UnknownCodecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

_BLOSC: Final = ("auto", "blosc")
_LEVELS: Final = ("", *map(str, range(10)))


@dataclass(frozen=True, slots=True)
class Encoded:
    """A payload and the name of the codec that reads it."""

    codec: str
    payload: Buffer


class AutoCodec:
    """Compresses while it pays, by hysteresis.

    After `PATIENCE` blocks in a row under a ratio of `LEAST`, blocks go raw; every so often one is tried again, ever
    more rarely while it stays useless, and a ratio of `RETURN` brings compression back.

    Args:
        blosc: compresses.
    """

    LEAST: Final = 1.05
    RETURN: Final = 1.10
    PATIENCE: Final = 3
    FIRST_PAUSE: Final = 32
    LONGEST_PAUSE: Final = 512

    def __init__(self, blosc: Codec) -> None:
        self._blosc = blosc
        self._raw = codec_of("raw")
        self._poor = 0
        self._pause = self.FIRST_PAUSE
        self._until_probe = 0
        self.is_bypassed = False

    def encode(self, block: NDArray[np.uint8], typesize: int) -> Encoded:
        """Return the payload of one block (1-D bytes) by the codec that pays now."""
        if self.is_bypassed and self._until_probe > 0:
            self._until_probe -= 1
            return Encoded("raw", self._raw.encode(block, typesize))
        payload = self._blosc.encode(block, typesize)
        ratio = block.nbytes / memoryview(payload).nbytes
        self._judge(ratio)
        if self.is_bypassed or ratio <= 1.0:
            return Encoded("raw", self._raw.encode(block, typesize))
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

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def encode(self, block: NDArray[np.uint8], typesize: int) -> Encoded:
        """Return the payload of one block (1-D bytes)."""
        return Encoded(self._codec.name, self._codec.encode(block, typesize))


def encoder_of(choice: str, dtype: np.dtype[Any] | None = None) -> AutoCodec | FixedCodec:
    """Return the encoder for one stream.

    Args:
        choice: ``auto``, ``blosc``, ``raw`` or another codec's name; the first two may say how blosc is set:
            ``blosc:COMPRESSOR:LEVEL:FILTER``, where what is left out is the default, e.g. ``auto:zstd:3``.
        dtype: of the items, by which the default filter is chosen.

    Raises:
        UnknownCodecError: it is none of these.
    """
    name, *words = choice.split(":")
    if words and name not in _BLOSC:
        raise UnknownCodecError(f"codec {choice!r}: {name} has no settings; only {' and '.join(_BLOSC)} have")
    if name not in _BLOSC:
        return FixedCodec(codec_of(name))
    blosc = BloscCodec(_settings(choice, words, dtype))
    return AutoCodec(blosc) if name == "auto" else FixedCodec(blosc)


def default_filter(dtype: np.dtype[Any]) -> str:
    """Return the filter that shrinks items of a dtype most.

    Bits of like weight side by side, unless a number is made of several: measured in README.md.
    """
    return "shuffle" if dtype.kind in "Vc" else "bitshuffle"


def _settings(choice: str, words: list[str], dtype: np.dtype[Any] | None) -> BloscSettings:
    default = BloscSettings() if dtype is None else BloscSettings(filter=default_filter(dtype))
    compressor, level, name, *rest = (*words, *("",) * (3 - len(words)))
    found = BloscSettings(
        compressor or default.compressor,
        int(level) if level.isdigit() else default.level,
        name or default.filter,
    )
    if rest or found.compressor not in COMPRESSORS or found.filter not in FILTERS or level not in _LEVELS:
        raise UnknownCodecError(
            f"codec {choice!r}: expected {choice.partition(':')[0]}:COMPRESSOR:LEVEL:FILTER with one of "
            f"{', '.join(COMPRESSORS)}; 0 to 9; one of {', '.join(FILTERS)}"
        )
    return found
