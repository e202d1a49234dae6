"""The scenarios of the ring that are explored: as few slots and items as show every promise being kept or broken."""

from __future__ import annotations

from typing import Final

from .machine import Scenario
from .operations import compute
from .ring import (
    FAR,
    JOINING,
    LOSSLESS,
    drop_oldest,
    join,
    latest,
    lossless,
    make_room,
    memory,
    notify,
    notify_after_takeover,
    promote,
    seek_back,
    sleep,
    wait_room,
    write,
    write_after_takeover,
    write_gated,
    write_streaming,
)

_NEVER_BACK: Final = ("claimed", "published")
_FROM_0: Final = compute("sequence", lambda: 0)


def _scenarios() -> list[Scenario]:
    joined = {"table_version": 1, "state": LOSSLESS, "position": 0}
    joining = {"table_version": 0, "state": JOINING, "position": FAR}
    asleep = {"armed": 0, "wakes": 0, "asleep0": 0, "asleep1": 0}
    return [
        Scenario(
            "read, 1 slot",
            {"writer": write(1, 3, 1), "drop_oldest": drop_oldest(range(2), 1), "latest": latest(1)},
            memory(1, 1),
            _NEVER_BACK,
        ),
        Scenario(
            "read, 2 slots",
            {"writer": write(2, 4, 2), "drop_oldest": drop_oldest(range(1, 3), 2), "latest": latest(2)},
            memory(2, 2),
            _NEVER_BACK,
        ),
        Scenario(
            "streaming stores",
            {"writer": write_streaming(1, 3, 1), "drop_oldest": drop_oldest(range(2), 1)},
            memory(1, 1),
            _NEVER_BACK,
        ),
        Scenario(
            "gate",
            {"writer": write_gated(0, 3, 1), "lossless": [_FROM_0, *lossless(3, 1)], "latest": latest(1)},
            memory(0, 1, **joined),
            _NEVER_BACK,
        ),
        Scenario(
            "join at the newest",
            {"writer": write_gated(1, 3, 1), "lossless": [*join(1), *lossless(3, 1)], "latest": latest(1)},
            memory(1, 1, **joining),
            _NEVER_BACK,
        ),
        Scenario(
            "join at the oldest",
            {"writer": write_gated(2, 5, 2), "lossless": [*join(2, wanted=0), *lossless(5, 2)]},
            memory(2, 2, **joining),
            _NEVER_BACK,
        ),
        Scenario(
            "seek back",
            {"writer": write_gated(2, 5, 2), "lossless": [*seek_back(2, 0), *lossless(5, 2)]},
            memory(2, 2, **(joined | {"position": 2})),
            _NEVER_BACK,
        ),
        Scenario(
            "demote",
            {"writer": write_gated(0, 3, 1, can_wait=False), "lossless": [_FROM_0, *lossless(3, 1, *promote(1))]},
            memory(0, 1, **joined),
            _NEVER_BACK,
        ),
        Scenario(
            "takeover",
            {"writers": write_after_takeover(2, 4, 2), "drop_oldest": drop_oldest(range(1, 3), 2)},
            memory(2, 2),
            _NEVER_BACK,
        ),
        Scenario(
            "notify",
            {"writer": [*notify(1, 2), *notify(2, 2)], "first": sleep(0, 0), "second": sleep(1, 1)},
            {"published": 0, **asleep},
            ("published", "wakes"),
        ),
        Scenario(
            "notify over a takeover",
            {"writers": notify_after_takeover(2, 1), "sleeper": sleep(1, 0)},
            {"published": 0, **asleep},
            ("published", "wakes"),
        ),
        Scenario(
            "room",
            {"writer": wait_room(2, 1), "lossless": [*make_room(1), *make_room(2)]},
            {"position": 0, "wanted": FAR, "rooms": 0, "asleep": 0},
            ("position", "rooms"),
        ),
    ]


SCENARIOS: Final = {scenario.name: scenario for scenario in _scenarios()}
