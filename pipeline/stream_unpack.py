"""The recipient's half of a stream of messages: each item of a STREAM becomes a message of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .log import RateLimit
from .message import Message
from .stream_batch import MAX_BATCH
from .stream_ring import Blob
from .stream_rings import ArrayRings

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())
_OWN: Final = frozenset(
    ("id", "to", "sender", "key", "value", "flags", "timestamp", "ttl", "changed", "serialized", "blosc")
)


class StreamBatch(msgspec.Struct, frozen=True):
    """The value of a STREAM."""

    inner_key: str
    headers: dict[str, Any] = {}
    payload: list[Any] = []
    blob: Blob | None = None
    """Arrays of the payload that are in a ring."""


class StreamUnpacker:
    """Calls the listen of `inner_key` for each item, in order; used by any listen thread."""

    def __init__(self, listens: Mapping[str, Callable[[Message], Any]]) -> None:
        self._listens = listens
        self._rings = ArrayRings()

    def l_stream(self, message: Message) -> dict[str, Any]:
        """Take a STREAM apart.

        Returns:
            `failed`: items whose listen raised; `error`: what the first of them said.  Or `ring` False: arrays in the
            sender's ring cannot be read here, so nothing was run.

        Raises:
            ValidationError: the value is no batch.
            ValueError: it has too many items.
            MalformedError: it names a ring or places that are none of the sender's.
            LookupError: there is no listen for its `inner_key`.
        """
        batch = msgspec.convert(message.value, StreamBatch, strict=False)
        if len(batch.payload) > MAX_BATCH:
            raise ValueError(f"a batch of {len(batch.payload)} items; at most {MAX_BATCH}")
        listen = self._listens.get(batch.inner_key)
        if listen is None:
            raise LookupError(f"no listen for {batch.inner_key!r}; there are {', '.join(sorted(self._listens))}")
        if batch.blob is not None and not self._rings.fill(str(message.sender), batch.payload, batch.blob):
            return {"ring": False}
        errors = [error for index in range(len(batch.payload)) if (error := _run(message, batch, index, listen))]
        return {"failed": len(errors), "error": errors[0] if errors else ""}

    def close(self) -> None:
        """Let go of all rings."""
        self._rings.close()


def _run(message: Message, batch: StreamBatch, index: int, listen: Callable[[Message], Any]) -> str:
    """Call the listen for one item; return what went wrong, if anything."""
    try:
        listen(_item(message, batch, index))
    except Exception as error:  # one item's trouble is not the others'
        _log.warning("item %d of %s from %s: %s", index, batch.inner_key, message.sender, error, exc_info=True)
        return f"{type(error).__name__}: {error}"
    return ""


def _item(message: Message, batch: StreamBatch, index: int) -> Message:
    """Return the message of one item: headers join a dict, and are attributes of anything else."""
    value, attributes = batch.payload[index], {}
    if isinstance(value, dict):
        value = {**batch.headers, **value}
    else:
        attributes = {name: header for name, header in batch.headers.items() if name not in _OWN}
    return Message(
        id=f"{message.id}.{index}", to=message.to, sender=message.sender, key=batch.inner_key, value=value,
        timestamp=message.timestamp, **attributes,
    )  # fmt: skip
