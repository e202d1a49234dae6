"""A hub: one address of the tree, with the sockets, the session and the listens behind it.

`NetNode` and `stations.Station` are what people use; both are hubs.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Self

from .dispatch import Dispatch, Outline
from .effects import Ref
from .errors import AddressError, ClosedError, DuplicateIdError
from .exchange import Delivery, Exchange
from .hub_counts import HubCounts, HubStatistics
from .links import Links
from .listen_pool import DEFAULT_THREADS, ListenPool
from .listening import Listen, run_listen
from .mailbox import Mailbox
from .message import DEFAULT_TTL, Message, frames_of
from .message_log import is_logged, log_message
from .neighbours import Neighbours
from .outbox import Patience
from .peers import Pace, Peer, PeerCallback, PeerEvent, PeerInfo, Peers, PeerState, make_identity
from .receipt import Receipt
from .routes import Routes
from .session import Session
from .stream_unpack import StreamUnpacker
from .switch import Switch
from .transport import Context, share_context, unshare_context
from .wire import check_address, check_path

_REQUEST_SHARE: Final = 0.9
"""Part of a request's timeout after which the recipient is asked rather than sent to again, so that the answer
`expired` arrives in time."""


def _marks(repeat: bool, flags: Mapping[str, Any] | None) -> dict[str, Any]:
    marks = dict(flags) if flags else {}
    if not repeat:
        marks["NOREPEAT"] = True
    return marks


class Hub:
    """One address of the tree; `send` to and `request` from any other.

    Attributes:
        id: the address.
        boot: names this life of it, 64 random bits.
        listens: called by key with the whole `Message`; may be changed at any time.  What a listen returns goes back to
            the sender, what it raises too.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the seed's word
        listens: Mapping[str, Listen] | None = None,
        *,
        listen_endpoint: str | None = None,
        push_endpoint: str | None = None,
        push_id: str | None = None,
        context: Context | None = None,
        expand_on_receive: bool = True,
        threads: int = DEFAULT_THREADS,
        patience: Patience | None = None,
        pace: Pace | None = None,
        on_peer: PeerCallback | None = None,
        daemon: bool = True,
    ) -> None:
        """Bind and connect at once.

        Args:
            id: 1 to 200 bytes of UTF-8.
            listens: by key; copied.
            listen_endpoint: where others connect to us (``tcp://127.0.0.1:0``: any free port, see `endpoint`).
            push_endpoint: where we connect upstream; nobody need listen there yet.
            push_id: the id of who listens there.
            context: whose sockets to use; one shared by the process if None.
            expand_on_receive: whether listens get numpy arrays; else they call `Message.expand`.
            threads: listens that run at once.
            patience: how long sessions wait.
            pace: heartbeat times.
            on_peer: see `on_peer`.
            daemon: whether the process may end while the thread runs.

        Raises:
            AddressError: `id` or `push_id` cannot be used.
            EndpointInUseError: another process listens there.
        """
        self.id = id
        self.listens: dict[str, Listen] = {}
        self._unpacker = StreamUnpacker(self.listens)
        built_in: dict[str, Listen] = {"STREAM": self._unpacker.l_stream, "STATISTICS": self.l_statistics}
        self.listens.update({**built_in, **(listens or {})})
        self.push_id = push_id or None
        self.expand_on_receive = expand_on_receive
        boot, now, name = secrets.randbits(64) | 1, time.monotonic(), check_address(id)
        self.boot = boot
        patience = patience or Patience()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._id_prefix = f"{id}_{boot:016x}_"
        self._is_closed = False
        self._peers = Peers(pace or Pace())
        upstream = None
        if push_endpoint is not None:
            upstream = Peer(check_address(self.push_id), b"", boot=0, now=now, is_upstream=True)
            self._peers.add(upstream)
        self._upstream = upstream
        self._has_news = threading.Condition(self._lock)
        self._peer_callbacks = [on_peer] if on_peer is not None else []
        self._counts = HubCounts()
        self._session = Session(boot, now, patience)
        self._pool = ListenPool(id, threads)
        self._is_sharing = context is None
        self._context = context or share_context()
        try:
            self._links = Links(
                self._context, make_identity(name, boot), listen_endpoint=listen_endpoint, push_endpoint=push_endpoint
            )
        except BaseException:
            self._give_back_context()
            raise
        self._neighbours = Neighbours(name, boot, self._peers, self._links, self._counts, now=now, tell=self._tell)
        self._mailbox = Mailbox()
        self._exchange = Exchange(
            name,
            links=self._links,
            neighbours=self._neighbours,
            routes=Routes(name, self._peers, upstream),
            session=self._session,
            counts=self._counts,
            accept=self._accept,
            has_room=self._has_room,
            post=self._mailbox.post,
        )
        self._switch = Switch(
            id,
            mailbox=self._mailbox,
            links=self._links,
            neighbours=self._neighbours,
            session=self._session,
            exchange=self._exchange,
            counts=self._counts,
        )
        self._dispatch = Dispatch(
            id,
            mailbox=self._mailbox,
            exchange=self._exchange,
            switch=self._switch,
            patience=patience,
            is_connected=lambda: self.is_connected,
        )
        self._switch.start(daemon=daemon)

    @property
    def endpoint(self) -> str:
        """Where others can connect to us, with the real port; empty without a listen endpoint."""
        return self._links.router.endpoint if self._links.router is not None else ""

    @property
    def is_connected(self) -> bool:
        """Whether the upstream neighbour is there; True if there is none to be."""
        return self._upstream is None or self._upstream.is_there

    @property
    def is_released(self) -> bool:
        """Whether `release` was called."""
        return self._is_closed

    @property
    def problem(self) -> DuplicateIdError | None:
        """Why nothing can be sent now (our id is taken upstream), or None."""
        return self._neighbours.problem

    def peers(self) -> list[PeerInfo]:
        """Return the neighbours and their state."""
        return self._peers.info(time.monotonic())

    def statistics(self) -> HubStatistics:
        """Return what passed, was refused and was lost so far."""
        return self._counts.snapshot(unsettled=len(self._exchange.unsettled), queued=self._links.queued)

    def l_statistics(self, _message: Message) -> dict[str, int]:
        """Answer what `statistics` returns, by name: a listen of every node."""
        return asdict(self.statistics())

    def on_peer(self, call: PeerCallback) -> None:
        """Call with (id, `PeerState`, boot) whenever a neighbour joins, is late, is lost or restarts.

        In order, on a listen thread; at once for each neighbour that is here already.
        """
        self._mailbox.post(self._begin_to_tell, call)

    def prepare_message(
        self,
        to: str | Sequence[str],
        key: str,
        value: Any = None,
        repeat: bool = True,
        flags: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> Message:
        """Make a message from us, with an id; further keywords become attributes and travel too."""
        final = to if isinstance(to, str) else to[-1]
        marks = _marks(repeat, flags)
        return Message(id=self._next_id(), to=final, sender=self.id, key=key, value=value, flags=marks, **attributes)

    def send(  # noqa: PLR0917 - the seed's signature
        self,
        to: str | Sequence[str] | None = None,
        key: str | None = None,
        value: Any = None,
        msg: Message | None = None,
        repeat: bool = True,
        flags: Mapping[str, Any] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> Receipt:
        """Send a message to any address; returns at once, unless thousands wait to leave: then up to 1 s later.

        Args:
            to: the final recipient, or all hops to it, the recipient last; `msg.to`, else upstream, if None.
            key: chooses the listen there.
            value: the body; copied now, so that changing it later changes nothing.
            msg: a message made before, instead of key and value.
            repeat: confirm and resend; False is the flag `NOREPEAT`.
            flags: see `Message`.
            deadline_s: seconds until the message expires if it has not arrived; ttl times `repeat_interval_s` if None.

        Raises:
            UnsendableError: the value cannot travel; the text names the path.
            AddressError: `to` cannot be used, or nobody is upstream and it is None.
            OutboxFullError: too many messages have no end yet.
            DuplicateIdError: our id is taken upstream.
            ClosedError: after `release`.
        """
        target = to or (msg.to if msg is not None else None) or self._require_upstream()
        hops = (target,) if isinstance(target, str) else tuple(target)
        path = check_path(hops)
        if self.problem is not None:
            raise self.problem
        if self._is_closed:
            raise ClosedError(f"{self.id} was released; it can send no more")
        if msg is None:
            marks = _marks(repeat, flags)
            if not is_logged(marks):
                body = frames_of(self._next_id(), hops[-1], self.id, key or "", value, marks)
                return self._dispatch.send(path, Outline(hops[-1], key or "", "NOREPEAT" in marks), body, deadline_s)
            msg = self.prepare_message(hops[-1], key or "", value, repeat, flags)
        body = msg.serialize()
        log_message("sends", self.id, msg)
        outline = Outline(msg.to or "", msg.key or "", "NOREPEAT" in msg.flags, msg.ttl or DEFAULT_TTL)
        return self._dispatch.send(path, outline, body, deadline_s)

    def push(  # noqa: PLR0917 - the seed's signature
        self,
        to: str | Sequence[str] | None = None,
        key: str | None = None,
        value: Any = None,
        msg: Message | None = None,
        repeat: bool = True,
        flags: Mapping[str, Any] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> Receipt:
        """Send upstream: to who listens there, or on from there to `to`; else like `send`."""
        upstream = self._require_upstream()
        target = to or (msg.to if msg is not None else None) or upstream
        hops = [target] if isinstance(target, str) else list(target)
        if hops[0] != upstream:
            hops.insert(0, upstream)
        return self.send(hops, key, value, msg, repeat, flags, deadline_s=deadline_s)

    def request(self, to: str | Sequence[str] | None, key: str, value: Any = None, *, timeout_s: float = 10.0) -> Any:
        """Send and wait for what the listen returns; may be called inside a listen.

        Raises:
            RemoteError: the listen raised, there is none, or nobody knows the address (`UnroutableError`).
            ExpiredError: it has not run and will not.
            UnknownOutcomeError: no answer within `timeout_s`; it may have run, or still run.
        """
        return self.send(to, key, value, deadline_s=timeout_s * _REQUEST_SHARE).result(timeout_s)

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the upstream neighbour is there; False if it is not after `timeout_s`.

        Raises:
            DuplicateIdError: our id is taken there.
        """
        with self._has_news:
            self._has_news.wait_for(lambda: self.is_connected or self.problem or self._is_closed, timeout_s)
        if self.problem is not None:
            raise self.problem
        return self.is_connected

    def release(self, timeout_s: float = 2.0) -> None:
        """Let running listens end, say goodbye, close; idempotent.

        Messages without an end are settled: `expired` if they never left, else `unknown`.  May be called inside a
        listen, whose answer is then not sent.
        """
        with self._has_news:
            if self._is_closed:
                return
            self._is_closed = True
            self._has_news.notify_all()
        self._pool.close(timeout_s)
        self._switch.stop(timeout_s)
        self._unpacker.close()
        self._give_back_context()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        there = sum(peer.is_there for peer in self._peers)
        return f"<{type(self).__name__} {self.id} peers={there} unsettled={len(self._exchange.unsettled)}>"

    def _next_id(self) -> str:
        return f"{self._id_prefix}{next(self._numbers)}"

    def _require_upstream(self) -> str:
        if self.push_id is None:
            raise AddressError(f"{self.id} has nobody upstream; say `to`")
        return self.push_id

    def _has_room(self, origin: bytes, message: Message, size: int) -> bool:
        return self._pool.has_room((origin, message.key), size)

    def _accept(self, deliveries: list[Delivery]) -> None:
        run = self._run_listen
        self._pool.submit_all(
            [
                ((ref.origin, message.key), (run, (ref, is_confirmed, message), size))
                for ref, is_confirmed, message, size in deliveries
            ]
        )

    def _run_listen(self, ref: Ref, is_confirmed: bool, message: Message) -> None:
        kind, body = run_listen(self.id, self.listens, message, expand=self.expand_on_receive)
        if is_confirmed:
            self._mailbox.post(self._exchange.answer, ref, kind, body)

    def _tell(self, event: PeerEvent | None) -> None:
        """A neighbour came or went, or (None) we were refused; called on the I/O thread."""
        with self._has_news:
            self._has_news.notify_all()
        if event is None:
            return
        if event.state is PeerState.ALIVE:
            self._session.outbox.resume(time.monotonic())
        for call in self._peer_callbacks:
            self._pool.submit("peers", call, event.peer, event.state, event.boot)

    def _begin_to_tell(self, call: PeerCallback) -> None:
        """Tell of those who are here, then of everybody else; on the I/O thread, where they come and go."""
        self._peer_callbacks.append(call)
        for peer in self.peers():
            if peer.state is not PeerState.LOST:
                self._pool.submit("peers", call, peer.id, peer.state, peer.boot)

    def _give_back_context(self) -> None:
        if self._is_sharing:
            self._is_sharing = False
            unshare_context()
