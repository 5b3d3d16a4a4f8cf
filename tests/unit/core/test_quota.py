"""What a request over its quota is told."""

import testtools

from kilonova.core.quota import Amount, Limits, exceeded


class QuotaTest(testtools.TestCase):
    """Limits are whole numbers, -1 is none."""

    def test_what_fits_exactly_is_not_over(self) -> None:
        limits = Limits(instances=2, cores=4, ram=1024)
        asked = Amount(instances=1, cores=2, ram=512)
        self.assertIsNone(exceeded(asked, asked, limits))
        self.assertIsNotNone(exceeded(asked, Amount(instances=1, cores=3, ram=512), limits))

    def test_every_resource_that_is_over_is_named_with_what_is_asked_used_and_allowed(self) -> None:
        told = exceeded(
            Amount(instances=20, cores=20, ram=1),
            Amount(instances=1, cores=1),
            Limits(instances=10, cores=20),
        )
        self.assertEqual(
            "Quota exceeded for cores, instances: Requested 20, 20, but already used 1, 1 of 20, 10 "
            "cores, instances",
            told,
        )

    def test_minus_one_is_no_limit_and_zero_allows_nothing(self) -> None:
        huge = Amount(instances=10**9, cores=10**9, ram=10**9)
        self.assertIsNone(exceeded(huge, huge, Limits(instances=-1, cores=-1, ram=-1)))
        self.assertIsNotNone(exceeded(Amount(instances=1), Amount(), Limits(instances=0)))
