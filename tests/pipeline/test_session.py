"""Sessions over a simulated bad network on a virtual clock."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.network import Network, SimulatedNode, Weather

from pipeline.effects import Effects, Transmit
from pipeline.outbox import Outbox, Patience
from pipeline.outgoing import Outgoing
from pipeline.session import Session
from pipeline.session_table import RECIPIENT, SENDER, Place, Stage, draw
from pipeline.wire import VERSION, Kind, Tag, read_tag

A, B = b"a", b"b"
FINE = Weather()
BAD = Weather(loss=0.3, doubling=0.2, max_delay_s=0.5, long_delay=0.02)


def check_promises(network: Network) -> None:
    """Whatever happened: once per boot at most, one end each, and no end that lies."""
    ran_of: dict[bytes, list[int]] = {}
    for node in network.nodes.values():
        for life in node.lives:
            for label, times in life.ran.items():
                assert 1 == times, f"{label!r} ran {times} times in one boot"
                ran_of.setdefault(label, []).append(times)
    for node in network.nodes.values():
        for label, ends in node.ends.items():
            assert 1 == len(ends), f"{label!r} ended {ends}"
            ran = label in ran_of
            assert not (ends == ["expired"] and ran), f"{label!r} expired and ran"
            assert ran or ends[0] not in ("done", "failed"), f"{label!r} is {ends} but never ran"
            assert len(ran_of.get(label, [])) <= 1 or b"post" in label, f"{label!r} ran in two boots"


def ends(node: SimulatedNode) -> set[str]:
    return {end[0] for end in node.ends.values()}


def test_every_message_is_done_on_a_perfect_network() -> None:
    """The plain case: run once, answered once, nothing remembered afterwards that need not be."""
    network = Network(1, FINE)
    a, b = network.add(A), network.add(B)
    for number in range(100):
        a.send(B, b"%d" % number)
    network.run_until_settled()
    assert {"done"} == ends(a)
    assert 100 == sum(b.lives[0].ran.values())
    network.run(5)
    assert 0 == len(b.session.inbox)


def test_failed_listens_are_told_apart() -> None:
    """A listen that raises ends its message as failed."""
    network = Network(1, BAD)
    a, _ = network.add(A), network.add(B)
    a.send(B, b"bad!")
    network.run_until_settled()
    assert {"failed"} == ends(a)


@pytest.mark.parametrize("seed", range(3))
def test_ten_thousand_messages_over_a_bad_network_keep_every_promise(seed: int) -> None:
    """30 % loss, doubling, reordering, splits: no restart, so nothing is unknown once it has healed."""
    network = Network(seed, BAD)
    a, b = network.add(A), network.add(B)
    for burst in range(100):
        for number in range(50):
            a.send(B, b"a%d-%d" % (burst, number), key=f"K{number % 5}")
            b.send(A, b"b%d-%d" % (burst, number))
        network.is_split = burst % 10 == 3
        network.run(1.0 if not network.is_split else 8.0)
        network.is_split = False
    network.run_until_settled()
    check_promises(network)
    assert "unknown" not in ends(a) | ends(b)
    network.weather = FINE
    network.run(60)
    a.send(B, b"last")
    b.send(A, b"last-b")
    network.run(10)
    assert len(a.session.inbox) + len(b.session.inbox) < 3000


@pytest.mark.parametrize("seed", range(2))
def test_ten_thousand_messages_keep_every_promise_while_both_ends_restart(seed: int) -> None:
    """The same, and every tenth second somebody dies and comes back: `unknown` is allowed, a lie is not."""
    network = Network(seed, BAD)
    nodes = [network.add(A), network.add(B)]
    for burst in range(100):
        for number in range(50):
            nodes[0].send(B, b"a%d-%d" % (burst, number), key=f"K{number % 5}")
            nodes[1].send(A, b"b%d-%d" % (burst, number))
        network.is_split = burst % 10 == 3
        network.run(1.0 if not network.is_split else 8.0)
        network.is_split = False
        if network.random.random() < 0.1:
            network.random.choice(nodes).restart()
    network.run_until_settled()
    assert 3 < sum(node.boots - 1 for node in nodes)
    check_promises(network)
    assert "unknown" in ends(nodes[0]) | ends(nodes[1])
    assert 1000 < sum(end == ["done"] for node in nodes for end in node.ends.values())


actions = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from([A, B]), st.integers(1, 5)),
        st.tuples(st.just("post"), st.sampled_from([A, B]), st.integers(1, 3)),
        st.tuples(st.just("restart"), st.sampled_from([A, B]), st.just(0)),
        st.tuples(st.just("split"), st.just(A), st.integers(0, 1)),
        st.tuples(st.just("run"), st.just(A), st.sampled_from([0.01, 0.3, 2, 12, 40])),
    ),
    max_size=40,
)
weathers = st.builds(
    Weather,
    loss=st.sampled_from([0.0, 0.1, 0.3, 0.6]),
    doubling=st.sampled_from([0.0, 0.3]),
    max_delay_s=st.sampled_from([0.0, 0.05, 1.0]),
    long_delay=st.sampled_from([0.0, 0.1]),
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=actions, weather=weathers, seed=st.integers(0, 2**16), ttl=st.integers(1, 5))
def test_promises_hold_whatever_happens(
    actions: list[tuple[str, bytes, float]], weather: Weather, seed: int, ttl: int
) -> None:
    """Any order of sends, restarts, splits and waits, over any weather."""
    # So patient that no run of lost questions, at 30 % loss, can pass for a silent recipient.
    network = Network(seed, weather, Patience(silence_s=200.0, window=3))
    nodes = {A: network.add(A), B: network.add(B)}
    other = {A: B, B: A}
    is_calm = True
    count = 0
    for action, name, amount in actions:
        if action in ("send", "post"):
            for _ in range(int(amount)):
                count += 1
                label = b"%s%d%s" % (action.encode(), count, b"!" if count % 5 == 0 else b"")
                nodes[name].send(other[name], label, confirmed=action == "send", ttl=ttl)
        elif action == "restart":
            is_calm = False
            nodes[name].restart()
        elif action == "split":
            network.is_split = bool(amount)
        else:
            is_calm = is_calm and not (network.is_split and amount >= 12)
            network.run(amount)
    network.is_split = False
    network.weather = dataclasses.replace(weather, loss=min(weather.loss, 0.3))
    network.run_until_settled()
    check_promises(network)
    if is_calm and weather.loss <= 0.3:
        assert "unknown" not in ends(nodes[A]) | ends(nodes[B])


def test_a_restarted_recipient_is_bound_to_anew_without_loss() -> None:
    """The recipient restarted while nothing was on the way: the next message runs in the new boot."""
    network = Network(1, FINE)
    a, b = network.add(A), network.add(B)
    a.send(B, b"one")
    network.run(5)
    b.restart()
    network.run(5)
    a.send(B, b"two")
    network.run_until_settled()
    assert {"done"} == ends(a)
    assert 1 == b.lives[1].ran[b"two"]


def test_a_message_under_way_when_the_recipient_restarts_is_unknown() -> None:
    """It may have run in the boot that is gone, so it is not run again and not called expired."""
    network = Network(1, FINE)
    a, b = network.add(A), network.add(B, listen_s=50)
    a.send(B, b"one")
    network.run(0.3)
    assert 1 == b.lives[0].ran[b"one"]
    b.restart()
    network.run_until_settled()
    assert {"unknown"} == ends(a)
    assert 0 == b.lives[1].ran[b"one"]


def test_a_message_that_ran_before_a_restart_is_not_run_again() -> None:
    """Its answer was lost with the boot that ran it: the new boot refuses what is bound to the old one."""
    network = Network(1, FINE)
    a, b = network.add(A), network.add(B, listen_s=50)
    a.send(B, b"one")
    while not b.lives[0].ran:
        network.run(0.005)
    network.is_split = True
    network.run(1)
    assert 1 == len(a.session.outbox)
    b.restart()
    network.is_split = False
    network.run_until_settled()
    assert {"unknown"} == ends(a)
    assert 0 == b.lives[1].ran[b"one"]


def test_an_answer_about_an_earlier_binding_changes_nothing() -> None:
    """A late STRANGER of a boot that is gone must not make a message look as if it had never arrived."""
    outbox = Outbox(7, Patience())
    outbox.submit(Outgoing(1, (B,), "K", (b"one",), ttl=1, deadline=100.0), 0.0)
    first, second = 11, 12

    def stranger(boot: int, uptime_s: float, bound: int, now: float) -> Effects:
        tag = Tag(VERSION, Kind.STRANGER, 7, 1, boot, int(uptime_s * 1e6))
        return outbox.on_answer(B, tag, [bound.to_bytes(8, "little")], now)

    stranger(first, 50.0, 0, 1.0)
    stranger(second, 50.0, first, 2.0)
    assert [] == stranger(first, 50.0, 0, 3.0)
    assert [] == outbox.on_tick(2.2)
    asked = outbox.on_tick(10.0)
    assert [Kind.ASK] == [read_tag(effect.tag + A).kind for effect in asked if isinstance(effect, Transmit)]
    assert [] == stranger(first, 50.0, 0, 11.0)
    assert [] == stranger(9, 50.0, first, 11.0)
    assert 1 in outbox


def bound_outbox() -> Outbox:
    """An outbox with one message that was sent once."""
    outbox = Outbox(7, Patience())
    outbox.submit(Outgoing(1, (B,), "K", (b"one",), ttl=5, deadline=100.0), 0.0)
    tag = Tag(VERSION, Kind.STRANGER, 7, 1, 11, 50_000_000)
    assert [Transmit] == [type(effect) for effect in outbox.on_answer(B, tag, [bytes(8)], 1.0)]
    return outbox


def test_a_resend_that_finds_no_way_says_nothing_of_the_first_send() -> None:
    """The recipient's link broke after the first send, which may have arrived: it is not called failed."""
    outbox = bound_outbox()
    assert [Transmit] == [type(effect) for effect in outbox.on_tick(2.0)]
    outbox.not_sent(1)
    assert [] == outbox.on_unroutable(1, "no way", 2.0, has_left=False)
    assert 1 in outbox


