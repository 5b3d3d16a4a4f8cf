"""``kilonova``: the operator's command."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

from kilonova import __version__

if TYPE_CHECKING:
    from kilonova.cli.shown import CloudCommand, CloudList


class _Command(Protocol):
    """A module of a command."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add its options."""

    def run(self, options: argparse.Namespace) -> int:
        """Run it; return the exit status."""


def _add(commands: Any, name: str, what: str, command: _Command) -> None:
    parser = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)


def _add_shown(commands: Any, what: str, command: "CloudCommand | CloudList") -> None:
    description = (type(command).__doc__ or "").strip()
    parents = [command.get_parser("")]
    parser = commands.add_parser(
        command.name.rpartition(" ")[2],
        help=what,
        description=description,
        parents=parents,
        add_help=False,
    )
    parser.set_defaults(run=command.run)


def main() -> None:
    """Run one command; exit with what it returns."""
    parser = argparse.ArgumentParser(prog="kilonova", description="Boots virtual machines.")
    parser.add_argument("--version", action="version", version=f"kilonova {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    # Imported here: each command pays only for what it uses.
    from kilonova.cli import (  # noqa: PLC0415
        bench,
        converge,
        desired,
        explain,
        instances,
        plan,
        simulate,
        up,
    )

    _add(commands, "up", "a whole deployment in this process, and its first server", up)
    bench_parser = commands.add_parser("bench", help="measure a running cloud")
    subjects = bench_parser.add_subparsers(required=True, metavar="boot")
    _add(subjects, "boot", "how fast it boots servers, and what that costs", bench)
    _add(commands, "simulate", "how a fleet would take a workload, by the real scheduler", simulate)
    _add_shown(commands, "why a server is where it is, or why no host fits", explain.Explain())
    _add_shown(commands, "whether servers would find a host, and where", plan.Plan())
    _add_shown(commands, "the servers on hosts, and how they are", instances.Instances())
    _add(commands, "converge", "compare what should be with what is, and mend it", converge)
    desired_parser = commands.add_parser("desired", help="servers that are kept running")
    verbs = desired_parser.add_subparsers(required=True, metavar="COMMAND")
    for made, words in desired.COMMANDS:
        _add_shown(verbs, words, made())
    options = parser.parse_args()
    try:
        code = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads it, such as head, has read enough.
        code = 1
    # Threads of libraries may still wait for a broker or a hypervisor; nothing of ours is left to do.
    os._exit(code)
