"""What a conductor is told by the members of a run, and what it wants done: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from .ledger import Account, RecordingAccount
from .standby import Began

Phase = Literal["waiting", "standby", "starting", "running", "stopping", "done"]
Key = Literal["ARM", "START", "STOP"]


class Handshake(msgspec.Struct, frozen=True):
    """What a member says of itself when it comes up or back."""

    id: str
    kind: Literal["pilot", "sensor", "recorder", "view"]
    boot: str
    pid: int = 0
    state: str = ""
    url: str = ""
    streams: dict[str, dict[str, Any]] = {}
    prefs: dict[str, Any] = {}
    """What a Pilot shares of its configuration."""


class StreamState(msgspec.Struct, frozen=True):
    """What a Pilot says of one of its streams."""

    finite: bool = False
    """Its source ends by itself."""
    finished: bool = False
    """Every item up to its end was forwarded."""
    pending: int = 0
    """Items of the run that are in the Pilot's spool until the recording has them."""
    missing: str = ""
    """Why it could not begin now; empty if it could."""
    began: Began | None = None
    """Where it began, of a recording that was ordered."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a confirmed message and bring the answer back."""

    to: str
    key: Key
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """Write an event to the journal and show it on the page."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over."""

    accounts: dict[str, Account]
    recordings: dict[str, RecordingAccount] = field(default_factory=dict)
    """Those of pilots that recorded, by pilot."""


Effect = Send | Note | Finished