def test_an_only_send_that_finds_no_way_has_failed() -> None:
    """A hop says so, or it never left."""
    assert ["failed"] == [getattr(end, "state", "") for end in bound_outbox().on_unroutable(1, "no way", 2.0)]
    outbox = bound_outbox()
    outbox.not_sent(1)
    assert ["failed"] == [getattr(end, "state", "") for end in outbox.on_unroutable(1, "no", 2.0, has_left=False)]


def test_a_message_that_never_left_expires() -> None:
    """A split from the beginning: the recipient's boot was never learnt, so nothing can have run."""
    network = Network(1, FINE)
    a, b = network.add(A), network.add(B)
    network.is_split = True
    a.send(B, b"one")
    network.run_until_settled()
    assert {"expired"} == ends(a)
    network.is_split = False
    network.run(30)
    assert 0 == sum(b.lives[0].ran.values())


def test_unconfirmed_messages_end_as_sent_and_run_at_most_once() -> None:
    """NOREPEAT: no answer, no resend; copies made by the network are recognised."""
    network = Network(1, Weather(doubling=1.0))
    a, b = network.add(A), network.add(B)
    for number in range(50):
        a.send(B, b"post%d" % number, confirmed=False)
    network.run(1)
    assert {"sent"} == ends(a)
    assert {1} == set(b.lives[0].ran.values())


