"""Children are kept alive, told apart when they die, and never outlive their supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from pipeline.log import LogOptions
from stations.supervisor import Backoff, ChildSpec, Death, Started, Supervisor, SupervisorEvent

PART = """
import os
import signal
from typing import Any
from stations.child import Child, run_child
from stations.errors import BadInputError

def body(child: Child, config: dict[str, Any]) -> None:
    if config.get("bad"):
        raise BadInputError("no such thing: thing.mp4")
    if config.get("asked_within_wait"):
        with child.stopping._cond:  # the lock that every wait holds for a moment
            os.kill(os.getpid(), signal.SIGTERM)
    child.stopping.wait()

run_child(dict, body)
"""


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that `python -m` can run as a child."""
    (tmp_path / "a_part_of_a_test.py").write_text(PART)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return "a_part_of_a_test"


def until(done: Callable[[], object], supervisor: Supervisor, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        supervisor.do_work()
        time.sleep(0.01)


def test_backoff_grows_and_is_forgiven_after_a_steady_life() -> None:
    """Quick deaths wait ever longer; a long life starts over."""
    backoff = Backoff()

    assert [0.2, 0.4, 0.8] == [backoff.next_delay(0.1) for _ in range(3)]
    assert 0.2 == backoff.next_delay(60.0)


def test_a_killed_child_is_started_again(tmp_path: Path, part: str) -> None:
    """SIGKILL is told as such, and a new process takes over under the same name."""
    events: list[SupervisorEvent] = []
    with Supervisor(LogOptions(str(tmp_path / "logs")), events.append) as supervisor:
        supervisor.start(ChildSpec("child", "a part", {}, module=part))
        first = supervisor.pids()["child"]
        os.kill(first, signal.SIGKILL)
        until(lambda: supervisor.pids().get("child", first) != first, supervisor)

    (death,) = [event for event in events if isinstance(event, Death)]
    assert ("child", first, "killed by SIGKILL", "restarts") == (death.name, death.pid, death.cause, death.outcome)
    assert [False, True] == [event.again for event in events if isinstance(event, Started)]


def test_a_child_that_cannot_be_ends_the_rig_with_one_line(
    tmp_path: Path, part: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bad input is not restarted for ever; the reason is on stderr once."""
    with Supervisor(LogOptions(str(tmp_path / "logs")), lambda _: None) as supervisor:
        supervisor.start(ChildSpec("cam0", "a part", {"bad": True}, module=part))
        until(lambda: supervisor.fatal, supervisor)

    assert supervisor.fatal is not None
    assert 2 == supervisor.fatal.code
    assert "pipeline: cam0: no such thing: thing.mp4\n" == capfd.readouterr().err


@pytest.mark.parametrize(("policy", "outcome"), [("stop", "stops the rig"), ("ignore", "ignored")])
def test_policy_decides_what_a_death_means(tmp_path: Path, part: str, policy: str, outcome: str) -> None:
    """A child may be worth the whole rig, or nothing."""
    events: list[SupervisorEvent] = []
    with Supervisor(LogOptions(str(tmp_path / "logs")), events.append) as supervisor:
        supervisor.start(ChildSpec("child", "a part", {}, module=part, policy=msgspec.convert(policy, str)))  # type: ignore[arg-type]
        os.kill(supervisor.pids()["child"], signal.SIGKILL)
        until(lambda: any(isinstance(event, Death) for event in events), supervisor)

    assert outcome == next(event for event in events if isinstance(event, Death)).outcome


def test_children_leave_when_their_supervisor_is_killed(tmp_path: Path, part: str) -> None:
    """Even SIGKILL of the parent leaves nothing running."""
    program = (
        "import sys, time; from stations.supervisor import *; from pipeline.log import LogOptions\n"
        f"s = Supervisor(LogOptions({str(tmp_path / 'logs')!r}), lambda e: None)\n"
        f"s.start(ChildSpec('child', 'a part', {{}}, module={part!r})); print(s.pids()['child'], flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()

    child.wait(timeout=20)


def test_a_child_that_is_told_to_leave_in_the_midst_of_its_wait_leaves(tmp_path: Path, part: str) -> None:
    """A signal handler that took the event's lock there hung for ever, and outlived a killed supervisor."""
    events: list[SupervisorEvent] = []
    with Supervisor(LogOptions(str(tmp_path / "logs")), events.append) as supervisor:
        supervisor.start(ChildSpec("child", "a part", {"asked_within_wait": True}, module=part))
        until(lambda: not supervisor.pids(), supervisor)

    assert not [event for event in events if isinstance(event, Death)]
