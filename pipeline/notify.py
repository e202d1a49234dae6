"""Notifications: a ring has advanced.  One small frame over zmq on ipc, only when somebody waits, and it may be lost.

N1  The ring is the truth: whoever waits looks at `published` itself, and a notice only ends the waiting early.
N2  Waiter: arm, (sequentially consistent fence), look at `published` again, then poll; arm anew each slice.
    Writer: publish, fence, and if armed: disarm and send.  One of the two sees the other (`shm`).
N3  A subscription may not have reached the writer yet, and what is sent before that is lost.  Until the writer's
    welcome was heard, slices are 1 ms; from then on 20 ms, which bounds what a lost notice can cost.

A writer of notices (`Notifier`) is given to ``RingWriter.create(notifier=...)`` and serves its thread.  Readers wait
with `NoticeWaiter` (one ring, the waiter that ``RingReader.attach(waiter=...)`` takes), with `Notices` (many rings,
together with any other socket), or in an event loop with `async_notices`.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from .errors import EndpointError
from .transport import WELCOME, Context, Poller, Socket

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

SLICE_S: Final = 0.02
"""Longest sleep between two looks at a ring (N3)."""
UNSURE_S: Final = 0.001
"""The same while a lost notice is likely."""
HOPE_S: Final = 1.0
"""After so long without a welcome there is no notifier, and polling at 1 kHz would only burn the processor ..."""
WITHOUT_S: Final = 0.005
"""... so such a ring is looked at this often."""
PATH_BYTES: Final = 100
"""Longest path of an ipc socket; the kernel takes 107, macOS 103."""
_SEQUENCE: Final = struct.Struct("<Q")


class Armable(Protocol):
    """What a notice waiter needs of a ring's reader."""

    @property
    def segment_name(self) -> str:
        """Name of the ring's segment."""

    @property
    def published(self) -> int:
        """Items that are whole."""

    @property
    def ended(self) -> bool:
        """No item follows."""

    def arm(self) -> bool:
        """Ask the writer for a notice (N2)."""


