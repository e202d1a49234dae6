"""Runs the processes of one measurement, each knowing what those before it told, and returns the figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .child import Child, Control
from .forward_ours import Job, clear, make_job

Parts = list[tuple[str, Callable[..., None]]]


def alone(body: Callable[[Control], None]) -> float:
    """Run one process; return the rate that it reports."""
    child = Child("alone", body)
    try:
        return float(child.hear()["rate"])
    finally:
        child.kill()
        child.close()


def conduct(parts: Parts, seconds: float, *, keyed: bool = False, teller: int = -1) -> dict[str, Any]:
    """Start processes one after the other; return what `teller` found.

    Args:
        parts: who they are, and what they do with the job and their line.
        seconds: length of the measurement.
        keyed: with keys made for it.
        teller: index of the part that reports.
    """
    job: Job = make_job(seconds, keyed=keyed)
    children: list[Child] = []
    try:
        for label, body in parts:
            children.append(Child(label, partial(body, dict(job))))
            job |= children[-1].hear()
        return children[teller].hear()
    finally:
        for child in reversed(children):
            child.kill()
            child.close()
        clear(job)
