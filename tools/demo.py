"""`pipeline demo`: a whole rig on this machine, without any hardware."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from .run import perform, run_options


@click.command()
@run_options
def demo(*, duration: float | None, output: Path | None, no_browser: bool, as_json: bool) -> int:
    """Run a whole rig on this machine; its live page opens.

    A Terminal and two Pilots: telemetry of this computer (real sensors), a colour camera at 60 Hz and 32 channels at
    30 kHz (synthetic, so that every byte can be checked).  Everything is recorded.  Ctrl-C stops it.
    """
    from stations import load_rig

    with resources.as_file(resources.files("tools") / "demo.toml") as path:
        rig = load_rig(path)
    return perform(rig, "both", duration, output, browser=not no_browser, as_json=as_json, may_rename=True)
