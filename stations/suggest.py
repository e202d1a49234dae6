"""One question: which known word did somebody mean?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

MOST_LISTED: Final = 12
"""Known words that an error message lists before it stops."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown word.

    Args:
        word: what was written; case does not matter.
        known: what could have been written.

    Returns:
        ``did you mean 'rate'?``, or the list of known words when none is near.
    """
    words = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in words}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    if not words:
        return "there are none"
    more = ", …" if len(words) > MOST_LISTED else ""
    return f"known: {', '.join(words[:MOST_LISTED])}{more}"
