"""The rules of a session as tables; `pipeline/README.md` draws its diagrams from them.

A row says: in this stage, when this happens, go to that stage and do these things, in order.  What is not in a table
cannot matter any more: it is ignored.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class _Word(Enum):
    """An enum whose members hash by identity, in C: the tables are looked up for every message."""

    __hash__ = object.__hash__


class Stage(_Word):
    """Where a confirmed message is, at its sender."""

    WAITING = "waiting"
    """Not sent yet: the window of its key is closed, or the recipient's boot is not known."""
    BINDING = "binding"
    """The recipient was asked which boot it is; a message is bound to one boot and refused by every other."""
    SENT = "sent"
    RECEIVED = "received"
    """The recipient has accepted it: it runs or waits to run."""
    ASKING = "asking"
    """Its sends are used up, or its deadline is over: the recipient is asked what became of it."""
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Event(_Word):
    """What can happen to it."""

    OPENED = "window open, boot unknown"
    BOUND = "window open, boot known"
    TIMER = "no answer in time"
    SPENT = "no answer in time; ttl or deadline over"
    SILENT = "recipient silent too long"
    RECEIVED = "says received"
    DONE = "says done"
    FAILED = "says failed"
    REFUSED = "says it has not run and will not"
    NEVER_REACHED = "another boot, older than the first send"
    RESTARTED = "another boot, younger than the first send"
    UNROUTABLE = "no way there; sent at most once"


class Act(_Word):
    """What the session does about it."""

    ASK = "ask"
    TRANSMIT = "transmit"
    REBIND = "bind to the new boot"
    REPORT = "tell the receipt"
    SETTLE = "settle"


Row = tuple[Stage, tuple[Act, ...]]

SENDER: Final[dict[tuple[Stage, Event], Row]] = {
    (Stage.WAITING, Event.OPENED): (Stage.BINDING, (Act.ASK,)),
    (Stage.WAITING, Event.BOUND): (Stage.SENT, (Act.REBIND, Act.TRANSMIT)),
    (Stage.WAITING, Event.SPENT): (Stage.EXPIRED, (Act.SETTLE,)),
    (Stage.BINDING, Event.TIMER): (Stage.BINDING, (Act.ASK,)),
    (Stage.BINDING, Event.BOUND): (Stage.SENT, (Act.REBIND, Act.TRANSMIT)),
    (Stage.BINDING, Event.SPENT): (Stage.EXPIRED, (Act.SETTLE,)),
    (Stage.BINDING, Event.UNROUTABLE): (Stage.FAILED, (Act.SETTLE,)),
    (Stage.SENT, Event.TIMER): (Stage.SENT, (Act.TRANSMIT,)),
    (Stage.SENT, Event.SPENT): (Stage.ASKING, (Act.ASK,)),
    (Stage.SENT, Event.RECEIVED): (Stage.RECEIVED, (Act.REPORT,)),
    (Stage.SENT, Event.DONE): (Stage.DONE, (Act.SETTLE,)),
    (Stage.SENT, Event.FAILED): (Stage.FAILED, (Act.SETTLE,)),
    (Stage.SENT, Event.REFUSED): (Stage.EXPIRED, (Act.SETTLE,)),
    (Stage.SENT, Event.NEVER_REACHED): (Stage.SENT, (Act.REBIND, Act.TRANSMIT)),
    (Stage.SENT, Event.RESTARTED): (Stage.UNKNOWN, (Act.SETTLE,)),
    (Stage.SENT, Event.UNROUTABLE): (Stage.FAILED, (Act.SETTLE,)),
    (Stage.RECEIVED, Event.TIMER): (Stage.RECEIVED, (Act.ASK,)),
    (Stage.RECEIVED, Event.SPENT): (Stage.RECEIVED, (Act.ASK,)),
    (Stage.RECEIVED, Event.DONE): (Stage.DONE, (Act.SETTLE,)),
    (Stage.RECEIVED, Event.FAILED): (Stage.FAILED, (Act.SETTLE,)),
    (Stage.RECEIVED, Event.NEVER_REACHED): (Stage.UNKNOWN, (Act.SETTLE,)),
    (Stage.RECEIVED, Event.RESTARTED): (Stage.UNKNOWN, (Act.SETTLE,)),
    (Stage.RECEIVED, Event.SILENT): (Stage.UNKNOWN, (Act.SETTLE,)),
    (Stage.ASKING, Event.TIMER): (Stage.ASKING, (Act.ASK,)),
    (Stage.ASKING, Event.SPENT): (Stage.ASKING, (Act.ASK,)),
    (Stage.ASKING, Event.RECEIVED): (Stage.RECEIVED, (Act.REPORT,)),
    (Stage.ASKING, Event.DONE): (Stage.DONE, (Act.SETTLE,)),
    (Stage.ASKING, Event.FAILED): (Stage.FAILED, (Act.SETTLE,)),
    (Stage.ASKING, Event.REFUSED): (Stage.EXPIRED, (Act.SETTLE,)),
    (Stage.ASKING, Event.NEVER_REACHED): (Stage.EXPIRED, (Act.SETTLE,)),
    (Stage.ASKING, Event.RESTARTED): (Stage.UNKNOWN, (Act.SETTLE,)),
    (Stage.ASKING, Event.SILENT): (Stage.UNKNOWN, (Act.SETTLE,)),
}


