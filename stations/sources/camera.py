"""``synthetic:camera``: images like a camera's, each of which proves itself.

A pool is drawn once: a gradient, sensor noise and a bright disc that moves on from image to image.  Reading is a copy
and twelve bytes; noise drawn for every image would cost more than the rest of the rig.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from typing import Annotated, Any, Final

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from stations.errors import SourceError

from .options import Rate
from .parameters import Parameter
from .selfcheck import CAMERA_HEAD, camera_crc
from .source import Array, SourceSpec

_POOL_BYTES: Final = 16 * 1024 * 1024
"""Memory of the pool: 18 images of 640x480x3."""
_POOL_MIN: Final = 4
_POOL_MAX: Final = 64
_NOISE_SIGMA: Final = 1.5
"""Counts; bitshuffle + lz4 then shrink an image to about half, as with real cameras in good light."""

Shape = Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=2, max_length=3)]


class CameraSource:
    """Moving images of uint8.

    Args:
        shape: height, width and, for colour, 3.
        rate: images per second; ``"max"`` as fast as lossless readers take them.
        seed: of the noise.
    """

    parameters: Final = {"exposure": Parameter(float, 0.0, 8.0, unit="times")}

    def __init__(
        self,
        *,
        shape: Shape = (480, 640, 3),
        rate: Rate = 60.0,
        seed: int = 0,
    ) -> None:
        is_free = rate == "max"
        self.spec = SourceSpec(
            shape=shape,
            dtype="|u1",
            rate=60.0 if rate == "max" else rate,
            can_wait=is_free,
            paced=not is_free,
            regular=not is_free,
            unit="counts",
            meta={"selfcheck": "camera"},
        )
        if self.spec.item_bytes <= CAMERA_HEAD.itemsize:
            raise SourceError(f"shape {shape} has no room for the {CAMERA_HEAD.itemsize} bytes of self-check")
        self._seed = seed
        self._exposure = 1.0
        self._pool: NDArray[np.uint8] | None = None
        self._crcs: list[int] = []
        self._numbers: Iterator[int] = itertools.count()

    def open(self) -> None:
        """Draw the pool, about 2 ms an image; numbers start at 0."""
        self._draw()
        self._numbers = itertools.count()

    def set_parameter(self, name: str, value: float) -> float:
        """Set `exposure`, how bright images are; they are drawn anew."""
        setattr(self, f"_{name}", value)
        if self._pool is not None:
            self._draw()
        return value

    def read_into(self, out: Array) -> int:
        """Copy the next images and stamp them."""
        if self._pool is None:
            raise SourceError("synthetic:camera is not open")
        for image in out:
            number = next(self._numbers)
            index = number % len(self._pool)
            np.copyto(image, self._pool[index])
            head = np.array([(number, camera_crc(self._crcs[index], number))], CAMERA_HEAD)
            _stamp(image, head.view(np.uint8))
        return len(out)

    def close(self) -> None:
        """Forget the pool."""
        self._pool = None

    def _draw(self) -> None:
        self._pool = draw_images(self.spec.shape, self._seed, self._exposure)
        bodies = self._pool.reshape(len(self._pool), -1)[:, CAMERA_HEAD.itemsize :]
        self._crcs = [zlib.crc32(body.data) for body in bodies]


def _stamp(image: Array, head: NDArray[np.uint8]) -> None:
    """Write the first bytes of an image; its rows need not lie in a row."""
    if image.flags.c_contiguous:
        image.reshape(-1)[: head.size] = head
    else:
        image.flat[: head.size] = head


def draw_images(shape: tuple[int, ...], seed: int, exposure: float = 1.0) -> NDArray[np.uint8]:
    """Return a pool of images, shape (count, *shape), in which a disc goes round once."""
    random = np.random.default_rng(seed)
    count = max(_POOL_MIN, min(_POOL_MAX, _POOL_BYTES // int(np.prod(shape))))
    height, width = shape[:2]
    rows, columns = np.mgrid[0:height, 0:width]
    scene: NDArray[Any] = 40 + 120 * rows / height + 40 * columns / width
    planes = scene[..., None] * np.linspace(1.0, 0.6, shape[2]) if len(shape) == 3 else scene
    # One field of noise, a little larger than an image: another corner of it for each image is as good as new.
    margin = 32
    noise = random.normal(0, _NOISE_SIGMA, (height + margin, width + margin, *shape[2:])).astype(np.float32)
    pool = np.empty((count, *shape), np.uint8)
    for index, image in enumerate(pool):
        top, left = random.integers(0, margin, 2)
        angle = 2 * np.pi * index / count
        centre = (0.5 + 0.3 * np.sin(angle)) * height, (0.5 + 0.3 * np.cos(angle)) * width
        disc = np.hypot(rows - centre[0], columns - centre[1]) < min(height, width) / 8
        lit = planes + 50 * (disc[..., None] if len(shape) == 3 else disc)
        image[...] = np.clip(lit * exposure + noise[top : top + height, left : left + width], 0, 255)
    return pool
