"""What reading returns; made by the native code. Runs of items are native altogether."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Item(NamedTuple):
    """One item, copied and validated.

    Attributes:
        data: the ring's shape and dtype; yours to keep.
        sequence: its number since the ring's creation.
        time_ns: of acquisition, CLOCK_MONOTONIC of the writer.
    """

    data: np.ndarray[Any, Any]
    sequence: int
    time_ns: int


class Blob(NamedTuple):
    """One byte string, copied and validated.

    Attributes:
        data: the bytes; yours to keep.
        sequence: its number since the ring's creation.
        time_ns: of writing, CLOCK_MONOTONIC of the writer.
    """

    data: bytes
    sequence: int
    time_ns: int
