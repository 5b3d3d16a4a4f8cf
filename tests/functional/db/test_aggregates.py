"""Host aggregates in a real database: a host is in one zone only."""

import testscenarios

from kilonova.core.aggregate import ZONE, HostAggregate, ZoneConflict
from kilonova.core.errors import Conflict, NotFound
from kilonova.core.ids import CellUuid, HostName
from kilonova.db import aggregates
from kilonova.db.aggregates import Change
from kilonova.db.cells import Cell, create_cell, map_hosts
from tests.functional.db.api_database import NOW, ApiDatabaseTest

load_tests = testscenarios.load_tests_apply_scenarios

CELL = CellUuid("11111111-1111-1111-1111-111111111111")
H1, H2 = HostName("h1"), HostName("h2")


class AggregatesTest(ApiDatabaseTest):
    """Two hosts are mapped: h1 and h2."""

    def setUp(self) -> None:
        super().setUp()
        create_cell(self.db, Cell(uuid=CELL, name="one", transport_url="", database_connection=""))
        map_hosts(self.db, CELL, [H1, H2])

    def _new(self, name: str, zone: str | None = None, *hosts: HostName) -> HostAggregate:
        made = aggregates.create(self.db, name, zone, NOW)
        for host in hosts:
            made = self._change(made, add_host=host)
        return made

    def _change(
        self, aggregate: HostAggregate, servers: tuple[HostName, ...] = (), **changed: object
    ) -> HostAggregate:
        wanted = Change(**changed)  # type: ignore[arg-type]
        return aggregates.change(self.db, aggregate.number, wanted, NOW, servers)

    def test_what_changed_is_what_is_read(self) -> None:
        made = self._new("rack1", "z1", H2, H1)
        changed = self._change(made, name="rack2", metadata={"ssd": "true"})
        self.assertEqual(changed, aggregates.get(self.db, made.number))
        self.assertEqual((H1, H2), changed.hosts)
        self.assertEqual({ZONE: "z1", "ssd": "true"}, changed.metadata)
        self.assertEqual((changed,), aggregates.list_aggregates(self.db))

    def test_zones_of_hosts_name_only_those_in_a_zone(self) -> None:
        self._new("rack1", "z1", H1)
        self._new("fast", None, H1, H2)
        self.assertEqual({H1: "z1"}, aggregates.zones_of_hosts(self.db))

    def test_a_taken_name_is_a_conflict_when_created_and_when_renamed(self) -> None:
        self._new("one")
        two = self._new("two")
        self.assertRaises(Conflict, self._new, "one")
        self.assertRaises(Conflict, self._change, two, name="one")
        self.assertEqual("two", aggregates.get(self.db, two.number).name)

    def test_a_host_that_is_not_mapped_is_not_found(self) -> None:
        made = self._new("one")
        error = self.assertRaises(NotFound, self._change, made, add_host=HostName("h9"))
        self.assertIn("h9", str(error))
        self.assertEqual((), aggregates.get(self.db, made.number).hosts)

    def test_a_host_is_added_and_removed_once(self) -> None:
        made = self._new("one", None, H1)
        self.assertRaises(Conflict, self._change, made, add_host=H1)
        self._change(made, remove_host=H1)
        self.assertRaises(NotFound, self._change, made, remove_host=H1)

    def test_a_host_is_never_in_two_zones(self) -> None:
        self._new("one", "z1", H1)
        self._new("same zone", "z1", H1)
        other = self._new("two", "z2")
        self.assertRaises(ZoneConflict, self._change, other, add_host=H1)
        loose = self._new("loose", None, H1)
        self.assertRaises(ZoneConflict, self._change, loose, metadata={ZONE: "z2"})
        self.assertEqual({H1: "z1"}, aggregates.zones_of_hosts(self.db))

    def test_a_host_with_servers_stays_in_its_zone(self) -> None:
        made = self._new("one", "z1", H1)
        for changed in (
            {"remove_host": H1},
            {"metadata": {ZONE: "z2"}},
            {"metadata": {ZONE: None}},
        ):
            self.assertRaises(ZoneConflict, self._change, made, (H1,), **changed)
        self.assertRaises(ZoneConflict, self._change, made, (H2,), add_host=H2)
        self._change(made, (H1,), metadata={"ssd": "true"})
        self._change(self._new("loose"), (H1,), add_host=H1)
        self.assertEqual({H1: "z1"}, aggregates.zones_of_hosts(self.db))

    def test_a_metadata_item_that_is_none_is_removed(self) -> None:
        made = self._change(self._new("one"), metadata={"a": "1", "b": "2"})
        self.assertEqual({"b": "2"}, self._change(made, metadata={"a": None}).metadata)

    def test_only_an_empty_aggregate_is_deleted(self) -> None:
        made = self._new("one", None, H1)
        self.assertRaises(Conflict, aggregates.delete, self.db, made.number)
        self._change(made, remove_host=H1)
        aggregates.delete(self.db, made.number)
        self.assertRaises(NotFound, aggregates.delete, self.db, made.number)
        self.assertRaises(NotFound, aggregates.get, self.db, made.number)
        self.assertRaises(NotFound, self._change, made, name="x")

    def test_a_host_leaves_every_aggregate_at_once(self) -> None:
        self._new("one", "z1", H1, H2)
        self._new("two", None, H1)
        aggregates.leave_all(self.db, H1)
        self.assertEqual([(H2,), ()], [a.hosts for a in aggregates.list_aggregates(self.db)])
