"""What a sender keeps: messages on their way, the lanes they wait in, what is known of their recipients."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from .effects import Buffer
from .session_table import Stage

_SMOOTHING: Final = 0.125


class Outgoing:
    """A confirmed message on its way."""

    __slots__ = ("body", "bound", "counter", "deadline", "delay", "due", "first_sent", "key", "path",
                 "questioned", "sends", "stage", "tag", "ttl")  # fmt: skip

    def __init__(
        self, counter: int, path: Sequence[bytes], key: str, body: Sequence[Buffer], *, ttl: int, deadline: float
    ) -> None:
        self.counter = counter
        self.path = path
        self.key = key
        self.body = body
        self.ttl = ttl
        self.deadline = deadline
        self.stage = Stage.WAITING
        self.bound = self.sends = 0
        self.tag = b""
        self.due = deadline
        self.delay = self.first_sent = self.questioned = 0.0


class Lane:
    """Messages of one key to one recipient."""

    __slots__ = ("flying", "waiting")

    def __init__(self) -> None:
        self.flying = 0
        self.waiting: deque[Outgoing] = deque()


class Recipient:
    """What is known of one recipient."""

    __slots__ = ("binder", "boot", "heard", "lanes", "order", "round_s", "told_floor", "touched", "unsettled")

    def __init__(self, now: float) -> None:
        self.boot = 0
        self.heard = self.touched = now
        self.told_floor = 0
        self.round_s = 0.0
        """Smoothed time from a send to its first answer."""
        self.binder: Outgoing | None = None
        self.lanes: dict[str, Lane] = {}
        self.unsettled: dict[int, Outgoing] = {}
        self.order: deque[int] = deque()

    def answered(self, item: Outgoing, now: float) -> None:
        """Learn from the first answer to a message that was sent once how long answers take."""
        self.round_s += (now - item.first_sent - self.round_s) * _SMOOTHING

    def lane_of(self, item: Outgoing) -> Lane:
        """Return the lane of a message, a new one if there is none."""
        lane = self.lanes.get(item.key)
        if lane is None:
            lane = self.lanes[item.key] = Lane()
        return lane

    def next_of(self, lane: Lane, window: int) -> Outgoing | None:
        """Return the next that may start: any number up to the window, but only one while the boot is unknown."""
        while lane.waiting and lane.flying < window and (self.boot or self.binder is None):
            item = lane.waiting.popleft()
            if item.stage is Stage.WAITING:  # else it expired where it stood
                lane.flying += 1
                return item
        return None

    def left(self, item: Outgoing, *, has_flown: bool) -> Lane:
        """Forget a message that has its end; return its lane, in which another may start now."""
        del self.unsettled[item.counter]
        lane = self.lanes[item.key]
        lane.flying -= has_flown
        if not lane.waiting and not lane.flying:
            del self.lanes[item.key]
        return lane

    def floor(self, top: int) -> int:
        """Return the lowest counter that is not settled, `top` if all are."""
        order, unsettled = self.order, self.unsettled
        while order and order[0] not in unsettled:
            order.popleft()
        return order[0] if order else top
