"""The one module that knows zmq: contexts, sockets, polling, link events.

A `Socket` belongs to the thread that uses it.  Nothing here waits except `Poller.poll`: a message that cannot leave
now is refused with False, so that every queue is one of ours, bounded and counted.  Control and data live in separate
contexts (separate I/O threads), so a large image never queues before a STOP.
"""

from __future__ import annotations

import errno
import ipaddress
import itertools
import math
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

import zmq
from zmq.utils.monitor import parse_monitor_message

from .errors import EndpointError, EndpointInUseError, NotLoopbackError, TransportError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

Frames = list[memoryview]
LinkEvent = Literal["up", "down", "refused"]

COPY_BELOW: Final = 64 * 1024
"""Bytes under which copying a frame is cheaper than zmq's zero-copy bookkeeping (its own COPY_THRESHOLD)."""
MAX_MESSAGE: Final = 256 * 1024 * 1024
"""Default limit of one incoming frame, bytes; a peer that announces more is disconnected by zmq."""
WELCOME: Final = b"\x00welcome"
"""First message of a publisher to a new subscriber: from then on no notice is lost for want of a subscription."""

_UNBIND_MS: Final = 500
_LAST: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
"""Flags as numbers: combining zmq's enums costs more than sending a small frame."""

_LINK_EVENTS: Final[dict[int, LinkEvent]] = {
    int(zmq.EVENT_HANDSHAKE_SUCCEEDED): "up",
    int(zmq.EVENT_DISCONNECTED): "down",
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): "refused",
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): "refused",
}

_monitor_numbers: Final = itertools.count()


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """Z85 keys of one end of a CURVE link (40 characters each)."""

    public: bytes
    secret: bytes
    server: bytes | None = None
    """The server's public key; None on the server itself."""


def make_keys() -> tuple[bytes, bytes]:
    """Return a new pair of keys for one end of a CURVE link: public, secret."""
    return zmq.curve_keypair()


class Socket:
    """A zmq socket that never waits; one thread owns it."""

    def __init__(self, raw: zmq.Socket[bytes], endpoint: str, *, is_bound: bool = False) -> None:
        self.raw = raw
        self.endpoint = endpoint
        self._is_bound = is_bound
        self._monitor: zmq.Socket[bytes] | None = None

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Queue one multipart message; False when the peer's queue is full or the peer is not there.

        Frames of 64 KiB and more are not copied: the caller must not change them until the peer has them.

        Raises:
            TransportError: a ROUTER has no peer of that identity (only with `mandatory`).
        """
        left = len(frames)
        send = self.raw.send
        try:
            for frame in frames:
                left -= 1
                size = len(frame) if type(frame) is bytes else memoryview(frame).nbytes
                send(frame, _MORE if left else _LAST, copy=size < COPY_BELOW)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == errno.EHOSTUNREACH:
                raise TransportError(f"no peer {bytes(frames[0])!r} is connected to {self.endpoint}") from error
            raise
        return True

    def receive(self) -> Frames | None:
        """Return the next message as read-only buffers, or None when there is none now."""
        receive = self.raw.recv
        try:
            part = receive(_LAST, copy=False)
        except zmq.Again:
            return None
        frames = [part.buffer]
        while part.more:  # recv_multipart asks the socket, which costs more than a small frame
            part = receive(_LAST, copy=False)
            frames.append(part.buffer)
        return frames

    def receive_copy(self) -> list[bytes] | None:
        """Return the next message as bytes of our own, or None; quicker than `receive` where frames are small."""
        receive = self.raw.recv
        try:
            part = receive(_LAST, copy=False)
        except zmq.Again:
            return None
        parts = [part.bytes]
        while part.more:
            part = receive(_LAST, copy=False)
            parts.append(part.bytes)
        return parts

    def wait(self, timeout_s: float) -> bytes | None:
        """Wait for a message of one frame; None after `timeout_s`.  Quicker than polling where there is one socket."""
        self.raw.rcvtimeo = math.ceil(timeout_s * 1000)
        try:
            return self.raw.recv()
        except zmq.Again:
            return None

    def fileno(self) -> int:
        """Return a descriptor that becomes readable once when there is news; read until there is none after that."""
        return int(self.raw.getsockopt(zmq.FD))

    def subscribe(self, prefix: bytes) -> None:
        """Receive what begins with `prefix` (SUB sockets)."""
        self.raw.setsockopt(zmq.SUBSCRIBE, prefix)

    def connect(self, endpoint: str) -> None:
        """Connect to one more endpoint; zmq reconnects by itself for ever."""
        self.raw.connect(endpoint)

    def disconnect(self, endpoint: str) -> None:
        """Undo `connect`; unknown endpoints are ignored."""
        try:
            self.raw.disconnect(endpoint)
        except zmq.ZMQError as error:
            if error.errno != errno.ENOENT:
                raise

    def watch_link(self) -> Socket:
        """Return the monitor socket that tells of the link; register it with the poller, read it by `link_events`."""
        if self._monitor is None:
            # A name of our own: pyzmq's is made of the file descriptor, which a new socket may get before the old
            # name is free.
            name = f"inproc://monitor-{next(_monitor_numbers)}"
            self.raw.monitor(name, sum(_LINK_EVENTS) | zmq.EVENT_CLOSED)
            self._monitor = self.raw.context.socket(zmq.PAIR)
            # Unbounded: zmq's I/O thread waits for a monitor that is full, and every link of the context with it.
            self._monitor.setsockopt(zmq.RCVHWM, 0)
            self._monitor.connect(name)
        return Socket(self._monitor, f"monitor of {self.endpoint}")

    def link_events(self) -> list[LinkEvent]:
        """Return what happened to the link since the last call, oldest first."""
        found: list[LinkEvent] = []
        while self._monitor is not None:
            try:
                event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                break
            if int(event["event"]) in _LINK_EVENTS:
                found.append(_LINK_EVENTS[int(event["event"])])
        return found

    def close(self, linger_s: float = 0.0) -> None:
        """Close; messages not yet sent are given `linger_s` to leave.  The port of a bound socket is free at once."""
        if self._is_bound:
            self._unbind()
        if self._monitor is not None:
            self.raw.disable_monitor()
            self._monitor.close(0)
            self._monitor = None
        self.raw.close(int(linger_s * 1000))

    def _unbind(self) -> None:
        """Stop listening and wait until zmq's own thread has closed the port; it takes a moment, rarely more."""
        self.watch_link()
        self.raw.unbind(self.endpoint)
        monitor = self._monitor
        while monitor is not None and monitor.poll(_UNBIND_MS):
            if parse_monitor_message(monitor.recv_multipart())["event"] == zmq.EVENT_CLOSED:
                return

    def __repr__(self) -> str:
        return f"<Socket {zmq.SocketType(self.raw.socket_type).name} {self.endpoint}>"


