"""How a batch of a stream of messages gets to its recipient, and what became of it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from .errors import ClosedError, UnsendableError
from .log import RateLimit
from .stream_ring import ArrayRing

if TYPE_CHECKING:
    from .node import NetNode

TRY_S: Final = 5.0
"""How long a batch is tried before it is sent anew; doubles while it does not arrive ..."""
LONGEST_TRY_S: Final = 60.0
"""... up to this: a large item may take longer over a slow link."""

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())


class Fate(NamedTuple):
    """What became of a batch.

    ``again``: it has not run and will not.  ``too_much``: for one message.  ``failed``: of `done` ones, so many items.
    """

    end: Literal["done", "again", "too_much", "unknown", "failed"]
    failed: int = 0


class BatchSender:
    """Sends the batches of one stream, one after the other; used by one thread.

    Args:
        node: of the stream's own.
        ring: for large arrays.
        to: the recipient.
        key: of the listen there.
        headers: go with every item.
    """

    def __init__(self, node: NetNode, ring: ArrayRing, *, to: str, key: str, headers: dict[str, Any]) -> None:
        self._node = node
        self._ring = ring
        self._to = to
        self._try_s = TRY_S
        self._head = {"inner_key": key, "headers": headers}

    def deliver(self, batch: list[Any]) -> Fate:
        """Send a batch and wait for its end.

        Raises:
            ClosedError: the node was released.
        """
        payload, blob = self._ring.put(batch, time.monotonic())
        value = self._head | {"payload": payload, "blob": msgspec.to_builtins(blob)}
        try:
            receipt = self._node.send(self._to, "STREAM", value, deadline_s=self._try_s)
        except ClosedError:
            raise
        except UnsendableError:
            if len(batch) > 1:
                return Fate("too_much")
            _log.warning("%s: an item for %s cannot be sent", self._node.id, self._to, exc_info=True)
            return Fate("failed")
        except Exception:  # whatever it is, the stream goes on and the items are counted
            _log.warning("%s: a batch of %d items could not be sent", self._node.id, len(batch), exc_info=True)
            return Fate("failed")
        state = receipt.wait()
        if state == "done":
            self._try_s = TRY_S
            return self._read(receipt.result(0), len(batch), has_ring=blob is not None)
        if state == "expired":
            self._try_s = min(2 * self._try_s, LONGEST_TRY_S)
            return Fate("again")
        return Fate("unknown" if state == "unknown" else "failed")

    def _read(self, said: Any, count: int, *, has_ring: bool) -> Fate:
        """Return what the recipient says of a batch."""
        said = said if isinstance(said, dict) else {}
        if has_ring and said.get("ring") is False:
            self._ring.unseen(time.monotonic())
            return Fate("again")
        if has_ring:
            self._ring.seen()
        bad = said.get("failed")
        return Fate("done", min(count, bad) if isinstance(bad, int) else count)
