"""What a hub's messages go through: taken in, passed on, handed to listens, sent as the session wants.

Only the I/O thread may use an `Exchange`; it keeps no thread and opens no socket.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from .effects import Buffer, Deliver, Effect, Progress, Ref, Settle, Transmit
from .errors import MalformedError, UnroutableError
from .hub_counts import HubCounts
from .links import Links
from .listening import failure, read_outcome
from .log import RateLimit
from .message import Message
from .neighbours import Neighbours
from .outgoing import Outgoing
from .peers import Peer, PeerState
from .receipt import Receipt
from .routes import Routes
from .session import Session
from .value import encode_frames
from .wire import (
    DELIMITER,
    MAX_HOPS,
    TAG_BYTES,
    VERSION,
    Kind,
    Outcome,
    Tag,
    open_envelope,
    read_tag,
    read_way,
)

Delivery = tuple[Ref, bool, Message, int]
"""Which message, whether it is confirmed, the message, its size in bytes."""
Accept = Callable[[list[Delivery]], None]
HasRoom = Callable[[bytes, Message, int], bool]
Post = Callable[..., bool]

_TOGETHER: Final = 256
_TOGETHER_BYTES: Final = 1024 * 1024
"""Messages of one turn, and their bytes, that are handed to listens together; until then no bound counts them."""

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())


class Order(NamedTuple):
    """A confirmed message to send."""

    path: Sequence[bytes]
    key: str
    body: Sequence[Buffer]
    ttl: int
    deadline_s: float


class Exchange:
    """One hub's messages.

    Attributes:
        unsettled: receipts without an end, by counter.
    """

    def __init__(
        self,
        name: bytes,
        *,
        links: Links,
        neighbours: Neighbours,
        routes: Routes,
        session: Session,
        counts: HubCounts,
        accept: Accept,
        has_room: HasRoom,
        post: Post,
    ) -> None:
        """Take over the session.

        Args:
            name: our address.
            links: our sockets.
            neighbours: who is at their other ends.
            routes: ways to everybody else.
            session: our conversations.
            counts: what we count.
            accept: hands messages to their listens, in order.
            has_room: tells whether `accept` may be called for origin, message, size.
            post: has something called on the I/O thread, in its turn.
        """
        self.unsettled: dict[int, Receipt] = {}
        self._name = name
        self._text = name.decode()
        self._links = links
        self._neighbours = neighbours
        self._routes = routes
        self._session = session
        self._counts = counts
        self._accept = accept
        self._has_room = has_room
        self._post = post
        self._deliveries: list[Delivery] = []
        """Messages that came in this turn go to their listens together."""
        self._delivered_bytes = 0
        self._settled: deque[tuple[Callable[..., None], dict[str, Any]]] = deque()
        """Receipts that ended in this turn."""
        self._counter = 0

    # ---- what is sent ------------------------------------------------------------------------------------------------

    def submit(self, order: Order, receipt: Receipt) -> None:
        """Send a confirmed message."""
        now = time.monotonic()
        self._counter += 1
        self.unsettled[self._counter] = receipt
        path, key, body, ttl, deadline_s = order
        item = Outgoing(self._counter, path, key, body, ttl=ttl, deadline=now + deadline_s)
        self._carry_out(self._session.submit(item, now), now)

    def submit_post(self, path: Sequence[bytes], body: Sequence[Buffer], receipt: Receipt) -> None:
        """Send an unconfirmed message."""
        now = time.monotonic()
        self._counter += 1
        hops = path[1:] if path[0] == self._name else path
        target = self._routes.next_hop(hops[0]) if hops else None
        if hops and target is None:
            self._counts.unroutable += 1
            receipt.settle("failed", error=UnroutableError(self._no_way(path[-1])))
            return
        post = self._session.post(self._counter, path, body, now)
        if target is None:
            self._transmit(post, now)
        elif self._links.send(target, [*hops, post.tag + self._name, DELIMITER, *body]):
            self._counts.sent += 1  # the way is known: what `_transmit` would look up again
        else:
            self._counts.dropped_full += 1
            receipt.settle("expired", reason=f"{target.id} takes no more now")
            return
        receipt.settle("sent")

    def answer(self, ref: Ref, kind: Kind, body: Sequence[Buffer]) -> None:
        """Answer a message whose listen has ended."""
        now = time.monotonic()
        self._carry_out(self._session.finished(ref, kind, body, now), now)

    # ---- the turn ----------------------------------------------------------------------------------------------------

    def hand_over(self) -> None:
        """Wake who waits for what came, last: a thread that is woken earlier waits for the interpreter's lock."""
        if self._deliveries:
            deliveries, self._deliveries, self._delivered_bytes = self._deliveries, [], 0
            self._accept(deliveries)
        while self._settled:
            settle, arguments = self._settled.popleft()
            settle(**arguments)

    def on_tick(self, now: float) -> None:
        """Let the session do what is due."""
        self._carry_out(self._session.on_tick(now), now)

    def flush(self) -> None:
        """Send what waits; whose neighbour has gone hears of it."""
        for peer, frames in self._links.flush():
            if peer.is_there:
                self._neighbours.lose(peer)
            path, trace, _ = open_envelope([bytes(frame) for frame in frames])
            if trace[TAG_BYTES:].partition(b"\0")[0] == self._name:
                self._take_back(path[0], read_tag(trace))
            else:
                self._say_unroutable(path[0], trace)

    def end(self, left: list[Receipt]) -> None:
        """Settle what has no end, and `left`, which was not even begun."""
        for counter, receipt in self.unsettled.items():
            if self._session.outbox.has_left(counter):
                receipt.settle("unknown", reason=f"{self._text} was released before the answer; it may have run")
            else:
                left.append(receipt)
        for receipt in left:
            receipt.settle("expired", reason=f"{self._text} was released before it was sent")
        self.hand_over()
        self.unsettled.clear()

    # ---- what arrives -----------------------------------------------------------------------------------------------

    def take(self, peer: Peer, frames: list[bytes], now: float) -> None:
        """Take an envelope that a neighbour sent.

        Raises:
            MalformedError: it is none.
        """
        path, trace, body = open_envelope(frames)
        came_by = trace[TAG_BYTES:]
        if came_by != peer.name:
            if not came_by.endswith(b"\0" + peer.name):
                self._counts.forged += 1
                raise MalformedError(f"{peer.id} says it is {came_by[-40:]!r}")
            if not peer.is_upstream:
                self._routes.learn(came_by.partition(b"\0")[0], peer)
        peer.heard = now
        if peer.state is not PeerState.ALIVE and (not peer.is_upstream or peer.state is PeerState.LATE):
            self._neighbours.hear(peer, now)  # upstream's boot is known by its beat only
        self._counts.received += 1
        if path[0] == self._name:
            path = path[1:]
            if not path:
                self._arrive(peer, read_way(trace), read_tag(trace), body, now)
                return
        self._forward(peer, path, trace, body)

    def _forward(self, peer: Peer, path: Sequence[bytes], trace: bytes, body: Sequence[bytes]) -> None:
        """Pass on what is not for us, unread."""
        if trace[0] != VERSION or trace.count(b"\0", TAG_BYTES) >= MAX_HOPS:
            raise MalformedError(f"wire version {trace[0]}, or more than {MAX_HOPS} hops")
        target = self._routes.next_hop(path[0], peer)
        if target is None:
            self._say_unroutable(path[0], trace)
        elif self._links.send(target, [*path, trace + b"\0" + self._name, DELIMITER, *body]):
            self._counts.forwarded += 1
        else:
            self._counts.dropped_full += 1

    def _take_back(self, address: bytes, tag: Tag) -> None:
        """A message of ours could not leave."""
        if tag.kind <= Kind.ASK:
            self._on_no_way(tag.counter if tag.kind != Kind.POST else 0, address, time.monotonic())
        else:
            self._counts.unroutable += 1

    def _say_unroutable(self, address: bytes, trace: bytes) -> None:
        self._counts.unroutable += 1
        tag, way = read_tag(trace), read_way(trace)
        reason = self._no_way(address)
        _log.info("%s (from %s)", reason, way[0].decode(errors="replace"))
        if tag.kind <= Kind.ASK:
            answer = Tag(VERSION, Kind.UNROUTABLE, tag.boot, tag.counter, 0, tag.kind).pack()
            self._transmit(Transmit(way[::-1], answer, encode_frames(Outcome(VERSION, reason))), time.monotonic())

    def _arrive(self, peer: Peer | None, way: Sequence[bytes], tag: Tag, body: Sequence[bytes], now: float) -> None:
        """Take what is for us."""
        kind = tag.kind
        if kind <= Kind.POST:
            self._on_message(way, tag, body, now)
        elif kind <= Kind.SETTLED:
            self._carry_out(self._session.on_envelope(way, tag, body, now), now)
        elif kind == Kind.UNROUTABLE:
            if tag.boot == self._session.boot:
                reason = str(read_outcome(body))
                self._carry_out(self._session.outbox.on_unroutable(tag.counter, reason, now), now)
        elif kind > Kind.BYE:
            raise MalformedError(f"kind {kind} is unknown")
        elif peer is not None and len(way) == 1:
            self._on_neighbour(peer, tag, now)

    def _on_neighbour(self, peer: Peer, tag: Tag, now: float) -> None:
        if tag.kind == Kind.BEAT:
            self._neighbours.on_beat(peer, tag, now)
            self._carry_out(self._session.outbox.on_boot(peer.name, tag, now), now)
        elif tag.kind == Kind.TAKEN:
            self._neighbours.on_taken(peer, tag)
        else:
            self._neighbours.lose(peer)

    def _on_message(self, way: Sequence[bytes], tag: Tag, body: Sequence[bytes], now: float) -> None:
        problem = ""
        try:
            message = Message(body)
        except MalformedError as error:
            self._counts.malformed += 1
            message, problem = Message(), str(error)
        size = sum(map(len, body))
        if not problem and not self._has_room(way[0], message, size):
            self._counts.dropped_busy += 1
            return  # not accepted: a confirmed message comes again
        for effect in self._session.on_envelope(way, tag, body, now):
            if not isinstance(effect, Deliver):
                self._carry_out((effect,), now)
            elif not problem:
                self._counts.delivered += 1
                self._deliveries.append((effect.ref, effect.is_confirmed, message, size))
                self._delivered_bytes += size
                if len(self._deliveries) >= _TOGETHER or self._delivered_bytes >= _TOGETHER_BYTES:
                    self.hand_over()
            elif effect.is_confirmed:
                self.answer(effect.ref, *failure(problem))

    # ---- what the session wants -------------------------------------------------------------------------------------

    def _carry_out(self, effects: Iterable[Effect], now: float) -> None:
        for effect in effects:
            if isinstance(effect, Transmit):
                self._transmit(effect, now)
            elif isinstance(effect, Settle):
                self._settle(effect)
            elif isinstance(effect, Progress):
                self.unsettled[effect.counter].progress()

    def _transmit(self, effect: Transmit, now: float) -> None:
        path, trace = effect.path, effect.tag + self._name
        if path[0] == self._name:
            path = path[1:]
            if not path:  # to ourselves: in its turn, so that effects never nest
                body = [bytes(part) for part in effect.body]
                self._post(self._arrive, None, [self._name], read_tag(trace), body, now)
                return
        target = self._routes.next_hop(path[0])
        if target is None:
            self._on_no_way(effect.counter, path[0], now)
        elif effect.counter and not target.is_there:
            self._session.outbox.not_sent(effect.counter)
        elif self._links.send(target, [*path, trace, DELIMITER, *effect.body]):
            self._counts.sent += 1
        else:
            self._counts.dropped_full += 1

    def _on_no_way(self, counter: int, address: bytes, now: float) -> None:
        """Nobody leads to an address; a `counter` above 0 says which message of ours ends by that."""
        self._counts.unroutable += 1
        if counter:
            self._session.outbox.not_sent(counter)
            failed = self._session.outbox.on_unroutable(counter, self._no_way(address), now, has_left=False)
            self._carry_out(failed, now)

    def _settle(self, effect: Settle) -> None:
        receipt = self.unsettled.pop(effect.counter)
        self._settled.append((receipt.settle, _end_of(receipt, effect)))

    def _no_way(self, address: bytes) -> str:
        return f"{self._text} knows no way to {address.decode(errors='replace')}; is its node running?"


def _end_of(receipt: Receipt, effect: Settle) -> dict[str, Any]:
    """Return how a receipt ends, as `Receipt.settle` takes it."""
    state, reason = effect.state, effect.reason
    try:
        if state == "done":
            return {"state": state, "value": read_outcome(effect.body)}
        if state == "failed" and not effect.body:
            return {"state": state, "error": UnroutableError(f"{receipt.key} to {receipt.to}: {reason}")}
        return {"state": state, "reason": str(read_outcome(effect.body)) if effect.body else reason}
    except MalformedError as error:
        return {"state": "failed", "reason": f"its answer cannot be read: {error}"}
