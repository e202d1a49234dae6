"""What a disk holds after a power loss: what was synced, as it was when it was synced, under the names that were."""

from __future__ import annotations

import os
import random
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LONGEST_SYNC_S = 0.002


@dataclass(frozen=True, slots=True)
class DiskImage:
    """What the disk has at a moment; files and folders by inode."""

    top: int
    files: Mapping[int, bytes]
    folders: Mapping[int, Mapping[str, int]]

    def restore(self, folder: Path) -> None:
        """Write it out: a file that has a name and was never synced is empty."""
        self._restore(self.top, folder)

    def _restore(self, inode: int, folder: Path) -> None:
        folder.mkdir()
        for name, entry in self.folders.get(inode, {}).items():
            if entry < 0:
                self._restore(-entry, folder / name)
            else:
                (folder / name).write_bytes(self.files.get(entry, b""))


class SyncedOnly:
    """A disk that keeps what is synced and nothing else; each sync takes it up to 2 ms.

    Args:
        top: the folder that was there before.
        chance: how long each sync takes.
        on_synced: called after each, on the thread that asked for it.
    """

    def __init__(self, top: Path, chance: random.Random, on_synced: Callable[[], object] = lambda: None) -> None:
        self.syncs = 0
        self._top = top.stat().st_ino
        self._chance = chance
        self._on_synced = on_synced
        self._files: dict[int, bytes] = {}
        self._folders: dict[int, dict[str, int]] = {}
        self._lock = threading.Lock()

    def image(self) -> DiskImage:
        """Return what is on it now."""
        with self._lock:
            return DiskImage(self._top, dict(self._files), dict(self._folders))

    @contextmanager
    def takes_syncs(self) -> Iterator[None]:
        """Let this process's fsync and fdatasync go to this disk."""
        real = os.fsync, os.fdatasync
        os.fsync = os.fdatasync = self._sync
        try:
            yield
        finally:
            os.fsync, os.fdatasync = real

    def _sync(self, fd: int) -> None:
        about = os.fstat(fd)
        if stat.S_ISDIR(about.st_mode):
            with os.scandir(fd) as entries:
                names = {entry.name: entry.inode() * (-1 if entry.is_dir() else 1) for entry in entries}
        else:
            # Beside a writer: what it writes meanwhile may get there or not, on a real disk too.
            content = Path(f"/proc/self/fd/{fd}").read_bytes()
        time.sleep(self._chance.uniform(0, LONGEST_SYNC_S))  # the disk's work
        with self._lock:
            self.syncs += 1
            if stat.S_ISDIR(about.st_mode):
                self._folders[about.st_ino] = names
            else:
                self._files[about.st_ino] = content
        self._on_synced()
