"""Exit codes of every command; the top-level README lists the same numbers."""

from __future__ import annotations

from typing import Final

OK: Final = 0
"""All went well; for a run: every stream is balanced."""
NOT_DONE: Final = 1
"""`ping`: an answer is missing; `send`, `mark`, `record`: the message did not end as done."""
BAD_INPUT: Final = 2
"""Something that was asked for cannot be done as asked; one line on stderr names it."""
UNBALANCED: Final = 3
"""Items are missing that no reason accounts for; for `verify`: the recording does not hold what it should."""
PENDING: Final = 4
"""The run stopped with items still waiting on a Pilot."""
INTERRUPTED: Final = 130
"""Ctrl-C before the command had a result (128 + SIGINT, as shells count)."""
