"""Neighbours' states on a manual clock, and the choice of the next hop."""

from __future__ import annotations

from pipeline.peers import FORGET_S, Pace, Peer, Peers, PeerState, make_identity
from pipeline.routes import MAX_LEARNED, Routes, home_of

PACE = Pace(beat_s=0.5, late_s=1.2, lost_s=2.5)


def peer(name: bytes, boot: int = 1, **options: bool) -> Peer:
    return Peer(name, make_identity(name, boot), boot=boot, now=0.0, **options)


def known(*names: bytes, upstream: bytes = b"") -> tuple[Peers, Peer | None]:
    peers = Peers(PACE)
    for name in names:
        peers.add(peer(name))
    above = peer(upstream, is_upstream=True) if upstream else None
    if above is not None:
        peers.add(above)
    for each in peers:
        peers.hear(each, 0.0)
    return peers, above


def test_silence_makes_late_then_lost_and_a_sign_of_life_alive_again() -> None:
    """Each change is told once."""
    peers, _ = known(b"a")
    assert [] == peers.on_tick(1.0)
    assert [PeerState.LATE] == [event.state for event in peers.on_tick(1.3)]
    assert [] == peers.on_tick(1.4)
    assert [PeerState.LOST] == [event.state for event in peers.on_tick(2.6)]
    assert peers.find(b"a") is None
    event = peers.hear(next(iter(peers)), 3.0)
    assert event is not None
    assert PeerState.ALIVE is event.state


def test_the_long_lost_are_forgotten() -> None:
    """A rig that people come and go at does not grow."""
    peers, _ = known(b"a")
    peers.on_tick(3.0)
    peers.on_tick(FORGET_S + 4.0)
    assert [] == list(peers)
    assert not peers.by_identity


def test_a_newcomer_of_an_id_replaces_the_one_before() -> None:
    """The old connection's routing id is no longer heard."""
    peers, _ = known(b"a")
    peers.add(peer(b"a", boot=2))
    assert [make_identity(b"a", 2)] == list(peers.by_identity)


def test_next_hops() -> None:
    """Neighbour, learned way, station of the address, upstream; never back, never up for one of our own."""
    peers, above = known(b"pilot1", b"pilot2", b"T.view", upstream=b"H")
    routes = Routes(b"T", peers, above)
    pilot1, pilot2 = peers.find(b"pilot1"), peers.find(b"pilot2")
    assert pilot1 is not None
    assert pilot2 is not None
    routes.learn(b"child", pilot2)
    expected = {
        b"pilot1": pilot1,
        b"pilot1.cam0": pilot1,
        b"_pilot1": pilot1,
        b"child": pilot2,
        b"child.imu": pilot2,
        b"T.view": peers.find(b"T.view"),
        b"T.nobody": None,
        b"_T": None,
        b"H": above,
        b"elsewhere": above,
    }
    assert expected == {address: routes.next_hop(address) for address in expected}
    assert routes.next_hop(b"elsewhere", above) is None
    assert routes.next_hop(b"pilot1.cam0", pilot1) is None


def test_what_is_learned_is_bounded() -> None:
    """Made-up origins push out the oldest, not the memory."""
    peers, above = known(b"a")
    routes = Routes(b"T", peers, above)
    via = peers.find(b"a")
    assert via is not None
    for number in range(MAX_LEARNED + 10):
        routes.learn(b"%d" % number, via)
    assert routes.next_hop(b"5") is None
    assert via is routes.next_hop(b"%d" % MAX_LEARNED)


def test_home_of_an_address() -> None:
    """Where a node lives."""
    homes = {b"pilot1.cam0": b"pilot1", b"a.b.c": b"a.b", b"_T": b"T", b"T": b""}
    assert homes == {address: home_of(address) for address in homes}
