"""``replay:RECORDING``: a recorded stream once more, with the times that its items had.

Nothing is made up: a gap of the recording is a gap in time.  All streams of a recording share one line of time, so
that several, each replayed by a process of its own, keep their distances, lap after lap, but for those of their STARTs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from pipeline.stream_spec import dtype_of_json
from stations.errors import MissingExtraError, SourceDamagedError, SourceError
from stations.suggest import did_you_mean

from .source import Array, SourceSpec, Upcoming

if TYPE_CHECKING:
    from stations.recording import Recording, StreamRecording
    from stations.recording.extent import Extent, Piece

Speed = Annotated[float, Meta(gt=0, le=1000)] | Literal["max"]
"""How many times as fast as it was recorded, or as fast as lossless readers take the items."""
Offset = Annotated[float, Meta(ge=0)]

NS: Final = 1_000_000_000
log = logging.getLogger(__name__)


class ReplaySource:
    """The items of a recorded stream: dtype, shape, labels, unit and meta as recorded, bit for bit.

    Args:
        path: folder of the recording.
        stream: name of the stream there, ``pilot1.cam0``; may be left out where there is only one.
        rate: 2 is twice as fast; ``"max"`` as fast as lossless readers take them, with the recorded times.
        loop: begin again at the end of the recording, for ever.
        offset_s: begin so long after the recording's first item.
    """

    def __init__(
        self, path: Path, /, *, stream: str | None = None, rate: Speed = 1.0, loop: bool = False, offset_s: Offset = 0.0
    ) -> None:
        self.path = path
        self.stream = stream
        self.missing = 0
        """Items that the recording lacks between those that it has."""
        self._is_free = rate == "max"
        self._speed = 1.0 if isinstance(rate, str) else rate
        self._loop = loop
        self._offset_ns = int(offset_s * NS)
        self._spec: SourceSpec | None = None
        self._runs: Iterator[tuple[Array, NDArray[np.int64]]] = iter(())
        self._items: Array = np.empty(0)
        self._times: NDArray[np.int64] = np.empty(0, np.int64)

    @property
    def spec(self) -> SourceSpec:
        """As recorded, the rate times the speed; valid after `open`."""
        if self._spec is None:
            raise SourceError(f"recording {self.path} is not open")
        return self._spec

    def open(self) -> None:
        """Find the stream and look at all of its files; nothing is decoded.

        Raises:
            SourceError: no recording, no such stream, nothing in it, another shape or dtype in its middle, or an
                offset behind the end.
            MissingExtraError: h5py is not installed.
        """
        self.close()
        recording = _recording(self.path)
        self.stream = stream = self._choose(recording)
        from stations.recording.extent import extent_of, missing_in, pieces_of

        pieces_by = {name: pieces_of(one.paths) for name, one in recording.items()}
        pieces, extent = pieces_by[stream], extent_of(chain(*pieces_by.values()))
        if extent is None or not pieces:
            raise SourceError(f"{self.path}: stream {stream} has no item that can be read; see pipeline verify")
        if self._offset_ns >= extent.length_ns:
            lasts = f"lasts {extent.length_ns / NS:.3f} s"
            raise SourceError(f"{self.path} {lasts}; offset_s = {self._offset_ns / NS:g} is behind its end")
        _refuse_change(pieces)
        self.missing = missing_in(pieces)
        if self.missing:
            log.warning("%s of %s lacks %d items: there are gaps in time", stream, self.path.name, self.missing)
        self._spec = self._spec_of(pieces[0])
        self._runs = self._play(recording[stream], extent)

    def upcoming(self, most: int) -> Upcoming:
        """Return the next items that are evenly spaced; decodes them if it must, before they are due.

        Raises:
            SourceDamagedError: the recording is damaged here.
        """
        if not self._has_items():
            return Upcoming(0, 0)
        count = min(most, len(self._times)) if self.spec.regular else 1
        begin_ns = int(self._times[0] / self._speed)
        period_ns = int((self._times[1] - self._times[0]) / self._speed) if count > 1 else 0
        return Upcoming(count, begin_ns, period_ns, at_once=self._is_free)

    def read_into(self, out: Array) -> int:
        """Copy the next items; 0 at the end of a recording that does not loop.

        Raises:
            SourceDamagedError: the recording is damaged here.
        """
        if not self._has_items():
            return 0
        count = min(len(out), len(self._items))
        np.copyto(out[:count], self._items[:count])
        self._items, self._times = self._items[count:], self._times[count:]
        return count

    def close(self) -> None:
        """Close the file that is being read."""
        if hasattr(self._runs, "close"):
            self._runs.close()
        self._runs, self._items, self._times = iter(()), self._items[:0], self._times[:0]

    def _has_items(self) -> bool:
        while not len(self._items):
            run = next(self._runs, None)
            if run is None:
                return False
            self._items, self._times = run
        return True

    def _play(self, stream: StreamRecording, extent: Extent) -> Iterator[tuple[Array, NDArray[np.int64]]]:
        """Yield items and when each is due, ns since the start at the recorded speed."""
        lap_ns, has_items = 0, True
        with closing(stream):
            while has_items:
                has_items = False
                for items, times in self._lap(stream, extent):
                    has_items = True
                    yield items, times + lap_ns
                lap_ns += extent.length_ns - self._offset_ns
                has_items = has_items and self._loop

    def _lap(self, stream: StreamRecording, extent: Extent) -> Iterator[tuple[Array, NDArray[np.int64]]]:
        """Yield the items in the order in which they were acquired, block by block."""
        from stations.recording import SegmentFormatError

        try:
            for index, (begin, end) in enumerate(pairwise(stream.table.begins.tolist())):
                begin_ns = extent.on_clock(stream.head_of(index).clock_domain, self._offset_ns)
                times = stream.time[begin:end]
                skip = int(np.searchsorted(times, begin_ns))
                if skip < len(times):
                    yield stream.read_chunk(index)[skip:], times[skip:] - begin_ns
        except SegmentFormatError as error:
            raise self._damaged(str(error).removeprefix(f"{self.stream}: ")) from error
        if stream.problems:
            raise self._damaged("; ".join(stream.problems))

    def _damaged(self, why: str) -> SourceDamagedError:
        where = f"recording {self.path.name}: stream {self.stream}"
        return SourceDamagedError(f"{where} is damaged: {why}; pipeline verify lists all of it")

    def _choose(self, recording: Recording) -> str:
        names = list(recording)
        if self.stream is None and len(names) == 1:
            return names[0]
        if self.stream is None:
            raise SourceError(f"{self.path} holds {', '.join(names) or 'no stream'}; say which: stream = …")
        if self.stream not in names:
            raise SourceError(f"{self.path} has no stream {self.stream!r}; {did_you_mean(self.stream, names)}")
        return self.stream

    def _spec_of(self, piece: Piece) -> SourceSpec:
        head = piece.head
        rate = head.rate * self._speed if head.rate else None
        told: dict[str, object] = {"recording": self.path.name, "stream": self.stream, "missing": self.missing}
        return SourceSpec(
            shape=head.shape,
            dtype=_plain_dtype(head.dtype),
            rate=rate,
            can_wait=True,
            paced=rate is not None and not self._is_free,
            regular=head.regular,
            finite=not self._loop,
            labels=head.labels,
            unit=head.unit,
            meta={**(head.meta or {}), "replayed": told},
        )


def _recording(path: Path) -> Recording:
    try:
        from stations.recording import Recording, RecordingFolderError
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"replay sources need {error.name}; pip install 'acquisition-pipeline[terminal]'"
        ) from error
    try:
        return Recording(path)
    except RecordingFolderError as error:
        raise SourceError(str(error)) from error


def _refuse_change(pieces: list[Piece]) -> None:
    """A ring has one shape, one dtype; a rate, labels and a unit that change do no harm to it."""
    first = pieces[0].head
    for piece in pieces:
        if (piece.head.shape, piece.head.dtype) != (first.shape, first.dtype):
            was, became = (f"{head.shape} {head.dtype}" for head in (first, piece.head))
            raise SourceError(f"{piece.path}: items change from {was} to {became}; a stream cannot")


def _plain_dtype(text: str) -> Any:
    """Return a recorded dtype as a source tells it: its name, or a list of fields."""
    dtype = dtype_of_json(text)
    return dtype.str if dtype.names is None else dtype.descr
