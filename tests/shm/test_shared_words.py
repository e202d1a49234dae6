"""What a writer pays for its readers: nothing for those that may lose items."""

from __future__ import annotations

from pathlib import Path

from support.children import Child
from support.ring_words import ITEMS, READERS


def test_a_publication_touches_as_many_shared_words_for_thirty_readers_as_for_none(
    instrumented: Path, ring_name: str
) -> None:
    """Counted in the native code: readers that may lose items, stopped or not, are not looked at when it writes.

    Lossless ones are looked at once when they join; after that they cost as little until the ring has gone round.
    """
    with Child("support.ring_words", ring_name, path=str(instrumented)) as process:
        words = process.line()
    print({policy: [count / ITEMS for count in counts] for policy, counts in words.items()})
    for policy in ("latest", "drop_oldest", "lossless"):
        assert len(words[policy]) == len(READERS)
        assert set(words[policy]) == {words["latest"][0]}, policy
    assert 0 < words["latest"][0] <= 12 * ITEMS
