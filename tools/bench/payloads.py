"""The three items that every bench moves: a chunk of samples, a small image, a large one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Payload:
    """What is moved, and through how deep a ring or queue."""

    letter: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    slots: int
    pool: int
    """Distinct items that a source hands out in turn; more than `slots`, so that none is still in a cache."""
    warm: int
    """Items sent before the clock starts; more than `slots`, so that every place was used once."""
    rate: float
    """Items a second where the pace is given, Hz."""
    lap: int
    """Slots of a ring that is larger than any cache."""


PAYLOADS: Final = (
    Payload("a", "1 KB chunk", (32, 8), "<f4", 1024, 256, 2048, 1024, 1000.0, 65536),
    Payload("b", "0.92 MB image", (480, 640, 3), "u1", 921_600, 8, 24, 24, 120.0, 72),
    Payload("c", "6.2 MB image", (1080, 1920, 3), "u1", 6_220_800, 4, 12, 8, 60.0, 12),
)


def make_pool(payload: Payload) -> NDArray[Any]:
    """Return items to send, shape (pool, *shape), of noise."""
    import numpy as np

    flat = np.random.default_rng(1).integers(0, 255, (payload.pool, payload.bytes), dtype=np.uint8)
    return flat.view(payload.dtype).reshape(payload.pool, *payload.shape)
