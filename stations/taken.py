"""An address belongs to the first who claims it: a newcomer that is refused says so and leaves.

Not at once: the first may be dead and the station above not know it yet, because a machine lost power or a cable was
pulled.  It is given up there after `Pace.lost_s` of silence, and the newcomer let in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pipeline import Hub, Pace

PATIENCE_S: Final = Pace().lost_s + 1.0
"""Seconds after which whoever holds the address is certainly alive."""


class AddressGuard:
    """Tells whether the address of a hub is its own; whoever runs the part asks now and then."""

    def __init__(self, hub: Hub, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._clock = clock
        self._refused: float | None = None

    def is_ours(self) -> bool:
        """Whether messages can be sent; False while we are refused.

        Raises:
            DuplicateIdError: refused for so long that another live process holds the address.
        """
        problem, now = self._hub.problem, self._clock()
        if problem is None:
            self._refused = None
            return True
        if self._refused is None:
            self._refused = now
        if now - self._refused > PATIENCE_S:
            raise problem
        return False

    def __repr__(self) -> str:
        return f"<AddressGuard {self._hub.id} {'ours' if self._refused is None else 'refused'}>"
