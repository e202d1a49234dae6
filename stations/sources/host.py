"""``host``: telemetry of this computer, real sensors on every machine."""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import psutil
from msgspec import Meta

from stations.errors import SourceError

from .source import Array, SourceSpec

HostRate = Annotated[float, Meta(gt=0, le=1000)]


class HostSource:
    """Load of each CPU and memory in percent, temperatures in °C, network in bytes/s; one float64 vector.

    Args:
        rate: readings per second.  The kernel counts CPU time in ticks of 10 ms, so 20 Hz gives steps of 20 %.
    """

    def __init__(self, *, rate: HostRate = 20.0) -> None:
        self._rate = rate
        self._spec: SourceSpec | None = None
        self._temperatures = 0
        self._network = (0, 0)
        self._network_time = 0.0

    @property
    def spec(self) -> SourceSpec:
        """One channel per sensor that this machine has; valid after `open`."""
        if self._spec is None:
            raise SourceError("host is not open")
        return self._spec

    def open(self) -> None:
        """Find the sensors and take the first reading, against which loads and rates are counted."""
        cpus = [f"cpu{index} %" for index in range(len(psutil.cpu_percent(percpu=True)))]
        temperatures = [f"{chip} {label} °C" for chip, label, _ in _temperatures()]
        labels = (*cpus, "memory %", *temperatures, "net sent B/s", "net received B/s")
        self._temperatures = len(temperatures)
        self._network, self._network_time = _network(), time.monotonic()
        self._spec = SourceSpec(
            shape=(len(labels),), dtype="<f8", rate=self._rate, paced=True, regular=False, labels=labels
        )

    def read_into(self, out: Array) -> int:
        """Take one reading."""
        now, network = time.monotonic(), _network()
        elapsed = max(now - self._network_time, 1e-3)
        speeds = [(new - old) / elapsed for new, old in zip(network, self._network, strict=True)]
        self._network, self._network_time = network, now
        temperatures = [value for _, _, value in _temperatures()][: self._temperatures]
        temperatures += [np.nan] * (self._temperatures - len(temperatures))  # a sensor may go away
        cpus = psutil.cpu_percent(percpu=True)
        out[0] = [*cpus, psutil.virtual_memory().percent, *temperatures, *speeds]
        return 1

    def close(self) -> None:
        """Nothing is held."""


def _temperatures() -> list[tuple[str, str, float]]:
    """Return (chip, label, °C) of each sensor; none in most virtual machines."""
    read = getattr(psutil, "sensors_temperatures", None)
    found = read() if read is not None else {}
    return [
        (chip, entry.label or str(index), float(entry.current))
        for chip, entries in found.items()
        for index, entry in enumerate(entries)
    ]


def _network() -> tuple[int, int]:
    """Return bytes sent and received so far, by all interfaces."""
    counts = psutil.net_io_counters()
    return (counts.bytes_sent, counts.bytes_recv) if counts is not None else (0, 0)
