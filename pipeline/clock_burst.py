"""What a burst of probes brought, as it is recorded: every raw stamp, so that any reader may judge anew."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from .clock import Probe

PROBES: Final = "probes"
"""Kind of the event that tells of a burst."""
Stamp = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
"""A time that a clock can show, ns: up to 146 years."""


MAX_TEXT: Final = 255
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class Stamps(msgspec.Struct, frozen=True):
    """The answer to a probe, ns: read as late and as early as possible, in this order."""

    received: Stamp
    """The probe came: CLOCK_MONOTONIC."""
    wall: Stamp
    """CLOCK_REALTIME."""
    answered: Stamp
    """The answer goes: CLOCK_MONOTONIC."""
    clock: Text
    """Name of that monotonic clock, ``monotonic:<boot id>``."""
    host: Text = ""
    """What the machine calls itself."""


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """A probe and its answer, ns: `sent` and `returned` on our monotonic clock, the others on clocks of theirs."""

    sent: Stamp
    received: Stamp
    answered: Stamp
    returned: Stamp
    wall: Stamp
    """Their CLOCK_REALTIME, between `received` and `answered`."""

    def probe(self) -> Probe:
        """Return what it says of their clock beside ours."""
        return Probe(self.sent, self.received, self.answered, self.returned)

    def wall_probe(self) -> Probe:
        """Return what it says of their wall clock beside their monotonic one."""
        return Probe(self.received, self.wall, self.wall, self.answered)


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """Probes that one machine answered one after the other.

    `lost` were not answered in time, `refused` in a way that cannot be; both since the burst before.
    """

    name: str
    """Who answered, e.g. ``pilot1``."""
    ours: str
    """Name of the clock of `sent` and `returned`: ``monotonic:<boot id>``."""
    theirs: str
    host: str = ""
    """What the machine that answered calls itself."""
    lost: int = 0
    refused: int = 0
    probes: list[Answered] = []
