"""The Terminal's listens that make rows of messages, beside whatever else it does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline import Message

from .rows import MessageRows


def row_key(message: Message) -> str:
    """Return the key of a message's row: ``DATA`` for DATA, what it calls itself for CONTINUOUS.

    That is `inner_key`, of the message or in its value, or `key` in its value, else ``CONTINUOUS``.
    """
    key = str(message.key)
    if key != "CONTINUOUS":
        return key
    value = message.value if isinstance(message.value, dict) else {}
    named = message["inner_key"] if "inner_key" in message else value.get("inner_key", value.get("key"))
    return named if isinstance(named, str) and named else key


def row_listens(rows: MessageRows) -> dict[str, Callable[[Message], Any]]:
    """Return the listens DATA and CONTINUOUS, which append a row and return its number, and ROWS, the account."""

    def append(message: Message) -> int:
        return rows.append(row_key(message), message)

    return {"DATA": append, "CONTINUOUS": append, "ROWS": lambda _message: rows.account()}
