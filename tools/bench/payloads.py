"""The three items that every bench moves: a chunk of samples, a small image, a large one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Payload:
    """What is moved, and through how deep a ring."""

    letter: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    slots: int
    pool: int
    """Distinct items that a source hands out in turn; more than `slots`, so that none is still in a cache."""


PAYLOADS: Final = (
    Payload("a", "1 KB chunk", (32, 8), "<f4", 256, 2048),
    Payload("b", "0.92 MB image", (480, 640, 3), "u1", 8, 24),
    Payload("c", "6.2 MB image", (1080, 1920, 3), "u1", 4, 12),
)


def make_pool(payload: Payload) -> NDArray[Any]:
    """Return items to send, shape (pool, *shape); the first and last eight bytes of item k hold k."""
    import numpy as np

    flat = np.random.default_rng(1).integers(0, 255, (payload.pool, _bytes(payload)), dtype=np.uint8)
    words = flat.view("<u8")
    words[:, 0] = words[:, -1] = np.arange(payload.pool)
    return flat.view(payload.dtype).reshape(payload.pool, *payload.shape)


def count_wrong(items: NDArray[Any], first: int, pool: int) -> int:
    """Return how many of a run of items, shape (k, *shape), are not those that were sent.

    Args:
        items: what was read.
        first: sequence of the first of them.
        pool: number of distinct items that the writer sends in turn.
    """
    import numpy as np

    words = items.reshape(len(items), -1).view("u1").view("<u8")
    expected = np.arange(first, first + len(items), dtype=np.uint64) % np.uint64(pool)
    return int(np.count_nonzero((words[:, 0] != expected) | (words[:, -1] != expected)))


def _bytes(payload: Payload) -> int:
    import numpy as np

    return int(np.dtype(payload.dtype).itemsize * np.prod(payload.shape))
