"""A link between a Pilot and its Terminal that loses, is cut or is narrow: a network namespace, nftables and htb.

Everything is on the namespace's loopback; a Pilot that connects from an address of its own, 127.0.0.9, is the one whose
packets, both ways, are lost or wait.  Its own nodes talk to it undisturbed, as on its own machine.  (netem would do it
all, and delays too, but many kernels come without; `slow_relay` delays.)
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from types import TracebackType
from typing import Final, Self

PILOT: Final = "127.0.0.9"
TERMINAL: Final = "127.0.0.2"
_numbers = itertools.count()

_LOSS: Final = """
flush ruleset
table ip link {{
    chain arriving {{
        type filter hook input priority 0;
        ip saddr {pilot} {which} drop
        ip daddr {pilot} {which} drop
    }}
}}
"""


def why_not() -> str:
    """Return why this machine cannot do it, empty if it can."""
    missing = [tool for tool in ("ip", "tc", "nft") if shutil.which(tool) is None]
    if missing:
        return f"needs {' and '.join(missing)}: install iproute2 and nftables"
    try:
        with Link() as link:
            link.lose(1)
            link.narrow(1000)
    except LinkError as error:
        return f"needs root and a kernel with htb and nftables: {error}"
    return ""


class LinkError(Exception):
    """The namespace could not be made or changed."""


class Link:
    """A namespace with a perfect link; `within` runs a command in it.

    Raises:
        LinkError: it cannot be made here.
    """

    def __init__(self) -> None:
        self.name = f"link-{os.getpid()}-{next(_numbers)}"
        _run("ip", "netns", "add", self.name)
        try:
            self._within("ip", "link", "set", "lo", "mtu", "1500", "up")
        except LinkError:
            _run("ip", "netns", "del", self.name)
            raise

    @property
    def within(self) -> tuple[str, ...]:
        """What comes before a command."""
        return "ip", "netns", "exec", self.name

    def lose(self, percent: int) -> None:
        """Lose so many packets of a hundred, at random; 100 cuts the link, 0 heals it."""
        which = f"numgen random mod 100 < {percent}" if percent < 100 else ""
        rules = _LOSS.format(pilot=PILOT, which=which) if percent else "flush ruleset"
        self._within("nft", "-f", "-", text=rules)

    def narrow(self, kbit_s: int) -> None:
        """Carry no more than so many kilobits a second, from the Pilot."""
        tc = ("tc", "{}", "add", "dev", "lo")
        for words in (
            ("qdisc", "root", "handle", "1:", "htb", "default", "1"),
            ("class", "parent", "1:", "classid", "1:1", "htb", "rate", "10gbit", "quantum", "60000"),
            ("class", "parent", "1:", "classid", "1:2", "htb", "rate", f"{kbit_s}kbit", "burst", "16k"),
            ("filter", "parent", "1:", "protocol", "ip", "u32", "match", "ip", "src", f"{PILOT}/32", "flowid", "1:2"),
        ):
            self._within(*(word.format(words[0]) for word in tc), *words[1:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("ip", "netns", "del", self.name)

    def _within(self, *command: str, text: str | None = None) -> None:
        _run(*self.within, *command, text=text)


def _run(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LinkError(f"{' '.join(command)}: {done.stderr.strip()}")
