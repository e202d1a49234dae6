"""What of an export is done: a file beside it, so that one that was interrupted goes on.

What is promised outlives the death of the process, not that of the machine: nothing waits for the disk before the end,
so after another boot an export begins anew.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.errors import UNREADABLE
from shm import clock_domain

VERSION: Final = 1


class _Done(msgspec.Struct):
    """The file's content."""

    fingerprint: dict[str, Any]
    pieces: int
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The temporary output and the note beside it, both named after the output."""

    output: Path
    fingerprint: dict[str, Any]
    """What is exported and how; another one's progress is none of ours."""

    @property
    def partial(self) -> Path:
        """Where the export is written until it is whole."""
        return self.output.with_name(f".partial.{self.output.name}")

    @property
    def path(self) -> Path:
        """Where progress is noted."""
        return self.output.with_name(f".partial.{self.output.name}.json")

    def read(self) -> tuple[int, dict[str, Any]] | None:
        """Return how many pieces are done, and the sink's state; None: begin anew."""
        try:
            done = msgspec.json.decode(self.path.read_bytes(), type=_Done)
        except (FileNotFoundError, *UNREADABLE):
            return None
        same = done.fingerprint == msgspec.json.decode(msgspec.json.encode(self._full())) and self.partial.exists()
        return (done.pieces, done.state) if same else None

    def note(self, pieces: int, state: dict[str, Any]) -> None:
        """Note how many pieces are done."""
        beside = self.path.with_name(self.path.name + ".new")
        beside.write_bytes(msgspec.json.encode(_Done(self._full(), pieces, state)))
        beside.replace(self.path)

    def discard(self) -> None:
        """Remove what an earlier export left."""
        self.path.unlink(missing_ok=True)
        if self.partial.is_dir():
            shutil.rmtree(self.partial)
        self.partial.unlink(missing_ok=True)

    def complete(self) -> None:
        """Give the export its name."""
        self.partial.replace(self.output)
        self.path.unlink(missing_ok=True)

    def _full(self) -> dict[str, Any]:
        return {**self.fingerprint, "version": VERSION, "boot": clock_domain()}
