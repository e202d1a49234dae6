"""Raw pyzmq sockets that do what `control_ours.py` does, as plainly as can be."""

from __future__ import annotations

import time

import msgspec
import zmq  # noqa: TID251  # it is what ours is measured against

from tools.bench.child import Control
from tools.bench.control_ours import VALUE


def station(control: Control) -> None:
    """Pass on what is addressed, until killed."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.sndhwm = router.rcvhwm = 0
        control.report(port=router.bind_to_random_port("tcp://127.0.0.1"))
        receive, send = router.recv_multipart, router.send_multipart
        while True:
            sender, to, body = receive()
            send([to, sender, body])


def receive(port: int, control: Control) -> None:
    """Answer requests, count the rest, tell the count when asked."""
    with _dealer(port, b"b") as socket:
        control.report()
        count, first = 0, 0.0
        while True:
            sender, body = socket.recv_multipart()
            if body[:1] == b"?":
                socket.send_multipart([sender, body])
            elif body == b"!":
                socket.send_multipart([sender, msgspec.json.encode([count, first, time.perf_counter()])])
                count = 0
            else:
                first = first if count else time.perf_counter()
                count += 1


def send(port: int, seconds: float, control: Control) -> None:
    """Measure, report, wait to be killed."""
    body = msgspec.msgpack.encode(VALUE)
    with _dealer(port, b"a") as socket:
        trips = []
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            socket.send_multipart([b"b", b"?" + body])
            socket.recv_multipart()
            trips.append((time.perf_counter() - begin) * 1e6)
        trips.sort()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            socket.send_multipart([b"b", body])
        socket.send_multipart([b"b", b"!"])
        count, first, last = msgspec.json.decode(socket.recv_multipart()[1])
    control.report(p50_us=trips[len(trips) // 2], p99_us=trips[len(trips) * 99 // 100], posts=count / (last - first))
    control.wait()


def _dealer(port: int, identity: bytes) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.identity = identity
    socket.sndhwm = socket.rcvhwm = 0
    socket.linger = 0
    socket.connect(f"tcp://127.0.0.1:{port}")
    return socket
