"""A process with one node that writes down each message it runs: ``python counting_node.py PORT FILE``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline import Message, NetNode, Pace


def main() -> None:
    """Run until stdin ends."""
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def count(message: Message) -> str:
        os.write(descriptor, f"{os.getpid()} {message.value}\n".encode())
        return str(message.value)

    node = NetNode("pilot1.worker", "pilot1", port, {"COUNT": count}, pace=Pace(0.1, 0.3, 0.7))
    sys.stdin.read()
    node.release()


if __name__ == "__main__":
    main()
