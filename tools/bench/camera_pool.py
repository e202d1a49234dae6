"""Images as cameras make them, for benches: smooth, noisy in their last bits, each with words that prove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE: Final = (480, 640, 3)
POOL: Final = 32
"""Images that are made; more than fit into a cache."""
NOISE: Final = 2.0
"""Standard deviation of the noise, in steps of 8 bits."""
SEED: Final = 1


def make_images() -> NDArray[Any]:
    """Return images, uint8, shape (POOL, *SHAPE)."""
    import numpy as np

    height, width, colours = SHAPE
    rows, columns = np.mgrid[0:height, 0:width]
    random = np.random.default_rng(SEED)
    images = np.empty((POOL, *SHAPE), np.uint8)
    for number in range(POOL):
        for colour in range(colours):
            wave = 90 * np.sin((columns + 7 * number) / 97.0 + colour) + 30 * np.cos(rows / 53.0)
            images[number, :, :, colour] = np.clip(128 + wave + random.normal(0, NOISE, (height, width)), 0, 255)
    return images


def stamp(image: NDArray[Any], sequence: int) -> None:
    """Write the sequence into an image, twice: plain, and inverted."""
    words = image.reshape(-1)[:16].view("<u8")
    words[0] = sequence
    words[1] = sequence ^ 0xFFFF_FFFF_FFFF_FFFF


def read_stamp(image: Any) -> int:
    """Return the sequence of an image, -1 if its words contradict each other."""
    import numpy as np

    words = np.frombuffer(memoryview(image).cast("B")[:16], "<u8")
    return int(words[0]) if int(words[0]) ^ int(words[1]) == 0xFFFF_FFFF_FFFF_FFFF else -1
