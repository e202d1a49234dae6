"""A disk that takes no more, with one and without."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MB = 1_000_000


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the kernel then takes a part of a write, and refuses the next."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class SmallDisk:
    """A disk of a few megabytes that only processes started `within` it see, and whoever looks at `seen`.

    Args:
        folder: where it is mounted; made here.
        room: bytes that are free.
        more: bytes that `make_room` frees.
    """

    def __init__(self, folder: Path, room: int, more: int) -> None:
        folder.mkdir()
        mount = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo && exec cat'
        command = ["unshare", "-m", "sh", "-c", mount, "sh", str(folder), str(room + more)]
        self._keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == b"\n", "not mounted"
        self.within = ["nsenter", "-t", str(self._keeper.pid), "-m", "--"]
        self.seen = Path(f"/proc/{self._keeper.pid}/root{folder}")
        self._ballast = self.seen / "logs" / "ballast"
        self._ballast.parent.mkdir()
        self._ballast.write_bytes(bytes(more))

    def make_room(self) -> None:
        """Delete something large."""
        self._ballast.unlink()

    def recordings(self) -> list[Path]:
        """Return the folders of recordings, oldest first."""
        return sorted(path for path in self.seen.iterdir() if path.name not in ("logs", "spool"))

    def close(self) -> None:
        """Give everything back."""
        self._keeper.communicate(timeout=10)
