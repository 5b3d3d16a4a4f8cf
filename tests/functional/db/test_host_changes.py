"""A cell's hosts, read by what changed since they were looked at last."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import testscenarios

from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, NodeName, ProviderUuid
from kilonova.db import host_changes, hosts
from kilonova.db.cell_schema import ComputeNode
from kilonova.db.host_changes import Look
from kilonova.db.statements import table_of
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase, statements_of

load_tests = testscenarios.load_tests_apply_scenarios

SILENT = NOW - timedelta(seconds=15)
_nodes = table_of(ComputeNode)


def report(number: int, **changed: Any) -> NodeReport:
    """Return what a host says of its one node."""
    fields: dict[str, Any] = {"vcpus": 8, "memory_mb": 8192, "disk_gb": 100} | changed
    return NodeReport(
        node=NodeName(f"h{number}"),
        provider_uuid=provider(number),
        hypervisor_type="fake",
        hypervisor_version=1,
        host_ip="192.0.2.1",
        **fields,
    )


def provider(number: int) -> ProviderUuid:
    """Return a host's provider."""
    return ProviderUuid(f"aaaaaaaa-0000-4000-8000-{number:012}")


class HostChangesTest(DatabaseCase):
    """Hosts report, and somebody looks."""

    def setUp(self) -> None:
        super().setUp()
        self.db = self.open("cell1", "cell")
        self.known: dict[ProviderUuid, Any] = {}
        self.since: Any = None

    def beat(
        self, number: int, nodes: Sequence[NodeReport] | None = None, seconds: float = 0
    ) -> None:
        """Give a sign of life, so many seconds after the beginning by the conductor's clock."""
        service = (hosts.COMPUTE, HostName(f"h{number}"), "compute")
        hosts.beat(self.db, service, nodes, NOW + timedelta(seconds=seconds))

    def look(self) -> Look:
        """Look, and remember what was seen."""
        found = host_changes.look(self.db, self.known, self.since, SILENT)
        self.known = {uuid: when for uuid, when in self.known.items() if uuid not in found.gone}
        self.known |= {uuid: node.changed_at for uuid, node in found.changed.items()}
        self.since = found.at
        return found

    def test_the_first_look_finds_everything_and_the_next_nothing(self) -> None:
        for number in range(3):
            self.beat(number, [report(number)])
        first = self.look()
        self.assertEqual({provider(n) for n in range(3)}, set(first.changed))
        self.assertEqual(report(1), first.changed[provider(1)].report)
        self.assertEqual("h1", first.changed[provider(1)].host)
        self.assertEqual(({}, frozenset(), {}), self._told(self.look()))

    def _told(self, look: Look) -> tuple[object, object, object]:
        return look.changed, look.gone, look.unusual

    def test_a_sign_of_life_without_news_changes_nothing_and_is_one_statement(self) -> None:
        self.beat(0, [report(0)])
        self.look()
        statements = statements_of(self.db, lambda: self.beat(0, seconds=5))
        self.assertEqual(1, len([one for one in statements if "UPDATE" in one]))
        self.assertEqual(1, len([one for one in statements if "BEGIN" not in one]))
        self.assertEqual(({}, frozenset(), {}), self._told(self.look()))

    def test_what_changed_is_read_whatever_the_writers_clocks_say(self) -> None:
        for number in range(3):
            self.beat(number, [report(number)])
        self.look()
        # One conductor is an hour ahead, the other an hour behind.
        self.beat(0, [report(0, servers=4)], seconds=3600)
        self.assertEqual({provider(0)}, set(self.look().changed))
        self.beat(1, [report(1, servers=5)], seconds=-3600)
        (changed,) = self.look().changed.values()
        self.assertEqual(("h1", 5), (changed.host, changed.report.servers))

    def test_hosts_that_come_and_go_between_two_looks_are_noticed(self) -> None:
        for number in range(3):
            self.beat(number, [report(number)])
        self.look()
        self.beat(7, [report(7)], seconds=-3600)
        (gone,) = hosts.list_services(self.db, host="h1")
        hosts.delete_service(self.db, gone.uuid)
        found = self.look()
        self.assertEqual(({provider(7)}, {provider(1)}), (set(found.changed), set(found.gone)))

    def test_a_node_that_its_host_no_longer_has_is_gone(self) -> None:
        self.beat(0, [report(0), report(1)])
        self.look()
        self.beat(0, [report(1)])
        self.assertEqual({provider(0)}, set(self.look().gone))

    def test_services_that_are_not_as_they_should_be_are_told_every_time(self) -> None:
        for number in range(5):
            self.beat(number, [report(number)], seconds=-14)
        self.beat(3, seconds=-16)
        for host, values in (
            ("h1", {"enabled": False, "disabled_reason": "new disks"}),
            ("h2", {"forced_down": True}),
        ):
            (service,) = hosts.list_services(self.db, host=host)
            hosts.change_service(self.db, service.uuid, values)
        for _ in range(2):
            unusual = self.look().unusual
            self.assertEqual({"h1", "h2", "h3"}, set(unusual))
            self.assertEqual(
                (False, "new disks"),
                (unusual[HostName("h1")].enabled, unusual[HostName("h1")].disabled_reason),
            )
            self.assertTrue(unusual[HostName("h2")].forced_down)
            self.assertEqual(NOW - timedelta(seconds=16), unusual[HostName("h3")].last_seen)
        self.beat(3)
        self.assertNotIn("h3", self.look().unusual)

    def test_a_change_is_seen_whose_transaction_ended_only_after_a_look(self) -> None:
        for number in range(2):
            self.beat(number, [report(number)])
        self.look()
        before = sa.update(_nodes).where(_nodes.c.host == "h0")
        # As it would stand there now: written two seconds before the last look, and not seen by it.
        late = before.values(updated_at=self.since - timedelta(seconds=2))
        self.db.write(lambda c: c.execute(late))
        self.assertEqual({provider(0)}, set(self.look().changed))

    def test_a_comparison_of_everything_finds_what_no_look_at_changes_can(self) -> None:
        for number in range(2):
            self.beat(number, [report(number)])
        self.look()
        ago = sa.update(_nodes).where(_nodes.c.host == "h0")
        self.db.write(lambda c: c.execute(ago.values(updated_at=NOW)))
        self.assertEqual({}, self.look().changed)
        self.since = None
        self.assertEqual({provider(0)}, set(self.look().changed))

    def test_a_look_is_three_selects_however_many_hosts_there_are(self) -> None:
        costs = []
        for number in range(12):
            self.beat(number, [report(number)])
        self.look()
        moved = sa.update(_nodes).values(updated_at=NOW)
        self.db.write(lambda c: c.execute(moved))
        self.known = dict.fromkeys(self.known, NOW)
        for _ in range(2):
            costs.append(len(statements_of(self.db, self.look)))
        self.assertEqual([3, 3], costs)
        self.beat(4, [report(4, busy=1)])
        self.assertEqual(4, len(statements_of(self.db, self.look)))
