"""Writer and readers as processes, with items that prove themselves, stopped and killed at any moment."""

from __future__ import annotations

import random
import signal
import time

from support.children import Child, reader, writer

ENOUGH = 100


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


def test_killed_and_stopped_processes_harm_nobody(ring_name: str) -> None:
    """SIGSTOP, SIGCONT and SIGKILL at random: the survivor sees no torn item, the writer goes on."""
    rng = random.Random(11)
    with writer(ring_name, slots=8, can_wait=True, timeout_s=0.05, seed=5) as source:
        source.line()
        with reader(ring_name, policy="drop_oldest", seed=6) as survivor:
            survivor.line()
            source.go()
            victims: list[Child] = []
            for _ in range(4):
                victim = reader(ring_name, policy=rng.choice(["lossless", "latest"]), seed=rng.randrange(99))
                victims.append(victim)
                victim.line()
                time.sleep(rng.random() * 0.05)  # the moment of death is what varies
                victim.signal(rng.choice([signal.SIGSTOP, signal.SIGKILL]))
            source.go()
            published = source.line()["published"]
            said = survivor.line()
            account(said)
            assert (said["position"], published > ENOUGH) == (published, True)
            for victim in victims:
                victim.__exit__(None, None, None)
