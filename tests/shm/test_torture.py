"""Writer and readers as processes, with items that prove themselves, stopped and killed at any moment."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest
from support.children import Child, reader, writer

ENOUGH = 100
READERS = 6


def account(said: dict[str, int]) -> None:
    """Nothing wrong was returned, and every item is in exactly one count."""
    assert said["wrong"] == 0
    gone = said["taken"] + said["skipped"] + said["lapped"] + said["torn"]
    assert gone == said["position"] - said["began"]


def test_three_policies_see_no_torn_item(ring_name: str) -> None:
    """A live writer at full speed: nothing wrong is returned and all losses are exact to the item."""
    with writer(ring_name, slots=16, seed=3) as source:
        source.line()
        policies = ("latest", "drop_oldest", "lossless")
        readers = [reader(ring_name, policy=policy, seed=n) for n, policy in enumerate(policies)]
        try:
            for process in readers:
                process.line()
            source.go()
            time.sleep(1.0)  # how long the torture lasts
            source.go()
            published = source.line()["published"]
            for process in readers:
                said = process.line()
                account(said)
                assert said["position"] == published
                assert said["taken"] > 0
        finally:
            for process in readers:
                process.__exit__(None, None, None)


def test_lossless_readers_of_a_waiting_writer_miss_nothing(ring_name: str) -> None:
    """Two readers of different speed, one stopped for a while: no item is missed, none is wrong."""
    with writer(ring_name, slots=16, can_wait=True, timeout_s=20, count=4000, seed=4) as source:
        began = source.line()["ready"]
        with reader(ring_name, policy="lossless", start=began) as a, reader(ring_name, policy="lossless", seed=1) as b:
            a.line()
            b.line()
            source.go()
            a.signal(signal.SIGSTOP)
            time.sleep(0.2)  # how long it is away; less than the writer's timeout
            a.signal(signal.SIGCONT)
            for said in (a.line(), b.line()):
                account(said)
                assert (said["lapped"], said["torn"], said["skipped"]) == (0, 0, 0)


def test_a_writer_and_reader_that_were_stopped_together_lose_nothing(ring_name: str) -> None:
    """Longer than the writer waits: its time-out counts only while it runs."""
    options = {"slots": 8, "can_wait": True, "timeout_s": 0.8, "count": 60, "seed": 4}
    with writer(ring_name, **options) as source, reader(ring_name, policy="lossless", slow_s=0.01) as slow:
        source.line()
        slow.line()
        source.go()
        time.sleep(0.1)  # the reader is slow, so that by now the writer waits for it
        for process in (source, slow):
            process.signal(signal.SIGSTOP)
        time.sleep(1.2)  # how long they are away
        for process in (source, slow):
            process.signal(signal.SIGCONT)
        said = slow.line()
        account(said)
        assert (said["lapped"], said["torn"], said["demoted"]) == (0, 0, False)


def torture(name: str, **options: Any) -> None:
    """Let a writer and six readers be stopped and killed; print what happened, assert that nothing was wrong."""
    with Child("support.ring_torture", name, json.dumps(options)) as process:
        told = process.line()
    said = told.pop("said")
    ends = [line for line in said if "wrong" not in line]
    print(options, told, *ends, sep="\n")
    assert [] == [line["wrong"] for line in said if "wrong" in line]
    assert ([], []) == (told["hung"], told["left"])
    published = {line["published"] for line in ends}
    assert (len(ends), len(published)) == (1 + READERS, 1), "not all drained to the end"
    assert published == {line["position"] for line in ends if "position" in line}
    assert min(published) > ENOUGH


@pytest.mark.timeout(100)
@pytest.mark.parametrize(("seed", "can_wait"), [(1, True), (2, False)])
def test_processes_stopped_and_killed_at_random_harm_nobody(ring_name: str, seed: int, can_wait: bool) -> None:
    """No torn item, losses exact to the item, none for lossless readers of a writer that waits, no hang, no rest."""
    torture(ring_name, seed=seed, seconds=4, can_wait=can_wait)


@pytest.mark.stress
@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", range(100, 120))
def test_processes_stopped_and_killed_for_a_minute_harm_nobody(ring_name: str, seed: int) -> None:
    """The same for longer, with twenty seeds."""
    torture(ring_name, seed=seed, seconds=60, can_wait=seed % 4 != 0)
