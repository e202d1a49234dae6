"""Images from a Pilot's ring into the Terminal's ring, and onto its disk, beside what the parts can do alone.

Source, Pilot, Terminal and whoever takes the blocks are processes on loopback TCP; the raw sockets are two processes
that move the same images.  Keys, where there are any, are made for the run.  A whole rig, one such camera at 120 Hz and
32 channels at 30 kHz, tells what it costs.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from . import forward_alone, forward_ours
from .conduct import Parts, alone, conduct
from .forward_rig import measure_rig
from .promises import (
    FORWARD_BLOSC,
    FORWARD_CURVE,
    FORWARD_RAW,
    LATE_MS,
    ORDER_MS,
    PILOT_SHARE,
    RECORDED,
    RECORDED_BLOSC,
    TERMINAL_SHARE,
)
from .rows import Row, at_least, bounded, compared
from .transports import forward_raw

RIG_TIMES: Final = 4
"""The rig is watched so many times longer than one measurement takes."""
Values = dict[str, list[float]]


def measure_forward(seconds: float, repeats: int, folder: Path | None, report: Callable[[str], None]) -> list[Row]:
    """Return the rows; everything is measured in turns.

    Args:
        seconds: length of one measurement; there are nine in a repeat.
        repeats: of each.
        folder: on the disk to record to; the system's folder for temporary files if None.
        report: hears how far it is.

    Raises:
        BenchError: a process failed, or an image was lost or wrong.
    """
    found: Values = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-forward-") as name:
        for repeat in range(repeats):
            for figure, measure in _figures(seconds, Path(name)).items():
                found[figure].append(measure())
            for figure, value in measure_rig(RIG_TIMES * seconds, Path(name)).items():
                found[figure].append(value)
            report(f"repeat {repeat + 1} of {repeats}")
    return [
        compared("raw into the ring", "images/s", found["raw"], found["sockets"], FORWARD_RAW),
        compared("raw into the ring, CURVE", "images/s", found["raw keys"], found["sockets keys"], FORWARD_CURVE),
        compared("blosc into the ring", "images/s", found["blosc"], found["blosc alone"], FORWARD_BLOSC),
        compared("raw recorded : write + fdatasync", "images/s", found["raw recorded"], found["disk"], RECORDED),
        compared("blosc recorded : write + fdatasync", "images/s", found["blosc recorded"], found["disk"]),
        at_least("blosc recorded", "images/s", found["blosc recorded"], RECORDED_BLOSC),
        bounded("rig: Pilot", "% of a core", found["pilot"], PILOT_SHARE),
        bounded("rig: Terminal and recorder", "% of a core", found["terminal"], TERMINAL_SHARE),
        bounded("rig: blocks late, p99", "ms", found["late"], LATE_MS),
        bounded("rig: order to the Pilot, p99", "ms", found["orders"], ORDER_MS),
    ]


def _figures(seconds: float, folder: Path) -> dict[str, Callable[[], float]]:
    return {
        "sockets": partial(_sockets, seconds, keyed=False),
        "raw": partial(_forward, seconds, "raw", keyed=False),
        "sockets keys": partial(_sockets, seconds, keyed=True),
        "raw keys": partial(_forward, seconds, "raw", keyed=True),
        "blosc alone": partial(alone, partial(forward_alone.compress, seconds)),
        "blosc": partial(_forward, seconds, "blosc", keyed=False),
        "disk": partial(alone, partial(forward_alone.write_plainly, seconds, folder)),
        "raw recorded": partial(_forward, seconds, "raw", keyed=False, folder=folder),
        "blosc recorded": partial(_forward, seconds, "blosc", keyed=False, folder=folder),
    }


def _sockets(seconds: float, *, keyed: bool) -> float:
    parts: Parts = [("receiver", forward_raw.receive), ("sender", forward_raw.send)]
    return float(conduct(parts, seconds, keyed=keyed, teller=0)["rate"])


def _forward(seconds: float, codec: str, *, keyed: bool, folder: Path | None = None) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        taker: Callable[..., None] = forward_ours.take
        if folder is not None:
            taker = partial(forward_ours.record, Path(name))
        parts: Parts = [
            ("source", forward_ours.source),
            ("terminal", forward_ours.terminal),
            ("pilot", partial(forward_ours.pilot, codec)),
            ("taker", taker),
        ]
        return float(conduct(parts, seconds, keyed=keyed)["rate"])
