"""``mp4``: a folder with an H.264 film per camera, shown with the recorded times, and a table of all stamps.

A film is whole only at its end: an interrupted export goes on with the film that was begun, from its first image.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from stations.recording import StreamRecording

from .folder import FolderFormat, make_folder, read_stamps, write_stamps
from .format import Digest, Piece, Sink
from .notes import Notes
from .selection import NS, Selection

TICKS: Final = 90_000
"""Per second, of the film's clock."""
OPTIONS: Final = {"crf": "18", "preset": "veryfast"}
"""x264's: 18 is taken for visually lossless."""


class Mp4(FolderFormat):
    """``<stream>.mp4`` and ``<stream>_stamps.csv``."""

    name: ClassVar[str] = "mp4"
    suffix: ClassVar[str] = "-mp4"
    modules: ClassVar[tuple[str, ...]] = ("av",)
    extra: ClassVar[str] = "video"
    lossy: ClassVar[str] = "H.264 changes pixels; counts and times are those of the recording"

    def refuse(self, stream: StreamRecording) -> str:
        """A film is made of grey or coloured images of bytes."""
        shape = stream.head.shape
        if stream.dtype.str != "|u1" or len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
            return f"mp4 holds images (height, width) or (height, width, 3) of u1, not {shape} {stream.dtype.str}"
        return "" if min(shape[:2]) >= 16 else f"x264 takes images of at least 16 x 16, not {shape[:2]}"

    def begin(self, path: Path, selection: Selection, notes: Notes) -> Sink:
        """Make the folder with the tables of times."""
        make_folder(path, notes)
        for stream in selection.streams.values():
            write_stamps(path, stream)
        return Mp4Sink(path)

    def resume(self, path: Path, selection: Selection, state: dict[str, Any]) -> Sink:
        """Go on with the next film."""
        return Mp4Sink(path)

    def read(self, path: Path, selection: Selection) -> Iterator[tuple[str, Digest]]:
        """Decode and count the images; of the stamps the times."""
        import av

        for name, stream in selection.streams.items():
            digest = Digest()
            read_stamps(path, name, digest)
            if len(stream):
                with av.open(path / f"{name}.mp4") as film:
                    digest.count = sum(1 for _ in film.decode(video=0))
            yield name, digest


class Mp4Sink(Sink):
    """Writes one film after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._film: Any = None
        self._track: Any = None
        self._shown = -1

    def write(self, piece: Piece) -> None:
        """Encode some images; with the last one the film is closed."""
        if self._film is None:
            self._open(piece.stream)
        zero_ns = int(piece.stream.utc[0])
        times = piece.stream.utc[piece.begin : piece.end]
        for image, utc_ns in zip(piece.items(), times.tolist(), strict=True):
            self._shown = max(self._shown + 1, (utc_ns - zero_ns) * TICKS // NS)
            self._encode(image)
        if piece.is_last:
            self._film.mux(self._track.encode())
            self.close()

    def checkpoint(self) -> dict[str, Any] | None:
        """There is one between two films."""
        return {} if self._film is None else None

    def finish(self) -> None:
        """Every film is closed with its last image."""

    def close(self) -> None:
        """Close the film that is open; a second call does nothing."""
        if self._film is not None:
            self._film.close()
        self._film = self._track = None

    def _open(self, stream: StreamRecording) -> None:
        import av

        height, width = stream.head.shape[:2]
        self._film = av.open(self._path / f"{stream.name}.mp4", "w")
        self._track = self._film.add_stream("libx264", rate=max(1, round(stream.rate)), options=OPTIONS)
        # Colour is kept at half the resolution, so both lengths must be even: the last row or column is doubled.
        self._track.width, self._track.height = width + width % 2, height + height % 2
        self._track.pix_fmt = "yuv420p"
        self._track.codec_context.time_base = self._track.time_base = Fraction(1, TICKS)
        self._shown = -1

    def _encode(self, image: NDArray[np.uint8]) -> None:
        import av

        edges = [(0, image.shape[0] % 2), (0, image.shape[1] % 2)] + [(0, 0)] * (image.ndim - 2)
        even = np.ascontiguousarray(np.pad(image, edges, "edge"))
        frame = av.VideoFrame.from_ndarray(even, "rgb24" if image.ndim == 3 else "gray")
        frame.pts, frame.time_base = self._shown, Fraction(1, TICKS)
        self._film.mux(self._track.encode(frame))
