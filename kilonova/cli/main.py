"""``kilonova``: the operator's command."""

import argparse
import os
import sys

from kilonova import __version__


def main() -> None:
    """Run one command; exit with what it returns."""
    parser = argparse.ArgumentParser(prog="kilonova", description="Boots virtual machines.")
    parser.add_argument("--version", action="version", version=f"kilonova {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    # Imported here: each command pays only for what it uses.
    from kilonova.cli import bench, simulate, up  # noqa: PLC0415

    up_parser = commands.add_parser("up", help=up.__doc__, description=up.__doc__)
    up.add_arguments(up_parser)
    up_parser.set_defaults(run=up.run)
    bench_parser = commands.add_parser("bench", help="measure a running cloud")
    subjects = bench_parser.add_subparsers(required=True, metavar="boot")
    boot_parser = subjects.add_parser("boot", help=bench.__doc__, description=bench.__doc__)
    bench.add_arguments(boot_parser)
    boot_parser.set_defaults(run=bench.run)
    simulate_parser = commands.add_parser(
        "simulate", help=simulate.__doc__, description=simulate.__doc__
    )
    simulate.add_arguments(simulate_parser)
    simulate_parser.set_defaults(run=simulate.run)
    options = parser.parse_args()
    code = options.run(options)
    sys.stdout.flush()
    # Threads of libraries may still wait for a broker or a hypervisor; nothing of ours is left to do.
    os._exit(code)
