"""Ports for stations that must find each other before they are asked, and again after a restart."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from typing import Final

from .errors import NoPortError

FREE_PORTS: Final = range(20_000, 32_000)


def free_ports() -> Iterator[int]:
    """Yield free ports below the range from which the kernel takes ports for connecting.

    From within that range a peer that reconnects could get the very port of a station that is being restarted, and be
    connected to itself.

    Raises:
        NoPortError: none is left.
    """
    for port in random.sample(FREE_PORTS, len(FREE_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
    raise NoPortError(f"no port from {FREE_PORTS.start} up is free on 127.0.0.1; name ports in the rig file")
