"""Where a guest is that was being moved while it ran."""

import libvirt
import testtools

from kilonova.compute.libvirt import live, whereabouts
from kilonova.compute.libvirt.whereabouts import State, Where
from kilonova.core.migration import Progress

RUNS = State(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
CAME = State(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED)
LACKS = State(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY)
STARVES = State(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
PAUSED = State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)
SENT = State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
AWAITED = State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
GIVES = State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY)
GAVE = State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)
CUT_OFF = State(libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
ENDED = State(libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
LEFT = State(libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED)


class WhereTest(testtools.TestCase):
    """What both hosts say, and what that means."""

    def assert_where(self, expected: Where, *pairs: tuple[State | None, State | None]) -> None:
        for here, there in pairs:
            self.assertIs(expected, whereabouts.where(here, there), (here, there))

    def test_a_guest_that_does_not_stand_still_is_its_sources(self) -> None:
        for here in (RUNS, PAUSED):
            self.assertTrue(whereabouts.is_sure(here))
            self.assert_where(Where.HERE, *((here, there) for there in (None, SENT, AWAITED)))
        self.assert_where(Where.HERE, (CUT_OFF, None), (CUT_OFF, SENT), (ENDED, None))

    def test_a_guest_that_was_sent_goes_on_where_it_was_unless_it_runs_elsewhere(self) -> None:
        self.assert_where(Where.STANDS, *((SENT, there) for there in (None, SENT, AWAITED, ENDED)))
        self.assert_where(Where.THERE, (SENT, CAME), (SENT, PAUSED), (None, CAME), (LEFT, CAME))

    def test_neither_half_of_a_guest_goes_before_they_are_one(self) -> None:
        for lacks in (LACKS, STARVES):
            self.assert_where(Where.BETWEEN, (GIVES, lacks), (SENT, lacks))
            self.assert_where(Where.BROKEN, (GAVE, lacks))
        self.assert_where(Where.BETWEEN, (GIVES, None), (GIVES, SENT))
        self.assert_where(Where.THERE, (GIVES, CAME), (GAVE, CAME), (GAVE, ENDED))

    def test_a_guest_of_which_one_half_is_gone_never_runs_on_in_the_other(self) -> None:
        self.assert_where(Where.LOST, (GAVE, None), (GAVE, CUT_OFF), (CUT_OFF, STARVES))

    def test_only_a_destination_knows_what_became_of_a_guest_that_left(self) -> None:
        for here in (SENT, GIVES, GAVE, CUT_OFF, LEFT):
            self.assertFalse(whereabouts.is_sure(here), here)

    def test_a_destination_takes_over_what_is_whole(self) -> None:
        for unsent in (False, True):
            for there in (RUNS, CAME, PAUSED, ENDED):
                self.assertIs(Where.THERE, whereabouts.arrived(there, unsent=unsent))
            for there in (LACKS, STARVES, GAVE, CUT_OFF):
                self.assertIs(Where.LOST, whereabouts.arrived(there, unsent=unsent))
        self.assertIs(Where.THERE, whereabouts.arrived(SENT, unsent=False))
        self.assertIs(Where.LOST, whereabouts.arrived(None, unsent=False))

    def test_a_guest_that_never_ran_there_is_its_sources_though_that_died(self) -> None:
        for there in (None, SENT, AWAITED):
            self.assertIs(Where.HERE, whereabouts.arrived(there, unsent=True))


class PatienceTest(testtools.TestCase):
    """When a guest is let go on before its memory is there."""

    def test_a_guest_may_take_the_longer_the_more_there_is_of_it(self) -> None:
        small, large = (
            Progress(memory_total=1 << 20),
            Progress(memory_total=2 << 30, disk_total=2 << 30),
        )
        self.assertEqual([False, True], [live.is_slow(small, took) for took in (799, 801)])
        self.assertEqual([False, True], [live.is_slow(large, took) for took in (3199, 3201)])
