"""Where listens run: few threads, bounded queues, in order per lane.

A lane is everything that must run in order (one sender's messages of one key).  A thread that waits for an answer
inside a listen does not count: another takes its place, so that listens which all `request` cannot wait for each
other's threads.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Final

from .log import RateLimit

DEFAULT_THREADS: Final = 4
MAX_THREADS: Final = 128
"""Threads at most, those that wait for an answer included."""
MAX_LANE: Final = 8192
"""Tasks that may wait in one lane; more are refused."""
MAX_LANES: Final = 4096
MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all waiting tasks together."""
_TURN: Final = 16
"""Tasks a thread takes from one lane before another lane has its turn."""

Task = tuple[Callable[..., object], tuple[Any, ...], int]

_log: Final = logging.getLogger(__name__)
_log.addFilter(RateLimit())
_here: Final = threading.local()


class _Lane:
    __slots__ = ("name", "tasks")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.tasks: deque[Task] = deque()


class ListenPool:
    """Runs tasks on at most `threads` threads at once, never more than one of a lane."""

    def __init__(self, name: str, threads: int = DEFAULT_THREADS) -> None:
        self.name = name
        self.threads = threads
        self._lock = threading.Lock()
        self._handed: SimpleQueue[_Lane | None] = SimpleQueue()
        """Lanes given to threads that wait; each is for exactly one of them."""
        self._lanes: dict[Hashable, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._workers: set[threading.Thread] = set()
        self._idle = 0
        """Threads that wait for a lane and that nobody has given one yet."""
        self._blocked = 0
        self._bytes = 0
        self._is_closed = False

    def has_room(self, lane: Hashable, size: int) -> bool:
        """Tell whether `submit` would be within bounds for a task of `size` bytes."""
        if self._bytes and self._bytes + size > MAX_BYTES:  # a message larger than that has its turn alone
            return False
        found = self._lanes.get(lane)
        return len(self._lanes) < MAX_LANES if found is None else len(found.tasks) < MAX_LANE

    def submit(self, lane: Hashable, run: Callable[..., object], *args: Any, size: int = 0) -> None:
        """Run `run(*args)` after all that was submitted to the lane before; nothing once closed."""
        self.submit_all([(lane, (run, args, size))])

    def submit_all(self, tasks: Iterable[tuple[Hashable, Task]]) -> None:
        """Submit many, each to its lane."""
        with self._lock:
            if self._is_closed:
                return
            for lane, task in tasks:
                self._bytes += task[2]
                found = self._lanes.get(lane)
                if found is not None:
                    found.tasks.append(task)
                    continue
                found = self._lanes[lane] = _Lane(lane)
                found.tasks.append(task)
                self._offer(found)

    def close(self, timeout_s: float) -> None:
        """Let running listens end, drop waiting ones, join the threads (but not the calling one)."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._is_closed = True
            self._ready.clear()
            self._lanes.clear()
            workers = list(self._workers)
            for _ in workers:
                self._handed.put(None)
        for worker in workers:
            if worker is not threading.current_thread():
                worker.join(max(0.0, deadline - time.monotonic()))

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """Mark the calling thread as waiting for an answer: another may run in its place."""
        with self._lock:
            self._blocked += 1
            if self._ready:
                self._offer(self._ready.popleft())
        try:
            yield
        finally:
            with self._lock:
                self._blocked -= 1

    def _offer(self, lane: _Lane) -> None:
        """Give a lane to a thread that waits, or to whichever is free next; with the lock held."""
        if self._idle:
            self._idle -= 1
            self._handed.put(lane)
            return
        self._ready.append(lane)
        if len(self._workers) < min(self.threads + self._blocked, MAX_THREADS):
            worker = threading.Thread(target=self._work, name=f"{self.name}.listen", daemon=True)
            self._workers.add(worker)
            worker.start()

    def _work(self) -> None:
        _here.pool = self
        lane: _Lane | None = None
        while True:
            with self._lock:
                lane = self._next_lane(lane)
                if lane is None or self._is_closed:
                    self._workers.discard(threading.current_thread())
                    return
                tasks = self._take(lane)
            self._run_all(tasks, lane)

    def _run_all(self, tasks: Sequence[Task], lane: _Lane) -> None:
        for run, args, _ in tasks:
            if self._is_closed:
                return
            try:
                run(*args)
            except Exception:  # a task reports its own errors; what gets here is ours
                _log.exception("%s: a task of lane %s raised", self.name, lane.name)

    def _take(self, lane: _Lane) -> Sequence[Task]:
        """Return the tasks to run before the next look at the lanes; with the lock held."""
        tasks = [lane.tasks.popleft() for _ in range(min(_TURN, len(lane.tasks)))]
        self._bytes -= sum(size for _, _, size in tasks)
        return tasks

    def _next_lane(self, lane: _Lane | None) -> _Lane | None:
        """Return the lane to take a task from; None: end this thread.  Called and left with the lock held."""
        is_superfluous = len(self._workers) - self._blocked > self.threads
        if lane is not None and not self._is_closed:
            if not lane.tasks:
                del self._lanes[lane.name]
            elif self._ready or is_superfluous:
                self._ready.append(lane)
            else:
                return lane
        if is_superfluous:
            return None
        if self._is_closed:
            return None
        if self._ready:
            return self._ready.popleft()
        self._idle += 1
        self._lock.release()
        try:
            return self._handed.get()
        finally:
            self._lock.acquire()

    def __repr__(self) -> str:
        return f"<ListenPool {self.name} threads={len(self._workers)} blocked={self._blocked} lanes={len(self._lanes)}>"


def blocking() -> contextlib.AbstractContextManager[None]:
    """Enter around any wait for an answer; does nothing on threads that belong to no pool."""
    pool: ListenPool | None = getattr(_here, "pool", None)
    return contextlib.nullcontext() if pool is None else pool.blocked()
