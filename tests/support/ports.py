"""Free ports, for rigs whose parts must find each other before they are asked."""

from __future__ import annotations

import random
import socket


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody has, below those that the kernel gives to whoever connects."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
