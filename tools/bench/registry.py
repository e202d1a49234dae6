"""Which transports there are, by the name that rows call them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final

from .transport import Job, Transport

TRANSPORTS: Final[Mapping[str, tuple[str, str]]] = {
    "np.copyto": ("memory", "Memory"),
    "ring": ("ring", "FutexRing"),
    "ring, spinning first": ("ring", "HybridRing"),
    "ring, blocks": ("ring", "BlockRing"),
    "ring, zmq notices": ("ring", "NoticeRing"),
    "pyzmq ipc": ("zmq_pipe", "ZmqIpc"),
    "pyzmq tcp": ("zmq_pipe", "ZmqTcp"),
    "stdlib": ("stdlib", "Stdlib"),
    "iceoryx2": ("iceoryx", "Iceoryx"),
    "ezmsg": ("ezmsg", "Ezmsg"),
}
"""Module of `tools.bench.transports` and class."""


def make(name: str, job: Job) -> Transport:
    """Return the transport of that name for one job."""
    module, kind = TRANSPORTS[name]
    transport: Transport = getattr(importlib.import_module(f"{__package__}.transports.{module}"), kind)(job)
    return transport
