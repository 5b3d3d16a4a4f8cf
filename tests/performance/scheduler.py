"""The scheduler benchmark: decisions alone, by the size of the fleet, one by one and in batches.

    python -m tests.performance.scheduler                  # 1,000, 10,000 and 100,000 hosts
    python -m tests.performance.scheduler --hosts 1000 --batch 1 --servers 2000 --profile

Each line is a process of its own: a fleet in memory that answers as Placement would, the configured filters
and weighers, and one server after the other or so many at once, each with two alternates. Times are CPU
seconds of the process, so that whatever else the machine does does not count. ``cost`` is the CPU time of a
decision relative to the first line of the same batch. Memory is what the process holds at most, and in
brackets what of it came with the fleet.
"""

import argparse
import cProfile
import json
import pstats
import resource
import subprocess
import sys
import time

from kilonova.core import settings
from kilonova.core.ids import InstanceUuid
from kilonova.scheduler import recipe, workload
from kilonova.scheduler.simulated_fleet import Fleet, FleetPlan, HostKind
from kilonova.scheduler.simulator import Simulation
from kilonova.scheduler.workload import Arrival, ServerKind, Size, WorkloadPlan

_SEED = 1
_TURNS = 5
_SIZES, _BATCHES = (1000, 10000, 100000), (1, 100)


def fleet_of(hosts: int, plan: WorkloadPlan) -> Fleet:
    """Return equal hosts in cells of a hundred, a third of whose room is in use, unevenly."""
    kind = HostKind(
        count=hosts, vcpus=64, memory_mb=262144, disk_gb=8000, cells=max(1, hosts // 100)
    )
    fleet = Fleet(FleetPlan(hosts=(kind,)), seed=_SEED, least=workload.least(plan))
    for index, free in enumerate(fleet.free):
        servers = 21 + 11 * index % 43
        free["VCPU"] -= 2 * servers
        free["MEMORY_MB"] -= 2048 * servers
        free["DISK_GB"] -= 20 * servers
    return fleet


def measure(hosts: int, batch: int, servers: int) -> dict[str, float]:
    """Place servers on a fleet; return the figures of the median turn."""
    conf = settings.new_config()
    conf([])
    plan = WorkloadPlan(
        flavors={"small": Size(vcpus=1, memory_mb=2048, root_gb=20)},
        servers=(ServerKind(flavor="small"),),
        arrival=Arrival(kind="burst", requests=servers * _TURNS),
    )
    before = _peak()
    fleet = fleet_of(hosts, plan)
    simulation = Simulation(fleet, recipe.load(conf), seed=_SEED, batch=batch)
    spec = next(workload.requests(plan, _SEED)).spec
    turns = []
    for turn in range(_TURNS):
        seconds = 0.0
        for first in range(0, servers, batch):
            names = [InstanceUuid(f"{turn}-{n}") for n in range(first, first + batch)]
            began = time.process_time()
            chosen = simulation.decide(spec, names)
            seconds += time.process_time() - began
            for destination in chosen:
                if destination is None:
                    raise RuntimeError("The fleet is too small for the benchmark.")
                fleet.claim(
                    destination.provider_uuid, destination.allocation[destination.provider_uuid]
                )
        turns.append(seconds)
    median = sorted(turns)[_TURNS // 2]
    return {"seconds": median, "peak": _peak(), "fleet": _peak() - before}


def _peak() -> float:
    """Return the most memory that the process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(servers: int) -> str:
    """Measure everything and return the table."""
    lines = [
        "| hosts | batch | placements a CPU second | us a placement | cost | memory MiB (fleet) |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for batch in _BATCHES:
        first = None
        for hosts in _SIZES:
            found = _in_a_process(hosts, batch, servers)
            each = found["seconds"] / servers
            first = first or each
            lines.append(
                f"| {hosts:,} | {batch} | {1 / each:,.0f} | {1e6 * each:.0f} | {each / first:.2f} "
                f"| {found['peak']:.0f} ({found['fleet']:.0f}) |"
            )
            print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def _in_a_process(hosts: int, batch: int, servers: int) -> dict[str, float]:
    words = ["--hosts", hosts, "--batch", batch, "--servers", servers, "--json"]
    command = [sys.executable, "-m", "tests.performance.scheduler", *map(str, words)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(answer.stdout))


def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, help="only this many, in this process")
    parser.add_argument("--batch", type=int, default=1, metavar="N")
    parser.add_argument("--servers", type=int, default=2000, metavar="N", help="placed in a turn")
    parser.add_argument("--profile", action="store_true", help="with --hosts: where the time goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.hosts is None:
        lines = table(options.servers)
        # Imported only now: a process that is started counts as its own what its parent holds.
        from tests.performance.boot import machine  # noqa: PLC0415

        print(f"{machine()}\n\n{lines}")
        return 0
    profile = cProfile.Profile()
    if options.profile:
        profile.enable()
    found = measure(options.hosts, options.batch, options.servers)
    if options.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    if options.json:
        print(json.dumps(found))
    else:
        print(f"{options.servers / found['seconds']:.0f} placements a CPU second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
