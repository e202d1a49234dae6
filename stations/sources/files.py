"""What all sources that read a file ask of it."""

from __future__ import annotations

from pathlib import Path

from stations.errors import SourceError
from stations.suggest import did_you_mean


def check_file(path: Path) -> None:
    """Refuse what cannot be read as a file.

    Raises:
        SourceError: absent (with a near name of the same folder), a folder, or not readable.
    """
    try:
        with path.open("rb"):
            return
    except FileNotFoundError as error:
        raise SourceError(f"no file {path}; {_near(path)}") from error
    except IsADirectoryError as error:
        raise SourceError(f"{path} is a folder; name a file in it") from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check its permissions") from error


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    hint = did_you_mean(path.name, [entry.name for entry in path.parent.iterdir() if entry.is_file()])
    return hint if hint.startswith("did") else "check the path (it is relative to the rig file)"
