"""What stands beside the items of a stream in every format with arrays: times, sequences, births, and what it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ClockDomainError
from stations.recording import StreamRecording
from stations.recording.column import Column

from .format import SLAB

COLUMNS: Final[Mapping[str, str]] = {"time_ns": "<i8", "utc_ns": "<i8", "sequence": "<u8", "birth": "<u2"}
"""Name and dtype: time on the stream's clock; ns since 1970; number since its ring was made; index into `births`."""
ALIGNED: Final[Mapping[str, str]] = {"aligned_ns": "<i8", "uncertainty_ns": "<i8"}
"""Time on the Terminal's clock, and how far off it may be; only where the recording's probes relate the clocks."""


def columns_of(stream: StreamRecording) -> dict[str, Column]:
    """Return what stands beside the items, by name."""
    found = {"time_ns": stream.time, "utc_ns": stream.utc, "sequence": stream.sequence}
    found["birth"] = Column(len(stream), lambda at: stream.table.chunks["birth"][stream.table.locate(at)[0]])
    return {**found, **aligned_of(stream)}


def aligned_of(stream: StreamRecording) -> dict[str, Column]:
    """Return the columns of `ALIGNED`; none where no probe relates the clocks."""
    try:
        return dict(zip(ALIGNED, stream.aligned_time, strict=True))
    except ClockDomainError:
        return {}


def dtype_of(name: str) -> str:
    """Return the dtype of a column."""
    return {**COLUMNS, **ALIGNED}[name]


def slabs(column: Column) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (position, values) of a column, some at a time."""
    for begin in range(0, len(column), SLAB):
        yield begin, np.asarray(column[begin : begin + SLAB])


def attributes(stream: StreamRecording) -> dict[str, Any]:
    """Return what a stream is, as plain values; lists and tables as JSON text, so that any tool shows them."""
    head = stream.head
    return {
        "stream": stream.name,
        "rig": head.rig,
        "rate": stream.rate,
        "unit": stream.unit,
        "labels": json.dumps(list(stream.labels)),
        "births": json.dumps([f"{birth:016x}" for birth in stream.table.births]),
        "clock_domain": head.clock_domain,
        "dtype": stream.dtype.str if stream.dtype.names is None else str(stream.dtype.descr),
        "item_shape": json.dumps(list(head.shape)),
        "meta": json.dumps(dict(head.meta or {})),
    }
