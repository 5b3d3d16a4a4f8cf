"""How long a page of servers takes: ``GET /servers/detail`` of one server, and of many.

    python -m tests.performance.server_list                    # 1,000 servers, SQLite
    python -m tests.performance.server_list --servers 500 --database-url mysql+pymysql://root@127.0.0.1/

The API is real and in this process; its databases are SQLite, or made on a server. The asker is an
administrator, to whom everything is shown. Besides the time, the SQL statements of a page are counted.
"""

import argparse
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import falcon.testing
import msgspec
import sqlalchemy as sa

from kilonova.api.wsgi import build
from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.ids import CELL0, CellUuid, HostName, RequestId
from kilonova.core.instance import Fault, Instance, InstanceAction, Wishes
from kilonova.core.states import Action, PowerState, VmState
from kilonova.db import cells, hosts, instances
from kilonova.db.cells import Cell
from kilonova.db.engine import Database
from kilonova.db.instances import Placed
from kilonova.db.migrate import upgrade
from tests.instances import instance

_CELL = CellUuid("11111111-1111-4111-8111-111111111111")
_RUNS = 9
_OPTIONS = """\
[DEFAULT]
transport_url = memory://server-list
[api]
auth_strategy = noauth2
[api_database]
connection = {api}
"""
_MICROVERSIONS = ("2.1", "2.104")


class Cloud:
    """An API over one cell, with servers of project ``demo``."""

    def __init__(self, directory: Path, server: str | None) -> None:
        self._directory, self._server = directory, server
        api_db = self._database("api")
        upgrade(api_db, "api")
        self._cell = self._database("cell")
        for uuid, name, database in (
            (CELL0, "cell0", self._database("cell0")),
            (_CELL, "cell", self._cell),
        ):
            upgrade(database, "cell")
            url = database.url.render_as_string(hide_password=False)
            cells.create_cell(
                api_db,
                Cell(uuid=uuid, name=name, transport_url="memory://", database_connection=url),
            )
        hosts.beat(self._cell, (hosts.COMPUTE, HostName("host-1"), "compute"), [], utcnow())
        file = directory / "kilonova.conf"
        url = api_db.url.render_as_string(hide_password=False)
        file.write_text(_OPTIONS.format(api=url))
        self._client = falcon.testing.TestClient(
            build(settings.read_config(["--config-file", str(file)], prog="bench"))
        )

    def _database(self, name: str) -> Database:
        if self._server is None:
            return Database(f"sqlite:///{self._directory}/{name}.sqlite")
        root = sa.create_engine(self._server, isolation_level="AUTOCOMMIT")
        with root.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS list_{name}"))
            connection.execute(sa.text(f"CREATE DATABASE list_{name}"))
        made = sa.make_url(self._server).set(database=f"list_{name}")
        return Database(made.render_as_string(hide_password=False))

    def add(self, first: int, last: int) -> None:
        """Write servers: each has metadata, tags, hints and user data; one of a hundred is in ERROR."""
        instances.insert(self._cell, [_placed(number) for number in range(first, last)])

    def page(self, microversion: str) -> int:
        """Ask for all servers in detail; return how many came."""
        headers = {
            "X-Auth-Token": "admin:demo",
            "OpenStack-API-Version": f"compute {microversion}",
        }
        answer = self._client.simulate_get("/v2.1/servers/detail", headers=headers)
        if answer.status_code != 200:
            raise SystemExit(answer.text)
        return len(msgspec.json.decode(answer.content)["servers"])


def _placed(number: int) -> Placed:
    failed = number % 100 == 0
    created = utcnow() - timedelta(seconds=number)
    server: Instance = instance(
        f"vm-{number}",
        created_at=created,
        launched_at=created,
        vm_state=VmState.ERROR if failed else VmState.ACTIVE,
        power_state=PowerState.RUNNING,
        host=HostName("host-1"),
        metadata={"colour": "blue", "number": str(number)},
        tags=("red", "green"),
        wishes=Wishes(
            user_data="aGVsbG8=", hints={"k": "v"}, pinned_zone="nova", reservation_id="r-12345678"
        ),
    )
    action = InstanceAction(
        action=Action.CREATE,
        instance_uuid=server.uuid,
        request_id=RequestId(f"req-{server.uuid}"),
        user_id=server.user_id,
        project_id=server.project_id,
        started_at=created,
    )
    fault = Fault(code=500, message="It broke.", created_at=created) if failed else None
    return Placed(instance=server, action=action, fault=fault)


def measure(cloud: Cloud, microversion: str) -> str:
    """Return a line of the report."""
    counted = 0

    def count(*_: object) -> None:
        nonlocal counted
        counted += 1

    found = cloud.page(microversion)
    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    cloud.page(microversion)
    sa.event.remove(sa.Engine, "before_cursor_execute", count)
    walls, cpus = [], []
    for _ in range(_RUNS):
        wall, cpu = time.perf_counter(), time.process_time()
        cloud.page(microversion)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    wall_ms, cpu_ms = (1000 * statistics.median(times) for times in (walls, cpus))
    return f"| {found:,} | {microversion} | {counted} | {cpu_ms:.1f} ms | {wall_ms:.1f} ms |"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=1000, help="at most 1000, a page")
    parser.add_argument("--database-url", help="a server on which to make the databases")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        cloud = Cloud(Path(directory), options.database_url)
        print("| servers | microversion | statements | CPU | time |")
        print("| ---: | ---: | ---: | ---: | ---: |")
        cloud.add(0, 1)
        report = [measure(cloud, version) for version in _MICROVERSIONS]
        cloud.add(1, options.servers)
        report += [measure(cloud, version) for version in _MICROVERSIONS]
        print("\n".join(report))


if __name__ == "__main__":
    main()
