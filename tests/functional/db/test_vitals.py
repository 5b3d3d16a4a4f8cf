"""How servers are, as their hosts told last, in a cell's database."""

from datetime import timedelta

import testscenarios

from kilonova.core.fleet_vitals import EVERY_SERVER, VitalsQuery
from kilonova.core.ids import HostName, InstanceUuid, ProjectId
from kilonova.core.states import VmState
from kilonova.core.vitals import Amounts, HostVitals, Vitals
from kilonova.db import hosts, instances, vitals
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import H1, H2, placed

load_tests = testscenarios.load_tests_apply_scenarios


def told(*uuids: InstanceUuid) -> HostVitals:
    """Return what a host tells of servers."""
    seen = tuple(Vitals(instance_uuid=uuid, at=NOW, state="running") for uuid in uuids)
    return HostVitals(at=NOW, used=Amounts(cpus=0.5), reserved=Amounts(cpus=2.0), servers=seen)


class VitalsTest(DatabaseCase):
    """A cell with two hosts."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")

    def beat(self, host: HostName, word: HostVitals | None) -> None:
        """Let a host give a sign of life."""
        hosts.beat(self.cell, (hosts.COMPUTE, host, "compute"), None, NOW, word)

    def test_the_last_word_of_a_host_counts_until_the_next(self) -> None:
        first, second = (InstanceUuid(f"00000000-0000-4000-8000-00000000000{n}") for n in (1, 2))
        self.beat(H1, None)
        self.assertEqual({}, vitals.told_by(self.cell, [H1, H2]))
        for word in (told(first), told(first, second)):
            self.beat(H1, word)
            self.beat(H1, None)
            self.assertEqual({H1: word}, vitals.told_by(self.cell, [H1, H2]))
        self.beat(H2, told())
        self.assertEqual({H1, H2}, set(vitals.told_by(self.cell, [H1, H2])))
        self.assertEqual({H2: told()}, vitals.told_by(self.cell, [H2]))

    def test_a_host_that_is_removed_is_forgotten(self) -> None:
        self.beat(H1, told())
        self.beat(H2, told())
        (service,) = hosts.list_services(self.cell, host=H1)
        hosts.delete_service(self.cell, service.uuid)
        self.assertEqual({H2}, set(vitals.told_by(self.cell, [H1, H2])))

    def test_more_hosts_than_one_statement_takes_are_asked_in_several(self) -> None:
        names = [HostName(f"n{number:04}") for number in range(502)]
        for name in (names[0], names[-1]):
            self.beat(name, told())
        self.assertEqual({names[0], names[-1]}, set(vitals.told_by(self.cell, names)))

    def test_servers_on_hosts_are_found_in_order_of_their_uuids(self) -> None:
        states = {"vm_state": VmState.ACTIVE, "task_state": None}
        a, b, c = (
            placed(**states, host=host, project_id=ProjectId(project), created_at=NOW + shift)
            for host, project, shift in (
                (H1, "p", timedelta(seconds=2)),
                (H2, "p", timedelta(seconds=1)),
                (H1, "q", timedelta()),
            )
        )
        nowhere, gone = placed(host=None), placed(**states)
        instances.insert(self.cell, [c, b, a, nowhere, gone])
        instances.mark_deleted(self.cell, [gone.instance.uuid], NOW)
        ids = [one.instance.uuid for one in (a, b, c)]
        for wanted, expected in (
            (EVERY_SERVER, ids),
            (VitalsQuery(host=H1), [ids[0], ids[2]]),
            (VitalsQuery(project=ProjectId("p")), ids[:2]),
            (VitalsQuery(host=H1, project=ProjectId("q")), ids[2:]),
            (VitalsQuery(limit=2), ids[:2]),
            (VitalsQuery(after=ids[1]), ids[2:]),
            (VitalsQuery(host=HostName("h9")), []),
        ):
            found = [one.uuid for one in vitals.list_watched(self.cell, wanted)]
            self.assertEqual(expected, found, wanted)
        first = vitals.list_watched(self.cell, EVERY_SERVER)[0]
        self.assertEqual(
            (VmState.ACTIVE, None, H1, "p"),
            (first.vm_state, first.task_state, first.host, first.project_id),
        )
