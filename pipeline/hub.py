"""A hub: one node or station of the tree, with the one thread that owns its sockets.

Other threads leave commands and are answered through receipts; listens run on a bounded pool.  What arrives for others is
passed on by its address frames alone.  Nothing that arrives can stop the thread: what cannot be read is counted and dropped.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from .effects import Buffer, Deliver, Effects, Progress, Ref, Settle, Transmit
from .errors import ClosedError, DuplicateIdError, MalformedError, OutboxFullError, UnroutableError
from .hub_counts import HubCounts, HubStatistics
from .links import MAX_DRAIN, Fate, Links
from .listen_pool import DEFAULT_THREADS, ListenPool
from .log import RateLimit
from .message import DEFAULT_TTL, Message
from .outbox import Outgoing, Patience
from .peers import Pace, Peer, PeerEvent, PeerInfo, Peers, PeerState, make_identity, read_identity
from .receipt import Receipt
from .routes import Routes
from .session import Session
from .transport import Context, Socket, share_context, unshare_context
from .value import decode_frames, decoder_of, encode_frames
from .wire import (
    DELIMITER,
    MAX_HOPS,
    TAG_BYTES,
    VERSION,
    Envelope,
    Kind,
    Outcome,
    Tag,
    check_address,
    open_envelope,
    read_tag,
    read_way,
)

Listen = Callable[[Message], Any]
PeerCallback = Callable[[str, PeerState, int], None]

MAX_UNSETTLED: Final = 65536
"""Confirmed messages without an end that a hub keeps; `send` refuses more."""
_SOON_S: Final = 0.001
"""How soon to try again what zmq could not take."""
_QUOTED_BYTES: Final = 200
"""Bytes of a peer's error text in ours."""

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())
_outcomes: Final = decoder_of(Outcome)
_NOTHING: Final = tuple(encode_frames(Outcome(VERSION, None)))
"""The answer of a listen that returns None."""


