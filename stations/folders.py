"""Folders whose names survive a power loss: a file is found again if every name above it was brought to the disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def make_folder(path: Path, *, exist_ok: bool = False) -> None:
    """Make a folder and those above it, and bring their names to the disk.

    Raises:
        OSError: it cannot be made, or is there already and may not be.
    """
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=exist_ok)
    for folder in new:
        with contextlib.suppress(OSError):  # some file systems have no word for it
            sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
