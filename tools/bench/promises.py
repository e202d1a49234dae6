"""What is measured beside what, and how far apart the two must be: every floor is here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from .transport import Use

Figure = Literal["rate", "p50_us", "p99_us", "cpu_ms"]
UNITS: Final[dict[Figure, str]] = {"rate": "items/s", "p50_us": "µs", "p99_us": "µs", "cpu_ms": "ms/1000"}
FIGURES: Final[dict[Figure, str]] = {"rate": "", "p50_us": " p50", "p99_us": " p99", "cpu_ms": " CPU"}


@dataclass(frozen=True, slots=True)
class Promise:
    """Ours and a baseline that run in turns; `floor` is what ours / baseline must reach, or stay below for times."""

    ours: str
    baseline: str
    floor: float | None = None
    figure: Figure = "rate"


@dataclass(frozen=True, slots=True)
class Case:
    """One payload moved in one way, by all transports that its promises name."""

    letter: str
    readers: int
    use: Use
    promises: tuple[Promise, ...]

    def transports(self) -> Iterator[str]:
        """Yield each transport once."""
        yield from dict.fromkeys(name for promise in self.promises for name in (promise.baseline, promise.ours))


CASES: Final = (
    Case("a", 1, "touch", (
        Promise("ring", "np.copyto", 0.75),
        Promise("ring", "pyzmq tcp", 2.2),
        Promise("ring", "pyzmq ipc"),
        Promise("ring", "stdlib"),
        Promise("ring", "iceoryx2", 4.0),
        Promise("ring", "ezmsg", 30.0),
        Promise("ring, blocks", "ring", 2.0),
    )),
    Case("a", 4, "touch", (
        Promise("ring", "pyzmq ipc", 2.5),
        Promise("ring", "stdlib"),
        Promise("ring", "iceoryx2", 4.5),
        Promise("ring", "ezmsg"),
    )),
    Case("b", 1, "full", (
        Promise("ring", "np.copyto", 0.82),
        Promise("ring", "pyzmq tcp"),
        Promise("ring", "pyzmq ipc"),
        Promise("ring", "stdlib"),
        Promise("ring", "iceoryx2", 0.95),
        Promise("ring", "ezmsg", 1.25),
    )),
    Case("b", 1, "touch", (
        Promise("ring", "np.copyto", 0.62),
        Promise("ring, spinning first", "np.copyto", 0.85),
    )),
    Case("b", 4, "touch", (
        Promise("ring", "pyzmq ipc", 10.0),
        Promise("ring", "stdlib"),
        Promise("ring", "iceoryx2", 1.05),
        Promise("ring", "ezmsg", 2.3),
    )),
    Case("c", 1, "full", (
        Promise("ring", "np.copyto", 0.82),
        Promise("ring", "pyzmq tcp"),
        Promise("ring", "pyzmq ipc"),
        Promise("ring", "stdlib"),
        Promise("ring", "iceoryx2", 0.95),
        Promise("ring", "ezmsg", 1.25),
    )),
    Case("c", 4, "touch", (
        Promise("ring", "np.copyto", 0.70),
        Promise("ring", "pyzmq ipc", 9.0),
        Promise("ring", "stdlib"),
        Promise("ring", "iceoryx2", 0.95),
        Promise("ring", "ezmsg", 1.05),
    )),
    Case("a", 1, "paced", (
        Promise("ring", "pyzmq ipc", 0.20, "p50_us"),
        Promise("ring", "pyzmq ipc", 1.1, "p99_us"),
        Promise("ring", "stdlib", None, "p50_us"),
        Promise("ring", "iceoryx2", 0.6, "p50_us"),
        Promise("ring, zmq notices", "pyzmq ipc", 1.15, "p50_us"),
        Promise("ring, zmq notices", "pyzmq ipc", 1.5, "p99_us"),
        Promise("ring", "pyzmq ipc", 0.55, "cpu_ms"),
        Promise("ring", "iceoryx2", 1.05, "cpu_ms"),
    )),
    Case("b", 1, "paced", (
        Promise("ring", "stdlib", None, "p50_us"),
        Promise("ring", "iceoryx2", 1.12, "p50_us"),
        Promise("ring", "ezmsg", 0.48, "p50_us"),
    )),
)  # fmt: skip

FIRST_LAP: Final = 0.8
"""Share of its steady speed that a ring must reach in its first lap."""
IN_PLACE_US: Final = 0.5
"""Most that our part may take of an item filled or looked at in place, µs."""
BESIDE_VIEWER: Final = 0.97
"""Share of its throughput that a writer must keep beside a viewer that has stopped."""
ROUND_TRIP: Final = 2.0
"""Most that a confirmed request through a station may take, in round trips of raw sockets."""
UNCONFIRMED: Final = 40_000.0
CONFIRMED: Final = 15_000.0
"""Messages a second through a station, on two cores."""
FORWARD_RAW: Final = 0.33
"""Share of the images a second of raw sockets that a Pilot must bring into the Terminal's ring, uncompressed."""
FORWARD_CURVE: Final = 0.45
"""The same with keys, ours and theirs."""
FORWARD_BLOSC: Final = 0.60
"""Share of what one thread compresses that must arrive compressed."""
RECORDED: Final = 0.35
"""Share of a plain loop of write and fdatasync that must be recorded at the other end."""
RECORDED_BLOSC: Final = 350.0
"""Images a second, 640 x 480 x 3, compressed, forwarded and recorded."""
PILOT_SHARE: Final = 45.0
TERMINAL_SHARE: Final = 60.0
"""Percent of a core, for a camera at 120 Hz and 32 channels at 30 kHz, compressed and recorded."""
LATE_MS: Final = 50.0
"""From the publication of a block's last item to its place in the Terminal's ring."""
ORDER_MS: Final = 50.0
"""Until a Pilot at full load has answered."""
READ: Final = 45.0
"""Images a second, 1920 x 1080 x 3, of a recording: half as many again as are played."""
STORED: Final = 0.4
"""Share of a plain loop of write and fdatasync of the same bytes that a recorder must store out of a ring, images."""
STORED_MB_S: Final = 60.0
RECORDER_SHARE: Final = 15.0
"""Percent of a core that a recorder may take at so many megabytes a second."""
