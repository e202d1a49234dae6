"""Death between any two steps of writing, joining, reading and taking over harms nobody who lives."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.children import Child

NEEDED = {
    "write": {"claim: gate open", "claim: claimed", "fill: filled", "publish: times", "publish: published"}
    | {"wake: disarmed", "wake: counted", "wake: woken"},
    "write_block": {"claim: claimed", "publish: published"},
    "claim": {"claim: claimed", "publish: published"},
    "write_blob": {"fill: a part", "publish: published"},
    "demote": {"room: wanted", "room: no longer wanted", "word: compared", "word: added", "claim: claimed"},
    "reap": {"lock: taken", "word: compared", "lock: given back"},
    "join": {"lock: taken", "join: position", "join: state", "gate: version", "gate: position", "store: position"}
    | {"store: wanted taken", "store: room counted", "read: copied", "seek: position", "lock: given back"},
    "promote": {"read: copied", "promote: state", "gate: version", "gate: position"},
    "take_over": {"lock: taken", "word: stored", "word: added", "word: woken"},
    "create": {"lock: taken", "word: stored", "word: woken"},
    "supersede": {"lock: taken", "word: stored", "word: woken", "lock: given back"},
}


@pytest.mark.parametrize("scenario", NEEDED)
def test_every_death_is_survived(instrumented: Path, ring_name: str, scenario: str) -> None:
    """After a death at each point a ring is found whole, taken over, written, read and joined, and no time is lost."""
    prefix = f"{ring_name.partition('/')[0]}/{scenario}"
    with Child("support.ring_deaths", prefix, scenario, path=str(instrumented)) as process:
        said = process.line()
    points, failed = said["points"], said["failed"]
    print(f"{scenario}: {len(points)} points: {', '.join(points)}")
    assert NEEDED[scenario] <= set(points)
    assert not failed, "\n".join(f"died at {at}, {label}\n{trace}" for at, label, trace in failed)
