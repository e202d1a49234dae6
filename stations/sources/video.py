"""``video:PATH``: the images of a video file, decoded to RGB by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stations.errors import MissingExtraError, SourceError, SourceFailedError, StationError

from .files import check_file
from .options import Rate
from .source import Array, SourceSpec


class VideoSource:
    """Images of shape (height, width, 3), uint8 RGB, exactly as ``frame.to_ndarray(format="rgb24")`` gives them.

    Args:
        path: any file that FFmpeg decodes.
        rate: images per second; the file's own if None; ``"max"`` as fast as lossless readers take them.
        loop: begin again at the end, for ever.
    """

    def __init__(self, path: Path, /, *, rate: Rate | None = None, loop: bool = False) -> None:
        self.path = path
        self._rate = rate
        self._loop = loop
        self._spec: SourceSpec | None = None
        self._container: Any = None
        self._images: Iterator[Array] = iter(())
        self._first: Array | None = None
        self._index = 0

    @property
    def spec(self) -> SourceSpec:
        """Shape and rate of the file; valid after `open`."""
        if self._spec is None:
            raise SourceError(f"video {self.path} is not open")
        return self._spec

    def open(self) -> None:
        """Open the file and decode its first image, so that what cannot be decoded is refused here.

        Raises:
            SourceError: no such file, no video in it, undecodable, or without a rate while none is given.
            MissingExtraError: PyAV is not installed.
        """
        check_file(self.path)
        file_rate = self._rewind()
        first = next(self._images, None)
        if first is None:
            raise SourceError(f"video {self.path} holds no image; play it with ffplay to see what is in it")
        is_free = self._rate == "max"
        rate = file_rate if self._rate is None or self._rate == "max" else self._rate
        if rate is None and not is_free:
            raise SourceError(f"video {self.path} does not tell its frame rate; give the stream rate = …")
        self._first = first
        self._spec = SourceSpec(
            shape=first.shape,
            dtype=first.dtype.str,
            rate=rate,
            can_wait=True,
            paced=not is_free,
            regular=not is_free,
            finite=not self._loop,
            meta={"file": self.path.name},
        )

    def read_into(self, out: Array) -> int:
        """Decode the next images; 0 at the end of a file that does not loop.

        Raises:
            SourceFailedError: the file is damaged further on, or changes its size.
        """
        count = 0
        for slot in out:
            image = self._next_image()
            if image is None:
                break
            if image.shape != slot.shape:
                size = f"{image.shape[1]}x{image.shape[0]}"
                raise SourceFailedError(
                    f"video {self.path} changes its size to {size} at image {self._index}; re-encode it"
                )
            np.copyto(slot, image)
            self._index += 1
            count += 1
        return count

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._container, self._images, self._first = None, iter(()), None

    def _next_image(self) -> Array | None:
        image, self._first = self._first, None
        if image is None:
            image = next(self._images, None)
        if image is None and self._loop:
            self._rewind()
            image = next(self._images, None)
        return image

    def _rewind(self) -> float | None:
        """Open the file at its beginning (seeking is not exact in every container); return its rate."""
        av = _pyav()
        self.close()
        try:
            self._container = av.open(str(self.path))
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise self._undecodable(error) from error
        streams = self._container.streams.video
        if not streams:
            raise SourceError(f"{self.path} has no video stream; for sound use 'wav:PATH'")
        self._images = self._decode(streams[0], av.error.FFmpegError)
        self._index = 0
        rate = streams[0].average_rate or streams[0].guessed_rate
        return float(rate) if rate else None

    def _decode(self, stream: Any, failure: type[Exception]) -> Iterator[Array]:
        try:
            for frame in self._container.decode(stream):
                yield frame.to_ndarray(format="rgb24")
        except failure as error:
            raise self._undecodable(error) from error

    def _undecodable(self, error: Exception) -> StationError:
        """Refuse a file that cannot be opened; damage further on is the stream's own affair, not the rig's."""
        reason = getattr(error, "strerror", None) or str(error)
        hint = "play it with ffplay, or re-encode it"
        if self._index:
            return SourceFailedError(f"cannot decode video {self.path} at image {self._index}: {reason}; {hint}")
        return SourceError(f"cannot decode video {self.path}: {reason}; {hint}")


def _pyav() -> Any:
    try:
        import av
        import av.error
    except ImportError as error:
        raise MissingExtraError("video sources need PyAV; pip install 'acquisition-pipeline[video]'") from error
    return av
