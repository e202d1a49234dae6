"""A link of a given speed in front of a `ForwardStream`, on a virtual clock."""

from __future__ import annotations

from collections import Counter

from pipeline.budget import Budget
from pipeline.channel import Credit, Open, Opened
from pipeline.forward_effects import Cut, RingState
from pipeline.forward_stream import ForwardStream

WINDOW = 2
"""Blocks that may be under way."""
STEP_S = 0.005


class Pipe:
    """Carries blocks one after the other, and grants as many as have arrived."""

    def __init__(
        self, stream: ForwardStream, blocks_per_s: float, *, budget: Budget | None = None, block_bytes: int = 0
    ) -> None:
        self.arrived: list[int] = []
        self.reasons: Counter[str] = Counter()
        self.accounted = 0
        """Items that came, or were told as lost."""
        self._stream = stream
        self._budget, self._block_bytes = budget, block_bytes
        self._each_s = 1 / blocks_per_s
        self._flying: list[tuple[float, Cut]] = []
        self._free_at = 0.0
        stream.link(True, 0.0)

    def run(self, *, source_per_s: float, seconds: float) -> None:
        """Let the source produce for so long."""
        stream, cost = self._stream, self._stream.spec.slot_bytes
        limit = WINDOW * cost
        for number in range(round(seconds / STEP_S)):
            now = number * STEP_S
            while self._flying and self._flying[0][0] <= now:
                self._take(self._flying.pop(0)[1])
                limit += cost
                stream.credited(Credit(1, "", self.accounted, False, limit))
            published = int(now * source_per_s)
            while (effect := stream.step(RingState(published, max(0, published - 64)), now)) is not None:
                if isinstance(effect, Open):
                    stream.opened(Opened(effect.opening, "", 0, None, False, limit))
                elif isinstance(effect, Cut):
                    stream.done(effect)
                    if self._budget is not None:
                        self._budget.spend(self._block_bytes)
                    self._free_at = max(self._free_at, now) + self._each_s
                    self._flying.append((self._free_at, effect))

    def _take(self, cut: Cut) -> None:
        assert cut.first - cut.lost == self.accounted
        self.accounted = cut.first + cut.count
        self.reasons[cut.lost_reason] += cut.lost
        self.arrived += range(cut.first, cut.first + cut.count)
        del self.reasons[""]
