"""What `forward.py` compares with: compressing alone, and writing to a disk as plainly as can be."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.codec import codec_of

from .camera_pool import POOL, make_images
from .child import Control

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

SYNC_S: Final = 0.5
"""How often the recorder syncs, and the plain loop too."""


def compress(seconds: float, control: Control) -> None:
    """Compress images one after the other, on this thread."""
    images, blosc = make_images(), codec_of("blosc")
    count, begin = 0, time.perf_counter()
    while (now := time.perf_counter()) < begin + seconds:
        blosc.encode(images[count % POOL].reshape(-1), 1)
        count += 1
    control.report(rate=count / (now - begin))


def write_plainly(
    seconds: float, folder: Path, control: Control, *, make: Callable[[], Sequence[Buffer] | NDArray[Any]] = make_images
) -> None:
    """Append images, or what `make` returns, to a file and sync it now and then; it counts when it is on the disk."""
    pool, path = make(), folder / "plain"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    count, begin = 0, time.perf_counter()
    synced = begin
    while time.perf_counter() < begin + seconds:
        os.write(fd, pool[count % len(pool)])
        count += 1
        if time.perf_counter() - synced >= SYNC_S:
            os.fdatasync(fd)
            synced = time.perf_counter()
    os.fdatasync(fd)
    rate = count / (time.perf_counter() - begin)
    os.close(fd)
    path.unlink()
    control.report(rate=rate)
