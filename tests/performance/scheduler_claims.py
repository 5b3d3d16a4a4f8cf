"""The scheduler benchmark with real claims: whole selections, over HTTP, in a real database.

    python -m tests.performance.scheduler_claims                       # SQLite
    python -m tests.performance.scheduler_claims --deploy mariadb      # or postgresql; starts a server
    python -m tests.performance.scheduler_claims --connection URL      # an empty database

It serves ``kilonova-placement`` with two workers, fills it with equal hosts, and lets schedulers choose and
claim for servers of one size as fast as they can, in batches as the super conductor makes them: candidates,
filters, weighers, picks with two alternates, and a bulk claim for each batch. Each scheduler is a process
of its own. CPU time is read from /proc for everything that takes part, so it holds on a busy machine; the
rate is that of processors which also run the database.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import sqlalchemy as sa

from kilonova.cli.processes import Usage
from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.host import NodeReport
from kilonova.core.ids import CellUuid, HostName, InstanceUuid, NodeName, ProviderUuid
from kilonova.db import cells
from kilonova.db.cell_schema import ComputeNode, StoredService
from kilonova.db.cells import Cell, Cells
from kilonova.db.engine import Database
from kilonova.db.hosts import COMPUTE
from kilonova.db.migrate import upgrade
from kilonova.db.statements import table_of
from kilonova.placement import client
from kilonova.rpc.messages import SelectDestinations
from kilonova.scheduler.hosts import Hosts
from kilonova.scheduler.neighbours import Neighbours
from kilonova.scheduler.selection import Selection
from tests.performance import placement_fleet as fleet
from tests.performance.placement import served
from tests.unit.scheduler.fleet import flavor, spec

_ME = "tests.performance.scheduler_claims"
_ROOM = {"VCPU": (4096, 0), "MEMORY_MB": (8 << 20, 0), "DISK_GB": (1 << 20, 0)}
_HEAD = """\
| schedulers | batch | placements/s | scheduler | placement | database | in all | claims refused |
|---:|---:|---:|---:|---:|---:|---:|---:|"""
_OPTIONS = """\
[DEFAULT]
service_down_time = 36000
[api_database]
connection = sqlite:///{directory}/api.sqlite
[placement]
auth_type = admin_token
endpoint = {url}
token = admin
"""


class Pace(msgspec.Struct, frozen=True):
    """What a scheduler did: servers that got a host, and in how many seconds."""

    placed: int
    seconds: float
    claims_refused: int


def choose(file: str, servers: int, batch: int) -> Pace:
    """Choose for servers, once somebody gives the word."""
    conf = settings.read_config(["--config-file", file], prog="bench")
    api_db = Database(conf.api_database.connection)
    all_cells = Cells(api_db)
    hosts = Hosts(conf, api_db, all_cells)
    hosts.refresh()
    selection = Selection(conf, hosts, client.load(conf), Neighbours(api_db, all_cells))
    hosts.start()
    placed = refused = 0

    def one(count: int) -> None:
        nonlocal placed, refused
        wanted = tuple(InstanceUuid(fleet.uuid()) for _ in range(count))
        request = spec(flavor=flavor(root_gb=1))
        found = selection.select(SelectDestinations(spec=request, instance_uuids=wanted))
        placed += sum(1 for decision in found.decisions if decision.destination)
        refused += sum(one.asked - one.granted for one in found.record.claims)

    one(1)
    print("ready", flush=True)
    sys.stdin.readline()
    placed = refused = 0
    began = time.perf_counter()
    for _ in range(0, servers, batch):
        one(batch)
    seconds = time.perf_counter() - began
    hosts.stop()
    return Pace(placed, seconds, refused)


@contextmanager
def fleet_of(directory: Path, connection: str, hosts: int) -> Iterator[str]:
    """Fill the databases and serve Placement; yield the configuration of schedulers."""
    database = Database(connection)
    upgrade(database, "placement")
    fleet.wipe(database)
    providers = [ProviderUuid(fleet.uuid()) for _ in range(hosts)]
    traits = ("COMPUTE_NODE", "HW_CPU_X86_AVX", "HW_CPU_X86_SSE42")
    fleet.fill(database, (fleet.Node(one, _ROOM, traits=traits) for one in providers))
    _fill_cell(directory, providers)
    with served(connection, directory, 2) as service:
        file = directory / "scheduler.conf"
        file.write_text(_OPTIONS.format(directory=directory, url=service.url))
        yield str(file)
    fleet.wipe(database)
    database.dispose()


def _fill_cell(directory: Path, providers: Sequence[ProviderUuid]) -> None:
    api = Database(f"sqlite:///{directory}/api.sqlite")
    cell = Database(f"sqlite:///{directory}/cell.sqlite")
    upgrade(api, "api")
    upgrade(cell, "cell")
    mapping = Cell(
        uuid=CellUuid(str(uuid.uuid4())),
        name="cell1",
        transport_url="memory://",
        database_connection=f"sqlite:///{directory}/cell.sqlite",
    )
    cells.create_cell(api, mapping)
    now = utcnow() + timedelta(hours=5)
    nodes, services = [], []
    for number, provider in enumerate(providers):
        name = f"h{number}"
        report = NodeReport(
            node=NodeName(name),
            provider_uuid=provider,
            hypervisor_type="fake",
            hypervisor_version=1,
            host_ip="192.0.2.1",
            vcpus=4096,
            memory_mb=8 << 20,
            disk_gb=1 << 20,
        )
        row = {"provider_uuid": provider, "host": HostName(name), "node": name}
        nodes.append(row | {"updated_at": now, "report": msgspec.json.encode(report)})
        row = {"uuid": str(uuid.uuid4()), "binary": COMPUTE, "host": name, "topic": "compute"}
        flags = {"enabled": True, "forced_down": False, "version": 1}
        services.append(row | flags | {"created_at": now, "last_seen": now})

    def write(connection: sa.Connection) -> None:
        connection.execute(sa.insert(table_of(ComputeNode)), nodes)
        connection.execute(sa.insert(table_of(StoredService)), services)

    cell.write(write)
    api.dispose()
    cell.dispose()


def measure(file: str, schedulers: int, servers: int, batch: int) -> str:
    """Let schedulers choose together; return the line of the table."""
    command = [sys.executable, "-m", _ME, "--choose", file, "--batch", str(batch)]
    command += ["--servers", str(servers // schedulers)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(schedulers)
    ]
    for process in running:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit("a scheduler did not start")
    before = Usage(("tests.performance",))
    own = _cpu_of(running)
    began = time.perf_counter()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    paces = []
    for process in running:
        assert process.stdout is not None
        paces.append(msgspec.json.decode(process.stdout.readline(), type=Pace))
    seconds = time.perf_counter() - began
    spent = Usage(("tests.performance",)).since(before)
    spent["scheduler"] = _cpu_of(running) - own
    for process in running:
        process.communicate("end\n")
    placed = sum(pace.placed for pace in paces)
    refused = sum(pace.claims_refused for pace in paces)
    database = sum(spent.get(name, 0.0) for name in ("mariadb", "postgresql"))
    parts = (spent["scheduler"], spent.get("placement", 0.0), database)
    each = " | ".join(f"{1e3 * part / placed:.2f}" for part in (*parts, sum(parts)))
    return f"| {schedulers} | {batch} | {placed / seconds:,.0f} | {each} | {refused} |"


def _cpu_of(running: Sequence["subprocess.Popen[str]"]) -> float:
    total = 0.0
    for process in running:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / 100
    return total


def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connection", metavar="URL", help="an empty database")
    parser.add_argument("--deploy", choices=("mariadb", "postgresql"), help="start a server")
    parser.add_argument("--hosts", type=int, nargs="*", default=[1000, 10000], metavar="N")
    parser.add_argument("--servers", type=int, default=4000, metavar="N", help="for each line")
    parser.add_argument("--schedulers", type=int, nargs="*", default=[1, 2], metavar="N")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 100], metavar="N")
    parser.add_argument("--choose", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=100, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.choose:
        pace = choose(options.choose, options.servers, options.batch)
        print(msgspec.json.encode(pace).decode(), flush=True)
        sys.stdin.readline()
        return 0
    with ExitStack() as stack:
        connection = options.connection
        if options.deploy:
            from tests.integration import services  # noqa: PLC0415

            stack.callback(services.stop_all)
            server = services.mariadb() if options.deploy == "mariadb" else services.postgresql()
            connection = server.url("claims")
        _tables(options, connection)
    return 0


def _tables(options: argparse.Namespace, connection: str | None) -> None:
    from tests.performance.boot import machine  # noqa: PLC0415

    print(machine())
    for hosts in options.hosts:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = connection or f"sqlite:///{directory}/placement.sqlite"
            file = stack.enter_context(fleet_of(directory, url, hosts))
            print(f"\n{sa.make_url(url).get_backend_name()}, {hosts:,} hosts; CPU ms a placement\n")
            print(_HEAD)
            for schedulers in options.schedulers:
                for batch in options.batches:
                    servers = options.servers if batch > 1 else options.servers // 10
                    print(measure(file, schedulers, servers, batch), flush=True)


if __name__ == "__main__":
    sys.exit(main())
