"""Blocks out of the Terminal's ring onto a disk, beside a plain loop that writes the same bytes there.

Who fills the ring and who records are two processes; what is stored counts when it is on the disk, for both.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import forward_ours, record_ours
from .conduct import Parts, alone, conduct
from .forward_alone import write_plainly
from .promises import RECORDER_SHARE, STORED, STORED_MB_S
from .rows import Row, bounded, compared

if TYPE_CHECKING:
    from typing_extensions import Buffer

STEADY_TIMES: Final = 4
"""The processor time is watched so many times longer than one measurement takes."""
_IMAGES: Final = ("raw", "blosc")


def measure_record(seconds: float, repeats: int, folder: Path | None, report: Callable[[str], None]) -> list[Row]:
    """Return the rows; everything is measured in turns.

    Args:
        seconds: length of one measurement; there are eight in a repeat.
        repeats: of each.
        folder: on the disk to record to; the system's folder for temporary files if None.
        report: hears how far it is.

    Raises:
        BenchError: a process failed, something was lost, or 60 MB/s are more than the disk takes.
    """
    found: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-record-") as name:
        for repeat in range(repeats):
            for codec in _IMAGES:
                make = partial(record_ours.images, codec)
                found[f"{codec} plain"].append(_plain(seconds, Path(name), make))
                found[codec].append(_recorded(seconds, Path(name), codec, make, forward_ours.STREAM))
                found[f"{codec} share"].append(_share(STEADY_TIMES * seconds, Path(name), codec))
            samples = record_ours.samples
            found["samples plain"].append(_plain(seconds, Path(name), samples) * record_ours.SAMPLES)
            found["samples"].append(_recorded(seconds, Path(name), "blosc", samples, record_ours.SIGNAL))
            report(f"repeat {repeat + 1} of {repeats}")
    baseline = "write + fdatasync"
    return [
        *(compared(f"{codec} images : {baseline}", "images/s", found[codec], found[f"{codec} plain"], STORED)
          for codec in _IMAGES),
        compared(f"blosc samples, 32 channels : {baseline}", "samples/s", found["samples"], found["samples plain"]),
        *(bounded(f"recorder at {STORED_MB_S:g} MB/s, {codec}", "% of a core", found[f"{codec} share"], RECORDER_SHARE)
          for codec in _IMAGES),
    ]  # fmt: skip


def _plain(seconds: float, folder: Path, make: Callable[[], list[Buffer]]) -> float:
    return alone(partial(write_plainly, seconds, folder, make=make))


def _recorded(seconds: float, folder: Path, codec: str, make: Callable[[], list[Buffer]], stream: str) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        parts: Parts = [
            ("feeder", partial(record_ours.feed, codec, make, stream)),
            ("recorder", partial(forward_ours.record, Path(name), stream=stream)),
        ]
        return float(conduct(parts, seconds)["rate"])


def _share(seconds: float, folder: Path, codec: str) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        parts: Parts = [
            ("feeder", partial(record_ours.feed_steadily, codec)),
            ("recorder", partial(record_ours.record_steadily, Path(name))),
        ]
        return float(conduct(parts, seconds)["share"])
