"""What a machine is told of a ring: how far it is, who writes it, whether anything follows."""

from __future__ import annotations

from typing import Any

from support.streams import rig_name, signal_ring, write

from pipeline.ring_look import RingLook, held, until_full_s
from pipeline.stream_spec import StreamSpec
from shm import RingObserver, RingWriter


class LateObserver(RingObserver):
    """Sees its ring written to and ended just after it has looked how far it is."""

    late: RingWriter | None = None

    @property
    def published(self) -> int:
        """Items that were whole before the writer's last act."""
        published = super().published
        ring, self.late = self.late, None
        if ring is not None:
            write(ring, 3)
            ring.end()
        return published


def test_a_ring_is_final_only_with_its_last_items() -> None:
    """One that ends while it is looked at is final at the next look: nobody stops before what came last."""
    with signal_ring(rig_name()) as ring, LateObserver.attach(ring.name) as observer:
        write(ring, 5)
        look = RingLook(observer)
        observer.late = ring
        assert [(5, False), (8, True)] == [(state.published, state.is_final) for state in (look.state(), look.state())]


def test_a_ring_that_was_replaced_is_final() -> None:
    """Its writer is gone, and the next one has a ring of its own."""
    with signal_ring(rig_name()) as ring, RingObserver.attach(ring.name) as observer:
        assert RingLook(observer).state(is_replaced=True).is_final


def test_what_is_overwritten_next_is_not_relied_on() -> None:
    """An eighth of the ring; nothing in an empty one."""
    with signal_ring(rig_name(), slots=4096) as ring, RingObserver.attach(ring.name) as observer:
        assert not held(observer)
        write(ring, 5000)
        assert range(5000 - 4096 * 7 // 8, 5000) == held(observer)


def test_a_source_without_a_rate_may_fill_a_block_at_any_time() -> None:
    """Only where the next items are known to come late is there time to sleep."""
    fields: dict[str, Any] = {"stream": "p1.sig", "birth": 1, "dtype": '"<i2"', "shape": (1,), "slots": 8}
    assert 0.0 == until_full_s(StreamSpec(block_items=100, **fields), 0, 10)
    regular = StreamSpec(block_items=100, rate=1000.0, **fields)
    assert 0.08 == until_full_s(regular, 0, 10)
    assert 0.0 == until_full_s(regular, 0, 99)
