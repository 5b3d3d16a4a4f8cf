"""Quotas where many ask at once, over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.functional.pipeline.case import PipelineCase


class QuotaTest(PipelineCase):
    """A project that may have ten servers."""

    hosts = 2

    def test_of_fifty_requests_at_once_ten_are_accepted_and_built(self) -> None:
        path = f"/os-quota-sets/{self.project}"
        limits = {"quota_set": {"instances": 10, "cores": -1, "ram": -1}}
        answer = self.ask("compute", "PUT", path, limits)
        self.assertEqual(200, answer.status_code, answer.text)

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
