"""Times that know which clock they are of.

Two machines count nanoseconds since their own boots; a camera counts its own ticks.  Numbers of different clocks must
not be subtracted, and here they cannot be: `ClockDomainError` says which two met.  `pipeline.clock.align` is the only
way across, and it tells how much it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import total_ordering
from typing import Any, Final, Self

from .errors import ClockDomainError

_MONOTONIC: Final = "monotonic:"


@dataclass(frozen=True, slots=True)
class Mono:
    """CLOCK_MONOTONIC of one boot of one machine: never steps, begins anew at every boot."""

    host: str
    boot: str

    @classmethod
    def of(cls, domain: str, host: str = "") -> Self:
        """Return the clock that a ring, a file or a probe names ``monotonic:<boot id>``.

        Args:
            domain: as `shm.clock_domain` writes it.  The boot id alone tells clocks apart; it is never used twice.
            host: what people call the machine.

        Raises:
            ClockDomainError: it names no such clock.
        """
        boot = domain.removeprefix(_MONOTONIC)
        if not boot or boot == domain:
            raise ClockDomainError(f"{domain[:80]!r} names no clock; expected {_MONOTONIC}<boot id>")
        return cls(host, boot)

    def __str__(self) -> str:
        return f"monotonic clock of {self.host} (boot {self.boot[:8]})"


@dataclass(frozen=True, slots=True)
class Wall:
    """CLOCK_REALTIME of a machine: ns since 1970, stepped and slewed by whoever sets it."""

    host: str

    def __str__(self) -> str:
        return f"wall clock of {self.host}"


@dataclass(frozen=True, slots=True)
class Device:
    """The clock of a camera, an amplifier or the like."""

    id: str

    def __str__(self) -> str:
        return f"clock of device {self.id}"


Domain = Mono | Wall | Device


@total_ordering
@dataclass(frozen=True, slots=True)
class Instant:
    """A moment on one clock.

    Attributes:
        ns: nanoseconds since that clock's zero.
        domain: the clock.
    """

    ns: int
    domain: Domain

    def __sub__(self, other: Instant) -> int:
        """Return the nanoseconds from `other` to here.

        Raises:
            ClockDomainError: they are of different clocks.
        """
        return self.ns - self._same(other).ns

    def __add__(self, ns: int) -> Instant:
        """Return the moment so many nanoseconds later."""
        return Instant(self.ns + ns, self.domain)

    def __lt__(self, other: Instant) -> bool:
        return self.ns < self._same(other).ns

    def _same(self, other: Any) -> Instant:
        if not isinstance(other, Instant):
            raise TypeError(f"expected an Instant, got {type(other).__name__}")
        if other.domain != self.domain:
            raise ClockDomainError(f"{self.domain} and {other.domain} cannot be compared; align() one of them first")
        return other

    def __str__(self) -> str:
        return f"{self.ns} ns on the {self.domain}"


@dataclass(frozen=True, slots=True)
class Aligned:
    """A moment carried over from another clock: the truth is within `uncertainty_ns` of `instant`."""

    instant: Instant
    uncertainty_ns: int
