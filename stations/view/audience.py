"""Who watches, and what each still has to see.  Pure: no websocket, no clock.

`Board` holds the newest frame of every topic (the status, the events, each stream), encoded once.  A `Viewer` is one
page: when it has credit it is given each frame that is newer than what it was given before, then a tick.  A page that
is slow, hidden or stopped has no credit, gets nothing and queues nothing; when it returns it gets the newest of each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final

from .errors import FrameError
from .frames import Tick

WINDOW: Final = 2
"""Ticks under way to one page: one being drawn, one on the wire.  More only makes the picture older."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A frame on the board."""

    version: int
    """Grows with every posting on this board."""
    frame: bytes


class Board:
    """The newest encoded frame of each topic."""

    def __init__(self) -> None:
        self._posted: dict[Hashable, Posted] = {}
        self._version = 0

    def __repr__(self) -> str:
        return f"<Board {len(self._posted)} topics, version {self._version}>"

    def post(self, topic: Hashable, frame: bytes) -> None:
        """Replace a topic's frame by a newer one."""
        self._version += 1
        self._posted[topic] = Posted(self._version, frame)

    def remove(self, topic: Hashable) -> None:
        """Forget a topic; nothing happens when it is not there."""
        self._posted.pop(topic, None)

    def newer_than(self, version: int) -> Iterator[Posted]:
        """Yield what was posted after `version`, in the order in which the topics first appeared.

        So a page knows of a stream (topic status) before it gets the stream's image, however old that is.
        """
        return (posted for posted in self._posted.values() if posted.version > version)

    @property
    def version(self) -> int:
        """Version of the newest posting; 0 when nothing was posted."""
        return self._version


class Viewer:
    """One page and its credit."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._ticks = 0
        self._seen = 0
        self._version = 0

    def __repr__(self) -> str:
        return f"<Viewer ticks={self._ticks} in_flight={self.in_flight}>"

    @property
    def in_flight(self) -> int:
        """Ticks sent and not yet seen, 0..window."""
        return self._ticks - self._seen

    @property
    def has_credit(self) -> bool:
        """Whether the page can take another tick now."""
        return self.in_flight < self._window

    def take(self, board: Board) -> list[bytes]:
        """Return the frames to send now: what is new, then a tick; nothing without credit or without news."""
        if not self.has_credit:
            return []
        frames = [posted.frame for posted in board.newer_than(self._version)]
        if not frames:
            return []
        self._version = board.version
        self._ticks += 1
        return [*frames, Tick(self._ticks).to_bytes()]

    def on_seen(self, number: int) -> None:
        """Take a page's answer; an older or repeated one changes nothing.

        Raises:
            FrameError: a tick that was never sent.
        """
        if number > self._ticks:
            raise FrameError(f"the page has seen tick {number}, only {self._ticks} were sent")
        self._seen = max(self._seen, number)
