"""Reports in an order other than that in which they were sent, and of services that have ended."""

import msgspec
import testscenarios
from msgspec import UNSET

from kilonova.core.report import REPORTS_OF_A_START
from kilonova.core.states import PowerState, VmState
from kilonova.db import builds, hosts
from tests.functional.db.api_database import NOW
from tests.functional.db.servers import H1, H2
from tests.functional.db.test_reports import LATER, TO, ReportsCase

load_tests = testscenarios.load_tests_apply_scenarios


class RestartedTest(ReportsCase):
    """Reports of a service that ended before they came."""

    def test_a_build_is_not_begun_by_a_service_that_was_started_again_since(self) -> None:
        hosts.beat(self.cell, (hosts.COMPUTE, H1, "compute"), None, NOW)
        first, second = (hosts.count_start(self.cell, H1) for _ in range(2))
        # Asked for by a message that came twice: nobody starts under it.
        hosts.count_start(self.cell, H1)
        for start in (second, first):
            hosts.begin_start(self.cell, H1, start)
        self.assert_refused(self.begins(number=first * REPORTS_OF_A_START + 7))
        self.assertEqual((), self.apply(self.begins(number=second * REPORTS_OF_A_START + 1)))


class NumberedTest(ReportsCase):
    """Reports of one epoch that come late, or again."""

    def setUp(self) -> None:
        super().setUp()
        self.apply(self.begins(number=1), self.succeeded(number=2))
        self.stopped = self.report(
            vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN, task_state=None, number=3
        )
        self.started = self.report(
            vm_state=VmState.ACTIVE, power_state=PowerState.RUNNING, task_state=None, number=4
        )

    def test_one_that_comes_after_a_later_one_changes_nothing_and_is_not_refused(self) -> None:
        self.apply(self.stopped)
        self.apply(self.started)
        before = self.picture()
        self.assertEqual((), self.apply(self.stopped, self.succeeded(number=2)))
        self.assertEqual(before, self.picture())

    def test_a_batch_that_is_repeated_leaves_what_it_left(self) -> None:
        batch = (self.stopped, self.started)
        self.apply(*batch)
        before = self.picture()
        self.assertEqual((), self.apply(*batch))
        self.assertEqual(before, self.picture())
        self.assertEqual(VmState.ACTIVE, self.instance().vm_state)

    def test_one_that_was_refused_for_its_epoch_is_refused_again(self) -> None:
        self.assert_refused(self.succeeded(epoch=0, number=5))
        self.apply(self.started)
        self.assert_refused(self.succeeded(epoch=0, number=5))

    def test_what_a_guest_did_by_itself_before_an_action_ended_is_not_heard_after_it(self) -> None:
        by_itself = msgspec.structs.replace(self.stopped, task_state=UNSET, if_idle=True)
        self.apply(self.started)
        before = self.picture()
        self.assertEqual((), self.apply(by_itself))
        self.assertEqual(before, self.picture())

    def test_the_next_host_counts_anew(self) -> None:
        uuid = self.place()
        first = {"instance_uuid": uuid}
        self.apply(self.begins(**first), self.report(**first, power_state=1, number=99))
        self.assertTrue(builds.raise_epoch(self.cell, uuid, 1, LATER))
        self.assertTrue(builds.move(self.cell, (uuid, 2), TO, LATER))
        second = first | {"epoch": 2}
        self.assertEqual((), self.apply(self.begins("new", **second, number=1), host=H2))
        self.assertEqual((), self.apply(self.succeeded(**second, number=2), host=H2))
        self.assertEqual(VmState.ACTIVE, self.instance(uuid).vm_state)

    def test_one_without_a_number_counts_whenever_it_comes(self) -> None:
        self.apply(self.started)
        self.apply(msgspec.structs.replace(self.stopped, number=0))
        self.assertEqual(VmState.STOPPED, self.instance().vm_state)
