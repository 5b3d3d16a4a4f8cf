"""``kilonova simulate``: how a fleet would take a workload, decided by the real scheduler."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from kilonova.core import settings
from kilonova.core.errors import Invalid, KilonovaError
from kilonova.scheduler import recipe, workload
from kilonova.scheduler.simulated_fleet import Fleet
from kilonova.scheduler.simulator import Crowd, Results, Simulation

_BAR = 40
_DELAY = 0.05
"""Seconds from a scheduler's look at the hosts to its claims: what a selection takes over the network."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``kilonova simulate``."""
    parser.add_argument("fleet", type=Path, metavar="FLEET.yaml", help="the hosts")
    parser.add_argument("workload", type=Path, metavar="WORKLOAD.yaml", help="what is asked for")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same placements (0)")
    parser.add_argument(
        "--batch",
        type=int,
        default=100,
        metavar="N",
        help="servers that arrive together and are alike are decided N at a time (%(default)s)",
    )
    parser.add_argument(
        "--schedulers",
        type=int,
        default=1,
        metavar="N",
        help="let N schedulers take turns, each with a picture of its own (%(default)s)",
    )
    parser.add_argument(
        "--delay",
        type=float,
        default=None,
        metavar="SECONDS",
        help="from a look at the hosts to the claim (0, with several schedulers 0.05)",
    )
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="a kilonova.conf with the filters, the weighers and their multipliers",
    )
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="also draw it (needs matplotlib)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def run(options: argparse.Namespace) -> int:
    """Simulate and print: exit 0 if every server was placed, 1 if some were not, 255 on an error."""
    try:
        if options.batch < 1 or options.schedulers < 1:
            raise Invalid("--batch and --schedulers must be at least 1.")
        if options.delay is not None and options.delay < 0:
            raise Invalid("--delay must not be below 0.")
        draw = _plotter() if options.plot else None
        results = _simulate(options)
        if draw is not None:
            draw(results, options.plot)
    except (KilonovaError, OSError) as error:
        print(f"kilonova simulate: {error}", file=sys.stderr)
        return 255
    if options.format == "json":
        print(msgspec.json.format(msgspec.json.encode(results)).decode())
    else:
        print(_table(results))
    return 1 if results.refused else 0


def _simulate(options: argparse.Namespace) -> Results:
    words = [word for name in options.config_file for word in ("--config-file", name)]
    conf = settings.read_config(words, prog="kilonova-simulate", default_files=())
    plan = workload.read_workload(options.workload)
    fleet = Fleet(workload.read_fleet(options.fleet), seed=options.seed, least=workload.least(plan))
    if not fleet.hosts:
        raise Invalid(f"{options.fleet}: hosts: there is none.")
    simulation = Simulation(
        fleet, recipe.load(conf), seed=options.seed, batch=options.batch, crowd=_crowd(options)
    )
    # A trace says only at its end how many requests it has.
    total = 0 if plan.arrival.kind == "trace" else plan.arrival.requests
    show = not options.quiet and sys.stderr.isatty()
    progress = _progress(total) if show else lambda _count: None
    return simulation.run(
        workload.requests(plan, options.seed),
        build_seconds=plan.build_seconds,
        progress=progress,
    )


def _crowd(options: argparse.Namespace) -> Crowd:
    usual = _DELAY if options.schedulers > 1 else 0.0
    delay = usual if options.delay is None else options.delay
    return Crowd(schedulers=options.schedulers, delay=delay)


def _progress(total: int) -> Callable[[int], None]:
    """Return what draws a bar on the terminal, at most ten times a second."""
    done, shown = 0, 0.0

    def show(count: int) -> None:
        nonlocal done, shown
        done += count
        now = time.monotonic()
        if now - shown < 0.1 and done != total:
            return
        shown = now
        filled = _BAR * done // total if total else 0
        bar = f"[{'#' * filled:{_BAR}}] " if total else ""
        end = "\n" if done == total else ""
        print(f"\r{bar}{done} requests", end=end, file=sys.stderr, flush=True)

    return show


def _table(results: Results) -> str:
    used = ", ".join(f"{name} {part:.1%}" for name, part in results.used.items())
    rows = [
        ("hosts", f"{results.hosts}"),
        ("requests", f"{results.requests}"),
        ("servers", f"{results.servers}"),
        ("placed", f"{results.placed}"),
        ("refused", f"{results.refused}"),
        *((f"  {sentence}", f"{count}") for sentence, count in results.reasons.items()),
        ("in use at the end", used),
        ("hosts in use", f"{results.hosts_used}, at least {results.hosts_at_least} are needed"),
        ("balance", f"{results.balance} servers between the fullest and the emptiest host"),
        ("schedulers", f"{results.schedulers}"),
        ("claims refused", f"{results.claims_refused}, and picked anew"),
        ("hosts looked at", f"{results.considered_per_decision:.1f} a decision"),
        ("placements", f"{results.placements_per_cpu_second:.0f} a CPU second"),
        ("seed", f"{results.seed}"),
        ("digest", results.placements[:16]),
    ]
    left = max(len(name) for name, _ in rows)
    right = max(len(value) for _, value in rows)
    line = f"+-{'-' * left}-+-{'-' * right}-+"
    body = [f"| {name:{left}} | {value:{right}} |" for name, value in rows]
    return "\n".join([line, *body, line])


def _plotter() -> Callable[[Results, Path], None]:
    """Return what draws results; loaded before the simulation, so that a missing library is told first.

    Raises:
        Invalid: matplotlib is not there.
    """
    try:
        from kilonova.cli import simulate_plot  # noqa: PLC0415
    except ImportError as error:
        raise Invalid("--plot needs matplotlib: install kilonova[plot].") from error
    return simulate_plot.draw
