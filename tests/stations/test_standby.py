"""An order to record: from when on a Pilot records, and what is told of a stream that cannot begin there."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.beginning import Beginning
from stations.standby import Began, RecordOrder, StartOrder

S = 1_000_000_000
ORDER = StartOrder(from_s=10.0, at_ns=100 * S, clock="ours", ago_s=0.5)
SINCE = 90 * S


def test_an_order_counts_back_from_its_moment_on_a_common_clock() -> None:
    """However late it is heard; on another clock from when it is heard, less what had passed when it was sent."""
    assert 90 * S == ORDER.since_ns(103 * S, "ours")
    assert 892_500_000_000 == ORDER.since_ns(903 * S, "theirs")


@pytest.mark.parametrize(
    ("found", "began"),
    [
        (Beginning(5, SINCE + S // 30, 20 * S, "held"), Began(9.966667)),
        (Beginning(5, SINCE + 4 * S, 20 * S, "held"), Began(6.0)),
        (Beginning(5, SINCE + S // 100, 20 * S, "overwritten"), Began(9.99)),
        (Beginning(5, SINCE + 8 * S, 2 * S, "overwritten"), Began(2.0, "its ring holds 2.0 s")),
        (Beginning(0, SINCE + 8 * S, 2 * S, "none"), Began(2.0, "it acquired nothing earlier")),
        (Beginning(0, None), Began(None, "it acquired nothing of that time")),
        (None, Began(None, "it has no ring yet")),
    ],
)
def test_a_stream_that_cannot_begin_as_ordered_says_why(found: Beginning | None, began: Began) -> None:
    """One that can does not, even if its first item is a little younger."""
    assert began == ORDER.began(found, SINCE)


def test_what_is_ordered_from_now_on_begins_with_what_comes() -> None:
    """That nothing is there yet is no reason."""
    assert Began(None) == StartOrder(0.0, 100 * S, "ours").began(Beginning(5, None), 100 * S)


@pytest.mark.parametrize("value", [{"from_s": -1}, {"duration_s": 0}, {"from_s": "soon"}])
def test_what_is_no_order_is_refused(value: dict[str, object]) -> None:
    """With the field in the message."""
    with pytest.raises(msgspec.ValidationError, match=next(iter(value))):
        msgspec.convert(value, RecordOrder)
