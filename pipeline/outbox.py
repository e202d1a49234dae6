"""The sender's half of a session: every confirmed message ends in exactly one state.

Promises, for any loss, duplication and reordering on the way:

S1  A message is bound to one boot of its recipient and runs in no other.
S2  `expired` is said only if it has not run and will not: it never left; or the boot it is bound to has promised to
    refuse it; or that boot was over before it was first sent.
S3  `unknown` is said only if the recipient restarted after the first send, or was silent for `silence_s`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .effects import Buffer, Effects, FinalState, Progress, Settle, Transmit
from .outgoing import Lane, Outgoing, Recipient
from .session_table import SENDER, Act, Event, Stage
from .timers import Timers
from .wire import VERSION, Kind, Tag

POST_LAG: Final = 1024
"""Counters behind an unconfirmed message that its recipient still remembers, to know a copy when it sees one."""
FORGET_S: Final = 900.0
"""A recipient that was not written to for so long is forgotten; the next message asks it again which boot it is."""
_CLOCK_MARGIN: Final = 0.001
"""Two machines' clocks may run apart by this fraction; more than any quartz does."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a session waits, seconds."""

    first_resend_s: float = 0.25
    """Doubles with each send."""
    repeat_interval_s: float = 5.0
    """Ceiling of the wait between sends; the seed's `repeat_interval`."""
    silence_s: float = 30.0
    """A recipient asked for so long without any sign of life makes a message `unknown`."""
    late_s: float = 0.05
    """A listen that takes longer is answered by `received` first."""
    window: int = 1024
    """Messages of one key to one recipient that are on the way at once."""


_ROUNDS: Final = 4.0
"""A first send is repeated after so many usual times of answering, but not before `first_resend_s`."""


