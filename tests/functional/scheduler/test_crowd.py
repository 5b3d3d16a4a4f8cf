"""Several schedulers at once, each a process with a picture of its own, over one Placement.

There is room for exactly so many servers. However many schedulers compete for it, it is all used, nobody is
promised what another has, and those who come too late are told why.
"""

import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import msgspec
import sqlalchemy as sa
import testscenarios

from kilonova.compute.inventory import provider_uuid
from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.host import NodeReport
from kilonova.core.ids import CellUuid, HostName, NodeName
from kilonova.core.scheduling import Inventory
from kilonova.db import cells, hosts, placement_audit, placement_inventories, placement_providers
from kilonova.db.cells import Cell
from kilonova.db.engine import Database
from kilonova.db.placement_schema import StoredAllocation
from kilonova.db.statements import table_of
from kilonova.http.server import ThreadedServer
from kilonova.placement import wsgi
from tests.functional.db.databases import DatabaseCase
from tests.functional.placement.placement_case import used_and_allocated
from tests.functional.scheduler.chooser import Chosen

load_tests = testscenarios.load_tests_apply_scenarios

ROOT = Path(__file__).resolve().parents[3]
SCHEDULERS, HOSTS = 4, 60
ROOM_OF_A_HOST = 15
REQUESTS, ROOM = 1000, HOSTS * ROOM_OF_A_HOST
_OPTIONS = """\
[DEFAULT]
service_down_time = 3600
[api]
auth_strategy = noauth2
[api_database]
connection = {api}
[placement_database]
connection = {placement}
"""
_CLIENT = """\
[placement]
auth_type = admin_token
endpoint = http://127.0.0.1:{port}
token = admin
"""


class CrowdTest(DatabaseCase):
    """Sixty equal hosts, on each of which there is memory for fifteen servers."""

    def setUp(self) -> None:
        super().setUp()
        self.api = self.open("api", "api")
        self.cell = self.open("cell1", "cell")
        self.placement = self.open("placement", "placement")
        one = Cell(
            uuid=CellUuid(str(uuid.uuid4())),
            name="cell1",
            transport_url="memory://",
            database_connection=_url(self.cell),
        )
        cells.create_cell(self.api, one)
        for number in range(HOSTS):
            self._add_host(f"h{number}")
        self.file = self.directory / "scheduler.conf"
        options = _OPTIONS.format(api=_url(self.api), placement=_url(self.placement))
        self.file.write_text(options)
        conf = settings.read_config(["--config-file", str(self.file)], prog="placement")
        served = ThreadedServer(wsgi.build(conf), "127.0.0.1", 0)
        served.start()
        self.addCleanup(served.stop)
        self.file.write_text(options + _CLIENT.format(port=served.port))

    def _add_host(self, name: str) -> None:
        host, node = HostName(name), NodeName(name)
        provider = provider_uuid(host, node)
        report = NodeReport(
            node=node,
            provider_uuid=provider,
            hypervisor_type="fake",
            hypervisor_version=1,
            host_ip="192.0.2.1",
            vcpus=64,
            memory_mb=512 * ROOM_OF_A_HOST,
            disk_gb=100,
        )
        hosts.beat(self.cell, (hosts.COMPUTE, host, "compute"), [report], utcnow())
        placement_providers.create(self.placement, provider, name)
        totals = {"VCPU": 64, "MEMORY_MB": report.memory_mb, "DISK_GB": 100}
        inventories = {name: Inventory(total=total) for name, total in totals.items()}
        placement_inventories.replace(self.placement, provider, 0, inventories)

    def _compete(self) -> list[list[Chosen]]:
        """Let the schedulers begin together; return what each chose."""
        processes = [self._chooser(f"s{number}") for number in range(SCHEDULERS)]
        for process in processes:
            assert process.stdout is not None
            self.assertEqual("ready\n", process.stdout.readline())
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        found = []
        for process in processes:
            out, _ = process.communicate(timeout=100)
            self.assertEqual(0, process.returncode)
            found.append(msgspec.json.decode(out, type=list[Chosen]))
        return found

    def _chooser(self, name: str) -> "subprocess.Popen[str]":
        count = str(REQUESTS // SCHEDULERS)
        module = "tests.functional.scheduler.chooser"
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(self.file), name, count],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_all_the_room_is_used_and_none_of_it_twice(self) -> None:
        by_scheduler = self._compete()
        chosen = [one for some in by_scheduler for one in some]
        placed = {one.server: one.provider for one in chosen if one.provider}
        self.assertEqual((REQUESTS, ROOM), (len(chosen), len(placed)))
        self.assertEqual({ROOM_OF_A_HOST}, set(Counter(placed.values()).values()))
        refused = Counter(one.sentence for one in chosen if one.provider is None)
        expected = f"0 of {HOSTS} hosts fit: {HOSTS} lack MEMORY_MB"
        self.assertEqual({expected: REQUESTS - ROOM}, dict(refused))
        # Nobody was shut out: each scheduler found hosts for most of its servers.
        for some in by_scheduler:
            self.assertGreater(sum(1 for one in some if one.provider), len(some) // 2)
        self._check_placement(placed)

    def _check_placement(self, placed: dict[str, str]) -> None:
        """Check that Placement holds what the schedulers said, and nothing else."""
        self.assertEqual((), placement_audit.drift(self.placement))
        for (_, name), (used, allocated) in used_and_allocated(self.placement).items():
            amount = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}[name] * ROOM_OF_A_HOST
            self.assertEqual((amount, amount), (used, allocated))
        table = table_of(StoredAllocation)
        query = sa.select(table.c.consumer_uuid, table.c.provider_uuid).distinct()
        rows = self.placement.query(lambda c: c.execute(query).all())
        self.assertEqual(placed, {row[0]: row[1] for row in rows})


def _url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)
