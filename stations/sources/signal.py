"""``synthetic:signal``: waves and noise on many channels, every sample of which proves itself."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from stations.errors import SourceError

from .options import Rate
from .parameters import Parameter
from .selfcheck import SIGNAL_TAIL, signal_check, signal_sum, signal_weights
from .source import Array, SourceSpec

_POOL_ITEMS: Final = 1 << 15
"""Samples of the pool, which repeats without a seam."""
_AMPLITUDE: Final = 2000.0
_NOISE_SIGMA: Final = 12.0
"""Counts: about what an electrode's amplifier shows at rest."""


class SignalSource:
    """Samples of int16: waves on all channels but the last three, which carry a number and a check.

    Args:
        channels: at least 4.
        rate: samples per second; ``"max"`` as fast as lossless readers take them.
        seed: of the noise.
    """

    parameters: Final = {"amplitude": Parameter(float, 0.0, 16_000.0, unit="counts")}

    def __init__(
        self, *, channels: Annotated[int, Meta(ge=4, le=16384)] = 32, rate: Rate = 30_000.0, seed: int = 0
    ) -> None:
        waves = channels - SIGNAL_TAIL
        is_free = rate == "max"
        self.spec = SourceSpec(
            shape=(channels,),
            dtype="<i2",
            rate=30_000.0 if rate == "max" else rate,
            can_wait=is_free,
            paced=not is_free,
            labels=(*(f"wave{index}" for index in range(waves)), "number low", "number high", "check"),
            unit="counts",
            meta={"selfcheck": "signal"},
        )
        self._seed = seed
        self._amplitude = _AMPLITUDE
        self._weights = signal_weights(channels)
        self._pool: NDArray[np.int16] | None = None
        self._sums = np.empty(0, np.uint16)
        self._next = 0

    def open(self) -> None:
        """Draw the pool; numbers start at 0."""
        self._draw()
        self._next = 0

    def set_parameter(self, name: str, value: float) -> float:
        """Set `amplitude`, how high the waves are; they are drawn anew."""
        setattr(self, f"_{name}", value)
        if self._pool is not None:
            self._draw()
        return value

    def read_into(self, out: Array) -> int:
        """Copy the next samples, never across the pool's end, and stamp number and check into each."""
        if self._pool is None:
            raise SourceError("synthetic:signal is not open")
        start = self._next % _POOL_ITEMS
        count = min(len(out), _POOL_ITEMS - start)
        items = out[:count]
        items[...] = self._pool[start : start + count]
        numbers = np.arange(self._next, self._next + count, dtype=np.uint64)
        low, high = (numbers & np.uint64(0xFFFF)).astype(np.uint16), (numbers >> np.uint64(16)).astype(np.uint16)
        # Only the numbers' part of the sum is new: the waves' part came with the pool.
        sums = self._sums[start : start + count] + low * self._weights[-2] + high * self._weights[-1]
        for column, words in zip(range(-SIGNAL_TAIL, 0), (low, high, signal_check(sums)), strict=True):
            items[:, column] = words.view(np.int16)
        self._next += count
        return count

    def close(self) -> None:
        """Forget the pool."""
        self._pool = None

    def _draw(self) -> None:
        channels = self.spec.shape[0]
        pool = np.zeros((_POOL_ITEMS, channels), np.int16)
        pool[:, :-SIGNAL_TAIL] = draw_waves(channels - SIGNAL_TAIL, self._seed, self._amplitude)
        self._sums = signal_sum(pool[:, :-SIGNAL_TAIL], self._weights[: channels - SIGNAL_TAIL])
        self._pool = pool


def draw_waves(channels: int, seed: int, amplitude: float = _AMPLITUDE) -> NDArray[np.int16]:
    """Return sines with noise, shape (pool, channels); whole cycles each, so that the end meets the start."""
    random = np.random.default_rng(seed)
    phase = np.arange(_POOL_ITEMS, dtype=np.float32)[:, None] * np.float32(2 * np.pi / _POOL_ITEMS)
    cycles = 1 + 2 * np.arange(channels, dtype=np.float32)
    waves = np.float32(amplitude) * np.sin(phase * cycles)
    waves += random.normal(0, _NOISE_SIGMA, waves.shape).astype(np.float32)
    drawn: NDArray[np.int16] = waves.astype(np.int16)
    return drawn