class Context:
    """Makes sockets; closing it closes them all and joins zmq's threads."""

    def __init__(self, keys: CurveKeys | None = None) -> None:
        self._raw: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._keys = keys

    def router(
        self,
        endpoint: str,
        *,
        max_message: int = MAX_MESSAGE,
        buffer_bytes: int | None = None,
        can_return: bool = False,
    ) -> Socket:
        """Bind a ROUTER; port `*` or 0 takes any free port (see `Socket.endpoint`).

        A second peer of an identity that is connected is refused, unless it `can_return`: identities are then known to
        one process each, and it is that process on a new connection, whose old one has not been seen to end.
        """
        raw = self._make(zmq.ROUTER, max_message=max_message, buffer_bytes=buffer_bytes)
        raw.setsockopt(zmq.ROUTER_MANDATORY, 1)
        raw.setsockopt(zmq.ROUTER_HANDOVER, int(can_return))
        return self._bind(raw, endpoint)

    def dealer(
        self, endpoint: str, identity: bytes, *, max_message: int = MAX_MESSAGE, buffer_bytes: int | None = None
    ) -> Socket:
        """Connect a DEALER under `identity` (1-255 bytes, the first not zero)."""
        raw = self._make(zmq.DEALER, max_message=max_message, buffer_bytes=buffer_bytes)
        raw.setsockopt(zmq.IDENTITY, identity)
        socket = Socket(raw, endpoint)
        socket.watch_link()  # before it connects, or the event that the link is up may be missed
        raw.connect(endpoint)
        return socket

    def publisher(self, endpoint: str, name: bytes = b"") -> Socket:
        """Bind an XPUB that greets every subscriber with `WELCOME` and its name."""
        raw = self._make(zmq.XPUB)
        raw.setsockopt(zmq.XPUB_WELCOME_MSG, WELCOME + name)
        return self._bind(raw, endpoint)

    def subscriber(self) -> Socket:
        """Return a SUB that hears every `WELCOME`; `connect` and `subscribe` do the rest."""
        raw = self._make(zmq.SUB)
        raw.setsockopt(zmq.SUBSCRIBE, WELCOME)
        return Socket(raw, "(subscriber)")

    def pair(self) -> tuple[Socket, Socket]:
        """Return two connected in-process sockets, to wake a thread that polls: send on one, poll the other."""
        near, far = self._make(zmq.PAIR), self._make(zmq.PAIR)
        endpoint = f"inproc://pair-{id(near):x}"
        near.bind(endpoint)
        far.connect(endpoint)
        return Socket(near, endpoint), Socket(far, endpoint)

    def close(self, linger_s: float = 0.0) -> None:
        """Close every socket that is still open, then the context."""
        self._raw.destroy(int(linger_s * 1000))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(
        self, kind: zmq.SocketType, *, max_message: int = MAX_MESSAGE, buffer_bytes: int | None = None
    ) -> zmq.Socket[bytes]:
        raw = self._raw.socket(kind)
        raw.setsockopt(zmq.LINGER, 0)
        raw.setsockopt(zmq.MAXMSGSIZE, max_message)
        raw.setsockopt(zmq.RECONNECT_IVL, 50)
        raw.setsockopt(zmq.RECONNECT_IVL_MAX, 250)
        # The kernel finds a peer that vanished.  zmq's own heartbeats may take down a connection whose input is held
        # back, and the reconnect then trips an assertion that ends the process (libzmq issue 3937; seen here as well).
        raw.setsockopt(zmq.TCP_KEEPALIVE, 1)
        raw.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 5)
        raw.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 2)
        raw.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
        raw.setsockopt(zmq.TCP_MAXRT, 10_000)
        if buffer_bytes is not None:
            raw.setsockopt(zmq.SNDBUF, buffer_bytes)
            raw.setsockopt(zmq.RCVBUF, buffer_bytes)
        if self._keys is not None and kind in (zmq.ROUTER, zmq.DEALER):
            _set_keys(raw, self._keys)
        return raw

    def _bind(self, raw: zmq.Socket[bytes], endpoint: str) -> Socket:
        try:
            self._refuse_unkeyed(endpoint)
            raw.bind(endpoint)
        except zmq.ZMQError as error:
            raw.close(0)
            if error.errno == errno.EADDRINUSE:
                raise EndpointInUseError(
                    f"{endpoint} is in use by another process; stop it or choose another port"
                ) from error
            raise EndpointError(f"cannot listen on {endpoint}: {error.strerror}; check the address") from error
        except TransportError:
            raw.close(0)
            raise
        bound = raw.getsockopt(zmq.LAST_ENDPOINT)
        return Socket(raw, bound.rstrip(b"\0").decode() if isinstance(bound, bytes) else endpoint, is_bound=True)

    def _refuse_unkeyed(self, endpoint: str) -> None:
        if not endpoint.startswith("tcp://") or self._keys is not None:
            return
        host = endpoint[len("tcp://") :].rpartition(":")[0].strip("[]")
        if not is_loopback(host):
            raise NotLoopbackError(f"binding {endpoint} reaches beyond this machine and needs keys; use 127.0.0.1")


