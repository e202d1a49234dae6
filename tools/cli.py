"""The `pipeline` command: one small group; each family of commands is a module beside this one.

The modules import only click at their top.  What a command needs (numpy, zmq, h5py) is imported inside it, so that
`pipeline --help` is quick on a Raspberry Pi and a missing extra concerns only the commands that need it.
"""

from __future__ import annotations

import sys
from typing import Final

import click

from .bench.cli import bench
from .boundary import run_command
from .clean import clean
from .config import config
from .demo import demo
from .export import export
from .mark import mark
from .node import node
from .ping import ping
from .plan import plan
from .record import record
from .recording import recover, verify
from .replay import replay
from .run import run
from .salvage import salvage
from .send import send
from .stream import stream
from .version import print_version

SECTIONS: Final[dict[str, tuple[click.Command, ...]]] = {
    "Run a rig": (demo, run, record, config, plan),
    "Look at it": (stream, node, ping),
    "Talk to it": (send, mark),
    "Recordings": (verify, recover, salvage, replay, export),
    "This machine": (clean, bench),
}
"""The order in which a newcomer meets the commands."""

EPILOG: Final = """\b
Start here:
  pipeline demo                    a whole rig on this machine; its page opens
  pipeline demo --help             what can be changed about it
  pipeline-top                     the rig's health, live
  pipeline node list               who is in the rig
\b
Exit codes: 0 ok, 1 no answer or not done, 2 bad input, 3 unbalanced,
            4 pending, 130 interrupted.
"""


class Sections(click.Group):
    """A group whose help lists its commands under headings."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section of `SECTIONS` with the short help of its commands."""
        width = max(len(name) for name in self.list_commands(ctx))
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                rows = [(str(command.name).ljust(width), command.get_short_help_str(80)) for command in commands]
                formatter.write_dl(rows)


@click.group(
    cls=Sections, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the version and where its packages come from.",
)
def pipeline() -> None:
    """Acquire, watch and record a rig's cameras and signals.

    Sensors write into shared memory, a Pilot forwards their streams, a Terminal records them and shows a live page.
    Every command has --help; most have --json.
    """


for _commands in SECTIONS.values():
    for _command in _commands:
        pipeline.add_command(_command)


def main(argv: list[str] | None = None) -> int:
    """Run `pipeline` with the arguments given (this process's if None) and return the exit code."""
    return run_command(pipeline, argv, "pipeline")


if __name__ == "__main__":
    sys.exit(main())
