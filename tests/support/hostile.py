"""Hostile senders: what a stranger, a port scanner, an old program or an attacker says to a socket that is open."""

from __future__ import annotations

import random
import socket
import time
from contextlib import suppress
from typing import Final

from support.decoders import BODIES, ENVELOPES, MADE, TALK, mend_crc
from support.mutations import WORDS, mutate

from pipeline.bundle import pack_bundle
from pipeline.channel import Credit, Open, Opened, to_frames
from pipeline.peers import make_identity
from pipeline.transport import Context, Poller, Socket
from pipeline.wire import MAX_HOPS, VERSION, Kind, Tag

ADDRESSES: Final = (
    b"T",
    b"T",
    b"p1",
    b"p1.cam",
    b"_T",
    b"_p1",
    b"T.recorder",
    b"P_p1",
    b"nobody",
    b"x",
    b"\xff",
    b"a" * 300,
)
ORIGINS: Final = (
    b"x",
    b"x",
    b"y\0x",
    b"T",
    b"p1",
    b"p1\0x",
    b"T.recorder\0x",
    b"\xff\0x",
    b"",
    b"a\0" * MAX_HOPS + b"x",
)
IDENTITIES: Final = (
    *(make_identity(b"x", 9), make_identity(b"T", 5), make_identity(b"p1", 6), make_identity(b"p1.cam", 7)),
    *(b"x/1234", b"p1/0badcafe", b"somebody", b"\xff\xfe"),
)
"""As nodes of every name that is taken already, as Pilots on the data channel, as nothing known."""
GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\0" + bytes(31)
"""ZMTP 3.0: what zmq says first; after it comes what is to be read."""
READY: Final = b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"


def control_message(rng: random.Random) -> list[bytes]:
    """An envelope: mutated, forged, or right but for one thing.  None asks for anything that a listen would do."""
    if rng.random() < 0.5:
        return mutate(rng.choice(ENVELOPES), rng.choice(ENVELOPES), rng)
    kind = rng.choice((*(k for k in Kind if k is not Kind.BYE), 0, 14, 255))
    tag = Tag(rng.choice((VERSION, VERSION, 2)), kind, rng.getrandbits(64), rng.getrandbits(64), 0, rng.getrandbits(64))
    body = rng.choice((*BODIES, [b"\x91" * 5000], [rng.randbytes(200)], [b"\x80\x04\x95\x0e."], []))
    envelope = [rng.choice(ADDRESSES), tag.pack() + rng.choice(ORIGINS), b"", *body]
    bundle = [pack_bundle([envelope] * rng.choice((1, 2, 50)))]
    return rng.choice((envelope, bundle, mutate(bundle, envelope, rng)))


def data_message(rng: random.Random, stream: str) -> list[bytes]:
    """A message of the data channel: mutated, or a forgery about a stream that is being sent."""
    if rng.random() < 0.6:
        frames = mutate(rng.choice(TALK), rng.choice(TALK), rng)
        if len(frames) > 1:
            frames[1] = mend_crc(frames[1]) if rng.random() < 0.5 else frames[1]
        return frames
    import msgspec

    spec = msgspec.structs.replace(MADE[0].spec, stream=stream, birth=rng.getrandbits(64))
    block = MADE[0].block(rng.randrange(99), stream=stream)
    said = (
        Open(rng.randrange(9), spec, rng.choice((None, 0, 2**62)), rng.choice((0, 7, 2**62))),
        Opened(1, stream, 2**62, 0, True, 2**62),
        Credit(1, stream, 0, True, -1),
        block,
    )
    return [bytes(frame) for frame in to_frames(rng.choice(said))]


def raw_bytes(rng: random.Random) -> bytes:
    """What no zmq library sends: noise, HTTP, a handshake that goes wrong, a frame of 4 GiB or more."""
    return rng.choice((
        rng.randbytes(rng.randrange(1, 400)),
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: evil\r\n\r\n",
        b"GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + rng.randbytes(200),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 100,
        GREETING[: rng.randrange(len(GREETING))],
        GREETING + rng.randbytes(60),
        GREETING + READY + b"\x02\x00\x00\x00\x01\x00\x00\x00\x00" + b"x" * 100,
        GREETING + READY + b"\x02\x7f" + b"\xff" * 7 + b"x" * 100,
        GREETING + READY + b"\x01\x00" * 5000,
        b"".join(rng.choice(WORDS) for _ in range(20)),
    ))  # fmt: skip


class Attack:
    """Fires at sockets, seeded.

    Args:
        seed: of everything that is sent.
        stream: a stream that is being sent at the data port.
    """

    def __init__(self, seed: int, stream: str) -> None:
        self.fired = 0
        self._rng = random.Random(seed)
        self._stream = stream
        self._context = Context()

    def at_port(self, port: int, count: int) -> None:
        """Fire messages by zmq, as control and as data, and a tenth as many raw connections.

        Where nobody speaks zmq all are raw connections.
        """
        endpoint = f"tcp://127.0.0.1:{port}"
        sockets = [self._context.dealer(endpoint, identity) for identity in IDENTITIES]
        speaks_zmq = True
        for number in range(count):
            rng = self._rng
            frames = control_message(rng) if rng.random() < 0.5 else data_message(rng, self._stream)
            speaks_zmq = speaks_zmq and self._fire(rng.choice(sockets), frames or [b""])
            if number % 10 == 0 or not speaks_zmq:
                self._poke((socket.AF_INET, ("127.0.0.1", port)))
        self._flush(sockets)

    def at_path(self, path: str, count: int) -> None:
        """Subscribe to anything at the publisher of notices, and poke it."""
        subscriber = self._context.subscriber()
        subscriber.connect(f"ipc://{path}")
        for number in range(count):
            self.fired += 1
            subscriber.subscribe(self._rng.randbytes(self._rng.randrange(30)))
            if number % 10 == 0:
                self._poke((socket.AF_UNIX, path))
        self._flush([subscriber])

    def close(self) -> None:
        self._context.close()

    def _fire(self, target: Socket, frames: list[bytes]) -> bool:
        """Send; False if it is not taken within two seconds."""
        self.fired += 1
        deadline = time.monotonic() + 2.0
        while not target.send(frames):
            _drain(target)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def _poke(self, where: tuple[int, object]) -> None:
        family, address = where
        self.fired += 1
        with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as raw:
            raw.settimeout(0.2)
            raw.connect(address)  # type: ignore[arg-type]  # a path or a pair
            raw.sendall(raw_bytes(self._rng))
            if self._rng.random() < 0.02:
                raw.recv(100)

    def _flush(self, sockets: list[Socket]) -> None:
        """Give what was sent a moment to leave, then go."""
        poller = Poller()
        for each in sockets:
            poller.register(each)
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            for ready in poller.poll(0.05):
                _drain(ready)
        for each in sockets:
            each.close(0.2)


def _drain(source: Socket | int) -> None:
    while isinstance(source, Socket) and source.receive() is not None:
        pass
