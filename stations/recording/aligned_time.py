"""Times of a stream on the Terminal's clock, whichever machine's clock stamped them, and how far off they may be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .chunk_table import ChunkTable
from .clocks import Clocks
from .column import Column


class AlignedTime(NamedTuple):
    """Times and how far off each may be; computed where they are asked for."""

    time_ns: Column
    """int64 ns on the Terminal's CLOCK_MONOTONIC."""
    uncertainty_ns: Column
    """int64 ns; the truth is not further away.  0 for streams of the Terminal's own machine."""


def aligned_time(table: ChunkTable, clocks: Clocks) -> AlignedTime:
    """Return the times of a stream's items on the Terminal's clock.

    Args:
        table: where the items lie.
        clocks: what the journal knows of them.

    Raises:
        ClockDomainError: no probe relates one of the stream's clocks to the Terminal's.
    """
    domains = {head.birth: head.clock_domain for head in table.heads}

    def of(positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        times = table.time(positions)
        uncertainty = np.empty_like(times)
        chunks, _ = table.locate(positions)
        births = table.chunks["birth"][chunks]
        for birth in np.unique(births):
            mine = births == birth
            times[mine], uncertainty[mine] = clocks.align(domains[table.births[int(birth)]], times[mine])
        return times, uncertainty

    of(np.array([begin for _, begin, _ in table.runs()], np.int64))  # refuse here, not where a time is used
    return AlignedTime(Column(len(table), lambda at: of(at)[0]), Column(len(table), lambda at: of(at)[1]))
