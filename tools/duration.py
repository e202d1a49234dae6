"""Times on the command line: ``10``, ``10s``, ``500ms``, ``2m``, ``1h``."""

from __future__ import annotations

import re
from typing import Final

import click

_UNITS: Final = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_TEXT: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)")


def seconds(text: str) -> float:
    """Return seconds; the type of an option.

    Raises:
        click.BadParameter: neither a number nor a number and a unit.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None or found[2] not in _UNITS:
        raise click.BadParameter(f"{text!r} is no time; write 10, 10s, 500ms, 2m or 1h")
    return float(found[1]) * _UNITS[found[2]]
