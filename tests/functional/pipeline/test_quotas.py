"""Quotas where many ask at once, over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.functional.pipeline.case import PipelineCase
from tests.functional.pipeline.moving_case import MovingCase


class QuotaTest(PipelineCase):
    """Ten servers for a project, or for one of its users."""

    hosts = 2

    def test_of_fifty_requests_at_once_ten_are_accepted_and_built(self) -> None:
        self._of_fifty_ten_are_built("", {"instances": 10, "cores": -1, "ram": -1})

    def test_of_fifty_requests_of_a_user_at_once_ten_are_accepted_and_built(self) -> None:
        self._limit("", {"instances": 1000, "cores": -1, "ram": -1})
        self._of_fifty_ten_are_built("?user_id=admin", {"instances": 10})

    def _limit(self, query: str, limits: dict[str, int]) -> None:
        path = f"/os-quota-sets/{self.project}{query}"
        answer = self.ask("compute", "PUT", path, {"quota_set": limits})
        self.assertEqual(200, answer.status_code, answer.text)

    def _of_fifty_ten_are_built(self, query: str, limits: dict[str, int]) -> None:
        self._limit(query, limits)

        def attempt(number: int) -> tuple[int, str]:
            server: dict[str, Any] = {"name": f"vm-{number}", "flavorRef": "1", "networks": "none"}
            body = {"server": server | {"imageRef": self.image}}
            answer = self.ask("compute", "POST", "/servers", body)
            return answer.status_code, answer.text

        with ThreadPoolExecutor(50) as threads:
            answers = list(threads.map(attempt, range(50)))
        statuses = [status for status, _ in answers]
        self.assertEqual((10, 40), (statuses.count(202), statuses.count(403)), statuses)
        said = {text for status, text in answers if status == 403}
        self.assertEqual(1, len(said), said)
        self.assertIn("instances: Requested 1, but already used 10 of 10 instances", said.pop())

        def all_run() -> bool:
            return [one["status"] for one in self.servers()] == ["ACTIVE"] * 10

        self.until("ten servers run", all_run)
        used = self.get("compute", "/limits")["limits"]["absolute"]
        self.assertEqual(10, used["totalInstancesUsed"])


class UserQuotaTest(MovingCase):
    """A user who may have two servers with three cores, in a project that may have more."""

    def setUp(self) -> None:
        super().setUp()
        limits = {"quota_set": {"instances": 2, "cores": 3}}
        path = f"/os-quota-sets/{self.project}?user_id=admin"
        self.assertEqual(200, self.ask("compute", "PUT", path, limits).status_code)

    def _refused(self, says: str) -> None:
        server: dict[str, Any] = {"name": "vm", "flavorRef": "1", "networks": "none"}
        body = {"server": server | {"imageRef": self.image}}
        answer = self.ask("compute", "POST", "/servers", body)
        self.assertEqual(403, answer.status_code, answer.text)
        self.assertIn(says, answer.text)

    def _cores(self) -> int:
        limits = self.get("compute", "/limits")["limits"]["absolute"]
        return int(limits["totalCoresUsed"])

    def test_sizes_shelved_servers_and_what_is_deleted_count_for_their_user(self) -> None:
        one, two = self.active("one"), self.active("two")
        self.asked_for(one, {"resize": {"flavorRef": "large"}})
        self.until_idle(one, "VERIFY_RESIZE")
        answer = self.act(two, {"resize": {"flavorRef": "large"}})
        self.assertEqual(403, answer.status_code, answer.text)
        self.assertIn("cores: Requested 1, but already used 3 of 3 cores", answer.text)
        self.until_idle(two, "ACTIVE")
        self.asked_for(one, {"revertResize": None})
        self.until_idle(one, "ACTIVE")
        self.until("the size is settled", lambda: self._cores() == 2)
        self.asked_for(two, {"shelve": None})
        self.until_idle(two, "SHELVED_OFFLOADED")
        self._refused("instances: Requested 1, but already used 2 of 2 instances")
        self.asked_for(two, {"unshelve": None})
        self.until_idle(two, "ACTIVE")
        self.delete(two)
        self.active("three")
        self._refused("already used 2 of 2 instances")