class Poller:
    """Waits for sockets and file descriptors together."""

    def __init__(self) -> None:
        self._raw = zmq.Poller()
        self._owners: dict[object, Socket | int] = {}

    def register(self, source: Socket | int) -> None:
        """Watch a socket, or the file descriptor of anything pollable, for input."""
        key = source.raw if isinstance(source, Socket) else source
        self._owners[key] = source
        self._raw.register(key, zmq.POLLIN)

    def unregister(self, source: Socket | int) -> None:
        """Stop watching."""
        key = source.raw if isinstance(source, Socket) else source
        del self._owners[key]
        self._raw.unregister(key)

    def poll(self, timeout_s: float) -> list[Socket | int]:
        """Return what has input, after `timeout_s` at the latest (0 asks without waiting)."""
        return [self._owners[key] for key, _ in self._raw.poll(math.ceil(timeout_s * 1000))]


_shared: Context | None = None
_shared_users = 0
_shared_lock: Final = threading.Lock()


def share_context() -> Context:
    """Return the context that this process's nodes share; give it back by `unshare_context`."""
    global _shared, _shared_users  # noqa: PLW0603 - one per process is what it is for
    with _shared_lock:
        _shared_users += 1
        if _shared is None:
            _shared = Context()
        return _shared


def unshare_context() -> None:
    """Give the shared context back; the last one closes it."""
    global _shared, _shared_users  # noqa: PLW0603
    with _shared_lock:
        _shared_users -= 1
        if _shared_users == 0 and _shared is not None:
            _shared.close()
            _shared = None


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of_this_machine() -> str:
    """Return the IPv4 address of the interface that leads outwards, 127.0.0.1 without a network; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: only the kernel's routing table is asked
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def port_of(endpoint: str) -> int:
    """Return the port of a bound tcp endpoint."""
    return int(endpoint.rpartition(":")[2])


def _set_keys(raw: zmq.Socket[bytes], keys: CurveKeys) -> None:
    raw.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    raw.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    if keys.server is None:
        raw.setsockopt(zmq.CURVE_SERVER, 1)
    else:
        raw.setsockopt(zmq.CURVE_SERVERKEY, keys.server)
