"""``kilonova-manage placement``, run as an operator runs it."""

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy as sa

from kilonova.cli import manage
from kilonova.core.clock import utcnow
from kilonova.core.host import NodeReport
from kilonova.core.ids import CELL0, CellUuid, HostName, ImageId, NodeName, ProviderUuid
from kilonova.core.image import Image
from kilonova.core.scheduling import Inventory
from kilonova.core.states import VmState
from kilonova.db import (
    aggregates,
    hosts,
    instances,
    placement_claims,
    placement_holdings,
    placement_inventories,
    placement_names,
    placement_providers,
)
from kilonova.db.cells import Cell, create_cell, map_hosts
from kilonova.db.placement_claims import Claim
from tests.functional.db.servers import placed
from tests.functional.placement.placement_case import PlacementCase, used_and_allocated

CELL = CellUuid("11111111-1111-4111-8111-111111111111")
HOST = HostName("h1")
PROVIDER = ProviderUuid("aaaaaaaa-0000-4000-8000-000000000001")
EXPORT = ProviderUuid("aaaaaaaa-0000-4000-8000-000000000002")
AGGREGATE = "cccccccc-0000-4000-8000-000000000001"
SERVER = "bbbbbbbb-0000-4000-8000-000000000001"
INVENTORY = {"VCPU": Inventory(total=4), "MEMORY_MB": Inventory(total=4096)}
INVENTORY |= {"DISK_GB": Inventory(total=40)}


