"""What the Terminal accepted beside what the recorder stored."""

from __future__ import annotations

from typing import Any

import msgspec

from stations.ledger import Account, Produced, Stored, account
from stations.rows_ledger import KeyCount, RowsTold, with_produced

BIRTH = "00000000000000a1"
DATA = "data/DATA"


def summary(origin: int, end: int, stored: int, gaps: list[Any] | None = None) -> dict[str, Any]:
    """Return the recorder's account of DATA."""
    births = {BIRTH: {"origin": origin, "end": end, "stored": stored, "gaps": gaps or []}}
    return {DATA: {"stored": stored, "births": births, "ended": True}}


def balance(row: dict[str, Any]) -> Account:
    """Balance as the conductor does."""
    births = msgspec.convert(row["births"], dict[str, Stored])
    return account(msgspec.convert(row["produced"], Produced), births)


def told(**keys: int) -> RowsTold:
    """Return the Terminal's word."""
    return RowsTold(BIRTH, {key: KeyCount(count) for key, count in keys.items()})


def test_rows_before_the_recording_are_none_of_its_business() -> None:
    """Accepted from the origin on is what must be stored."""
    row = with_produced(summary(5, 25, 20), origins={BIRTH: {"DATA": 5}}, accepted={}, told=told(DATA=25, OLD=0))[DATA]

    assert Account(20, 20, {}, 0, True) == balance(row)


def test_a_row_that_the_terminal_accepted_and_nobody_stored_does_not_balance() -> None:
    """The Terminal's count is held against the files; so is a key that the recorder never saw."""
    result = with_produced(summary(0, 20, 20), origins={}, accepted={BIRTH: {"DATA": 20}}, told=told(DATA=21, POS=3))

    assert "1 items are neither stored nor dropped" == balance(result[DATA]).problem
    assert "3 items are neither stored nor dropped" == balance(result["data/POS"]).problem


def test_without_the_terminal_the_ring_says_what_was_accepted() -> None:
    """A Terminal that is dead at STOP leaves its ring."""
    gaps = [(4, 2, "recorder")]
    row = with_produced(summary(0, 20, 18, gaps), origins={}, accepted={BIRTH: {"DATA": 20}}, told=None)[DATA]

    assert Account(20, 18, {"recorder": 2}, 0, True) == balance(row)


def test_keys_of_which_nothing_came_are_no_streams() -> None:
    """A key of before the recording is not in its account."""
    result = with_produced({}, origins={BIRTH: {"OLD": 7}}, accepted={BIRTH: {"OLD": 7}}, told=told(OLD=7))

    assert {} == result
