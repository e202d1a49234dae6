"""Running a listen: what it returns or raises becomes the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .arrays import expand_arrays
from .effects import Buffer
from .log import RateLimit
from .message import Message
from .message_log import log_message
from .value import decode_frames, decoder_of, encode_frames
from .wire import VERSION, Kind, Outcome

Listen = Callable[[Message], Any]
Answer = tuple[Kind, Sequence[Buffer]]

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())
_outcomes: Final = decoder_of(Outcome)
_NOTHING: Final = (Kind.DONE, tuple(encode_frames(Outcome(VERSION, None))))
_MAX_TEXT: Final = 4096
"""Characters of an error that travel."""


def run_listen(name: str, listens: Mapping[str, Listen], message: Message, *, expand: bool) -> Answer:
    """Run the listen for a message and return the answer: DONE with what it returned, or FAILED with what it raised."""
    log_message("receives", name, message)
    listen = listens.get(message.key or "")
    if listen is None:
        known = ", ".join(sorted(listens)) or "none"
        _log.warning("%s: no listen for %r from %s", name, message.key, message.sender)
        return failure(f"{name} has no listen for {message.key!r}; it has {known}")
    try:
        if expand:
            message.expand()
        value = listen(message)
        if value is None:
            return _NOTHING
        return Kind.DONE, tuple(encode_frames(Outcome(VERSION, value)))
    except Exception as error:  # whatever a listen raises goes to who called it
        _log.warning("%s: the listen for %r raised", name, message.key, exc_info=True)
        return failure(f"{type(error).__name__}: {error}")


def failure(text: str) -> Answer:
    """Return the answer that says why a message failed."""
    return Kind.FAILED, tuple(encode_frames(Outcome(VERSION, text[:_MAX_TEXT])))


def read_outcome(body: Sequence[Buffer]) -> Any:
    """Return the value or text of an answer, arrays expanded.

    Raises:
        MalformedError: it is no answer of ours.
    """
    return expand_arrays(decode_frames(_outcomes, body).value)
