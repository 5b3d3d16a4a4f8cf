"""The hosts that a scheduler holds in memory: what it asks the databases for, and what it makes of it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import testscenarios
from oslo_config import cfg

from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.host import NodeReport
from kilonova.core.ids import CELL0, CellUuid, HostName, ProviderUuid
from kilonova.core.scheduling import HostState
from kilonova.db import aggregates, cells, hosts
from kilonova.db.aggregates import Change
from kilonova.db.cells import Cell, Cells
from kilonova.db.engine import Database
from kilonova.scheduler import host_filters
from kilonova.scheduler import hosts as module
from kilonova.scheduler.filters import Moment
from kilonova.scheduler.hosts import Hosts
from tests.functional.db.databases import DatabaseCase, statements_of
from tests.functional.db.test_host_changes import provider, report
from tests.functional.pipeline.wire import Outage
from tests.unit.scheduler.fleet import spec

load_tests = testscenarios.load_tests_apply_scenarios

A, B = (CellUuid(f"{n}{n}{n}{n}{n}{n}{n}{n}-1111-4111-8111-111111111111") for n in (1, 2))


def configuration() -> cfg.ConfigOpts:
    """Return the configuration that nothing was said in."""
    conf = settings.new_config()
    conf([])
    return conf


class HostsCase(DatabaseCase):
    """Two cells, with two hosts and one."""

    def setUp(self) -> None:
        super().setUp()
        self.api = self.open("api", "api")
        self.cell = {A: self.open("cell1", "cell"), B: self.open("cell2", "cell")}
        for uuid, name, url in (
            (CELL0, "cell0", "sqlite://"),
            *((u, f"c{u[0]}", _url(database)) for u, database in self.cell.items()),
        ):
            cells.create_cell(
                self.api,
                Cell(uuid=uuid, name=name, transport_url="memory://", database_connection=url),
            )
        for number, uuid in ((0, A), (1, A), (2, B)):
            self.beat(uuid, number, report(number))
        self.cells = Cells(self.api)
        self.addCleanup(self.cells.dispose)
        self.hosts = Hosts(configuration(), self.api, self.cells)
        self.addCleanup(self.hosts._looks.shutdown)
        self.hosts.refresh()

    def beat(self, uuid: CellUuid, number: int, *nodes: NodeReport, ago: float = 0) -> None:
        """Let a host give a sign of life, with news if there are any."""
        service = (hosts.COMPUTE, HostName(f"h{number}"), "compute")
        hosts.beat(self.cell[uuid], service, nodes or None, utcnow() - timedelta(seconds=ago))

    def state(self, number: int) -> HostState:
        """Return what is known of a host."""
        return self.hosts.known([])[provider(number)]

    def change(self, uuid: CellUuid, number: int, **values: Any) -> None:
        """Change a host's service."""
        (service,) = hosts.list_services(self.cell[uuid], host=f"h{number}")
        hosts.change_service(self.cell[uuid], service.uuid, values)

    def refused(self, number: int) -> str | None:
        """Return why ComputeFilter refuses a host now."""
        moment = Moment(now=utcnow(), down_after=15)
        reason = host_filters.compute(spec(), self.state(number), moment)
        return reason.sentence if reason else None

    def statements(self, work: Callable[[], Any]) -> dict[str, list[str]]:
        """Return what each database is asked during some work, by the cells' own connections."""
        databases = {uuid: self.cells.database(uuid) for uuid in self.cell}
        seen: dict[str, list[str]] = {}

        def nested(left: list[tuple[str, Database]]) -> None:
            if not left:
                work()
                return
            (name, database), *others = left
            seen[name] = statements_of(database, lambda: nested(others))

        nested([("api", self.api), *databases.items()])
        return seen