def test_a_slow_listen_is_reported_received_and_then_done() -> None:
    """A listen of 40 s outlasts every timer without being run again or given up."""
    network = Network(3, FINE)
    a, b = network.add(A), network.add(B, listen_s=40)
    a.send(B, b"slow")
    network.run_until_settled()
    assert {"done"} == ends(a)
    assert 1 == b.lives[0].ran[b"slow"]


def test_a_sender_that_settles_nothing_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit what is new is not heard; what settles makes room again."""
    monkeypatch.setattr("pipeline.inbox.MAX_REMEMBERED", 100)
    session = Session(9, 0.0)

    def arrive(kind: Kind, counter: int, floor: int = 1) -> Effects:
        return session.on_envelope([b"x"], Tag(VERSION, kind, 7, counter, 9, floor), [b"one"], 1.0)

    for counter in range(1, 400):
        arrive((Kind.MESSAGE, Kind.POST, Kind.ASK)[counter % 3], counter)
    assert 100 == len(session.inbox)
    assert [] == arrive(Kind.POST, 500)
    assert [Transmit] == [type(effect) for effect in arrive(Kind.ASK, 2)]
    arrive(Kind.SETTLED, 0, floor=91)
    assert 10 == len(session.inbox)
    assert [] != arrive(Kind.POST, 501, floor=91)


def test_a_neighbour_that_makes_up_senders_keeps_nobody_else_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own room is full; who comes by another is heard, and so is who was known before."""
    monkeypatch.setattr("pipeline.inbox.MAX_SENDERS_BY_ONE", 10)
    session = Session(9, 0.0)

    def arrive(way: list[bytes], boot: int, counter: int = 1) -> Effects:
        return session.on_envelope(way, Tag(VERSION, Kind.POST, boot, counter, 0, 0), [b"one"], 1.0)

    heard = [arrive([b"made-up%d" % (boot % 3), b"x"], boot) for boot in range(100)]
    assert 10 == sum(map(len, heard))
    assert 90 == session.inbox.refused_senders
    assert 1 == len(arrive([b"made-up0", b"x"], 0, 2))
    assert 1 == len(arrive([b"honest", b"y"], 5))


def test_tables_have_no_dead_ends() -> None:
    """Every stage that is not an end can be left, and every row leads to a stage that exists."""
    finals = {Stage.DONE, Stage.FAILED, Stage.EXPIRED, Stage.UNKNOWN}
    assert set(Stage) - finals == {stage for stage, _ in SENDER}
    assert finals == {then for then, _ in SENDER.values()} & finals
    assert set(Place) == {place for place, _ in RECIPIENT}


def test_the_readme_draws_the_tables() -> None:
    """The two diagrams are the tables, row by row."""
    text = (Path(__file__).parents[2] / "pipeline" / "README.md").read_text()
    assert draw(SENDER) in text
    assert draw(RECIPIENT) in text
