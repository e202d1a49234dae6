"""What a session wants done, as data; the hub (or a simulated network) does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

Buffer = bytes | memoryview
FinalState = Literal["sent", "done", "failed", "expired", "unknown"]


class Ref(NamedTuple):
    """Names a message at its recipient: who sent it, in which boot, which one."""

    origin: bytes
    boot: int
    counter: int


class Transmit(msgspec.Struct, frozen=True, gc=False):
    """Send an envelope along `path`; a `counter` above 0 says whose message it is, should it not get away."""

    path: Sequence[bytes]
    tag: bytes
    body: Sequence[Buffer]
    counter: int = 0


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Run the listen, then tell `Session.finished` if it is confirmed."""

    ref: Ref
    is_confirmed: bool
    body: Sequence[Buffer]


class Settle(msgspec.Struct, frozen=True, gc=False):
    """A message of ours has ended: `body` is the content of the answer, if there is one, `reason` says why not."""

    counter: int
    state: FinalState
    body: Sequence[Buffer] = ()
    reason: str = ""


class Progress(msgspec.Struct, frozen=True, gc=False):
    """A message of ours was accepted by its recipient."""

    counter: int


Effect = Transmit | Deliver | Settle | Progress
Effects = list[Effect]
