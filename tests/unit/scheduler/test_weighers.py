"""How good each host is."""

import testtools

from kilonova.scheduler import weighers
from tests.unit.scheduler.fleet import rooms, spec


class WeighersTest(testtools.TestCase):
    """Scores of hosts by what is free on them."""

    def test_more_that_is_free_scores_higher(self) -> None:
        fleet = [rooms(vcpu=1, memory=30, disk=200), rooms(vcpu=2, memory=10, disk=300)]
        self.assertEqual([30.0, 10.0], weighers.ram(spec(), fleet))
        self.assertEqual([1.0, 2.0], weighers.cpu(spec(), fleet))
        self.assertEqual([200.0, 300.0], weighers.disk(spec(), fleet))

    def test_a_host_that_has_nothing_of_a_kind_scores_nothing(self) -> None:
        some = {"VCPU": rooms()["VCPU"]}
        self.assertEqual([0.0], weighers.disk(spec(), [some]))

    def test_scores_are_scaled_from_nought_to_one(self) -> None:
        self.assertEqual([0.0, 0.25, 1.0], weighers.normalised([-10.0, 0.0, 30.0]))

    def test_equal_scores_say_nothing(self) -> None:
        self.assertEqual([0.0, 0.0], weighers.normalised([7.0, 7.0]))
