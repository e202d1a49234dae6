"""A session: the promises of control messages, without I/O.

It takes what arrives and the time now, and returns effects as data.  Whatever the way does to envelopes - loses,
doubles, reorders, delays them - a listen runs at most once per message within one boot of the recipient, and every
confirmed message ends in exactly one state at its sender (`outbox.py`, `inbox.py` number the promises;
`session_table.py` holds the rules as tables).  Unconfirmed messages (POST) are sent once and run at most once.
"""

from __future__ import annotations

from collections.abc import Sequence

from .effects import Buffer, Deliver, Effect, Effects, Progress, Ref, Settle, Transmit
from .inbox import Inbox
from .outbox import Outbox, Patience
from .outgoing import Outgoing
from .wire import Kind, Tag

__all__ = ["Deliver", "Effect", "Effects", "Outgoing", "Patience", "Progress", "Ref", "Session", "Settle", "Transmit"]

NOTICE_S = 1.0
"""How often recipients that are not written to are told what they may forget."""


class Session:
    """All conversations of one node, in one boot of it.

    Attributes:
        outbox: what we sent.
        inbox: what came.
    """

    def __init__(self, boot: int, now: float, patience: Patience | None = None) -> None:
        patience = patience or Patience()
        self.boot = boot
        self.outbox = Outbox(boot, patience)
        self.inbox = Inbox(boot, now, patience.late_s)
        self._next_notice = now + NOTICE_S

    @property
    def next_due(self) -> float:
        """When `on_tick` wants to be called next (it may be called earlier)."""
        return min(self.outbox.next_due, self.inbox.next_due, self._next_notice)

    def submit(self, item: Outgoing, now: float) -> Effects:
        """Take a confirmed message of ours."""
        return self.outbox.submit(item, now)

    def post(self, counter: int, path: Sequence[bytes], body: Sequence[Buffer], now: float) -> Transmit:
        """Take an unconfirmed message of ours; it is `sent` once that is carried out."""
        return self.outbox.post(counter, path, body, now)

    def on_envelope(self, way: Sequence[bytes], tag: Tag, body: Sequence[Buffer], now: float) -> Effects:
        """Take an envelope addressed to us; kinds that are not the session's are ignored."""
        kind = tag.kind
        if kind <= Kind.ASK:
            return self.inbox.on_message(way, tag, body, now)
        if kind <= Kind.STRANGER:
            return self.outbox.on_answer(way[0], tag, body, now)
        if kind == Kind.SETTLED:
            self.inbox.on_settled(way[0], tag, now)
        return []

    def finished(self, ref: Ref, kind: Kind, body: Sequence[Buffer], now: float) -> Effects:
        """Tell how a delivered message's listen ended: kind DONE or FAILED, `body` the answer's content."""
        return self.inbox.finished(ref, kind, body, now)

    def on_tick(self, now: float) -> Effects:
        """Do what is due."""
        effects = self.outbox.on_tick(now) + self.inbox.on_tick(now)
        if now >= self._next_notice:
            self._next_notice = now + NOTICE_S
            effects += self.outbox.settled_notices(NOTICE_S, now)
        return effects

    def __repr__(self) -> str:
        return f"<Session boot={self.boot:016x} unsettled={len(self.outbox)} remembered={len(self.inbox)}>"
