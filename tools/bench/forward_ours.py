"""Our source, Pilot, Terminal and recorder, for `forward.py`: each the body of a process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pipeline.block import Block
from pipeline.forward import Forwarder
from pipeline.heap import keep_freed_memory
from pipeline.ingest import Ingest
from pipeline.notify import Notices, Notifier
from pipeline.transport import Context, CurveKeys, make_keys
from shm import BlobReader, RingWriter, clean, segment_name

from .camera_pool import POOL, SHAPE, make_images, read_stamp, stamp
from .child import BenchError, Control

STREAM: Final = "p.cam"
SLOTS: Final = 64
WARM: Final = 80
"""Images before the clock starts: every place of both rings was used."""
PATIENCE_S: Final = 20.0

Job = dict[str, Any]


def make_job(seconds: float, *, keyed: bool) -> Job:
    """Return what every process of a measurement is told."""
    job: Job = {"rig": f"bench-forward-{os.getpid()}", "seconds": seconds}
    if keyed:
        (job["public"], job["secret"]), (job["own_public"], job["own_secret"]) = make_keys(), make_keys()
    return job


def server_keys(job: Job) -> CurveKeys | None:
    """Return the keys of whoever listens."""
    return CurveKeys(job["public"], job["secret"]) if "public" in job else None


def client_keys(job: Job) -> CurveKeys | None:
    """Return the keys of whoever connects."""
    return CurveKeys(job["own_public"], job["own_secret"], job["public"]) if "public" in job else None


def clear(job: Job) -> None:
    """Remove what killed processes left."""
    clean(rig=job["rig"])


def source(job: Job, control: Control) -> None:
    """Publish images as fast as the ring takes them."""
    images, name = make_images(), f"{job['rig']}/{STREAM}"
    with Context() as context:
        notifier = Notifier(context, segment_name("r", name))
        ring = RingWriter.create(
            name, shape=SHAPE, dtype="u1", slots=SLOTS, can_wait=True, timeout_s=PATIENCE_S, notifier=notifier,
            meta={"rate": 400.0},
        )  # fmt: skip
        control.report()
        sequence = 0
        while True:
            image = images[sequence % POOL]
            stamp(image, sequence)
            sequence = ring.write(image, time_ns=time.monotonic_ns()) + 1


def terminal(job: Job, control: Control) -> None:
    """Be the Terminal's ingest."""
    keep_freed_memory()
    with Context(server_keys(job)) as context, Ingest("T", job["rig"], context, "tcp://127.0.0.1:0") as ingest:
        control.report(endpoint=ingest.endpoint)
        control.wait()


def pilot(codec: str, job: Job, control: Control) -> None:
    """Forward."""
    keep_freed_memory()
    with Context(client_keys(job)) as context, Forwarder("p", job["rig"], context, job["endpoint"]) as forwarder:
        forwarder.add(STREAM, codec=codec, slots=SLOTS)
        forwarder.start(STREAM)
        control.report()
        control.wait()


def take(job: Job, control: Control) -> None:
    """Take every block out of the Terminal's ring, look whether it is the right one, and count."""
    control.report()
    ring = f"{job['rig']}/T/{STREAM}"
    reader = BlobReader.attach(ring, policy="lossless", reader="bench", start="oldest", wait_for_s=PATIENCE_S)
    expected: list[int] = []

    def take_one() -> int:
        blob = reader.read(1.0)
        if blob is None:
            return 0
        block = Block.from_blob(blob.data)
        first = block.header.first
        is_right = block.header.codec != "raw" or read_stamp(block.payload) == first
        if not is_right or (expected and first != expected[0]):
            raise BenchError(f"image {first} came where {expected} was expected, or its words are wrong")
        expected[:] = [first + 1]
        return 1

    control.report(rate=_rate(take_one, job["seconds"], lambda: None))


def record(folder: Path, job: Job, control: Control, *, stream: str = STREAM) -> None:
    """Record as the recorder does; what is stored counts when it is on the disk."""
    from stations.recording import SessionRecorder
    from stations.recording.intake import Intake

    keep_freed_memory()
    control.report()
    with Context() as context:
        intake = Intake(f"{job['rig']}/T/", Notices(context))
        session = SessionRecorder(folder / "recording", job["rig"], [stream])
        intake.begin(session, time.monotonic())

        def store() -> int:
            before = session.stream(stream).stored
            if not intake.do_work(time.monotonic()):
                intake.wait(0.02)
            session.tick(time.monotonic())
            return session.stream(stream).stored - before

        rate = _rate(store, job["seconds"], session.close)
        gaps = session.summary()[stream]["births"]
        if any(birth["gaps"] for birth in gaps.values()):
            raise BenchError(f"the recording has gaps: {gaps}")
        control.report(rate=rate)


def _rate(work: Callable[[], int], seconds: float, finish: Callable[[], object]) -> float:
    """Return what `work` counts a second, from the end of the warm-up until `finish` has returned."""
    deadline, count = time.monotonic() + PATIENCE_S, 0
    while count < WARM:
        count += work()
        if time.monotonic() > deadline:
            raise BenchError(f"{count} images after {PATIENCE_S:g} s")
    count, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + seconds:
        count += work()
    finish()
    return count / (time.perf_counter() - begin)
