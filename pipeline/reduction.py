"""Images made smaller for a link that is too slow for them.

Of every `scale` x `scale` pixels one is kept and stands for all: the image keeps its shape, so that whatever reads it
reads it as ever, and what repeats compresses.  A block of such images says so by its codec, ``blosc/2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .codec import BloscCodec, BloscSettings, register_codec

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_PIXELS: Final = 16
"""Height and width of the smallest image that is made smaller."""
SETTINGS: Final = {2: BloscSettings("zstd", 1, "bitshuffle"), 8: BloscSettings("zstd", 5, "noshuffle")}
"""By scale: what shrinks it most in little more time than reducing takes, see README.md."""


def is_image(shape: tuple[int, ...]) -> bool:
    """Tell whether items of a shape are images: (height, width) or (height, width, planes)."""
    return len(shape) in (2, 3) and min(shape[:2]) >= LEAST_PIXELS


def reduced(images: NDArray[Any], scale: int) -> NDArray[Any]:
    """Return images, shape (n, height, width, ...), of `scale` times fewer pixels each way, in their old shape."""
    _, height, width = images.shape[:3]
    kept = images[:, ::scale, ::scale]
    return np.repeat(np.repeat(kept, scale, axis=1), scale, axis=2)[:, :height, :width]


def codec_for(scale: int) -> str:
    """Return the name of the codec of images of a scale."""
    return f"blosc/{scale}"


def scale_of(codec: str) -> int:
    """Return the scale of images by the name of their block's codec; 1: as they were acquired."""
    _, _, scale = codec.partition("/")
    return int(scale) if scale.isdigit() else 1


for _scale, _settings in SETTINGS.items():
    register_codec(BloscCodec(_settings, codec_for(_scale)))
