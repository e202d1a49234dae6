"""Who draws gets the newest value of each sender, not more often than it can draw, and never ends on an old one."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline import Message
from stations.plots import NewestGate, pilot_of


def message(value: Any, sender: str = "p1.task", key: str = "DATA", **more: Any) -> Message:
    return Message(id="1", to="T", sender=sender, key=key, value=value, **more)


@given(st.lists(st.tuples(st.floats(0, 0.2), st.sampled_from(["a", "b"])), max_size=60))
def test_each_sender_gets_through_at_its_pace_and_its_last_value_arrives(steps: list[tuple[float, str]]) -> None:
    """Whatever comes when: never two within a period, never an older after a newer, and the last one always."""
    gate, now = NewestGate(0.05), 0.0
    sent: dict[str, list[tuple[float, int]]] = {"a": [], "b": []}
    last: dict[str, int] = {}
    for number, (wait, sender) in enumerate(steps):
        now += wait
        last[sender] = number
        for plotted in [*gate.on_tick(now), *gate.offer(message(number, sender), now)]:
            sent[plotted.value["sender"]].append((now, plotted.value["value"]))
    now += 1.0
    for plotted in gate.on_tick(now):
        sent[plotted.value["sender"]].append((now, plotted.value["value"]))
    assert gate.on_tick(now + 1.0) == []
    for sender, arrived in sent.items():
        assert all(later - earlier >= 0.05 - 1e-9 for (earlier, _), (later, _) in itertools.pairwise(arrived))
        assert [value for _, value in arrived] == sorted({value for _, value in arrived})
        assert [value for _, value in arrived[-1:]] == ([last[sender]] if sender in last else [])


def test_a_value_goes_to_the_plot_of_its_pilot() -> None:
    """What the message says, else what its value says, else the station of its sender."""
    assert pilot_of(message(1, pilot="p7")) == "p7"
    assert pilot_of(message({"pilot": "p8"})) == "p8"
    assert pilot_of(message(1, sender="_p3")) == "p3"
    (plotted,) = NewestGate(1.0).offer(message({"x": 1}), 0.0)
    assert (plotted.to, plotted.key) == ("P_p1", "DATA")
    assert plotted.value.keys() == {"sender", "key", "value", "timestamp"}


def test_senders_that_have_gone_are_forgotten() -> None:
    """Whoever sends under ever new names costs no memory for long."""
    gate = NewestGate(0.05)
    for n in range(1000):
        gate.offer(message(n, f"s{n}"), 0.0)
    gate.on_tick(60.0)
    assert repr(gate) == "<NewestGate of 0 senders, 0 held>"
