"""`pipeline plan`: what a rig will need of memory, network and disk, before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import exits
from .table import Row, print_json, print_table

if TYPE_CHECKING:
    from stations.plan import Finding, Machine, Needs

COLUMNS = ("stream", "items", "rate", "ring MB", "ring s", "Terminal MB", "Terminal s", "raw MB/s", "ratio",
           "wire MB/s", "disk MB/s", "GB/h")  # fmt: skip
MB = 1e6


@click.command()
@click.argument("rig", type=click.Path(path_type=Path), metavar="RIG.toml")
@click.option(
    "--role",
    type=click.Choice(["pilot", "terminal", "both"]),
    default="both",
    show_default=True,
    help="Which stations run on this machine.",
)
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the recordings.")
@click.option(
    "--disk-seconds",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="S",
    help="How long to measure the disk of that folder; 0: not at all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(*, rig: Path, role: str, output: Path | None, disk_seconds: float, as_json: bool) -> int:
    """Say what the rig in RIG.toml needs of this machine, and whether it fits.

    Bytes of /dev/shm, MB/s through the network and to the disk, seconds until a reader that stands still is lapped, GB
    an hour.  Nothing is started; sources are opened for a sample, but for classes of your own.  Exit code 2 if the
    rings do not fit into /dev/shm, or the disk is too slow.
    """
    from stations import load_rig
    from stations.plan import judge, needs_of
    from stations.plan_probe import probe_machine, probe_streams

    described = load_rig(rig)
    needs = needs_of(described, role, probe_streams(described))  # type: ignore[arg-type]  # click checked the choice
    has_disk = role != "pilot" or needs.disk_mb_s > 0
    machine = probe_machine(output or Path(described.rig.output), disk_seconds if has_disk else 0)
    findings = judge(needs, machine)
    if as_json:
        print_json(to_json(needs, machine, findings))
    else:
        show(needs, machine, findings)
    refused = [finding for finding in findings if finding.level == "refused"]
    for finding in refused:
        click.echo(f"pipeline: {rig}: {finding.text}", err=True)
    return exits.BAD_INPUT if refused else exits.OK


def to_json(needs: Needs, machine: Machine, findings: list[Finding]) -> dict[str, object]:
    """Return everything as plain values."""
    import msgspec

    plain: dict[str, object] = msgspec.to_builtins(needs)
    return {**plain, "machine": msgspec.to_builtins(machine), "findings": msgspec.to_builtins(findings)}


def show(needs: Needs, machine: Machine, findings: list[Finding]) -> None:
    """Print streams as a table, sums, and what is wrong."""
    rows: list[Row] = [
        {
            "stream": need.stream,
            "items": f"{'x'.join(map(str, need.shape)) or '1'} {need.dtype}" if need.dtype else "-",
            "rate": need.rate,
            "ring MB": _mega(need.ring_bytes),
            "ring s": need.ring_s,
            "Terminal MB": _mega(need.terminal_bytes),
            "Terminal s": need.terminal_s,
            "raw MB/s": need.raw_mb_s,
            "ratio": need.ratio,
            "wire MB/s": need.wire_mb_s,
            "disk MB/s": need.disk_mb_s,
            "GB/h": need.file_gb_h,
        }
        for need in needs.streams
    ]
    if rows:
        print_table(rows, COLUMNS)
    spools = f" and {needs.backfill_bytes / MB:.1f} MB more while spools empty" if needs.backfill_bytes else ""
    shm = f"{needs.shm_bytes / MB:.1f} MB needed{spools}, {machine.shm_free / MB:.1f} MB free"
    click.echo("ring s, Terminal s: until a reader that stands still is lapped")
    click.echo(f"shared memory: {shm} ({needs.fixed_bytes / MB:.1f} MB of it counters and message rows)")
    click.echo(f"network: {needs.raw_mb_s:.1f} MB/s raw, {needs.wire_mb_s:.1f} MB/s compressed as the samples were")
    if needs.role != "pilot" or needs.disk_mb_s:
        took = f"took {machine.disk_mb_s:.1f} MB/s" if machine.disk_mb_s is not None else "not measured"
        hours = f", full after {machine.disk_free / 1e9 / needs.file_gb_h:.1f} h" if needs.file_gb_h else ""
        click.echo(f"disk: {needs.disk_mb_s:.1f} MB/s, {needs.file_gb_h:.1f} GB/h; {machine.folder} {took}{hours}")
    for finding in findings:
        click.echo(f"{finding.level}: {finding.text}")
    if not findings:
        click.echo("it fits")


def _mega(count: int | None) -> float | None:
    return None if count is None else count / MB