class Hub:
    """One address of the tree; see `NetNode` and `stations.Station` for what people use.

    Attributes:
        id: the address.
        boot: names this life of it; 64 random bits.
        listens: called by key with the whole `Message`; may be changed at any time.  What a listen returns goes back to
            the sender.
        problem: why no message can be sent now (the id is taken), or None.
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
            push_endpoint: where we connect upstream; it need not exist yet.
            push_id: the id of who listens there.
            context: whose sockets to use; one shared by the process if None.
            expand_on_receive: whether listens get numpy arrays; else they call `Message.expand`.
            threads: listens that run at once.
            patience: how long sessions wait.
            pace: heartbeat times.
            on_peer: called with (id, `PeerState`, boot) when a neighbour joins, is late, is lost or restarts.
            daemon: whether the process may end while the thread runs.

        Raises:
            AddressError: `id` or `push_id` cannot be used.
            EndpointInUseError: another process listens there.
        """
        self.id = id
        self.listens: dict[str, Listen] = dict(listens or {})
        self.boot = secrets.randbits(64) | 1
        self.push_id = push_id
        self.expand_on_receive = expand_on_receive
        self.problem: DuplicateIdError | None = None
        self._name = check_address(id)
        self._started = now = time.monotonic()
        self._pace = pace or Pace()
        self._peers = Peers(self._pace)
        self._upstream = self._make_upstream(push_id, push_endpoint, now)
        self._routes = Routes(self._name, self._peers, self._upstream)
        self._context = context or share_context()
        self._is_shared = context is None
        identity = make_identity(self._name, self.boot)
        try:
            self._links = Links(
                self._context, identity, listen_endpoint=listen_endpoint, push_endpoint=push_endpoint
            )
        except BaseException:
            self._give_back_context()
            raise
        self._session = Session(self.boot, now, patience)
        self._pool = ListenPool(id, threads)
        self._counts = HubCounts()
        self._receipts: dict[int, Receipt] = {}
        self._pending = 0
        self._counter = 0
        self._numbers = 0
        self._on_peer = [on_peer] if on_peer is not None else []
        self._next_beat = now
        self._lock = threading.Lock()
        self._commands: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_awake = False
        self._is_closed = False
        self._must_stop = False
        self._links.register(self._wake_fd)
        self._thread = threading.Thread(target=self._run, name=f"{id}.io", daemon=daemon)
        self._thread.start()

    # ---- what other threads call ------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> str | None:
        """Where others can connect to us, with the real port; None without a listen endpoint."""
        return self._links.router.endpoint if self._links.router is not None else None

    @property
    def is_connected(self) -> bool:
        """Whether the upstream neighbour is there; True if there is none to be."""
        return self._upstream is None or self._upstream.is_there

    def peers(self) -> list[PeerInfo]:
        """Return the neighbours and their state."""
        return self._peers.info(time.monotonic())

    def statistics(self) -> HubStatistics:
        """Return what passed, was refused and was lost so far."""
        return self._counts.snapshot(unsettled=len(self._session.outbox), queued=self._links.queued)

    def on_peer(self, call: PeerCallback) -> None:
        """Call with (id, `PeerState`, boot) from now on; in order, on a listen thread."""
        self._on_peer.append(call)

    def prepare_message(
        self,
        to: str | Sequence[str],
        key: str,
        value: Any = None,
        repeat: bool = True,  # noqa: FBT001, FBT002 - the seed's signature
        flags: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> Message:
        """Make a message from us, with an id."""
        self._numbers += 1
        marks = dict(flags or {})
        if not repeat:
            marks["NOREPEAT"] = True
        final = to if isinstance(to, str) else to[-1]
        name = f"{self.id}_{self.boot:016x}_{self._numbers}"
        return Message(id=name, to=final, sender=self.id, key=key, value=value, flags=marks, **attributes)

    def send(
        self,
        to: str | Sequence[str] | None = None,
        key: str | None = None,
        value: Any = None,
        msg: Message | None = None,
        repeat: bool = True,  # noqa: FBT001, FBT002 - the seed's signature
        flags: Mapping[str, Any] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> Receipt:
        """Send a message to any address; returns at once.

        Args:
            to: the final recipient, or all hops to it, the recipient last; upstream if None (or `msg.to`).
            key: chooses the listen there.
            value: the body; copied now, so that changing it later changes nothing.
            msg: a message made before, instead of key and value.
            repeat: confirm and resend; False is the flag `NOREPEAT`.
            flags: see `Message`.
            deadline_s: seconds until the message expires if it has not arrived; `ttl` resends' time if None.

        Raises:
            UnsendableError: the value cannot travel; the text names the path.
            AddressError: `to` cannot be used.
            OutboxFullError: too many messages have no end yet.
            DuplicateIdError: our id is taken by another node.
            ClosedError: after `release`.
        """
        if msg is None:
            target = to if to is not None else self._require_upstream()
            msg = self.prepare_message(target, key or "", value, repeat, flags)
        elif to is None:
            to = msg.to
        return self._send(self._path(to), msg, deadline_s)

    def push(
        self,
        to: str | Sequence[str] | None = None,
        key: str | None = None,
        value: Any = None,
        msg: Message | None = None,
        repeat: bool = True,  # noqa: FBT001, FBT002 - the seed's signature
        flags: Mapping[str, Any] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> Receipt:
        """Send upstream: to whoever listens there, or on from there to `to`; else like `send`."""
        upstream = self._require_upstream()
        target = to if to is not None else (msg.to if msg is not None else None) or upstream
        hops = [target] if isinstance(target, str) else list(target)
        if hops[0] != upstream:
            hops.insert(0, upstream)
        return self.send(hops, key, value, msg, repeat, flags, deadline_s=deadline_s)

    def request(
        self, to: str | Sequence[str] | None, key: str, value: Any = None, *, timeout_s: float = 10.0
    ) -> Any:
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
        deadline = time.monotonic() + timeout_s
        while not self.is_connected and time.monotonic() < deadline and not self._is_closed:
            if self.problem is not None:
                raise self.problem
            time.sleep(_CONNECT_POLL_S)
        return self.is_connected

    def release(self, timeout_s: float = 2.0) -> None:
        """Let running listens end, say goodbye, close; idempotent.

        Messages without an end are settled: `expired` if they never left, else `unknown`.  May be called inside a listen
        (whose answer is then not sent).
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._pool.close(timeout_s)
        self._post(self._stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        self._give_back_context()

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        there = sum(peer.is_there for peer in self._peers)
        return f"<{type(self).__name__} {self.id} peers={there} unsettled={len(self._session.outbox)}>"

    # ---- sending, on the caller's thread ----------------------------------------------------------------------------

    def _send(self, path: tuple[bytes, ...], message: Message, deadline_s: float | None) -> Receipt:
        if self.problem is not None:
            raise self.problem
        if self._is_closed:
            raise ClosedError(f"{self.id} was released; it can send no more")
        body = message.serialize()
        receipt = Receipt(message.to or "", message.key or "")
        is_confirmed = "NOREPEAT" not in message.flags
        if is_confirmed:
            if self._pending >= MAX_UNSETTLED:
                raise OutboxFullError(f"{self.id}: {self._pending} messages wait for an answer; send more slowly")
            ttl = message.ttl or DEFAULT_TTL
            self._pending += 1
            self._post(self._submit, path, message.key or "", body, ttl, deadline_s, receipt)
        else:
            self._post(self._submit_post, path, body, receipt)
        return receipt

    def _path(self, to: str | Sequence[str] | None) -> tuple[bytes, ...]:
        target = to if to is not None else self._require_upstream()
        hops = (target,) if isinstance(target, str) else tuple(target)
        if not 0 < len(hops) <= MAX_HOPS:
            raise UnroutableError(f"{len(hops)} hops; 1 to {MAX_HOPS}")
        return tuple(check_address(hop) for hop in hops)

    def _require_upstream(self) -> str:
        if self.push_id is None:
            raise UnroutableError(f"{self.id} has nobody upstream; say `to`")
        return self.push_id

    def _post(self, run: Callable[..., None], *args: Any) -> None:
        self._commands.append((run, args))
        if not self._is_awake:
            self._is_awake = True
            os.eventfd_write(self._wake_fd, 1)

    # ---- the I/O thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._must_stop:
                self._turn()
        except Exception:
            _log.critical("%s: the I/O thread ends by an error of ours", self.id, exc_info=True)
        finally:
            self._is_closed = True
            self._settle_all()
            self._links.close(_LINGER_S)
            os.close(self._wake_fd)

    def _turn(self) -> None:
        """Wait for news and handle it."""
        now = time.monotonic()
        wait = min(self._next_beat, self._session.next_due) - now
        if self._links.queued:
            wait = min(wait, _SOON_S)
        ready = self._links.poll(max(0.0, wait) if not self._commands else 0.0)
        for source in ready:
            if source is self._links.router or source is self._links.dealer:
                self._drain(source)
            elif source == self._wake_fd:
                self._sleep_again()
            else:
                self._on_link(source)
        for _ in range(len(self._commands)):
            run, args = self._commands.popleft()
            run(*args)
        self._tick(time.monotonic())

    def _sleep_again(self) -> None:
        """Read the wake-up; what is posted from now on writes a new one."""
        os.eventfd_read(self._wake_fd)
        self._is_awake = False

    def _tick(self, now: float) -> None:
        if now >= self._session.next_due:
            self._carry_out(self._session.on_tick(now), now)
        if self._links.queued:
            self._links.flush()
        if now >= self._next_beat:
            self._next_beat = now + self._pace.beat_s
            for event in self._peers.on_tick(now):
                self._tell(event)
            if self._upstream is not None:
                self._beat(self._upstream, wants_answer=True, now=now)

    def _drain(self, socket: Socket) -> None:
        is_router = socket is self._links.router
        for _ in range(MAX_DRAIN):
            frames = socket.receive_copy()
            if frames is None:
                return
            now = time.monotonic()
            try:
                peer = self._who(frames[0], now) if is_router else self._upstream
                if peer is not None:
                    self._on_envelope(peer, open_envelope(frames, int(is_router)), now)
            except MalformedError as error:
                self._counts.malformed += 1
                _log.warning("%s: dropped a message: %s", self.id, error)
            except Exception:  # hostile bytes must never end the thread
                self._counts.malformed += 1
                _log.exception("%s: dropped a message that raised", self.id)

    def _on_envelope(self, peer: Peer, envelope: Envelope, now: float) -> None:
        path, trace, body = envelope
        came_by = trace[TAG_BYTES:]
        if came_by != peer.name:
            if not came_by.endswith(b"\0" + peer.name):
                self._counts.forged += 1
                raise MalformedError(f"{peer.id} says it is {came_by[-40:]!r}")
            if not peer.is_upstream:
                self._routes.learn(came_by.partition(b"\0")[0], peer)
        if peer.state is not PeerState.ALIVE and (not peer.is_upstream or peer.state is PeerState.LATE):
            self._tell(self._peers.hear(peer, now))
        peer.heard = now
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
            raise MalformedError(f"wire version {trace[0]} or too many hops")
        target = self._routes.next_hop(path[0], peer)
        fate = Fate.GONE
        if target is not None:
            fate = self._links.send(target, [*path, trace + b"\0" + self._name, DELIMITER, *body])
            if fate is Fate.GONE:
                self._tell(self._peers.lose(target))
        if fate is Fate.DROPPED:
            self._counts.dropped_full += 1
        elif fate is Fate.GONE:
            self._say_unroutable(path, trace)
        else:
            self._counts.forwarded += 1

    def _say_unroutable(self, path: Sequence[bytes], trace: bytes) -> None:
        self._counts.unroutable += 1
        tag, way = read_tag(trace), read_way(trace)
        reason = f"{self.id} knows no way to {path[0].decode(errors='replace')}"
        _log.info("%s (from %s)", reason, way[0].decode(errors="replace"))
        if tag.kind <= Kind.ASK:
            answer = Tag(VERSION, Kind.UNROUTABLE, tag.boot, tag.counter, 0, tag.kind).pack()
            self._transmit(Transmit(way[::-1], answer, encode_frames(Outcome(VERSION, reason))), time.monotonic())

    def _arrive(self, peer: Peer, way: Sequence[bytes], tag: Tag, body: Sequence[bytes], now: float) -> None:
        """Take what is for us."""
        kind = tag.kind
        if kind <= Kind.POST:
            self._on_message(way, tag, body, now)
        elif kind <= Kind.SETTLED:
            self._carry_out(self._session.on_envelope(way, tag, body, now), now)
        elif kind == Kind.UNROUTABLE:
            if tag.boot == self.boot:
                reason = _read_text(body)
                self._carry_out(self._session.outbox.on_unroutable(tag.counter, reason, now), now)
        elif kind > Kind.BYE:
            raise MalformedError(f"kind {kind} is unknown")
        elif len(way) == 1:
            self._on_neighbour(peer, tag, body, now)

    def _on_message(self, way: Sequence[bytes], tag: Tag, body: Sequence[bytes], now: float) -> None:
        try:
            message = Message(body)
            lane, size = (way[0], message.key), sum(len(part) for part in body)
            problem = ""
        except MalformedError as error:
            self._counts.malformed += 1
            problem = str(error)
        if not problem and not self._pool.has_room(lane, size):
            self._counts.dropped_busy += 1
            return  # not accepted: a confirmed message comes again
        for effect in self._session.on_envelope(way, tag, body, now):
            if not isinstance(effect, Deliver):
                self._carry_out([effect], now)
            elif problem:
                self._answer(effect.ref, effect.is_confirmed, Kind.FAILED, _text_frames(problem))
            else:
                self._counts.delivered += 1
                self._pool.submit(lane, self._run_listen, effect.ref, effect.is_confirmed, message, size=size)

    # ---- listens, on the pool's threads -----------------------------------------------------------------------------

    def _run_listen(self, ref: Ref, is_confirmed: bool, message: Message) -> None:  # noqa: FBT001
        kind, body = Kind.DONE, _NOTHING
        try:
            listen = self.listens.get(message.key or "")
            if listen is None:
                known = ", ".join(sorted(self.listens)) or "none"
                kind, body = Kind.FAILED, _text_frames(f"{self.id} has no listen for {message.key!r}; it has {known}")
                _log.warning("%s: no listen for %r from %s", self.id, message.key, message.sender)
            else:
                if self.expand_on_receive:
                    message.expand()
                value = listen(message)
                if value is not None and is_confirmed:
                    body = tuple(encode_frames(Outcome(VERSION, value)))
        except Exception as error:  # whatever a listen raises goes to who called it
            kind, body = Kind.FAILED, _text_frames(f"{type(error).__name__}: {error}")
            _log.warning("%s: the listen for %r raised", self.id, message.key, exc_info=True)
        if is_confirmed:
            self._post(self._answer, ref, is_confirmed, kind, body)

    def _answer(self, ref: Ref, is_confirmed: bool, kind: Kind, body: Sequence[Buffer]) -> None:  # noqa: FBT001
        if is_confirmed:
            now = time.monotonic()
            self._carry_out(self._session.finished(ref, kind, body, now), now)

    # ---- effects, on the I/O thread ---------------------------------------------------------------------------------

    def _submit(
        self,
        path: tuple[bytes, ...],
        key: str,
        body: Sequence[Buffer],
        ttl: int,
        deadline_s: float | None,
        receipt: Receipt,
    ) -> None:
        now = time.monotonic()
        self._counter += 1
        self._receipts[self._counter] = receipt
        patience = self._session.outbox.patience
        deadline = now + (deadline_s if deadline_s is not None else ttl * patience.repeat_interval_s)
        item = Outgoing(self._counter, path, key, body, ttl=ttl, deadline=deadline)
        self._carry_out(self._session.submit(item, now), now)

    def _submit_post(self, path: tuple[bytes, ...], body: Sequence[Buffer], receipt: Receipt) -> None:
        now = time.monotonic()
        self._counter += 1
        target = self._next_hop(path)
        if target is None and path != (self._name,):
            self._counts.unroutable += 1
            receipt.settle("failed", error=self._no_way(path))
            return
        self._receipts[self._counter] = receipt
        self._carry_out(self._session.post(self._counter, path, body, now), now)

    def _carry_out(self, effects: Iterable[Any], now: float) -> None:
        for effect in effects:
            if type(effect) is Transmit:
                self._transmit(effect, now)
            elif type(effect) is Settle:
                self._settle(effect)
            elif type(effect) is Progress:
                self._receipts[effect.counter].progress()

    def _transmit(self, effect: Transmit, now: float) -> None:
        path = effect.path
        trace = effect.tag + self._name
        if path[0] == self._name:
            path = path[1:]
            if not path:
                body = [bytes(part) for part in effect.body]
                self._post(self._arrive_home, trace, body)
                return
        target = self._next_hop(path)
        if target is None:
            self._counts.unroutable += 1
            if effect.counter:
                self._session.outbox.not_sent(effect.counter)
                reason = str(self._no_way(path))
                self._carry_out(self._session.outbox.on_unroutable(effect.counter, reason, now), now)
            return
        if effect.counter and not target.is_there:
            self._session.outbox.not_sent(effect.counter)
            return
        fate = self._links.send(target, [*path, trace, DELIMITER, *effect.body])
        if fate is Fate.GONE:
            self._tell(self._peers.lose(target))
            self._transmit(effect, now)
        elif fate is Fate.DROPPED:
            self._counts.dropped_full += 1
        else:
            self._counts.sent += 1

    def _arrive_home(self, trace: bytes, body: Sequence[bytes]) -> None:
        """Take a message to ourselves."""
        tag, now = read_tag(trace), time.monotonic()
        if tag.kind <= Kind.POST:
            self._on_message([self._name], tag, body, now)
        else:
            self._carry_out(self._session.on_envelope([self._name], tag, body, now), now)

    def _settle(self, effect: Settle) -> None:
        receipt = self._receipts.pop(effect.counter)
        if effect.state == "sent":
            receipt.settle("sent")
            return
        self._pending -= 1
        if effect.state == "done":
            try:
                receipt.settle("done", _read_value(effect.body))
            except MalformedError as error:
                receipt.settle("failed", reason=f"it ran, but its answer cannot be read: {error}")
        elif effect.state == "failed" and not effect.body:
            receipt.settle("failed", error=UnroutableError(f"{receipt.key} to {receipt.to}: {effect.reason}"))
        else:
            receipt.settle(effect.state, reason=_read_text(effect.body) if effect.body else effect.reason)

    def _next_hop(self, path: Sequence[bytes]) -> Peer | None:
        return self._routes.next_hop(path[0] if path[0] != self._name or len(path) == 1 else path[1])

    def _no_way(self, path: Sequence[bytes]) -> UnroutableError:
        return UnroutableError(f"{self.id} knows no way to {path[0].decode(errors='replace')}; is its node running?")

    # ---- neighbours, on the I/O thread ------------------------------------------------------------------------------

    def _make_upstream(self, push_id: str | None, push_endpoint: str | None, now: float) -> Peer | None:
        if push_endpoint is None:
            return None
        peer = Peer(check_address(push_id), b"", boot=0, now=now, is_upstream=True)
        self._peers.add(peer)
        return peer

    def _who(self, identity: bytes, now: float) -> Peer | None:
        """Return the neighbour of a routing identity; None if it is refused."""
        peer = self._peers.by_identity.get(identity)
        if peer is not None:
            return peer
        claim = read_identity(identity)
        if claim is None:
            raise MalformedError(f"routing id {identity[:40]!r} is not one of ours")
        peer = Peer(claim[0], identity, boot=claim[1], now=now)
        old = self._peers.by_name.get(peer.name)
        if peer.name == self._name or (old is not None and old.is_there and self._is_reachable(old, now)):
            self._refuse(peer)
            return None
        self._peers.add(peer)
        return peer

    def _is_reachable(self, peer: Peer, now: float) -> bool:
        if peer.is_upstream:
            return True
        if self._beat(peer, wants_answer=False, now=now):
            return True
        self._tell(self._peers.lose(peer))
        return False

    def _refuse(self, peer: Peer) -> None:
        self._counts.refused_peers += 1
        _log.error("%s: refused a second %s (boot %016x); the first is there", self.id, peer.id, peer.boot)
        tag = Tag(VERSION, Kind.TAKEN, self.boot, 0, peer.boot, 0).pack()
        self._links.send_now(peer, [peer.name, tag + self._name, DELIMITER])

    def _beat(self, peer: Peer, *, wants_answer: bool, now: float) -> bool:
        """Say that we are here; False if the neighbour is not connected."""
        tag = Tag(VERSION, Kind.BEAT, self.boot, int(wants_answer), self.boot, self._uptime(now)).pack()
        return self._links.send_now(peer, [peer.name, tag + self._name, DELIMITER]) is not Fate.GONE

    def _on_neighbour(self, peer: Peer, tag: Tag, body: Sequence[bytes], now: float) -> None:
        del body
        if tag.kind == Kind.BEAT:
            if tag.other != peer.boot:
                peer.boot, peer.state = tag.other, PeerState.LOST
            self._tell(self._peers.hear(peer, now))
            if peer.is_upstream:
                self.problem = None
            self._carry_out(self._session.outbox.on_boot(peer.name, tag, now), now)
            if tag.counter:
                self._beat(peer, wants_answer=False, now=now)
        elif tag.kind == Kind.BYE:
            self._tell(self._peers.lose(peer))
        elif tag.kind == Kind.TAKEN and peer.is_upstream and tag.other == self.boot:
            text = f"the id {self.id} is taken at {peer.id}; stop the other node of that id, or choose another id"
            if self.problem is None:
                _log.error("%s", text)
            self.problem = DuplicateIdError(text)
            self._tell(self._peers.lose(peer))

    def _on_link(self, monitor: Socket | int) -> None:
        """A connection came or went."""
        socket = self._links.monitored_by(monitor)
        if socket is None:
            return
        events, now = socket.link_events(), time.monotonic()
        if socket is self._links.dealer:
            if "down" in events and self._upstream is not None:
                self._tell(self._peers.lose(self._upstream))
            self._next_beat = now
        elif "down" in events:
            for peer in self._peers:
                if not peer.is_upstream and peer.is_there:
                    self._is_reachable(peer, now)

    def _tell(self, event: PeerEvent | None) -> None:
        if event is None:
            return
        _log.info("%s: %s is %s (boot %016x)", self.id, event.peer, event.state.value, event.boot)
        if event.state is PeerState.ALIVE:
            self._session.outbox.resume(time.monotonic())
        for call in self._on_peer:
            self._pool.submit("peers", call, event.peer, event.state, event.boot)

    def _uptime(self, now: float) -> int:
        return int((now - self._started) * 1e6)

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._must_stop = True
        self._links.flush()
        tag = Tag(VERSION, Kind.BYE, self.boot, 0, self.boot, 0).pack()
        for peer in self._peers:
            if peer.is_there:
                self._links.send_now(peer, [peer.name, tag + self._name, DELIMITER])

    def _settle_all(self) -> None:
        for counter, receipt in self._receipts.items():
            if self._session.outbox.has_left(counter):
                receipt.settle("unknown", reason=f"{self.id} was released before the answer; it may have run")
            else:
                receipt.settle("expired", reason=f"{self.id} was released before it was sent")
        self._receipts.clear()

    def _give_back_context(self) -> None:
        if self._is_shared:
            self._is_shared = False
            unshare_context()


_REQUEST_SHARE: Final = 0.9
"""Part of a request's timeout after which the recipient is asked rather than sent to again, so that the answer `expired`
arrives in time."""
_CONNECT_POLL_S: Final = 0.005
_LINGER_S: Final = 0.2
"""Time for what zmq has taken to leave after closing."""


def _text_frames(text: str) -> tuple[Buffer, ...]:
    return tuple(encode_frames(Outcome(VERSION, text)))


def _read_value(body: Sequence[Buffer]) -> Any:
    return Message(value=decode_frames(_outcomes, body).value).expand().value


def _read_text(body: Sequence[Buffer]) -> str:
    try:
        return str(decode_frames(_outcomes, body).value)
    except MalformedError as error:
        return f"(its text cannot be read: {str(error)[:_QUOTED_BYTES]})"
