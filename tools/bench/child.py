"""The processes of a measurement: forked from a process without threads, told what to do over a pipe, never left."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Final

_FORK: Final = multiprocessing.get_context("fork")
_LEAVE_S: Final = 2.0


class BenchError(RuntimeError):
    """An item arrived wrong or not at all, or a process died: the figure would be worthless."""


class Control:
    """A child's line to the process that measures."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def ready(self) -> None:
        """Say that this side is open; return when all are."""
        self.report()
        self.wait()

    def report(self, **values: Any) -> None:
        """Send what was found."""
        self._line.send_bytes(json.dumps(values).encode())

    def wait(self) -> None:
        """Return when told to go on."""
        self._line.recv_bytes()

    async def ready_async(self) -> None:
        """Do as `ready`, while the event loop goes on."""
        self.report()
        await self.wait_async()

    async def wait_async(self) -> None:
        """Do as `wait`, while the event loop goes on."""
        while not self._line.poll():
            await asyncio.sleep(0.002)
        self.wait()


class Child:
    """A forked process that runs `body`.

    Args:
        label: who it is, for messages.
        body: what it does; an exception of it is told to whoever listens.
    """

    def __init__(self, label: str, body: Callable[[Control], None]) -> None:
        self.label = label
        self.line, other = _FORK.Pipe()
        self._process = _FORK.Process(target=_run, args=(body, other), daemon=True)
        self._process.start()
        other.close()

    def hear(self) -> dict[str, Any]:
        """Return the next report.

        Raises:
            BenchError: the child failed or died.
        """
        try:
            found: dict[str, Any] = json.loads(self.line.recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise BenchError(f"{self.label}: its process died") from error
        if "error" in found:
            raise BenchError(f"{self.label}: {found['error']}")
        return found

    def tell(self) -> None:
        """Let it go on."""
        self.line.send_bytes(b"")

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """Wait a moment until it has left, then end it."""
        self.line.close()
        self._process.join(_LEAVE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def hear_all(children: Sequence[Child], timeout_s: float) -> list[dict[str, Any]]:
    """Return the next report of each.

    Raises:
        BenchError: one of them failed or died, which is told at once, or said nothing in time.
    """
    found: dict[Child, dict[str, Any]] = {}
    deadline = time.monotonic() + timeout_s
    while len(found) < len(children):
        silent = {child.line: child for child in children if child not in found}
        lines = wait(list(silent), max(0.0, deadline - time.monotonic()))
        if not lines:
            names = ", ".join(child.label for child in silent.values())
            raise BenchError(f"{names}: said nothing for {timeout_s:.0f} s")
        for line in lines:
            child = silent[line]  # type: ignore[index]  # one of those that were waited for
            found[child] = child.hear()
    return [found[child] for child in children]


def _run(body: Callable[[Control], None], line: Connection) -> None:
    try:
        body(Control(line))
    except KeyboardInterrupt:
        return
    except (EOFError, BrokenPipeError):
        return  # whoever measures is gone
    except BaseException:  # whatever it was, it is told where it is expected
        line.send_bytes(json.dumps({"error": traceback.format_exc()}).encode())