class Outbox:
    """Messages that have been sent but are not settled, by recipient."""

    def __init__(self, boot: int, patience: Patience) -> None:
        self.boot = boot
        self.patience = patience
        self._recipients: dict[bytes, Recipient] = {}
        self._items: dict[int, Outgoing] = {}
        self._timers = Timers(self._items)
        self._top = 1

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, counter: int) -> bool:
        return counter in self._items

    @property
    def next_due(self) -> float:
        """When `on_tick` has something to do; infinity if never."""
        return self._timers.next_due

    def post(self, counter: int, path: Sequence[bytes], body: Sequence[Buffer], now: float) -> Transmit:
        """Send once, unconfirmed."""
        recipient = self._recipient(path[-1], now)
        self._top = counter + 1
        recipient.touched = now
        recipient.told_floor = floor = min(recipient.floor(counter), max(counter - POST_LAG, 0))
        tag = Tag(VERSION, Kind.POST, self.boot, counter, 0, floor).pack()
        return Transmit(path, tag, body)

    def submit(self, item: Outgoing, now: float) -> Effects:
        """Take a confirmed message; counters must come in rising order."""
        recipient = self._recipient(item.path[-1], now)
        recipient.touched = now
        self._top = item.counter + 1
        self._items[item.counter] = recipient.unsettled[item.counter] = item
        recipient.order.append(item.counter)
        lane = recipient.lane_of(item)
        lane.waiting.append(item)
        effects: Effects = []
        self._open(recipient, lane, now, effects)
        if item.stage is Stage.WAITING:
            self._timers.schedule(item, item.deadline)
        return effects

    def on_answer(self, origin: bytes, tag: Tag, body: Sequence[Buffer], now: float) -> Effects:
        """Take what a recipient says of one of our messages."""
        item = self._items.get(tag.counter)
        effects: Effects = []
        if tag.boot != self.boot or item is None or item.path[-1] != origin:
            return effects  # of an earlier boot of ours, settled, or forged
        recipient = self._recipients[origin]
        recipient.heard = now
        if tag.kind == Kind.STRANGER:
            if body and bytes(body[0]) == item.bound.to_bytes(8, "little"):  # else it speaks of an earlier binding
                self._meet(recipient, item, tag, now, effects)
        elif tag.other == item.bound:
            if item.stage is Stage.SENT and item.sends == 1:
                recipient.answered(item, now)
            self._step(item, _ANSWERS[tag.kind], now, effects, body=body)
        return effects

    def on_unroutable(self, counter: int, reason: str, now: float, *, has_left: bool = True) -> Effects:
        """A hop knows no way to a message's recipient, or (`has_left` False, after `not_sent`) our own hub does not.

        Only what was never sent otherwise has failed: an earlier send may have arrived.
        """
        item = self._items.get(counter)
        effects: Effects = []
        if item is not None and item.sends <= int(has_left):
            self._step(item, Event.UNROUTABLE, now, effects, reason=reason)
        return effects

    def not_sent(self, counter: int) -> None:
        """Take back a send: the message could not leave this machine, the link is down."""
        item = self._items.get(counter)
        if item is not None and item.stage is Stage.SENT:
            item.sends -= 1

    def has_left(self, counter: int) -> bool:
        """Tell whether a message of ours that is not settled was ever sent."""
        item = self._items.get(counter)
        return item is not None and item.sends > 0

    def on_boot(self, origin: bytes, tag: Tag, now: float) -> Effects:
        """A recipient that is our neighbour says which boot it is (`other`) and since when (`number`)."""
        effects: Effects = []
        recipient = self._recipients.get(origin)
        if recipient is None:
            return effects
        recipient.heard = now
        if recipient.boot != tag.other or recipient.binder is not None:
            for item in list(recipient.unsettled.values()):
                self._meet(recipient, item, tag, now, effects)
            recipient.boot = tag.other
            self._open_all(recipient, now, effects)
        return effects

    def resume(self, now: float) -> None:
        """The link is back: try everything that waits for an answer again at once, in order."""
        for item in self._items.values():
            if item.stage is not Stage.WAITING:
                item.delay = 0.0
                self._timers.schedule(item, now)

    def on_tick(self, now: float) -> Effects:
        """Resend, ask, expire what is due."""
        effects: Effects = []
        while (item := self._timers.pop(now)) is not None:
            patient_until = item.first_sent + _ROUNDS * self._recipients[item.path[-1]].round_s
            if item.stage is Stage.SENT and item.sends == 1 and now < min(patient_until, item.deadline):
                self._timers.schedule(item, min(patient_until, item.deadline))  # busy: more would not help
            else:
                self._step(item, self._timer_event(item, now), now, effects)
        return effects

    def settled_notices(self, idle_s: float, now: float) -> Effects:
        """Tell recipients that were not written to for `idle_s` what they may forget; call it about once a second."""
        effects: Effects = []
        for origin, recipient in list(self._recipients.items()):
            if now - recipient.touched > FORGET_S and not recipient.unsettled:
                del self._recipients[origin]
            if now - recipient.touched < idle_s or not recipient.boot:
                continue
            floor = recipient.floor(self._top)
            if floor > recipient.told_floor:
                recipient.told_floor = floor
                tag = Tag(VERSION, Kind.SETTLED, self.boot, 0, recipient.boot, floor).pack()
                effects.append(Transmit((origin,), tag, ()))
        return effects

    def _recipient(self, origin: bytes, now: float) -> Recipient:
        found = self._recipients.get(origin)
        if found is None:
            found = self._recipients[origin] = Recipient(now)
        return found

    def _timer_event(self, item: Outgoing, now: float) -> Event:
        stage = item.stage
        if stage in _ASKERS:
            heard = max(self._recipients[item.path[-1]].heard, item.questioned)
            return Event.SILENT if now - heard > self.patience.silence_s else Event.TIMER
        is_over = now >= item.deadline or (stage is Stage.SENT and item.sends >= item.ttl)
        return Event.SPENT if is_over else Event.TIMER

    def _meet(self, recipient: Recipient, item: Outgoing, tag: Tag, now: float, effects: Effects) -> None:
        """The recipient says it is boot `tag.other`, up for `tag.number` microseconds, and not the one we meant.

        It answers an envelope that was bound to a boot that had been; so it is younger than that boot, and if it is
        older than our first send, that boot was over before.  # S2
        """
        recipient.boot = tag.other
        if item.stage is Stage.BINDING:
            self._step(item, Event.BOUND, now, effects)
        elif item.bound not in (0, tag.other):
            age = (now - item.first_sent) * (1 + _CLOCK_MARGIN)
            is_older = tag.number / 1e6 >= age
            self._step(item, Event.NEVER_REACHED if is_older else Event.RESTARTED, now, effects)

    def _step(
        self,
        item: Outgoing,
        event: Event,
        now: float,
        effects: Effects,
        *,
        body: Sequence[Buffer] = (),
        reason: str = "",
    ) -> None:
        row = SENDER.get((item.stage, event))
        if row is None:
            return
        before, item.stage = item.stage, row[0]
        for act in row[1]:
            if act is Act.TRANSMIT:
                self._transmit(item, now, effects)
            elif act is Act.ASK:
                self._ask(item, now, effects)
            elif act is Act.REBIND:
                self._bind(item, now)
            elif act is Act.REPORT:
                self._back_off(item, now)
                effects.append(Progress(item.counter))
            else:
                why = reason or ("" if body else _why(before, event, item))
                end = Settle(item.counter, _STATES[item.stage], body, why)
                self._settle(item, before, end, now, effects)
        recipient = self._recipients[item.path[-1]]
        if recipient.binder is item and item.stage is not Stage.BINDING:
            recipient.binder = None
            self._open_all(recipient, now, effects)

    def _bind(self, item: Outgoing, now: float) -> None:
        recipient = self._recipients[item.path[-1]]
        item.bound = recipient.boot
        item.first_sent = now
        floor = recipient.floor(item.counter)
        item.tag = Tag(VERSION, Kind.MESSAGE, self.boot, item.counter, item.bound, floor).pack()
        recipient.told_floor = max(recipient.told_floor, floor)

    def _transmit(self, item: Outgoing, now: float, effects: Effects) -> None:
        self._recipients[item.path[-1]].touched = now
        item.sends += 1
        self._back_off(item, now)
        effects.append(Transmit(item.path, item.tag, item.body, item.counter))

    def _ask(self, item: Outgoing, now: float, effects: Effects) -> None:
        recipient = self._recipients[item.path[-1]]
        if item.stage is Stage.ASKING and not item.questioned:
            item.questioned = now  # silence counts from the first question
            item.delay = 0.0
        self._back_off(item, now)
        floor = recipient.floor(item.counter)
        tag = Tag(VERSION, Kind.ASK, self.boot, item.counter, item.bound, floor).pack()
        effects.append(Transmit(item.path, tag, (), item.counter))

    def _back_off(self, item: Outgoing, now: float) -> None:
        patience = self.patience
        item.delay = min(item.delay * 2 or patience.first_resend_s, patience.repeat_interval_s)
        due = now + item.delay
        if item.stage in _BEFORE_ASKING and now < item.deadline < due:
            due = item.deadline
        self._timers.schedule(item, due)

    def _open(self, recipient: Recipient, lane: Lane, now: float, effects: Effects) -> None:
        """Start what may start."""
        while (item := recipient.next_of(lane, self.patience.window)) is not None:
            if recipient.boot:
                self._step(item, Event.BOUND, now, effects)
            else:
                recipient.binder = item
                self._step(item, Event.OPENED, now, effects)

    def _open_all(self, recipient: Recipient, now: float, effects: Effects) -> None:
        for lane in list(recipient.lanes.values()):
            self._open(recipient, lane, now, effects)

    def _settle(self, item: Outgoing, before: Stage, end: Settle, now: float, effects: Effects) -> None:
        del self._items[item.counter]
        effects.append(end)
        recipient = self._recipients[item.path[-1]]
        lane = recipient.left(item, has_flown=before is not Stage.WAITING)
        self._open(recipient, lane, now, effects)


_ANSWERS: Final[dict[int, Event]] = {
    Kind.RECEIVED: Event.RECEIVED,
    Kind.DONE: Event.DONE,
    Kind.FAILED: Event.FAILED,
    Kind.REFUSED: Event.REFUSED,
}
_ASKERS: Final = (Stage.RECEIVED, Stage.ASKING)
_BEFORE_ASKING: Final = (Stage.BINDING, Stage.SENT)
_STATES: Final[dict[Stage, FinalState]] = {
    Stage.DONE: "done",
    Stage.FAILED: "failed",
    Stage.EXPIRED: "expired",
    Stage.UNKNOWN: "unknown",
}


def _why(before: Stage, event: Event, item: Outgoing) -> str:
    to = item.path[-1].decode()
    if event is Event.SPENT:
        return f"{to} did not answer in time; the message never left"
    if event is Event.REFUSED:
        return f"{to} has not run it and refuses it from now on"
    if event is Event.NEVER_REACHED and before is not Stage.RECEIVED:
        return f"{to} restarted before the message was sent"
    if event is Event.SILENT:
        return f"{to} is silent; it may have run"
    return f"{to} restarted; it may have run"