class Place(_Word):
    """Where a confirmed message is, at its recipient."""

    NEW = "new"
    RUNNING = "running"
    """Handed to its listen; it waits its turn or runs."""
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    """The sender asked before it came: it will never run."""


class Arrival(_Word):
    """What can happen to it there."""

    MESSAGE = "message"
    ASK = "ask"
    RETURNED = "listen returned"
    RAISED = "listen raised"
    LATE = "still running after 50 ms"


class Answer(_Word):
    """What the recipient does about it."""

    DELIVER = "deliver"
    RECEIVED = "answer received"
    OUTCOME = "answer with the outcome"
    REFUSED = "answer refused"


RECIPIENT: Final[dict[tuple[Place, Arrival], tuple[Place, Answer]]] = {
    (Place.NEW, Arrival.MESSAGE): (Place.RUNNING, Answer.DELIVER),
    (Place.NEW, Arrival.ASK): (Place.REFUSED, Answer.REFUSED),
    (Place.RUNNING, Arrival.MESSAGE): (Place.RUNNING, Answer.RECEIVED),
    (Place.RUNNING, Arrival.ASK): (Place.RUNNING, Answer.RECEIVED),
    (Place.RUNNING, Arrival.LATE): (Place.RUNNING, Answer.RECEIVED),
    (Place.RUNNING, Arrival.RETURNED): (Place.DONE, Answer.OUTCOME),
    (Place.RUNNING, Arrival.RAISED): (Place.FAILED, Answer.OUTCOME),
    (Place.DONE, Arrival.MESSAGE): (Place.DONE, Answer.OUTCOME),
    (Place.DONE, Arrival.ASK): (Place.DONE, Answer.OUTCOME),
    (Place.FAILED, Arrival.MESSAGE): (Place.FAILED, Answer.OUTCOME),
    (Place.FAILED, Arrival.ASK): (Place.FAILED, Answer.OUTCOME),
    (Place.REFUSED, Arrival.MESSAGE): (Place.REFUSED, Answer.REFUSED),
    (Place.REFUSED, Arrival.ASK): (Place.REFUSED, Answer.REFUSED),
}


def draw(table: dict[tuple[Stage, Event], Row] | dict[tuple[Place, Arrival], tuple[Place, Answer]]) -> str:
    """Return a table as a mermaid state diagram, for the README (a test compares them)."""
    lines = ["stateDiagram-v2"]
    for (stage, event), (then, acts) in table.items():
        done = acts.value if isinstance(acts, Answer) else ", ".join(act.value for act in acts)
        lines.append(f"    {stage.value} --> {then.value}: {event.value} / {done}")
    return "\n".join(lines)