class HostsTest(HostsCase):
    """All cells answer."""

    def test_a_request_reads_no_database_once_its_hosts_are_known(self) -> None:
        asked = [provider(0), provider(2)]
        seen = self.statements(lambda: self.hosts.known(asked))
        self.assertEqual({"api": [], A: [], B: []}, seen)

    def test_a_refresh_asks_each_cell_three_things_and_reads_no_report_that_is_known(self) -> None:
        self.hosts.refresh()
        seen = self.statements(self.hosts.refresh)
        self.assertEqual({"api": 3, A: 3, B: 3}, {name: len(s) for name, s in seen.items()})
        self.assertFalse([s for some in seen.values() for s in some if "report" in s])
        self.beat(B, 2, report(2, servers=7))
        seen = self.statements(self.hosts.refresh)
        self.assertEqual((3, 4), (len(seen[A]), len(seen[B])))
        self.assertEqual(7, self.state(2).servers)

    def test_a_host_that_is_new_is_looked_for_by_the_request_that_names_it(self) -> None:
        self.beat(A, 9, report(9))
        self.assertIn(provider(9), self.hosts.known([provider(9)]))

    def test_a_provider_that_is_no_host_is_looked_for_once_in_a_while(self) -> None:
        shelf = ProviderUuid("shared-storage")
        self.hosts.known([shelf])
        seen = self.statements(lambda: self.hosts.known([shelf]))
        self.assertEqual([], seen["api"])

    def test_hosts_that_go_fall_silent_or_are_disabled_are_noticed(self) -> None:
        self.assertEqual([None, None, None], [self.refused(n) for n in range(3)])
        self.beat(A, 0, ago=60)
        self.change(A, 1, enabled=False, disabled_reason="new disks")
        self.change(B, 2, forced_down=True)
        self.hosts.refresh()
        self.assertEqual(
            ["are down", "are disabled", "are forced down"], [self.refused(n) for n in range(3)]
        )
        self.beat(A, 0)
        self.change(A, 1, enabled=True, disabled_reason=None)
        self.change(B, 2, forced_down=False)
        self.hosts.refresh()
        self.assertEqual([None, None, None], [self.refused(n) for n in range(3)])
        (service,) = hosts.list_services(self.cell[A], host="h1")
        hosts.delete_service(self.cell[A], service.uuid)
        self.hosts.refresh()
        self.assertEqual({provider(0), provider(2)}, set(self.hosts.known([])))

    def test_hosts_of_a_cell_that_is_disabled_are_disabled_and_those_of_a_deleted_one_go(
        self,
    ) -> None:
        cells.update_cell(self.api, B, {"disabled": True})
        self.hosts.refresh()
        self.assertEqual([None, None, "are disabled"], [self.refused(n) for n in range(3)])
        self.assertEqual("its cell is disabled", self.state(2).disabled_reason)
        cells.update_cell(self.api, B, {"disabled": False})
        self.hosts.refresh()
        self.assertEqual([None, None, None], [self.refused(n) for n in range(3)])
        cells.delete_cell(self.api, A)
        self.hosts.refresh()
        self.assertEqual({provider(2)}, set(self.hosts.known([])))

    def test_aggregates_put_hosts_into_zones_as_soon_as_they_change(self) -> None:
        cells.map_hosts(self.api, A, [HostName("h0")])
        self.assertEqual("nova", self.state(0).availability_zone)
        one = aggregates.create(self.api, "one", "z1", utcnow())
        joins = Change(add_host=HostName("h0"), metadata={"ram_weight_multiplier": "-2.5"})
        aggregates.change(self.api, one.number, joins, utcnow())
        self.hosts.refresh()
        self.assertEqual(
            ("z1", "nova"), (self.state(0).availability_zone, self.state(1).availability_zone)
        )
        self.assertEqual({"ram_weight_multiplier": -2.5}, self.state(0).multipliers)
        seen = self.statements(self.hosts.refresh)
        self.assertEqual(3, len(seen["api"]))
        aggregates.leave_all(self.api, HostName("h0"))
        self.hosts.refresh()
        self.assertEqual(("nova", {}), (self.state(0).availability_zone, self.state(0).multipliers))

    def test_a_change_of_the_aggregates_is_seen_by_itself(self) -> None:
        cells.map_hosts(self.api, A, [HostName("h0")])
        self.hosts.refresh()
        self.assertFalse(self.hosts.regrouped())
        one = aggregates.create(self.api, "one", "z1", utcnow())
        joins = Change(add_host=HostName("h0"))
        aggregates.change(self.api, one.number, joins, utcnow())
        self.assertTrue(self.hosts.regrouped())
        self.assertEqual("z1", self.state(0).availability_zone)
        self.assertFalse(self.hosts.regrouped())

    def test_servers_that_are_claimed_for_count_until_their_host_reports(self) -> None:
        self.hosts.occupy(spec(), [provider(0), provider(0), provider(1)])
        self.assertEqual([2, 1, 0], [self.state(n).servers for n in range(3)])
        self.assertEqual([0, 0, 0], [self.state(n).busy for n in range(3)])
        self.hosts.refresh()
        self.assertEqual([2, 1, 0], [self.state(n).servers for n in range(3)])
        self.beat(A, 0, report(0, servers=5))
        self.hosts.refresh()
        self.assertEqual([5, 1, 0], [self.state(n).servers for n in range(3)])

    def test_what_a_host_reports_is_what_is_known(self) -> None:
        told = {"failed_builds": 2, "metrics": {"m": 0.5}, "image_properties": {"a=b": 3}}
        self.beat(A, 0, report(0, vcpus_used=4, **told))
        self.hosts.refresh()
        state = self.state(0)
        self.assertEqual(told, {name: getattr(state, name) for name in told})
        self.assertEqual((8, 4), (state.figures.vcpus, state.figures.vcpus_used))
        self.assertEqual("1", state.capabilities["hypervisor_version"])

    def test_a_comparison_of_everything_comes_now_and_then(self) -> None:
        self.patch(module, "_WHOLE_EVERY", -1.0)
        seen = self.statements(self.hosts.refresh)
        self.assertFalse([s for s in seen[A] if "updated_at >=" in s])


class AwayTest(HostsCase):
    """One of two cells does not answer. SQLite only: its driver can be made to fail."""

    scenarios = [("SQLite", {"server_url": ""})]

    def setUp(self) -> None:
        super().setUp()
        self.outage = Outage(self)

    def test_hosts_of_a_cell_that_is_away_stay_over_one_miss(self) -> None:
        self.outage.away.add("cell1")
        self.beat(B, 2, report(2, servers=3))
        self.hosts.refresh()
        self.assertTrue(self.hosts.complete)
        self.assertEqual([None, None, None], [self.refused(n) for n in range(3)])
        self.assertEqual(3, self.state(2).servers)
        self.hosts.refresh()
        away = "are in a cell that does not answer"
        self.assertEqual([away, away, None], [self.refused(n) for n in range(3)])
        self.outage.away.clear()
        self.hosts.refresh()
        self.assertEqual([None, None, None], [self.refused(n) for n in range(3)])

    def test_nothing_is_complete_before_every_cell_has_answered(self) -> None:
        self.outage.away.add("cell1")
        late = Hosts(configuration(), self.api, self.cells)
        self.addCleanup(late._looks.shutdown)
        self.assertFalse(late.complete)
        late.refresh()
        self.assertFalse(late.complete)
        self.assertEqual({provider(2)}, set(late.known([])))
        self.outage.away.clear()
        late.refresh()
        self.assertTrue(late.complete)
        self.assertEqual(3, len(late.known([])))


def _url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)
