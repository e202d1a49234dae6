"""Messages in the log: a line for each that is sent or handed to a listen, at level DEBUG, as its flags allow.

`NOLOG` leaves it out, `MINPRINT` leaves out the value.  Values are shortened: a log is for reading.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

from .arrays import PackedArray
from .log import RateLimit
from .message import Message

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())


class _Short(reprlib.Repr):
    """Values in a line: arrays by dtype and shape, everything else by its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 120
        self.maxdict = self.maxlist = 6

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, np.ndarray | PackedArray):
            return f"<array {x.dtype} {tuple(x.shape)}>"
        return super().repr1(x, level)


_short: Final = _Short()


def is_logged(flags: Mapping[str, Any]) -> bool:
    """Tell whether a message with these flags is to be logged."""
    return _log.isEnabledFor(logging.DEBUG) and "NOLOG" not in flags


def log_message(what: Literal["sends", "receives"], where: str, message: Message) -> None:
    """Log a message, if DEBUG is asked for and its flags allow it."""
    if not is_logged(message.flags):
        return
    if "MINPRINT" in message.flags:
        _log.debug("%s %s %s: %s -> %s", where, what, message.key, message.sender, message.to)
    else:
        value = _short.repr(message.value)
        _log.debug("%s %s %s: %s -> %s %s", where, what, message.key, message.sender, message.to, value)
