"""What a disk holds after a power loss: what was synced, as it was when it was synced, under the names that were."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGSTOP

from support.children import ROOT
from support.waiting import eventually

LONGEST_SYNC_S = 0.002
DISK_MB = 256
ON_EXT4 = """
set -e
mount -o loop,commit=600 "$1" "$2"
cd "$2"
shift 2
exec "$@"
"""
"""Its journal is written when somebody syncs, and not every five seconds."""


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


def cut_power_on_ext4(folder: Path, command: tuple[str, ...], after_s: float) -> list[str]:
    """Run a module on a file system of its own, and look at what is on that disk at a moment.

    Args:
        folder: gets `found`, what the file system holds when it is mounted again.
        command: module and arguments; its folder is the file system's top.
        after_s: the moment, seconds after its first line.

    Returns:
        The lines that it had said by then.
    """
    image, copy, mount, found = (folder / name for name in ("disk", "copy", "mount", "found"))
    mount.mkdir()
    found.mkdir()
    with image.open("wb") as disk:
        disk.truncate(DISK_MB * 1_000_000)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    within = ["unshare", "-m", "sh", "-c"]
    module = [*within, ON_EXT4, "sh", str(image), str(mount), sys.executable, "-m", *command]
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(module, stdout=said, env=os.environ | {"PYTHONPATH": paths})
    try:
        assert eventually(lambda: (folder / "said").stat().st_size, 20)
        time.sleep(after_s)  # the moment is what is tried out
        process.send_signal(SIGSTOP)
        assert eventually(lambda: _is_still(process.pid))
        shutil.copyfile(image, copy)
    finally:
        process.kill()
        process.wait()
    script = 'mount -o loop "$1" "$2" && cp -r "$2/." "$3"'
    subprocess.run([*within, script, "sh", str(copy), str(mount), str(found)], check=True)
    return [line for line in (folder / "said").read_text().splitlines(keepends=True) if line.endswith("\n")]


def _is_still(pid: int) -> bool:
    """Whether no thread of a stopped process is still in a system call."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)
