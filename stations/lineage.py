"""Pilots below a Pilot: messages reach them through it, and keys that are not its own go on from it.

| key | from | effect |
|---|---|---|
| CHILD | anybody above | goes on to each Pilot below under the key in `KEY` (or START); answers what each answered |
| INIT | the Pilot above | this Pilot, and those below it, introduce themselves to the Terminal again |
| any in `forward` | anybody | goes on to the agent, or to the node that the rig file names; answers its answer |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline import Message

from .station import Listen, Station

CHILD_S: Final = 30.0
"""Seconds that the Pilots below have to do what CHILD asks: a STOP drains."""


class Lineage:
    """What a Pilot does for those below it.

    Args:
        station: the Pilot.
        children: ids of the Pilots below.
        forward: address to which each further key goes on.
        introduce: has this Pilot introduce itself again.
    """

    def __init__(
        self,
        station: Station,
        children: Sequence[str],
        forward: Mapping[str, str],
        introduce: Callable[[], None],
    ) -> None:
        self._station = station
        self._children = tuple(children)
        self._forward = dict(forward)
        self._introduce = introduce

    def listens(self) -> dict[str, Listen]:
        """Return what is done for each key."""
        return {"CHILD": self.l_child, "INIT": self.l_init, **dict.fromkeys(self._forward, self.l_forward)}

    def l_child(self, message: Message) -> dict[str, Any]:
        """Pass a message on to every Pilot below; return what each answered.

        Raises:
            ValueError: there is nobody below.
            ValidationError: the value is no mapping, or KEY no text.
            OutcomeError: one of them failed; the others were told all the same.
        """
        value = msgspec.convert({} if message.value is None else message.value, dict[str, Any])
        key = msgspec.convert(value.pop("KEY", "START"), str)
        if not self._children:
            raise ValueError(f"{self._station.id} has no Pilots below it; name them as CHILDID in the rig file")
        receipts = {child: self._station.send(child, key, value, deadline_s=CHILD_S) for child in self._children}
        for receipt in receipts.values():
            receipt.wait(CHILD_S)
        return {child: receipt.result(0) for child, receipt in receipts.items()}

    def l_init(self, _message: Message | None = None) -> None:
        """Introduce this Pilot to the Terminal again, and those below it."""
        self._introduce()
        for child in self._children:
            self._station.send(child, "INIT", repeat=False)

    def l_forward(self, message: Message) -> Any:
        """Pass a message on as it is; return what was answered."""
        return self._station.request(self._forward[message.key or ""], message.key or "", message.value)

    def __repr__(self) -> str:
        return f"<Lineage of {self._station.id}: {', '.join(self._children) or 'nobody below'}>"
