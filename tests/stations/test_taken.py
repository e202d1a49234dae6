"""Who is refused an address waits as long as its holder may be dead, and no longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from pipeline import DuplicateIdError
from stations.taken import PATIENCE_S, AddressGuard


@dataclass
class FakeHub:
    id: str = "p1"
    problem: DuplicateIdError | None = None


def test_a_refusal_that_lasts_is_an_error_and_a_short_one_is_none() -> None:
    """The time counts from the first refusal, and anew after the address was ours."""
    hub, now = FakeHub(), [100.0]
    guard = AddressGuard(cast(Any, hub), lambda: now[0])
    assert guard.is_ours()
    hub.problem = DuplicateIdError("the id p1 is taken at T")
    assert not guard.is_ours()
    now[0] += PATIENCE_S - 0.1
    assert not guard.is_ours()
    hub.problem = None
    assert guard.is_ours()
    hub.problem = DuplicateIdError("the id p1 is taken at T")
    assert not guard.is_ours()
    now[0] += PATIENCE_S + 0.1
    with pytest.raises(DuplicateIdError, match="taken at T"):
        guard.is_ours()
