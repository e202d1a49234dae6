"""The websocket's wire and the credit of those who watch."""

from __future__ import annotations

import pytest

from stations.view.audience import WINDOW, Board, Viewer
from stations.view.errors import FrameError
from stations.view.frames import Events, Frame, Hello, Image, Lines, Status, Tick, read_seen

EXAMPLES: list[Frame] = [
    Hello("demo", "T", 20.0),
    Status(1e12, {"state": "idle", "name": "", "seconds": None}, [{"id": 1, "name": "pilot1.cam0"}]),
    Events([{"wall_ms": 1.0, "kind": "died", "who": "T.recorder", "text": "", "bad": True}]),
    Image(1, 812, 12.5, 640, 480, 0.0, 255.0, b"\xff\xd8jpeg"),
    Lines(2, 60_000, None, 1, 2, 2.0, [0.0], [1.0], [None], b"\x00\x01" * 4),
    Tick(3),
]


@pytest.mark.parametrize("frame", EXAMPLES, ids=lambda frame: type(frame).__name__)
def test_frame_comes_back_as_it_went(frame: Frame) -> None:
    """Header and payload survive, and the payload begins on a multiple of eight bytes."""
    encoded = frame.to_bytes()

    assert frame == type(frame).from_bytes(encoded)
    assert 0 == (len(encoded) - len(getattr(frame, "payload", b""))) % 8


def test_tick_has_its_golden_bytes() -> None:
    """The prefix is fixed: kind, version, nothing, header length, header padded to eight."""
    assert b'\x06\x01\x00\x00\x10\x00\x00\x00{"number":3}    ' == Tick(3).to_bytes()


@pytest.mark.parametrize(
    "damage", [b"", b"\x06\x01", b"\x06\x02" + Tick(1).to_bytes()[2:], Hello("", "", 1).to_bytes()]
)
def test_what_is_no_frame_is_refused(damage: bytes) -> None:
    """Too short, another version, another kind."""
    with pytest.raises(FrameError):
        Tick.from_bytes(damage)


@pytest.mark.parametrize(
    "answer", ["", "{", "[1]", '{"seen":-1}', '{"seen":true}', '{"seen":1,"x":2}', '{"seen":1.5}', "[" * 60, "1" * 5000]
)
def test_hostile_answers_are_refused(answer: str) -> None:
    """Only `{"seen": number}` gives credit."""
    with pytest.raises(FrameError):
        read_seen(answer)


def board_of(**frames: bytes) -> Board:
    """Return a board with a frame for each topic."""
    board = Board()
    for topic, frame in frames.items():
        board.post(topic, frame)
    return board


def test_slow_viewer_queues_nothing_and_returns_to_the_newest() -> None:
    """Two ticks unseen: nothing more is sent, whatever is posted; afterwards only the newest of each topic."""
    board, viewer = board_of(status=b"s1", cam0=b"i1"), Viewer()
    assert [b"s1", b"i1", Tick(1).to_bytes()] == viewer.take(board)
    board.post("cam0", b"i2")
    assert [b"i2", Tick(2).to_bytes()] == viewer.take(board)

    for number in range(3, 100):
        board.post("cam0", b"i%d" % number)
        assert [] == viewer.take(board)
    assert WINDOW == viewer.in_flight

    viewer.on_seen(1)
    assert [b"i99", Tick(3).to_bytes()] == viewer.take(board)


def test_newcomer_gets_the_status_before_what_it_describes() -> None:
    """A page can draw a stopped stream's last image only if it knows of the stream already."""
    board = board_of(status=b"s1", cam0=b"i1")
    board.post("status", b"s2")

    assert [b"s2", b"i1", Tick(1).to_bytes()] == Viewer().take(board)


def test_nothing_new_sends_nothing_and_costs_no_credit() -> None:
    """A rig that stands still is silent."""
    board, viewer = board_of(status=b"s1"), Viewer()
    viewer.take(board)

    assert [] == viewer.take(board)
    assert 1 == viewer.in_flight


def test_page_cannot_give_itself_credit() -> None:
    """A tick that was never sent is a defect or an attack; an old one is neither."""
    viewer = Viewer()
    viewer.take(board_of(status=b"s1"))
    viewer.on_seen(1)
    viewer.on_seen(0)

    assert 0 == viewer.in_flight
    with pytest.raises(FrameError, match="only 1 were sent"):
        viewer.on_seen(2)
