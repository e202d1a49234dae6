"""Readers in an event loop: woken by notices, asleep without them, cancelled at any moment."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from support.streams import STREAM, Wire, eventually, rig_name, signal_ring, wire, write

from pipeline.async_notices import AsyncNotices
from pipeline.errors import ClosedError
from pipeline.notify import SLICE_S, Notifier
from pipeline.stream_reader import StreamReader
from pipeline.transport import Context
from shm import BlobReader, BlobWriter, RingReader, RingWriter, segment_name


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


@pytest.fixture
def silent() -> Iterator[RingWriter]:
    """A ring whose writer does not notify."""
    with RingWriter.create(rig_name(), shape=(), dtype="u4", slots=1024) as ring:
        yield ring


async def collect(notices: AsyncNotices, reader: RingReader) -> list[int]:
    return [int(item.data) async for item in notices.items(reader)]


def test_one_loop_reads_many_rings_without_a_thread(
    context: Context, noticed: tuple[RingWriter, Notifier], silent: RingWriter
) -> None:
    """Each reader gets all of its own items and stops at the end of its ring."""
    ring, _ = noticed

    async def run() -> list[list[int]]:
        with AsyncNotices(context) as notices:
            threads = threading.active_count()
            tasks = [asyncio.create_task(collect(notices, reader)) for reader in readers]
            for value in range(50):
                ring.write(value)
                silent.write(1000 + value)
                await asyncio.sleep(0.001)
            ring.end()
            silent.end()
            assert threads == threading.active_count()
            return await asyncio.wait_for(asyncio.gather(*tasks), 10.0)

    with (
        RingReader.attach(ring.name, policy="drop_oldest") as first,
        RingReader.attach(ring.name, policy="drop_oldest") as second,
        RingReader.attach(silent.name, policy="drop_oldest") as third,
    ):
        readers = [first, second, third]
        assert [[*range(50)], [*range(50)], [*range(1000, 1050)]] == asyncio.run(run())


def test_a_notice_wakes_at_once(context: Context, noticed: tuple[RingWriter, Notifier]) -> None:
    """Once greeted, the loop hears of an item before the slice is over."""
    ring, notifier = noticed

    async def delay(notices: AsyncNotices, reader: RingReader) -> float:
        waiting = asyncio.create_task(notices.wait(reader, 5.0))
        await asyncio.sleep(0.005)
        begin = time.monotonic()
        ring.write(1)
        assert await waiting
        found = time.monotonic() - begin
        assert reader.read(0.0) is not None
        return found

    async def run() -> list[float]:
        with AsyncNotices(context) as notices, RingReader.attach(ring.name, policy="drop_oldest") as reader:
            return [await delay(notices, reader) for _ in range(30)]

    delays = asyncio.run(run())
    assert notifier.sent > 0
    assert sorted(delays)[len(delays) // 2] < SLICE_S / 4


def test_a_reader_that_is_awake_is_not_notified(context: Context, noticed: tuple[RingWriter, Notifier]) -> None:
    """While there is something to read nobody arms, however often `wait` is called; other tasks run all the same."""
    ring, notifier = noticed

    async def run() -> int:
        turns = read = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        with AsyncNotices(context) as notices, RingReader.attach(ring.name, policy="drop_oldest") as reader:
            ring.write(0)
            async for _ in notices.items(reader):
                read += 1
                if turns > 10:
                    break
                assert await notices.wait(reader) if reader.lag else True
                ring.write(read)
        other.cancel()
        return read

    assert asyncio.run(run()) > 10
    assert 0 == notifier.sent


def test_waiting_costs_next_to_nothing(context: Context, noticed: tuple[RingWriter, Notifier]) -> None:
    """A ring that stands still is looked at once a slice; nothing is polled in between."""
    ring, _ = noticed

    async def run() -> int:
        with AsyncNotices(context) as notices, RingReader.attach(ring.name, policy="drop_oldest") as reader:
            assert not await notices.wait(reader, 0.0)
            followed = next(iter(notices._notices._followed.values()))
            while not followed.is_welcome:
                ring.write(1)
                await notices.wait(reader, 0.01)
                reader.seek(ring.published)
                await notices.wait(reader, 0.002)
            looks, arm = 0, reader.arm

            def counted() -> bool:
                nonlocal looks
                looks += 1
                return arm()

            reader.arm = counted  # type: ignore[method-assign]  # counts
            assert not await notices.wait(reader, 0.3)
            del reader.arm
            return looks

    assert 2 <= asyncio.run(run()) <= 0.3 / SLICE_S + 5


def test_a_lost_notice_delays_by_one_slice_at_most(context: Context, silent: RingWriter) -> None:
    """With every notice lost, each item is still seen within 20 ms and what scheduling adds."""

    async def run() -> list[float]:
        delays = []
        with AsyncNotices(context) as notices, RingReader.attach(silent.name, policy="drop_oldest") as reader:
            assert not await notices.wait(reader, 0.0)
            next(iter(notices._notices._followed.values())).is_welcome = True  # so that it trusts its notices, wrongly
            for _ in range(20):
                waiting = asyncio.create_task(notices.wait(reader, 5.0))
                await asyncio.sleep(0.003)
                begin = time.monotonic()
                silent.write(1)
                assert await waiting
                delays.append(time.monotonic() - begin)
                assert reader.read(0.0) is not None
        return delays

    delays = asyncio.run(run())
    assert sorted(delays)[len(delays) // 2] <= SLICE_S + 0.005


def test_a_cancelled_reader_loses_nothing(context: Context, noticed: tuple[RingWriter, Notifier]) -> None:
    """Cancelled while it sleeps, it leaves nothing behind, and another task reads on where it stopped."""
    ring, _ = noticed

    async def run() -> list[int]:
        with AsyncNotices(context) as notices, RingReader.attach(ring.name, policy="drop_oldest") as reader:
            ring.write(1)
            task = asyncio.create_task(collect(notices, reader))
            while not notices._sleepers:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not notices._sleepers
            assert not notices._notices._followed
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(notices.wait(reader), 0.01)
            assert not notices._sleepers
            ring.write(2)
            ring.end()
            return await collect(notices, reader)

    assert [2] == asyncio.run(run())


def test_closing_ends_every_wait(context: Context, silent: RingWriter) -> None:
    """Who waits is told, and so is who comes later."""

    async def run() -> None:
        notices = AsyncNotices(context)
        with RingReader.attach(silent.name) as reader:
            waiting = asyncio.create_task(notices.wait(reader))
            while not notices._sleepers:
                await asyncio.sleep(0.001)
            notices.close()
            with pytest.raises(ClosedError):
                await waiting
            with pytest.raises(ClosedError):
                await notices.wait(reader)

    asyncio.run(run())


def test_blobs_are_read_too_until_their_ring_is_gone(context: Context) -> None:
    """A name that leads nowhere ends the iteration when all was read."""

    async def run() -> list[bytes]:
        writer = BlobWriter.create(rig_name(), max_bytes=64, slots=16)
        with AsyncNotices(context) as notices, BlobReader.attach(writer.name, policy="drop_oldest") as reader:
            writer.write(b"one")
            writer._ring.segment.unlink()  # as `rm /dev/shm/pl*` does
            writer.write(b"two")
            found = [bytes(blob.data) async for blob in notices.items(reader)]
        writer.close()
        return found

    assert [b"one", b"two"] == asyncio.run(run())


def test_a_stream_is_read_until_its_run_ends(context: Context) -> None:
    """Items of compressed blocks; the END block ends the iteration, though the ring goes on."""

    async def run(both: Wire) -> list[int]:
        with (
            AsyncNotices(context) as notices,
            StreamReader.attach(both.ring_name, policy="drop_oldest", start="oldest", wait_for_s=10.0) as reader,
        ):
            both.forwarder.stop(STREAM)
            found = [item.sequence async for item in notices.items(reader)]
            assert reader.has_ended
            assert not reader.blocks.ended
        return found

    with wire() as both, signal_ring(both.rig) as ring:
        both.forwarder.add(STREAM)
        both.forwarder.start(STREAM)
        write(ring, 100)
        eventually(lambda: both.forwarder.state()[STREAM].acked)
        assert [*range(100)] == asyncio.run(run(both))
