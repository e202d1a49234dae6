"""What every test is held to: it leaves nothing behind in the operating system."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings
from support.leftovers import Leftovers, snapshot
from support.waiting import eventually

GRACE_S = 5.0

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As where a script begins the tests in its background: their own processes would inherit it, and never hear Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Explaining a failure traces every line of every attempt: minutes, where finding and shrinking it takes seconds.
settings.register_profile("found", phases=[phase for phase in Phase if phase is not Phase.explain], print_blob=True)
settings.load_profile("found")


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a segment, a child process, a thread or a socket behind."""
    yield from _nothing_left_by(request.node.name)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_of_what_tests_share(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the last test of a module whose own fixtures leave something behind."""
    yield from _nothing_left_by(request.node.name)


def _nothing_left_by(name: str) -> Iterator[None]:
    before = snapshot()
    yield
    left: list[Leftovers] = []

    def is_clean() -> bool:
        left[:] = [snapshot().since(before)]
        return not left[0]

    if not eventually(is_clean, GRACE_S):
        pytest.fail(f"{name} left behind: {left[0]}", pytrace=False)


@pytest.fixture
def ring_name(request: pytest.FixtureRequest) -> str:
    """Name of a ring of this test alone, also beside other runs of the suite."""
    import os

    return f"test-{os.getpid()}/{request.node.name[:100]}"
