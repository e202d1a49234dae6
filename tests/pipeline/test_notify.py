"""Notices: sent only when somebody waits, and never needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.streams import eventually, rig_name

from pipeline.errors import EndpointError
from pipeline.notify import SLICE_S, Notices, NoticeWaiter, Notifier, notice_endpoint, runtime_dir
from pipeline.transport import Context
from shm import RingReader, RingWriter, segment_name


class Deaf:
    """A notifier whose notices are all lost."""

    def __init__(self) -> None:
        self.asked = 0

    def notify(self, sequence: int) -> None:
        self.asked += 1


@pytest.fixture
def context() -> Iterator[Context]:
    with Context() as context:
        yield context


@pytest.fixture
def noticed(context: Context) -> Iterator[tuple[RingWriter, Notifier]]:
    """A ring whose writer notifies."""
    name = rig_name()
    notifier = Notifier(context, segment_name("r", name))
    with RingWriter.create(name, shape=(), dtype="u4", slots=1024, notifier=notifier) as ring:
        yield ring, notifier
    notifier.close()


def publish_later(ring: RingWriter, after_s: float) -> tuple[threading.Thread, list[float]]:
    """Publish one item from another thread, and note when."""
    at: list[float] = []

    def run() -> None:
        time.sleep(after_s)
        at.append(time.monotonic())
        ring.write(1)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, at


def test_nothing_is_sent_while_nobody_waits(noticed: tuple[RingWriter, Notifier]) -> None:
    """A stream at full rate costs no notices."""
    ring, notifier = noticed
    with RingReader.attach(ring.name) as reader:
        for value in range(1000):
            ring.write(value)
        assert 0 == notifier.sent
        reader.arm()
        for value in range(1000):
            ring.write(value)
        assert 1 == notifier.sent


def test_a_waiter_is_woken(context: Context, noticed: tuple[RingWriter, Notifier]) -> None:
    """Once it was greeted, a notice ends the wait before its slice does."""
    ring, notifier = noticed
    with RingReader.attach(ring.name, policy="drop_oldest", waiter=NoticeWaiter.on(context)) as reader:
        delays = []
        for _ in range(30):
            thread, at = publish_later(ring, 0.011)
            assert reader.wait(5.0)
            delays.append(time.monotonic() - at[0])
            thread.join()
            assert reader.read(0.0) is not None
        assert notifier.sent > 0
        assert sorted(delays)[len(delays) // 2] < SLICE_S / 2
        reader.waiter.close()  # type: ignore[attr-defined]  # a NoticeWaiter


def test_a_lost_notice_delays_by_one_slice_at_most(context: Context) -> None:
    """With every notice lost, each item is still seen within 20 ms and what scheduling adds."""
    deaf = Deaf()
    with RingWriter.create(rig_name(), shape=(), dtype="u4", slots=1024, notifier=deaf) as ring:
        notices = Notices(context)
        with RingReader.attach(ring.name, policy="drop_oldest") as reader:
            notices.follow("ring", reader)
            notices._followed["ring"].is_welcome = True  # so that it trusts its notices, wrongly
            notices.poll(0.0)
            delays = []
            for _ in range(30):
                thread, at = publish_later(ring, 0.003)
                eventually(lambda: notices.poll(1.0) == {"ring"})
                delays.append(time.monotonic() - at[0])
                thread.join()
        notices.close()
    assert deaf.asked > 0
    assert sorted(delays)[len(delays) // 2] <= SLICE_S + 0.005


def test_many_rings_are_waited_for_at_once(context: Context, noticed: tuple[RingWriter, Notifier]) -> None:
    """The answer says which moved, and an end is a move."""
    ring, _ = noticed
    with RingWriter.create(rig_name(), shape=(), dtype="u4", slots=1024) as other:
        notices = Notices(context)
        with RingReader.attach(ring.name) as first, RingReader.attach(other.name) as second:
            notices.follow("a", first)
            notices.follow("b", second)
            notices.poll(0.0)
            other.write(1)
            assert {"b"} == notices.poll(1.0)
            ring.write(1)
            assert {"a"} == notices.poll(1.0)
            other.end()
            assert {"b"} == notices.poll(1.0)
            notices.follow("b", None)
            other.write(1)
            assert set() == notices.poll(0.001)
        notices.close()


def test_a_writer_that_comes_back_is_heard_again(context: Context) -> None:
    """A new process binds the same path; waiters reconnect by themselves."""
    name = rig_name()
    first = Notifier(context, segment_name("r", name))
    notices = Notices(context)
    with RingWriter.create(name, shape=(), dtype="u4", slots=1024) as ring, RingReader.attach(name) as reader:
        notices.follow("", reader)
        eventually(lambda: hears(notices, first))
        first._socket.close()  # as a death leaves it: the path stays
        second = Notifier(context, segment_name("r", name))
        notices._followed[""].is_welcome = False
        eventually(lambda: hears(notices, second))
        assert 0 == ring.published
        second.close()
    notices.close()
    assert not Path(notice_endpoint(segment_name("r", name)).removeprefix("ipc://")).exists()


def hears(notices: Notices, notifier: Notifier) -> bool:
    notifier.notify(1)
    notices.sleep(0.001)
    return notices._followed[""].is_welcome


def test_sockets_lie_in_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode 0700, of this user, with a path short enough for the kernel."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert 0o700 == runtime_dir().stat().st_mode & 0o777
    assert str(tmp_path) in notice_endpoint("/plr0123456789abcdef")
    runtime_dir().chmod(0o755)
    with pytest.raises(EndpointError, match="0700"):
        runtime_dir()
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with pytest.raises(EndpointError, match="shorter"):
        notice_endpoint("/plr0123456789abcdef")
