"""Users with limits of their own in a project: exact however many requests come at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import testscenarios

from kilonova.core.errors import QuotaExceeded
from kilonova.core.ids import InstanceUuid, UserId
from kilonova.core.quota import Amount, Limits
from kilonova.core.server_group import Policy, ServerGroup
from kilonova.db import acceptance, build_requests, quotas, resizes, server_groups, soft_deletions
from kilonova.db.acceptance import Lot
from kilonova.db.room import room_for
from tests.functional.db.api_database import NOW, ApiDatabaseTest, flavor
from tests.functional.db.databases import statements_of
from tests.functional.db.servers import PROJECT, accepted, instance

load_tests = testscenarios.load_tests_apply_scenarios

ANN, BOB = UserId("ann"), UserId("bob")
CONFIGURED = Limits(instances=1000, cores=-1, ram=-1)


class UserLimitsTest(ApiDatabaseTest):
    """Ann and Bob share a project; Ann may have less of it."""

    def limits(self, user: UserId = ANN) -> Limits:
        """Return the limits on what a user asks for."""
        return quotas.limits_of(self.db, CONFIGURED, PROJECT, user)

    def accept(self, count: int = 1, user: UserId = ANN, **changed: object) -> list[InstanceUuid]:
        """Accept servers of a user's and return their UUIDs."""
        servers = accepted(count, user_id=user, **changed)
        acceptance.accept(self.db, [Lot(servers, self.limits(user))])
        return [one.instance.uuid for one in servers]

    def used(self, user: UserId | None = ANN) -> tuple[int, int, int]:
        """Return what a user uses, or all of the project do."""
        amount = quotas.used_by(self.db, PROJECT, user)
        return amount.instances, amount.cores, amount.ram

    def refused(self, work: Callable[[], object]) -> str:
        """Return what a request over the quota is told."""
        return self.assertRaises(QuotaExceeded, work).message

    def test_of_fifty_requests_at_once_a_user_gets_ten_and_the_others_what_they_ask(self) -> None:
        quotas.set_limits(self.db, PROJECT, {"instances": 10}, ANN)

        def attempt(number: int) -> int:
            try:
                return len(self.accept(user=BOB if number % 5 == 4 else ANN))
            except QuotaExceeded:
                return 0

        with ThreadPoolExecutor(25) as threads:
            made = list(threads.map(attempt, range(62)))
        self.assertEqual(10 + 12, sum(made))
        self.assertEqual((10, 10, 5120), self.used())
        self.assertEqual((12, 12, 6144), self.used(BOB))
        self.assertEqual((22, 22, 11264), self.used(None))

    def test_what_a_user_is_refused_is_told_by_the_users_numbers_and_not_written(self) -> None:
        quotas.set_limits(self.db, PROJECT, {"instances": 3, "ram": 1024}, ANN)
        self.accept(5, BOB)
        self.accept()
        told = self.refused(lambda: self.accept(3))
        self.assertEqual(
            "Quota exceeded for instances, ram: Requested 3, 1536, but already used 1, 512 of 3, 1024 "
            "instances, ram",
            told,
        )
        self.assertEqual((6, 6, 3072), self.used(None))
        one = Amount(instances=1, cores=1, ram=513)
        self.assertEqual(
            "Quota exceeded for ram: Requested 513, but already used 512 of 1024 ram",
            quotas.refusal(self.db, PROJECT, one, self.limits()),
        )
        self.assertIsNone(quotas.refusal(self.db, PROJECT, one, self.limits(BOB)))

    def test_the_projects_limits_hold_for_who_has_more_of_his_own(self) -> None:
        quotas.set_limits(self.db, PROJECT, {"instances": 3})
        quotas.set_limits(self.db, PROJECT, {"instances": -1, "cores": 5}, ANN)
        self.accept(2, BOB)
        self.assertIn("already used 2 of 3 instances", self.refused(lambda: self.accept(2)))
        self.accept(1)
        self.assertEqual(3, self.used(None)[0])

    def test_there_is_room_for_as_many_as_the_narrowest_limit_says(self) -> None:
        quotas.set_limits(self.db, PROJECT, {"instances": 8})
        quotas.set_limits(self.db, PROJECT, {"cores": 5}, ANN)
        self.accept(4, BOB)
        self.accept(2)
        self.assertEqual(2, room_for(self.db, instance(), self.limits(), 100))
        quotas.set_limits(self.db, PROJECT, {"cores": 3}, ANN)
        self.assertEqual(1, room_for(self.db, instance(), self.limits(), 100))
        self.assertEqual(2, room_for(self.db, instance(), self.limits(BOB), 100))

    def test_a_larger_size_counts_for_its_owner(self) -> None:
        quotas.set_limits(self.db, PROJECT, {"cores": 4}, ANN)
        one, _ = self.accept(2)
        wide, wider = flavor(vcpus=3), flavor(vcpus=4)
        limits = self.limits()
        told = self.refused(lambda: resizes.grow(self.db, one, wider, limits))
        self.assertEqual(
            "Quota exceeded for cores: Requested 3, but already used 2 of 4 cores", told
        )
        self.assertEqual(2, self.used()[1])
        resizes.grow(self.db, one, wide, limits)
        self.assertEqual(4, self.used()[1])
        self.assertIn("already used 4 of 4 cores", self.refused(self.accept))
        resizes.resize(self.db, one, flavor())
        self.accept()

    def test_what_is_deleted_is_given_back_and_what_is_restored_counts_again(self) -> None:
        quotas.set_limits(self.db, PROJECT, {"instances": 2}, ANN)
        servers = accepted(2)
        acceptance.accept(self.db, [Lot(servers, self.limits())])
        first = servers[0].instance
        self.assertTrue(build_requests.queue_for_delete(self.db, first.uuid))
        self.assertEqual((1, 1, 512), self.used())
        (third,) = self.accept()
        limits = self.limits()
        self.refused(lambda: soft_deletions.count_again(self.db, first, limits))
        self.assertTrue(build_requests.withdraw(self.db, third))
        self.assertTrue(soft_deletions.count_again(self.db, first, limits))
        self.assertEqual((2, 2, 1024), self.used())

    def test_server_groups_of_a_user_are_limited_too(self) -> None:
        quotas.set_limits(self.db, PROJECT, {"server_groups": 1}, ANN)

        def make(number: int, user: UserId) -> None:
            group = ServerGroup(
                uuid=f"99999999-0000-4000-8000-{number:012}",
                name="g",
                project_id=PROJECT,
                user_id=user,
                policy=Policy.AFFINITY,
                created_at=NOW,
            )
            server_groups.create(self.db, group, self.limits(user))

        make(1, BOB)
        make(2, ANN)
        self.assertIn("already used 1 of 1 server_groups", self.refused(lambda: make(3, ANN)))
        make(4, BOB)
        self.assertEqual(1, quotas.used_by(self.db, PROJECT, ANN).server_groups)

    def test_only_who_has_limits_of_his_own_pays_for_them(self) -> None:
        for user in (ANN, BOB):
            self.accept(user=user)
        quotas.set_limits(self.db, PROJECT, {"key_pairs": 1}, BOB)
        usual = statements_of(self.db, lambda: self.accept(user=BOB))
        quotas.set_limits(self.db, PROJECT, {"instances": 10}, ANN)
        own = statements_of(self.db, lambda: self.accept(user=ANN))
        # Limits; three inserts; the count.
        self.assertEqual((5, 6), (self._asked(usual), self._asked(own)))

    def _asked(self, statements: list[str]) -> int:
        return sum(not text.startswith("BEGIN") for text in statements)

    def test_the_sums_of_the_users_limits_leave_out_one_and_what_is_unlimited(self) -> None:
        quotas.set_limits(self.db, PROJECT, {"cores": 100})
        quotas.set_limits(self.db, PROJECT, {"cores": 4, "ram": -1}, ANN)
        quotas.set_limits(self.db, PROJECT, {"cores": 5, "key_pairs": 0}, BOB)
        self.assertEqual({"cores": 9, "key_pairs": 0}, quotas.allotted(self.db, PROJECT))
        self.assertEqual({"cores": 4}, quotas.allotted(self.db, PROJECT, besides=BOB))
