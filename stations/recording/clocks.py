"""The clocks of a recording: what its probes say of every machine's clock beside the Terminal's.

Raw times in the files stay as they were stamped; here is the only way from one machine's to another's.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from pipeline.clock import Relation, quickest
from pipeline.clock_burst import PROBES, Burst
from pipeline.clock_curve import UNKNOWN, Curve
from pipeline.clock_domain import Mono
from pipeline.errors import ClockDomainError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .journal import JournalReading

    Times = NDArray[np.int64]
    Hop = tuple[Curve, bool]

RECORDING: Final = ("recording", "resumed")
"""Kinds of the events that name the clock of the Terminal's machine."""


class Clocks:
    """Brings times of any stream of a recording onto one clock, the Terminal's.

    Args:
        journal: of the recording; bursts in lines of kind `PROBES`.

    Attributes:
        terminal: name of that clock, ``monotonic:<boot id>``: of the boot in which the recording began; empty where the
            journal does not tell.
        relations: the clocks that were compared, by (ours, theirs); ours is the machine that asked.
        problems: a sentence for every burst that is not as it should be; it is left out.
    """

    def __init__(self, journal: JournalReading) -> None:
        self.problems: list[str] = []
        bursts = sorted(self._bursts(journal), key=_moment)  # of several Pilots of one machine in turn
        named = [event.fields.get("clock_domain") for event in journal.of_kind(*RECORDING)]
        asking = [burst.ours for burst in bursts]
        self.terminal = next((str(name) for name in (*named, *asking) if name), "")
        self._hosts = {burst.theirs: burst.host for burst in bursts}
        self.relations: dict[tuple[str, str], Relation] = {}
        for burst in bursts:
            pair = burst.ours, burst.theirs
            if pair not in self.relations:
                self.relations[pair] = Relation(self.domain(burst.ours), self.domain(burst.theirs))
            self.relations[pair].add([answered.probe() for answered in burst.probes])
        self._curves: dict[tuple[str, str], Curve] = {}

    def domain(self, name: str) -> Mono:
        """Return the clock that a file or ring names ``monotonic:<boot id>``.

        Raises:
            ClockDomainError: it names no such clock.
        """
        return Mono.of(name, self._hosts.get(name, ""))

    def align(self, domain: str, times_ns: ArrayLike) -> tuple[Times, Times]:
        """Return times on the Terminal's clock, and for each how far off it may be.

        Args:
            domain: the clock of the times: `clock_domain` of a segment, `StreamSpec.clock.domain` of a ring.
            times_ns: any shape.

        Returns:
            Times and uncertainties, ns, int64, shaped as `times_ns`.  The uncertainty is 0 on the Terminal's own
            machine in the boot in which the recording began, `pipeline.clock_curve.UNKNOWN` a century from any probe.

        Raises:
            ClockDomainError: no probe of this recording relates that clock to the Terminal's.
        """
        times = np.array(times_ns, np.int64)
        uncertainty = np.zeros(times.shape, np.int64)
        for curve, is_forward in self._way(domain):
            times, more = curve.to_theirs(times) if is_forward else curve.to_ours(times)
            # One part in 1000 for what a clock's rate makes of the uncertainty so far.
            uncertainty = np.minimum(uncertainty + uncertainty // 1000 + more, UNKNOWN)
        return times, uncertainty

    def __repr__(self) -> str:
        steps = sum(len(relation.steps) for relation in self.relations.values())
        return f"<Clocks {len(self.relations)} compared, {steps} steps>"

    def _bursts(self, journal: JournalReading) -> list[Burst]:
        found = []
        for event in journal.of_kind(PROBES):
            try:
                burst = msgspec.convert(event.fields, Burst)
                Mono.of(burst.ours), Mono.of(burst.theirs)
            except (msgspec.ValidationError, ClockDomainError) as error:
                self.problems.append(f"line {event.line}: not a burst of probes: {error}")
                continue
            if any(answered.probe().is_possible for answered in burst.probes):
                found.append(burst)
        return found

    def _way(self, domain: str) -> list[Hop]:
        """Return the relations from a clock to the Terminal's, and which way each is to be taken.

        More than one where the Terminal's machine was started anew during the recording: over a Pilot that both of its
        boots asked.
        """
        ways: dict[str, list[tuple[tuple[str, str], bool]]] = {domain: []}
        frontier = deque([domain])
        while frontier and self.terminal not in ways:
            here = frontier.popleft()
            for pair in self.relations:
                ours, theirs = pair
                if here in pair and (there := theirs if here == ours else ours) not in ways:
                    ways[there] = [*ways[here], (pair, here == ours)]
                    frontier.append(there)
        if not self.terminal or self.terminal not in ways:
            known = ", ".join(sorted({str(self.domain(name)) for pair in self.relations for name in pair})) or "none"
            clock = f"the clock {domain!r}" if domain else "a stream that names no clock"
            raise ClockDomainError(f"no probe relates {clock} to the Terminal's; clocks that were compared: {known}")
        return [(self._curve(pair), is_forward) for pair, is_forward in ways[self.terminal]]

    def _curve(self, pair: tuple[str, str]) -> Curve:
        if pair not in self._curves:
            self._curves[pair] = Curve(self.relations[pair])
        return self._curves[pair]


def _moment(burst: Burst) -> int:
    """Return when the probe was under way that tells most, ns on our clock."""
    return quickest([answered.probe() for answered in burst.probes]).band().at
