"""From an image of any dtype to a small JPEG.  Pure: no ring, no socket, no state.

The page shows, it does not measure: an image is reduced to about `MAX_WIDTH` columns before it is encoded (a reduction
by two is four times less to encode), and what is not 8-bit is stretched to 8 bits by its own least and greatest value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from stations.errors import MissingExtraError

from .errors import PictureError

MAX_WIDTH: Final = 640
"""Columns of a picture on the page; a wider image is reduced by a whole number, a narrower one is left alone."""
QUALITY: Final = 80
"""JPEG quality 0..100; 80 with 4:2:0 is about 23 kB for 640x480 and not told from the original at arm's length."""
MIN_SIDE: Final = 8
"""Rows and columns below which an array is a table of numbers and not an image."""

Kind = Literal["image", "traces", "other"]


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded image."""

    jpeg: bytes
    width: int
    height: int
    low: float
    """Value shown as black: 0 for 8-bit images, else the least value in the image."""
    high: float
    """Value shown as white: 255 for 8-bit images, else the greatest value in the image."""


def kind_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Kind:
    """Return how items of this shape and dtype are drawn.

    Images are (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) of at least `MIN_SIDE` on both sides; scalars, vectors and
    small tables of real numbers are traces; anything else (complex, structured, text) is listed and not drawn.
    """
    if dtype.kind not in "buif" or 0 in shape:
        return "other"
    is_plane = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if is_plane and min(shape[:2]) >= MIN_SIDE:
        return "image"
    return "traces" if len(shape) <= 2 else "other"


def reduce(image: NDArray[Any], max_width: int = MAX_WIDTH) -> NDArray[Any]:
    """Return the image reduced by a whole number to at most `max_width` columns, dtype kept.

    Two samples of every cell, on its diagonal, are averaged: nearly as smooth as the whole mean at a fraction of its
    cost (720p by two: 1.1 ms against 5 ms).  Floats and wide integers are sampled, not averaged.

    Args:
        image: (h, w) or (h, w, c), any real dtype.
        max_width: columns, at least 1.
    """
    height, width = image.shape[:2]
    step = -(-width // max_width)
    if step <= 1:
        return image
    rows, columns = max(1, height // step), width // step
    first = image[: rows * step : step, : columns * step : step]
    if image.dtype != np.uint8:
        return first
    second = image[step // 2 :: step, step // 2 :: step][: first.shape[0], : first.shape[1]]
    if second.shape != first.shape:
        return first
    # (a & b) + ((a ^ b) >> 1) is the mean that needs no wider integer.
    mean: NDArray[Any] = (first & second) + ((first ^ second) >> 1)
    return mean


def to_bytes(image: NDArray[Any]) -> tuple[NDArray[np.uint8], float, float]:
    """Return the image as uint8 with the values that became 0 and 255.

    uint8 is returned as it is.  Other dtypes are stretched from least to greatest finite value; an image of one value
    becomes black, not-a-number becomes black.
    """
    if image.dtype == np.uint8:
        return image, 0.0, 255.0
    values = image.astype(np.float32)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(image.shape, np.uint8), 0.0, 0.0
    low, high = float(finite.min()), float(finite.max())
    if high <= low:
        return np.zeros(image.shape, np.uint8), low, high
    scaled = np.nan_to_num((values - low) * np.float32(255.0 / (high - low)), nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(scaled, 0, 255).astype(np.uint8), low, high


def encode(image: NDArray[Any], *, max_width: int = MAX_WIDTH, quality: int = QUALITY) -> Picture:
    """Return the image as a JPEG of at most `max_width` columns.

    Releases the GIL while it encodes; 640x480x3 takes about 0.6 ms.

    Args:
        image: (h, w) or (h, w, 1) grey, (h, w, 3) RGB or (h, w, 4) RGBA (alpha is left out), any real dtype.
        max_width: columns, at least 1.
        quality: 0..100.

    Raises:
        PictureError: the array is not an image.
        MissingExtraError: simplejpeg is not installed.
    """
    try:
        import simplejpeg
    except ImportError as error:
        raise MissingExtraError("the page needs simplejpeg: pip install 'acquisition-pipeline[terminal]'") from error
    if kind_of(image.shape, image.dtype) != "image":
        raise PictureError(f"not an image: shape={image.shape} dtype={image.dtype}, expected (h, w), (h, w, 1|3|4)")
    plane = image[:, :, None] if image.ndim == 2 else image[:, :, :3]
    pixels, low, high = to_bytes(reduce(plane, max_width))
    grey = pixels.shape[2] == 1
    jpeg = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels),
        quality=quality,
        colorspace="GRAY" if grey else "RGB",
        colorsubsampling="Gray" if grey else "420",
    )
    return Picture(jpeg, pixels.shape[1], pixels.shape[0], low, high)
