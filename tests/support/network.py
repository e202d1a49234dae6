"""A network between sessions that loses, doubles, delays and splits, on a virtual clock."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.effects import Buffer, Deliver, Effects, Progress, Settle, Transmit
from pipeline.outbox import Patience
from pipeline.outgoing import Outgoing
from pipeline.session import Session
from pipeline.wire import Kind, read_tag


@dataclass
class Weather:
    """How bad the way is; chances from 0 to 1, seconds."""

    loss: float = 0.0
    doubling: float = 0.0
    max_delay_s: float = 0.05
    long_delay: float = 0.0
    """Chance that an envelope is held for up to 20 s."""


@dataclass
class Life:
    """What one boot of a node has done."""

    session: Session
    ran: Counter[bytes] = field(default_factory=Counter)


class SimulatedNode:
    """A node: its life now, the lives it had, and what became of what it sent."""

    def __init__(self, network: Network, name: bytes, listen_s: float) -> None:
        self.network = network
        self.name = name
        self.listen_s = listen_s
        self.boots = 0
        self.lives: list[Life] = []
        self.ends: dict[bytes, list[str]] = {}
        self._labels: dict[int, bytes] = {}
        self._counter = 0
        self.restart()

    @property
    def session(self) -> Session:
        return self.lives[-1].session

    def restart(self) -> None:
        """End this life without a word and begin another; what was sent ends with it."""
        self.boots += 1
        boot = int.from_bytes(self.name, "little") * 1000 + self.boots
        self.lives.append(Life(Session(boot, self.network.now, self.network.patience)))
        for label in self._labels.values():
            self.ends.pop(label, None)
        self._labels, self._counter = {}, 0

    def send(self, to: bytes, label: bytes, *, key: str = "K", confirmed: bool = True, ttl: int = 5) -> None:
        """Send a message whose body is `label`, unique in the run."""
        self._counter += 1
        self._labels[self._counter] = label
        self.ends[label] = []
        now = self.network.now
        if confirmed:
            deadline = now + ttl * self.network.patience.repeat_interval_s
            item = Outgoing(self._counter, (to,), key, (label,), ttl=ttl, deadline=deadline)
            self.do(self.session.submit(item, now))
        else:
            self.do([self.session.post(self._counter, (to,), (label,), now), Settle(self._counter, "sent")])

    def do(self, effects: Effects) -> None:
        """Carry out what the session wants."""
        life = self.lives[-1]
        for effect in effects:
            if isinstance(effect, Transmit):
                self.network.carry(self.name, effect)
            elif isinstance(effect, Settle):
                self.ends[self._labels.pop(effect.counter)].append(effect.state)
            elif isinstance(effect, Deliver):
                life.ran[bytes(effect.body[0])] += 1
                if effect.is_confirmed:
                    took = self.network.random.random() * self.listen_s
                    self.network.later(took, self._finish, (life, effect))
            else:
                assert isinstance(effect, Progress)

    def take(self, way: Sequence[bytes], tag: bytes, body: Sequence[Buffer]) -> None:
        """An envelope arrives."""
        self.do(self.session.on_envelope(way, read_tag(tag + way[0]), body, self.network.now))

    def tick(self) -> None:
        if self.network.now >= self.session.next_due:
            self.do(self.session.on_tick(self.network.now))

    def _finish(self, life: Life, effect: Deliver) -> None:
        if life is self.lives[-1]:
            kind = Kind.FAILED if bytes(effect.body[0]).endswith(b"!") else Kind.DONE
            self.do(life.session.finished(effect.ref, kind, effect.body, self.network.now))


class Network:
    """Carries envelopes between nodes; `run` moves the clock."""

    def __init__(self, seed: int, weather: Weather, patience: Patience | None = None) -> None:
        self.random = random.Random(seed)
        self.weather = weather
        self.patience = patience or Patience()
        self.now = 1000.0
        self.nodes: dict[bytes, SimulatedNode] = {}
        self.is_split = False
        self.carried = 0
        self._events: list[tuple[float, int, Any, tuple[Any, ...]]] = []
        self._order = 0

    def add(self, name: bytes, listen_s: float = 0.2) -> SimulatedNode:
        self.nodes[name] = SimulatedNode(self, name, listen_s)
        return self.nodes[name]

    def later(self, delay_s: float, call: Any, args: tuple[Any, ...] = ()) -> None:
        """Call something after `delay_s`."""
        self._order += 1
        heapq.heappush(self._events, (self.now + delay_s, self._order, call, args))

    def carry(self, origin: bytes, effect: Transmit) -> None:
        """Lose an envelope, or bring one or two copies of it at some time."""
        weather, chance = self.weather, self.random.random
        self.carried += 1
        copies = 1 + (chance() < weather.doubling)
        for _ in range(copies):
            if self.is_split or chance() < weather.loss:
                continue
            delay = chance() * (20.0 if chance() < weather.long_delay else weather.max_delay_s)
            target = self.nodes[effect.path[-1]]
            self.later(delay, target.take, ([origin], effect.tag, tuple(effect.body)))

    def run(self, duration_s: float) -> None:
        """Let `duration_s` pass."""
        end = self.now + duration_s
        while True:
            due = min(node.session.next_due for node in self.nodes.values())
            event_at = self._events[0][0] if self._events else float("inf")
            if min(due, event_at) > end:
                break
            self.now = max(self.now, min(due, event_at))
            if event_at <= due:
                _, _, call, args = heapq.heappop(self._events)
                call(*args)
            else:
                for node in self.nodes.values():
                    node.tick()
        self.now = end

    def run_until_settled(self, limit_s: float = 3600.0) -> None:
        """Let time pass until nothing is unsettled."""
        end = self.now + limit_s
        while any(len(node.session.outbox) for node in self.nodes.values()) and self.now < end:
            self.run(1.0)
