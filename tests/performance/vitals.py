"""How long it takes to learn how all servers of a fleet are: from what hosts told, and by asking them all.

    python -m tests.performance.vitals                                    # 10,000 servers on 200 hosts
    python -m tests.performance.vitals --servers 1000 --hosts 20

API, conductor and the compute hosts' handlers with their monitors are real, and in this process, as are the
bus (in memory: everything is encoded and decoded) and the databases (SQLite). The hypervisors are fake, and
the monitors look at them every two seconds meanwhile. All parts share one Python, so each is as slow as all
of them together.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import falcon.testing
import msgspec

from kilonova.api.wsgi import build
from kilonova.compute.fake import FakeDriver
from kilonova.compute.handlers import ComputeHandlers
from kilonova.compute.reporter import Reporter
from kilonova.compute.script import Script
from kilonova.conductor.super_conductor import SuperConductor
from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.ids import CELL0, CellUuid, HostName
from kilonova.core.instance import InstanceAction
from kilonova.core.states import Action, PowerState, VmState
from kilonova.db import cells, hosts, instances
from kilonova.db.cells import Cell, Cells
from kilonova.db.engine import Database
from kilonova.db.instances import Placed
from kilonova.db.migrate import upgrade
from kilonova.http import images as image_store
from kilonova.http.images import ImageStore
from kilonova.http.shares import Shares
from kilonova.http.volumes import Volumes
from kilonova.placement import client
from kilonova.rpc.bus import Bus
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import Topic
from tests.instances import instance

_CELL = CellUuid("11111111-1111-4111-8111-111111111111")
_BUS = "memory://vitals"
_OPTIONS = """\
[DEFAULT]
transport_url = {bus}
[api]
auth_strategy = noauth2
[api_database]
connection = {api}
[placement]
auth_type = admin_token
endpoint = http://127.0.0.1:9
token = admin
"""
_TOKEN = {"X-Auth-Token": "admin:operators"}
_RUNS = 5
T = TypeVar("T")


class Fleet:
    """Compute hosts that are watched, with servers, in one cell; and an API and a conductor above it."""

    def __init__(self, directory: Path, servers: int, host_count: int) -> None:
        urls = {name: f"sqlite:///{directory}/{name}.sqlite" for name in ("api", "cell", "cell0")}
        api_db, self._cell = Database(urls["api"]), Database(urls["cell"])
        upgrade(api_db, "api")
        for uuid, name in ((CELL0, "cell0"), (_CELL, "cell")):
            upgrade(Database(urls[name]), "cell")
            cell = Cell(uuid=uuid, name=name, transport_url=_BUS, database_connection=urls[name])
            cells.create_cell(api_db, cell)
        file = directory / "kilonova.conf"
        file.write_text(_OPTIONS.format(bus=_BUS, api=urls["api"]))
        self._conf = settings.read_config(["--config-file", str(file)], prog="bench")
        self._buses = Buses(self._conf)
        self._bus: Bus = self._buses.default()
        self._opened = ExitStack()
        images, placement = image_store.load(self._conf), client.load(self._conf)
        names = [HostName(f"h-{number:04}") for number in range(host_count)]
        for number, name in enumerate(names):
            self._add_host(name, images, range(number, servers, host_count))
        conductor = SuperConductor(self._conf, (api_db, Cells(api_db), self._buses, placement))
        self._bus.serve(Topic.CONDUCTOR, "conductor", conductor)
        self._opened.callback(conductor.tasks.stop)
        self.api = falcon.testing.TestClient(build(self._conf))

    def _add_host(self, name: HostName, images: ImageStore, numbers: range) -> None:
        driver = FakeDriver(self._conf, name, Script())
        handlers = ComputeHandlers(
            name,
            (driver, images, Volumes(None), Shares(None)),
            Reporter(self._bus, name),
            looks=lambda _uuid: None,
            concurrent_builds=1,
        )
        placed = [self._server(name, number) for number in numbers]
        instances.insert(self._cell, placed)
        for one in placed:
            driver.spawn(one.instance)
        handlers.monitor.look()
        handlers.monitor.start()
        self._opened.callback(handlers.monitor.stop)
        self._bus.serve(Topic.COMPUTE, name, handlers, threads=1)
        service = (hosts.COMPUTE, name, "compute")
        nodes = driver.nodes()
        hosts.beat(self._cell, service, nodes, utcnow(), handlers.monitor.news(nodes))

    def _server(self, host: HostName, number: int) -> Placed:
        one = instance(
            f"vm-{number}",
            host=host,
            vm_state=VmState.ACTIVE,
            task_state=None,
            power_state=PowerState.RUNNING,
        )
        action = InstanceAction(
            action=Action.CREATE,
            instance_uuid=one.uuid,
            request_id=f"req-{number}",
            user_id=one.user_id,
            project_id=one.project_id,
            started_at=utcnow(),
        )
        return Placed(instance=one, action=action)

    def close(self) -> None:
        """End all of it."""
        self._opened.close()
        self._buses.close()

    def told(self) -> int:
        """Return of how many servers the API tells from what hosts told."""
        found = self._ask("GET", "/vitals?limit=10000")
        return sum(one["power"] == "running" for one in msgspec.json.decode(found)["vitals"])

    def asked(self) -> int:
        """Return of how many servers the API tells after all hosts were asked."""
        body = {"task": {"kind": "vitals", "queue": "urgent"}}
        task = msgspec.json.decode(self._ask("POST", "/tasks", body))["task"]
        place = f"/tasks/{task['id']}"
        while task["state"] in ("queued", "processing"):
            time.sleep(0.05)
            task = msgspec.json.decode(self._ask("GET", place))["task"]
        assert task["state"] == "done", task
        lines = msgspec.json.Decoder().decode_lines(self._ask("GET", f"{place}/result"))
        return sum(one["power"] == "running" for one in lines)

    def _ask(self, method: str, path: str, body: Any = None) -> bytes:
        answer = self.api.simulate_request(method, f"/kilonova/v1{path}", json=body, headers=_TOKEN)
        assert answer.status_code < 300, answer.text
        return answer.content


@contextmanager
def fleet(servers: int, host_count: int) -> Iterator[Fleet]:
    """Give a fleet, for as long as it is held."""
    with tempfile.TemporaryDirectory() as directory:
        made = Fleet(Path(directory), servers, host_count)
        try:
            yield made
        finally:
            made.close()


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """Run some work; return what it returns, with the seconds and the CPU seconds that it took."""
    began, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - began, time.process_time() - cpu


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="How fast a fleet's vitals are learnt.")
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--hosts", type=int, default=200)
    options = parser.parse_args()
    with fleet(options.servers, options.hosts) as made:
        print("| what | servers | median s | slowest s | CPU s |\n|---|---:|---:|---:|---:|")
        for what, work in (
            ("GET /kilonova/v1/vitals", made.told),
            ("a task, with its result", made.asked),
        ):
            runs = [timed(work) for _ in range(_RUNS)]
            assert {found for found, _, _ in runs} == {options.servers}, runs
            seconds = sorted(taken for _, taken, _ in runs)
            cpu = sorted(spent for _, _, spent in runs)[_RUNS // 2]
            print(
                f"| {what} | {options.servers:,} | {seconds[_RUNS // 2]:.2f} "
                f"| {seconds[-1]:.2f} | {cpu:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
