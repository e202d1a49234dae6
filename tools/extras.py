"""Optional parts: which extra brings which module, and the command that installs it."""

from __future__ import annotations

import re
from importlib import metadata
from importlib.util import find_spec
from typing import Final

import click

DISTRIBUTION: Final = "acquisition-pipeline"
"""The name under which pip knows this project."""
_REQUIREMENT: Final = re.compile(r"""^(?P<name>[A-Za-z0-9._-]+).*;\s*extra\s*==\s*['"](?P<extra>[^'"]+)['"]""")


def extras() -> dict[str, list[str]]:
    """Return the modules that each extra brings, as the installed metadata says: ``{"video": ["av"], ...}``."""
    found: dict[str, list[str]] = {}
    for requirement in metadata.requires(DISTRIBUTION) or ():
        match = _REQUIREMENT.match(requirement)
        if match is not None:
            found.setdefault(match["extra"], []).append(match["name"].replace("-", "_"))
    return found


def missing_extra(module: str | None) -> str | None:
    """Return the one line that says how to get a missing module, None if no extra of ours brings it."""
    top = (module or "").partition(".")[0]
    for extra, modules in extras().items():
        if top in modules:
            return f"{top} is not installed; run: pip install '{DISTRIBUTION}[{extra}]'"
    return None


def require_extra(extra: str, purpose: str) -> None:
    """Refuse to go on without an extra, before anything was started.

    Args:
        extra: its name in pyproject.toml.
        purpose: what needs it, in the user's words ("recording and the page").

    Raises:
        click.ClickException: a module of the extra cannot be imported.
    """
    missing = [module for module in extras().get(extra, ()) if find_spec(module) is None]
    if missing:
        message = f"{purpose} needs {', '.join(missing)}; run: pip install '{DISTRIBUTION}[{extra}]'"
        raise click.ClickException(message)