def runtime_dir() -> Path:
    """Return the private directory of this user's sockets, made with mode 0700 if need be.

    Raises:
        EndpointError: it belongs to somebody else or is open to others.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    uid = os.getuid()
    path = Path(base) / "pipeline" if base and Path(base).is_dir() else Path(f"/tmp/pipeline-{uid}")  # noqa: S108
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise EndpointError(f"{path} must be a directory of yours with mode 0700; remove it or set XDG_RUNTIME_DIR")
    return path


def notice_endpoint(segment_name: str) -> str:
    """Return where the notices of a ring are published.

    Raises:
        EndpointError: the runtime directory's path is too long for a socket.
    """
    path = str(runtime_dir() / segment_name.lstrip("/"))
    if len(path.encode()) > PATH_BYTES:
        raise EndpointError(f"{path}: {len(path.encode())} bytes, a socket's path has at most {PATH_BYTES}; "
                            "set XDG_RUNTIME_DIR to a shorter one")  # fmt: skip
    return f"ipc://{path}"


class Notifier:
    """Publishes the notices of one ring; belongs to the thread that writes the ring.

    Args:
        context: any of this process.
        segment_name: of the ring, ``shm.segment_name("r", full_name)``.
    """

    def __init__(self, context: Context, segment_name: str) -> None:
        self._prefix = segment_name.encode() + b"\0"
        self._socket = context.publisher(notice_endpoint(segment_name), segment_name.encode())
        self.sent = 0

    def notify(self, sequence: int) -> None:
        """Tell whoever subscribed that items below `sequence` are published; never waits."""
        self._socket.send([self._prefix + _SEQUENCE.pack(sequence)])
        self.sent += 1
        while self._socket.receive() is not None:  # after it, since somebody waits for the notice
            pass  # subscriptions; zmq answers them, and greets, when we call in here

    def close(self) -> None:
        """Stop publishing; a notice under way gets a moment to leave."""
        self._socket.close(linger_s=0.1)
        path = Path(self._socket.endpoint.removeprefix("ipc://"))
        path.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"<Notifier {self._prefix[:-1].decode()} sent={self.sent}>"


class _Followed:
    """One ring that is being waited for."""

    def __init__(self, reader: Armable, endpoint: str) -> None:
        self.reader = reader
        self.endpoint = endpoint
        self.is_welcome = False
        self.since = time.monotonic()
        self.seen = (-1, False)

    def has_moved(self) -> bool:
        """Tell whether anything changed since the last time this was true."""
        now = (self.reader.published, self.reader.ended)
        moved, self.seen = now != self.seen, now
        return moved

    def slice_s(self) -> float:
        if self.is_welcome:
            return SLICE_S
        return UNSURE_S if time.monotonic() - self.since < HOPE_S else WITHOUT_S


class Notices:
    """Waits for news of many rings with one SUB socket, together with other sockets; belongs to one thread."""

    def __init__(self, context: Context) -> None:
        self._socket = context.subscriber()
        self._poller = Poller()
        self._poller.register(self._socket)
        self._followed: dict[str, _Followed] = {}
        self._unheard: bytes | None = None

    def watch(self, source: Socket | int) -> None:
        """End a wait also when this socket or descriptor has input."""
        self._poller.register(source)

    def unwatch(self, source: Socket | int) -> None:
        """Undo `watch`."""
        self._poller.unregister(source)

    def follow(self, key: str, reader: Armable | None) -> None:
        """Wait for this reader's ring under `key` from now on, instead of another one; None for none."""
        known = self._followed.get(key)
        if (known.reader if known is not None else None) is reader:
            return
        if known is not None:
            del self._followed[key]
            if all(other.endpoint != known.endpoint for other in self._followed.values()):
                self._socket.disconnect(known.endpoint)
        if reader is not None:
            endpoint = notice_endpoint(reader.segment_name)
            if all(other.endpoint != endpoint for other in self._followed.values()):
                self._socket.connect(endpoint)
                self._socket.subscribe(reader.segment_name.encode() + b"\0")
            self._followed[key] = _Followed(reader, endpoint)

    def poll(self, timeout_s: float, asleep: Collection[str] = ()) -> set[str]:
        """Return the keys of rings that moved since they were last returned, after `timeout_s` at the latest.

        Returns early, maybe with nothing, for a watched socket, and after one slice (N3).

        Args:
            timeout_s: longest wait, seconds.
            asleep: keys of rings whose news can wait until then.
        """
        moved = self._moved(asleep)
        if moved:
            return moved
        for key, ring in self._followed.items():
            if key not in asleep:
                ring.reader.arm()  # N2
        moved = self._moved(asleep)
        if moved:
            return moved
        self.sleep(timeout_s)
        return self._moved(asleep)

    def rest(self, timeout_s: float, idle_s: Mapping[str, float]) -> None:
        """Wait as `poll` does, but for no ring whose news can fill nothing yet.

        Args:
            timeout_s: longest wait, seconds.
            idle_s: seconds for which a ring's news can wait, by key.
        """
        asleep = {key for key, seconds in idle_s.items() if seconds > 0}
        self.poll(min([timeout_s, *(idle_s[key] for key in asleep)]), asleep)

    def sleep(self, timeout_s: float) -> bool:
        """Sleep until a notice or a watched socket, at most one slice; True if there was one."""
        woken = bool(self._poller.poll(min(timeout_s, self.slice_s())))
        self.drain()
        return woken

    def doze(self, timeout_s: float) -> bool:
        """Do as `sleep` where nothing is watched but rings, and hear the notice only at the next `drain`.

        Who is woken wants to look at the ring first, and a poller would cost system calls on the way there.
        """
        self._unheard = self._socket.wait(min(timeout_s, self.slice_s()))
        return self._unheard is not None

    def slice_s(self) -> float:
        """Return the longest that anybody may sleep now without looking at the rings (N3), seconds."""
        return min((ring.slice_s() for ring in self._followed.values()), default=SLICE_S)

    def fileno(self) -> int:
        """Return a descriptor for an event loop: it tells once of news, and again only after `drain`."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Hear what has come, and forget it."""
        if self._unheard is not None:
            self._hear(self._unheard)
            self._unheard = None
        while (frames := self._socket.receive()) is not None:
            self._hear(bytes(frames[0]))

    def close(self) -> None:
        """Stop waiting for anything."""
        self._followed.clear()
        self._socket.close()

    def _moved(self, asleep: Collection[str]) -> set[str]:
        return {key for key, ring in self._followed.items() if key not in asleep and ring.has_moved()}

    def _hear(self, frame: bytes) -> None:
        greets = frame.startswith(WELCOME)
        name = frame.removeprefix(WELCOME) if greets else frame[: -_SEQUENCE.size - 1]
        for ring in self._followed.values():
            if ring.reader.segment_name.encode() == name:
                ring.is_welcome = True

    def __repr__(self) -> str:
        return f"<Notices {', '.join(self._followed) or 'of nothing'}>"


class NoticeWaiter:
    """The waiter of one reader on notices: ``RingReader.attach(name, waiter=NoticeWaiter.on(context))``.

    Args:
        context: any of this process.
        reader: of the ring; the waiter belongs to its thread.
    """

    def __init__(self, context: Context, reader: Armable) -> None:
        self._notices = Notices(context)
        self._notices.follow("", reader)

    @classmethod
    def on(cls, context: Context) -> Callable[[Armable], NoticeWaiter]:
        """Return what makes a waiter of a reader."""
        return partial(cls, context)

    def arm(self) -> None:
        """Forget old notices; the reader arms the ring next."""
        self._notices.drain()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a notice, one slice (N3) or the timeout."""
        return self._notices.doze(timeout_s)

    def fileno(self) -> int | None:
        """Return None: a zmq socket's descriptor is edge-triggered; poll many rings with `Notices`."""
        return None

    def disarm(self) -> None:
        """Do nothing: an armed word left behind costs one notice at most."""

    def close(self) -> None:
        """Close the socket."""
        self._notices.close()
