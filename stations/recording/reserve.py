"""A piece of the disk that is kept for the end: with it a recording closes in order on a disk that became full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FILE_NAME: Final = ".reserve"
RESERVE_BYTES: Final = 128 * 1024
"""The last words of a dozen files, the gaps in the journal, `session.json`."""


class Reserve:
    """Holds the bytes until `release`.

    Args:
        directory: the recording's folder.

    Raises:
        OSError: the disk does not have them.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError:
            self._path.unlink()
            raise
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the bytes back."""
        self._path.unlink(missing_ok=True)
