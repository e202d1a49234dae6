"""The two ends of a stream against each other, on a virtual clock, over a link that breaks and damages."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.block import Block, BlockHeader
from pipeline.channel import Credit, Open, Opened, Refused, from_frames, to_frames
from pipeline.codec import checksum
from pipeline.forward_effects import Cut, RingState
from pipeline.forward_stream import ForwardStream
from pipeline.ingest_stream import IngestStream, Verdict
from pipeline.stream_spec import StreamSpec

SLOTS, BLOCK, BLOBS = 64, 4, 8
SPEC = StreamSpec(
    stream="pilot1.cam0", birth=0x1234, dtype='"<i8"', shape=(1,), block_items=BLOCK, slots=BLOBS, rate=1000.0
)


def block_of(cut: Cut, spec: StreamSpec) -> Block:
    """Return a block whose items are their own sequences."""
    items = np.zeros(BLOCK, "<i8")
    items[: cut.count] = np.arange(cut.first, cut.first + cut.count)
    payload = items.tobytes() if cut.count else b""
    header = BlockHeader(
        stream=spec.stream, birth=spec.birth, epoch=cut.epoch, flags=int(cut.flags), first=cut.first, count=cut.count,
        block_items=BLOCK, origin=cut.origin, lost=cut.lost, lost_reason=cut.lost_reason, time_ns=cut.first,
        period_ns=1, dtype=spec.dtype, shape=spec.shape, codec="raw", raw_bytes=len(payload),
        payload_bytes=len(payload), crc=checksum(b"", payload),
    )  # fmt: skip
    return Block(header, b"", payload)


class World:
    """A Pilot's ring and forwarder, a link, and a Terminal's ingest and ring, in one thread."""

    def __init__(self, origin: int = 0, *, can_wait: bool = False) -> None:
        self.now = 100.0
        self.spec = SPEC if not can_wait else StreamSpec(**{**_fields(SPEC), "can_wait": True})
        self.origin = self.published = origin
        self.epoch = 0
        self.takeover: int | None = None
        self.stored: list[Block] = []
        self.taken = 0
        self.up = self.down = deque[list[Any]]()
        self.is_up = False
        self.end: int | None = None
        self.pilot_boots = 0
        self.boot_pilot(origin)
        self.boot_terminal()
        self.connect()

    def boot_pilot(self, origin: int | None) -> None:
        self.disconnect()
        self.pilot_boots += 1
        start = self.published if origin is None else origin
        self.forward = ForwardStream(self.spec, origin=origin, start=start, keep=SLOTS // 2, most=SLOTS * 7 // 8)
        if self.end is not None:
            self.forward.stop(self.end)

    def boot_terminal(self) -> None:
        self.disconnect()
        self.ingest: IngestStream | None = None

    def connect(self) -> None:
        self.up, self.down, self.is_up = deque(), deque(), True
        self.forward.link(True, self.now)

    def disconnect(self) -> None:
        if self.is_up:
            self.up, self.down, self.is_up = deque(), deque(), False
            self.forward.link(False, self.now)

    @property
    def ring(self) -> RingState:
        return RingState(self.published, max(0, self.published - SLOTS), self.epoch, self.takeover)

    @property
    def room(self) -> int:
        return BLOBS - (len(self.stored) - self.taken)

    def pilot_step(self) -> bool:
        effect = self.forward.step(self.ring, self.now)
        if effect is None:
            return False
        if isinstance(effect, Cut):
            assert self.ring.oldest <= effect.first or not effect.count
            assert effect.first + effect.count <= self.published
            self.up.append([bytes(f) for f in to_frames(block_of(effect, self.spec))])
            self.forward.done(effect)
        else:
            self.up.append([bytes(f) for f in to_frames(effect)])
        return True

    def deliver_up(self, *, damage: bool = False) -> None:
        if not self.up:
            return
        frames = self.up.popleft()
        if damage and len(frames) == 4 and frames[3]:
            frames[3] = bytes([frames[3][0] ^ 1]) + frames[3][1:]
        message = from_frames(frames)
        if isinstance(message, Open):
            if self.ingest is None:
                self.ingest = IngestStream(message.spec, self.stored[-1].header if self.stored else None)
            self._answer(self.ingest.open(message, self.room))
        elif isinstance(message, Block):
            assert self.ingest is not None, "a block before its OPEN"
            verdict = self.ingest.take(message)
            if verdict is Verdict.STORE:
                assert self.room > 0, "more was granted than fits"
                self.stored.append(message)
            elif verdict is not Verdict.DUPLICATE:
                self._answer(self.ingest.rewind(self.room, self.now))

    def credit(self, *, is_late: bool) -> None:
        if self.is_up and self.ingest is not None and self.ingest._opening:
            self._answer(self.ingest.credit(self.room, self.now, is_late=is_late))

    def _answer(self, message: Opened | Credit | None) -> None:
        if message is not None:
            self.down.append([bytes(f) for f in to_frames(message)])

    def deliver_down(self) -> None:
        if not self.down:
            return
        message = from_frames(self.down.popleft())
        if isinstance(message, Opened):
            self.forward.opened(message)
        elif isinstance(message, Credit):
            self.forward.credited(message)
        else:
            assert isinstance(message, Refused)
            self.forward.refused(message, self.now)

    def settle(self) -> None:
        """Let everything arrive over a good link, with a reader that takes all."""
        if not self.is_up:
            self.connect()
        for _ in range(400):
            self.now += 0.1
            self.pilot_step()
            self.deliver_up()
            self.taken = len(self.stored)
            self.credit(is_late=True)
            self.deliver_down()

    def check_ledger(self) -> tuple[int, int]:
        """Return (stored, lost) items; each sequence from the origin on is in exactly one of both."""
        position, stored, lost = self.origin, 0, 0
        for block in self.stored:
            header = block.header
            assert header.first - header.lost == position, f"a hole at {position}: {header}"
            assert (header.lost == 0) == (header.lost_reason == "")
            assert header.lost_reason in ("", "link", "lapped")
            assert header.origin == self.origin
            expected = np.arange(header.first, header.end)
            assert expected.tolist() == block.decode()[:, 0].tolist()
            stored, lost, position = stored + header.count, lost + header.lost, header.end
        for block, following in pairwise(self.stored):
            if 0 < block.header.count < BLOCK:
                assert following.header.is_end or following.header.epoch != block.header.epoch, "a short block inside"
        return stored, lost


def _fields(spec: StreamSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


class LossyLink(RuleBasedStateMachine):
    """Everything that may happen, in any order; the ledger must balance whatever does."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(origin=3)

    @rule(count=st.integers(1, 40))
    def publish(self, count: int) -> None:
        if self.world.end is None:
            self.world.published += count

    @rule(times=st.integers(1, 10))
    def forward(self, times: int) -> None:
        for _ in range(times):
            self.world.pilot_step()

    @rule(times=st.integers(1, 10))
    def deliver(self, times: int) -> None:
        for _ in range(times):
            self.world.deliver_up()
            self.world.deliver_down()

    @rule()
    def damage(self) -> None:
        self.world.deliver_up(damage=True)

    @rule(is_late=st.booleans())
    def credit(self, is_late: bool) -> None:
        self.world.credit(is_late=is_late)

    @rule(count=st.integers(1, 8))
    def read(self, count: int) -> None:
        self.world.taken = min(self.world.taken + count, len(self.world.stored))

    @rule(after_s=st.floats(0.01, 3.0))
    def wait(self, after_s: float) -> None:
        self.world.now += after_s

    @rule()
    def cut_link(self) -> None:
        self.world.disconnect()

    @rule()
    def mend_link(self) -> None:
        if not self.world.is_up:
            self.world.connect()

    @rule(knows_origin=st.booleans())
    def restart_pilot(self, knows_origin: bool) -> None:
        known = knows_origin or not self.world.stored or self.world.stored[-1].header.is_end
        self.world.boot_pilot(self.world.origin if known else None)

    @rule()
    def restart_terminal(self) -> None:
        self.world.boot_terminal()

    @rule()
    def restart_writer(self) -> None:
        self.world.epoch += 1
        self.world.takeover = self.world.published

    @rule()
    def stop(self) -> None:
        if self.world.end is None and self.world.published > self.world.origin:
            self.world.end = self.world.published
            self.world.forward.stop(self.world.end)

    @invariant()
    def no_hole_and_nothing_twice(self) -> None:
        self.world.check_ledger()

    def teardown(self) -> None:
        world = self.world
        if world.end is None:
            world.end = world.published = max(world.published, world.origin + 1)
            world.forward.stop(world.end)
        world.settle()
        stored, lost = world.check_ledger()
        assert world.end - world.origin == stored + lost
        assert [True] == [b.header.is_end for b in world.stored if b.header.is_end]
        assert world.stored[-1].header.is_end
        assert world.forward.is_finished
        if world.pilot_boots == 1:
            losses = world.forward.losses
            assert lost == losses.total("link") + losses.total("lapped")


LossyLink.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLossyLink = LossyLink.TestCase