class CommandsTest(PlacementCase):
    """Over a Placement of its own and, where a test asks for them, an API database and one cell."""

    def setUp(self) -> None:
        """Write the configuration of Placement alone."""
        super().setUp()
        self.conf = Path(self.directory) / "kilonova.conf"
        self.conf.write_text(f"[placement_database]\nconnection = {self.url}\n")

    def _deploy(self) -> None:
        """Add an API database, and a cell with one host that reported."""
        self.api_db, self.cell_db = self.open("api", "api"), self.open("cell", "cell")
        connection = self.cell_db.url.render_as_string(hide_password=False)
        for uuid, name in ((CELL0, "cell0"), (CELL, "cell1")):
            cell = Cell(
                uuid=uuid, name=name, transport_url="none://", database_connection=connection
            )
            create_cell(self.api_db, cell)
        report = NodeReport(
            node=NodeName("h1.example"),
            provider_uuid=PROVIDER,
            hypervisor_type="QEMU",
            hypervisor_version=1,
            host_ip="192.0.2.1",
            vcpus=4,
            memory_mb=4096,
            disk_gb=40,
            inventory=INVENTORY,
            traits=("HW_CPU_X86_AVX", "CUSTOM_RACK_7"),
        )
        hosts.beat(self.cell_db, (hosts.COMPUTE, HOST, "compute"), [report], utcnow())
        map_hosts(self.api_db, CELL, [HOST])
        api = self.api_db.url.render_as_string(hide_password=False)
        with self.conf.open("a") as conf:
            conf.write(f"[api_database]\nconnection = {api}\n")

    def _run(self, *words: str) -> tuple[Any, str]:
        """Return the exit status of ``kilonova-manage placement`` and what it printed."""
        arguments = ["kilonova-manage", "--config-file", str(self.conf), "placement", *words]
        said = io.StringIO()
        with mock.patch.object(sys, "argv", arguments), redirect_stdout(said):
            try:
                manage.main()
            except SystemExit as ended:
                return ended.code, said.getvalue()
        raise AssertionError("the command did not end")

    def _provider(self) -> None:
        placement_providers.create(self.db, PROVIDER, "h1.example")
        placement_inventories.replace(self.db, PROVIDER, 0, INVENTORY)

    def _claim(self, amount: int) -> None:
        allocation = {PROVIDER: {"VCPU": amount}}
        claim = Claim(consumer=SERVER, project_id="p", user_id="u", allocation=allocation)
        placement_claims.replace_all(self.db, [claim])

    def _break(self, statement: str) -> None:
        self.db.write(lambda c: c.execute(sa.text(statement)))

    def test_an_audit_of_what_is_right_finds_nothing(self) -> None:
        self._provider()
        self._claim(3)
        self.assertEqual((0, "0 found, 0 left\n"), self._run("audit"))

    def test_an_audit_tells_of_drift_and_repairs_it_only_if_asked(self) -> None:
        self._provider()
        self._claim(3)
        self._break("UPDATE inventories SET used = 1 WHERE resource_class = 'VCPU'")
        self._break("UPDATE inventories SET used = 7 WHERE resource_class = 'DISK_GB'")
        code, said = self._run("audit")
        self.assertEqual(1, code)
        self.assertIn(f"DRIFT    {PROVIDER} DISK_GB: used 7, allocated 0", said)
        self.assertIn(f"DRIFT    {PROVIDER} VCPU: used 1, allocated 3", said)
        self.assertEqual(1, used_and_allocated(self.db)[PROVIDER, "VCPU"][0])
        code, said = self._run("audit", "--repair")
        self.assertEqual((0, 2), (code, said.count("repaired")))
        self.assertEqual((3, 3), used_and_allocated(self.db)[PROVIDER, "VCPU"])
        self.assertEqual((0, 0), used_and_allocated(self.db)[PROVIDER, "DISK_GB"])

    def test_an_allocation_without_an_inventory_is_told_of_and_stays(self) -> None:
        self._provider()
        self._claim(3)
        self._break("DELETE FROM inventories WHERE resource_class = 'VCPU'")
        code, said = self._run("audit", "--repair")
        self.assertEqual(1, code)
        self.assertIn("VCPU: no inventory, allocated 3", said)
        self.assertIn("1 found, 1 left", said)

    def test_with_placement_alone_there_is_nothing_to_sync_or_heal(self) -> None:
        self._provider()
        for command in ("sync", "heal"):
            code, said = self._run(command)
            self.assertEqual(0, code)
            self.assertIn("there are no cells", said)

    def test_without_a_placement_database_the_option_is_named(self) -> None:
        self.conf.write_text("")
        code, _said = self._run("audit")
        self.assertIn("[placement_database] connection", code)

    def test_sync_names_what_is_used_without_a_name(self) -> None:
        self._provider()
        placement_providers.set_traits(self.db, PROVIDER, None, {"CUSTOM_LOST"})
        self._break("UPDATE inventories SET resource_class = 'CUSTOM_GONE' WHERE total = 40")
        self._run("sync", "--dry-run")
        self.assertEqual((), placement_names.custom_names(self.db, "trait"))
        self.assertEqual(0, self._run("sync")[0])
        self.assertEqual(("CUSTOM_LOST",), placement_names.custom_names(self.db, "trait"))
        self.assertEqual(("CUSTOM_GONE",), placement_names.custom_names(self.db, "class"))

    def test_sync_makes_the_provider_of_a_host_that_has_none(self) -> None:
        self._deploy()
        code, said = self._run("sync")
        self.assertEqual(0, code)
        self.assertIn(f"make provider {PROVIDER} of h1.example", said)
        self.assertEqual("h1.example", placement_providers.get(self.db, PROVIDER).name)
        self.assertEqual(INVENTORY.keys(), placement_inventories.of(self.db, PROVIDER).keys())
        self.assertIn("CUSTOM_RACK_7", placement_providers.traits(self.db, PROVIDER))
        self.assertIn("0 made, 0 failed", self._run("sync")[1])

    def test_sync_corrects_a_providers_name_traits_and_aggregates(self) -> None:
        self._deploy()
        placement_providers.create(self.db, PROVIDER, "an-old-name")
        rack = aggregates.create(self.api_db, "rack", None, utcnow())
        left = aggregates.create(self.api_db, "left", None, utcnow())
        aggregates.change(self.api_db, rack.number, aggregates.Change(add_host=HOST), utcnow())
        foreign = "cccccccc-0000-4000-8000-000000000009"
        placement_providers.set_aggregates(self.db, PROVIDER, 0, {left.uuid, foreign})
        own = {"CUSTOM_OPERATORS", "COMPUTE_STATUS_DISABLED"}
        held = {*own, "COMPUTE_VOLUME_EXTEND"}
        placement_providers.set_traits(self.db, PROVIDER, None, held)
        before = placement_providers.get(self.db, PROVIDER)
        self._run("sync", "--dry-run")
        self.assertEqual(before, placement_providers.get(self.db, PROVIDER))
        self.assertEqual(0, self._run("sync")[0])
        self.assertEqual("h1.example", placement_providers.get(self.db, PROVIDER).name)
        self.assertEqual(
            {"CUSTOM_RACK_7", "HW_CPU_X86_AVX", *own},
            set(placement_providers.traits(self.db, PROVIDER)),
        )
        self.assertEqual(
            {rack.uuid, foreign}, set(placement_providers.aggregates(self.db, PROVIDER))
        )

    def _server(self, **changed: Any) -> str:
        image = Image(image_id=ImageId("i"))
        fields = {"vm_state": VmState.ACTIVE, "task_state": None, "image": image} | changed
        one = placed(**fields)
        instances.insert(self.cell_db, [one])
        return one.instance.uuid

    def test_heal_allocates_for_servers_that_hold_nothing_and_for_no_others(self) -> None:
        self._deploy()
        self._provider()
        lost, building = self._server(), self._server(task_state="spawning")
        kept = self._server()
        allocation = {PROVIDER: {"VCPU": 2}}
        claim = Claim(consumer=kept, project_id="p", user_id="u", allocation=allocation)
        placement_claims.replace_all(self.db, [claim])
        code, said = self._run("heal", "--dry-run")
        self.assertEqual((0, None), (code, placement_holdings.of_consumer(self.db, lost)))
        self.assertIn(f"of h1.example to {lost}", said)
        self.assertEqual(0, self._run("heal")[0])
        held = placement_holdings.of_consumer(self.db, lost)
        assert held is not None
        self.assertEqual({PROVIDER: {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}}, held.allocation)
        self.assertEqual(("project-a", "INSTANCE"), (held.project_id, held.consumer_type))
        self.assertIsNone(placement_holdings.of_consumer(self.db, building))
        other = placement_holdings.of_consumer(self.db, kept)
        assert other is not None
        self.assertEqual({PROVIDER: {"VCPU": 2}}, other.allocation)
        self.assertIn("0 made, 0 failed", self._run("heal")[1])

    def test_heal_allocates_of_a_provider_that_shares_what_the_host_does_not_offer(self) -> None:
        self._deploy()
        self._provider()
        left = {"VCPU": Inventory(total=8), "MEMORY_MB": Inventory(total=4096)}
        placement_inventories.replace(self.db, PROVIDER, None, left)
        placement_providers.create(self.db, EXPORT, "export")
        placement_inventories.replace(self.db, EXPORT, None, {"DISK_GB": Inventory(total=10)})
        placement_providers.set_aggregates(self.db, PROVIDER, None, {AGGREGATE})
        lost = self._server()
        self.assertEqual(1, self._run("heal")[0], "nobody shares with it yet")
        placement_providers.set_traits(self.db, EXPORT, None, {"MISC_SHARES_VIA_AGGREGATE"})
        self.assertEqual(1, self._run("heal")[0], "it shares with others")
        placement_providers.set_aggregates(self.db, EXPORT, None, {AGGREGATE})
        code, said = self._run("heal")
        self.assertEqual(0, code, said)
        self.assertIn(f"{{'DISK_GB': 1}} of {EXPORT}", said)
        held = placement_holdings.of_consumer(self.db, lost)
        assert held is not None
        expected = {PROVIDER: {"VCPU": 1, "MEMORY_MB": 512}, EXPORT: {"DISK_GB": 1}}
        self.assertEqual(expected, held.allocation)
        self.assertIn("0 found, 0 left", self._run("audit")[1])

    def test_heal_says_what_does_not_fit(self) -> None:
        self._deploy()
        self._provider()
        self._claim(4)
        lost = self._server()
        code, said = self._run("heal")
        self.assertEqual(1, code)
        self.assertIn("FAILED", said)
        self.assertIn("capacity 4, used 4", said)
        self.assertIsNone(placement_holdings.of_consumer(self.db, lost))
