"""Who may act for a build request: each who takes it does so under an epoch of its own."""

import testscenarios

from kilonova.db import build_requests
from kilonova.db.build_requests import LEASE
from tests.functional.db.api_database import NOW
from tests.functional.db.test_build_requests import SECOND, BuildRequestsCase

load_tests = testscenarios.load_tests_apply_scenarios


class KeepTest(BuildRequestsCase):
    """Who still may act for what it took."""

    def test_who_took_them_keeps_them_and_its_lease_begins_anew(self) -> None:
        uuids = self.accept(3)
        self.take(uuids)
        later = NOW + LEASE - SECOND
        self.assertEqual(frozenset(uuids), build_requests.keep(self.db, uuids, "one", later))
        self.assertEqual([], self.take(uuids, "two", later + LEASE))
        self.assertEqual(uuids, self.take(uuids, "two", later + LEASE + SECOND))

    def test_what_another_took_or_settled_is_not_kept(self) -> None:
        uuids = self.accept(3)
        self.take(uuids)
        self.take(uuids[:1], "two", NOW + LEASE + SECOND)
        self.settle(uuids[1:2])
        late = NOW + LEASE + SECOND
        self.assertEqual({uuids[2]}, build_requests.keep(self.db, uuids, "one", late))
        self.assertEqual({uuids[0]}, build_requests.keep(self.db, uuids, "two", late))

    def test_each_who_takes_it_does_so_under_the_next_epoch(self) -> None:
        uuids = self.accept()
        for number in (1, 2, 3):
            now = NOW + number * (LEASE + SECOND)
            (pending,) = build_requests.take(self.db, uuids, str(number), now)
            self.assertEqual((number, str(number)), (pending.epoch, pending.driver))
