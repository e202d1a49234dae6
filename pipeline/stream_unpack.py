"""The recipient's half of a stream of messages: each item of a STREAM becomes a message of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .log import RateLimit
from .message import Message
from .stream_batch import MAX_BATCH
from .stream_ring import ArrayRings, Place

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())
_OWN: Final = frozenset(
    ("id", "to", "sender", "key", "value", "flags", "timestamp", "ttl", "changed", "serialized", "blosc")
)


class Opening(msgspec.Struct, frozen=True):
    """The first STREAM of a sender that has a ring: is it visible here?"""

    ring: str
    birth: int


class StreamBatch(msgspec.Struct, frozen=True):
    """The value of a STREAM."""

    inner_key: str
    headers: dict[str, Any] = {}
    payload: list[Any] = []
    places: dict[int, Place] = {}
    """Items that are in a ring, by their index in `payload`."""
    opening: Opening | None = None


class StreamUnpacker:
    """Calls the listen of `inner_key` for each item, in order; used by any listen thread."""

    def __init__(self, listens: Mapping[str, Callable[[Message], Any]]) -> None:
        self._listens = listens
        self._rings = ArrayRings()
        self._lock = threading.Lock()

    def l_stream(self, message: Message) -> dict[str, Any]:
        """Take a STREAM apart.

        Returns:
            `ring`: whether the sender's ring is visible here; `failed`: items whose listen raised, or that could not be
            read; `error`: what the first of them said.

        Raises:
            ValidationError: the value is no batch.
            ValueError: it has too many items.
            LookupError: there is no listen for its `inner_key`.
        """
        batch = msgspec.convert(message.value, StreamBatch, strict=False)
        if len(batch.payload) > MAX_BATCH:
            raise ValueError(f"a batch of {len(batch.payload)} items; at most {MAX_BATCH}")
        sender = str(message.sender)
        if batch.opening is not None:
            with self._lock:
                return {"ring": self._rings.has(sender, batch.opening.ring, batch.opening.birth)}
        listen = self._listens.get(batch.inner_key)
        if listen is None:
            raise LookupError(f"no listen for {batch.inner_key!r}; there are {', '.join(sorted(self._listens))}")
        errors = [error for index in range(len(batch.payload)) if (error := self._take(message, batch, index, listen))]
        return {"failed": len(errors), "error": errors[0] if errors else ""}

    def close(self) -> None:
        """Let go of all rings."""
        with self._lock:
            self._rings.close()

    def _take(self, message: Message, batch: StreamBatch, index: int, listen: Callable[[Message], Any]) -> str:
        """Call the listen for one item; return what went wrong, if anything."""
        try:
            value = batch.payload[index]
            if index in batch.places:
                with self._lock:
                    value = self._rings.take(str(message.sender), batch.places[index])
            listen(_item(message, batch, index, value))
        except Exception as error:  # one item's trouble is not the others'
            _log.warning("item %d of %s from %s: %s", index, batch.inner_key, message.sender, error, exc_info=True)
            return f"{type(error).__name__}: {error}"
        return ""


def _item(message: Message, batch: StreamBatch, index: int, value: Any) -> Message:
    """Return the message of one item: headers join a dict, and are attributes of anything else."""
    attributes: dict[str, Any] = {}
    if isinstance(value, dict):
        value = {**batch.headers, **value}
    else:
        attributes = {name: header for name, header in batch.headers.items() if name not in _OWN}
    return Message(
        id=f"{message.id}.{index}", to=message.to, sender=message.sender, key=batch.inner_key, value=value,
        timestamp=message.timestamp, **attributes,
    )  # fmt: skip
