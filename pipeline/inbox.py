"""The recipient's half of a session: a listen runs at most once per message.

R1  A message bound to another boot than ours is never run here.
R2  A message runs only if its counter is not below the sender's floor and is not remembered.
R3  A message that was asked about before it came is refused for ever.
R4  What is remembered is forgotten only when the sender says that it is settled, or after `FORGET_S` of silence.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

import msgspec

from .effects import Buffer, Deliver, Effects, Ref, Transmit
from .session_table import RECIPIENT, Answer, Arrival, Place
from .wire import VERSION, Kind, Outcome, Tag

MAX_SENDERS: Final = 65536
MAX_SENDERS_BY_ONE: Final = 1024
"""Senders whose messages come by one neighbour: whoever makes up names fills up only what is the neighbour's."""
FORGET_S: Final = 900.0
"""A sender that was silent for so long is forgotten when room is needed: no copy is on the way for so long."""
MAX_REMEMBERED: Final = 2**19
"""Messages remembered, of all senders together.  Honest senders settle; at the limit nothing new is heard."""
MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""Results kept for senders that have not said they have them."""


class _Entry:
    """A confirmed message that came, or was asked about."""

    __slots__ = ("body", "kind", "place", "way")

    def __init__(self, way: Sequence[bytes]) -> None:
        self.place = Place.NEW
        self.way = way
        self.kind = Kind.RECEIVED
        self.body: Sequence[Buffer] = ()


class _Sender:
    """What is remembered of one boot of one sender; None stands for an unconfirmed message that came."""

    __slots__ = ("entries", "floor", "heard", "neighbour", "order")

    def __init__(self, neighbour: bytes) -> None:
        self.neighbour = neighbour
        self.floor = 0
        self.heard = 0.0
        self.entries: dict[int, _Entry | None] = {}
        self.order: deque[int] = deque()

    def forget_below(self, floor: int) -> int:
        """Return how many were forgotten."""
        if floor <= self.floor:
            return 0
        self.floor = floor
        order, entries = self.order, self.entries
        before = len(entries)
        while order and order[0] < floor:
            entries.pop(order.popleft(), None)
        return before - len(entries)


class Inbox:
    """Messages that came and may come again, by sender."""

    def __init__(self, boot: int, started: float, late_s: float) -> None:
        self.boot = boot
        self.refused_senders = 0
        self._started = started
        self._late_s = late_s
        self._senders: dict[tuple[bytes, int], _Sender] = {}
        self._late: deque[tuple[float, Ref]] = deque()
        self._held: deque[tuple[Ref, int]] = deque()
        self._held_bytes = 0
        self._remembered = 0
        self._by_neighbour: Counter[bytes] = Counter()
        self._look_at = 0.0

    def __len__(self) -> int:
        return self._remembered

    @property
    def next_due(self) -> float:
        """When `on_tick` has something to do; infinity if never."""
        while self._late:
            due, ref = self._late[0]
            entry = self._entry(ref)
            if entry is not None and entry.place is Place.RUNNING:
                return due
            self._late.popleft()
        return _NEVER

    def on_message(self, way: Sequence[bytes], tag: Tag, body: Sequence[Buffer], now: float) -> Effects:
        """Take a MESSAGE, POST or ASK."""
        is_bound = tag.kind != Kind.POST
        if is_bound and tag.other != self.boot:  # R1
            bound = tag.other.to_bytes(8, "little")
            return [self._reply(way, Ref(way[0], tag.boot, tag.counter), Kind.STRANGER, (bound,), now)]
        sender = self._sender(way, tag.boot, now)
        if sender is None:
            return []
        sender.heard = now
        self._remembered -= sender.forget_below(tag.number)
        if tag.counter < sender.floor:  # R2
            return []
        if self._remembered >= MAX_REMEMBERED and tag.counter not in sender.entries:
            self.refused_senders += 1
            return []
        if not is_bound:
            return self._on_post(sender, way, tag, body)
        ref = Ref(way[0], tag.boot, tag.counter)
        entry = sender.entries.get(tag.counter)
        if entry is None:
            entry = sender.entries[tag.counter] = _Entry(way)
            sender.order.append(tag.counter)
            self._remembered += 1
        entry.way = way
        return self._step(ref, entry, Arrival.ASK if tag.kind == Kind.ASK else Arrival.MESSAGE, now, body)

    def on_settled(self, origin: bytes, tag: Tag, now: float) -> None:
        """Forget what the sender says is settled."""
        sender = self._senders.get((origin, tag.boot))
        if sender is not None and tag.other == self.boot:
            sender.heard = now
            self._remembered -= sender.forget_below(tag.number)

    def finished(self, ref: Ref, kind: Kind, body: Sequence[Buffer], now: float) -> Effects:
        """Tell that a delivered message's listen has returned (`DONE`) or raised (`FAILED`); `body` is the answer."""
        entry = self._entry(ref)
        if entry is None or entry.place is not Place.RUNNING:
            return []  # the sender has given it up meanwhile
        entry.kind, entry.body = kind, body
        self._hold(ref, sum(len(part) for part in body))
        return self._step(ref, entry, Arrival.RETURNED if kind == Kind.DONE else Arrival.RAISED, now)

    def on_tick(self, now: float) -> Effects:
        """Answer `received` for what still runs."""
        effects: Effects = []
        while self._late and self._late[0][0] <= now:
            ref = self._late.popleft()[1]
            entry = self._entry(ref)
            if entry is not None:
                effects += self._step(ref, entry, Arrival.LATE, now)
        return effects

    def _on_post(self, sender: _Sender, way: Sequence[bytes], tag: Tag, body: Sequence[Buffer]) -> Effects:
        if tag.counter in sender.entries:
            return []
        sender.entries[tag.counter] = None
        sender.order.append(tag.counter)
        self._remembered += 1
        return [Deliver(Ref(way[0], tag.boot, tag.counter), False, body)]

    def _step(self, ref: Ref, entry: _Entry, arrival: Arrival, now: float, body: Sequence[Buffer] = ()) -> Effects:
        row = RECIPIENT.get((entry.place, arrival))
        if row is None:
            return []
        entry.place, answer = row
        if answer is Answer.DELIVER:
            self._late.append((now + self._late_s, ref))
            return [Deliver(ref, True, body)]
        kind = _KINDS.get(answer, entry.kind)
        content = entry.body if answer is Answer.OUTCOME else ()
        return [self._reply(entry.way, ref, kind, content, now)]

    def _reply(self, way: Sequence[bytes], ref: Ref, kind: Kind, body: Sequence[Buffer], now: float) -> Transmit:
        uptime = int((now - self._started) * 1e6)
        return Transmit(way[::-1], Tag(VERSION, kind, ref.boot, ref.counter, self.boot, uptime).pack(), body)

    def _entry(self, ref: Ref) -> _Entry | None:
        sender = self._senders.get((ref.origin, ref.boot))
        return sender.entries.get(ref.counter) if sender is not None else None

    def _sender(self, way: Sequence[bytes], boot: int, now: float) -> _Sender | None:
        name, neighbour = (way[0], boot), way[-1]
        found = self._senders.get(name)
        if found is None:
            if not (self._has_room(neighbour) or (self._make_room(now) and self._has_room(neighbour))):
                self.refused_senders += 1
                return None
            found = self._senders[name] = _Sender(neighbour)
            self._by_neighbour[neighbour] += 1
        return found

    def _has_room(self, neighbour: bytes) -> bool:
        return len(self._senders) < MAX_SENDERS and self._by_neighbour[neighbour] < MAX_SENDERS_BY_ONE

    def _make_room(self, now: float) -> bool:
        """Forget senders that have long been silent; looked for at most once a second."""  # R4
        if now < self._look_at:
            return False
        self._look_at = now + 1.0
        idle = [
            name
            for name, sender in self._senders.items()
            if now - sender.heard > FORGET_S
            and not any(entry is not None and entry.place is Place.RUNNING for entry in sender.entries.values())
        ]
        for name in idle:
            sender = self._senders.pop(name)
            self._remembered -= len(sender.entries)
            self._by_neighbour[sender.neighbour] -= 1
        return bool(idle)

    def _hold(self, ref: Ref, size: int) -> None:
        """Keep a result until the sender has it; beyond the limit the oldest results are given up, and said to be."""
        self._held.append((ref, size))
        self._held_bytes += size
        while self._held_bytes > MAX_HELD_BYTES or len(self._held) > _MAX_HELD:
            old, size = self._held.popleft()
            self._held_bytes -= size
            entry = self._entry(old)
            if entry is not None and old != ref and entry.place is Place.DONE and entry.body:
                entry.kind, entry.body = Kind.FAILED, _GIVEN_UP


_NEVER: Final = float("inf")
_MAX_HELD: Final = 65536
_KINDS: Final = {Answer.RECEIVED: Kind.RECEIVED, Answer.REFUSED: Kind.REFUSED}
_GIVEN_UP: Final = (msgspec.msgpack.encode(Outcome(VERSION, "it ran, but its result is not kept any longer")),)
