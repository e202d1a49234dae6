"""Pictures: any image becomes a small JPEG that looks like it."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from stations.view.errors import PictureError
from stations.view.pictures import encode, kind_of, reduce, to_bytes


def gradient(height: int, width: int) -> NDArray[np.uint8]:
    """Return an RGB image that is smooth and differs in every channel."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([columns * 255 // width, rows * 255 // height, np.full_like(rows, 80)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "dtype", "kind"),
    [
        ((480, 640, 3), "u1", "image"),
        ((480, 640), "<u2", "image"),
        ((32,), "<i2", "traces"),
        ((), "<f4", "traces"),
        ((4, 3), "<f8", "traces"),
        ((480, 640, 2), "u1", "other"),
        ((8,), "<c8", "other"),
        ((0, 640), "u1", "other"),
    ],
)
def test_shape_and_dtype_decide_how_an_item_is_drawn(shape: tuple[int, ...], dtype: str, kind: str) -> None:
    """Planes of pixels are images, short real vectors are traces, the rest is only listed."""
    assert kind == kind_of(shape, np.dtype(dtype))


def test_wide_image_is_reduced_by_a_whole_number_and_keeps_its_look() -> None:
    """1280 columns become 640, and the JPEG decodes to nearly the same colours."""
    image = gradient(720, 1280)

    picture = encode(image)
    decoded = simplejpeg.decode_jpeg(picture.jpeg)

    assert (640, 360) == (picture.width, picture.height) == (decoded.shape[1], decoded.shape[0])
    assert 3 > np.abs(decoded.astype(int) - image[::2, ::2].astype(int)).mean()


@pytest.mark.parametrize("size", [(641, 1279), (8, 5000), (9, 641)])
def test_odd_sizes_are_reduced_to_at_most_the_width(size: tuple[int, int]) -> None:
    """No remainder of the division leaves a picture too wide or empty."""
    reduced = reduce(gradient(*size))

    assert 0 < reduced.shape[1] <= 640
    assert reduced.shape[0] > 0
    assert reduced.dtype == np.uint8


def test_deep_images_are_stretched_between_their_extremes() -> None:
    """The least value becomes black, the greatest white, and both are told."""
    depth = np.linspace(800, 4000, 100 * 100).reshape(100, 100).astype(np.uint16)

    pixels, low, high = to_bytes(depth)

    assert (0, 255) == (pixels.min(), pixels.max())
    assert (800.0, 4000.0) == (low, high)


def test_not_a_number_and_flat_images_are_black_not_errors() -> None:
    """Values without a range or a meaning cannot break the page."""
    holes = np.full((16, 16), np.nan, np.float32)
    holes[0, 0] = np.inf

    assert not to_bytes(holes)[0].any()
    assert not to_bytes(np.full((16, 16), 7, np.int32))[0].any()
    assert encode(np.zeros((16, 16), bool)).jpeg


def test_what_is_no_image_is_refused_with_its_shape() -> None:
    """The message names the shape that came."""
    with pytest.raises(PictureError, match=r"shape=\(32,\)"):
        encode(np.zeros(32, np.int16))
