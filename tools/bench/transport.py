"""What a bench moves items through: one protocol, an implementation a file in `transports/`."""

from __future__ import annotations

import importlib.util
import itertools
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from .feed import Feed
    from .payloads import Payload
    from .sink import Sink

PATIENCE_S: Final = 5.0
"""Longest wait for one item, or for room for one, before the other side is taken for dead, seconds."""
NEEDS: Final[Mapping[str, str]] = {"iceoryx2": "iceoryx2", "ezmsg": "ezmsg.core"}
"""Modules that are no dependency of ours, by the transport that is made of them."""

Use = Literal["touch", "full", "paced"]
"""What readers do: look at an item's ends, sum up all of it, or note how old it is when it arrives at a steady rate."""

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement: what goes to how many readers, under a name that nobody else has."""

    payload: Payload
    readers: int
    use: Use
    name: str = field(default_factory=lambda: f"bench-{os.getpid()}/{next(_numbers)}")


class Transport(Protocol):
    """One way to move items from a process to others, without losing any.

    An instance serves one job. It is made before the processes are forked, so what it makes then is inherited by all:
    names, pipes, semaphores. It must start no thread in that process.
    """

    block: int
    """Items that the writer is handed in one go; 0 for single ones."""

    def __init__(self, job: Job) -> None: ...

    def write(self, feed: Feed) -> None:
        """In the writing process: open, ``feed.start()``, then send every item of the feed."""

    def read(self, sink: Sink) -> None:
        """In a reading process, when the writer is open: open, ``sink.start()``, ``sink.take`` until it is True."""

    def close(self) -> None:
        """In the first process again, when the others have ended: remove what is left."""


def missing() -> list[str]:
    """Return the transports that cannot be measured because their module is not installed."""
    return [name for name, module in NEEDS.items() if importlib.util.find_spec(module.partition(".")[0]) is None]


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
