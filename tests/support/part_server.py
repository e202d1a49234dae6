"""Starts parts of a rig by forking a process that has imported them: a station is there in milliseconds, not in one.

``python -m support.part_server``: each line on stdin is a JSON list of part and brief; the pid comes back as a line.
What is started is the part's own `main`, with the brief on its stdin, as the supervisor starts it.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

import msgspec

from stations.__main__ import PARTS

KEPT: list[int] = []
"""Ends of our children's stdins; they stay open as long as we live."""


def main() -> None:
    """Serve until stdin ends; the kernel ends the children then."""
    for part in ("pilot", "terminal"):
        importlib.import_module(PARTS[part])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    for line in sys.stdin.buffer:
        part, brief = msgspec.json.decode(line)
        brief["parent"] = os.getpid()
        print(_start(part, msgspec.json.encode(brief)), flush=True)


def _start(part: str, brief: bytes) -> int:
    end, ours = os.pipe()
    os.write(ours, brief + b"\n")
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(end, 0)
        for kept in (*KEPT, ours, end):
            os.close(kept)
        sys.stdin = os.fdopen(0)
        importlib.import_module(PARTS[part]).main()
    os.close(end)
    KEPT.append(ours)
    return pid


if __name__ == "__main__":
    main()
