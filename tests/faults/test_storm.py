"""What can never happen, while parts of a deployment go away and messages are lost or come twice.

``tools/test faults --seed N`` replays the faults of one seed; how threads fall between them is new each
time. The storms of test_seeds.py are the same each time.
"""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import testscenarios
from testtools.content import text_content

from kilonova.conductor import patience
from kilonova.db import build_requests
from tests.faults.storm import Storm
from tests.functional.pipeline.case import PipelineCase
from tests.functional.pipeline.wire import Outage, Wire

load_tests = testscenarios.load_tests_apply_scenarios

SEEDS = (
    [int(os.environ["KILONOVA_FAULT_SEED"])] if "KILONOVA_FAULT_SEED" in os.environ else [1, 2, 3]
)
HOSTS = 3
SECONDS = 5.0
CALM = 60.0
"""Seconds within which everything must have settled."""


class StormTest(PipelineCase):
    """Three hosts, and people who create and delete servers all the time."""

    scenarios = [(f"seed {seed}", {"seed": seed}) for seed in SEEDS]
    seed = 1
    hosts = HOSTS
    more = "[quota]\ninstances = 30\ncores = -1\nram = -1\n"

    def setUp(self) -> None:
        for name in ("UNTOUCHED", "NOT_BEGUN", "NOT_DELETED"):
            self.patch(patience, name, timedelta(seconds=1))
        self.patch(build_requests, "LEASE", timedelta(seconds=3))
        super().setUp()
        self.wire = Wire(self)
        self.outage = Outage(self)

    def test_whatever_was_accepted_ends_and_nothing_is_built_twice_or_left_behind(self) -> None:
        storm = Storm(self.seed, self.deployment, self.wire, self.outage)
        self.addDetail("seed", text_content(str(self.seed)))
        over = threading.Event()
        with ThreadPoolExecutor(3) as people:
            lives = [people.submit(self._live, self.seed * 10 + n, over) for n in range(3)]
            try:
                storm.blow(SECONDS)
            finally:
                over.set()
            lived = [life.result() for life in lives]
        self.addDetail("faults", text_content("\n".join(storm.told)))
        self._settle({uuid: fate for life in lived for uuid, fate in life.items()})
        for server in self.servers():
            self.delete(server["id"])
        self.assert_nothing_left()
        self.until("no guest is left", lambda: self._guests() == 0)

    def _live(self, seed: int, over: threading.Event) -> dict[str, str]:
        """Create and delete servers until it is over; return which are to be "kept", which were "deleted"
        and of which only a part of the deleting may have been done ("unsure")."""
        chance = random.Random(seed)
        mine: dict[str, str] = {}
        server = {"flavorRef": "1", "imageRef": self.image, "networks": "none"}
        while not over.is_set():
            if mine and chance.random() < 0.4:
                uuid = chance.choice(list(mine))
                answer = self.ask("compute", "DELETE", f"/servers/{uuid}")
                if mine[uuid] == "kept":
                    self.assertIn(answer.status_code, (204, 503), answer.text)
                    mine[uuid] = "deleted" if answer.status_code == 204 else "unsure"
            else:
                body = {"server": server | {"name": f"vm-{seed}-{len(mine)}"}}
                answer = self.ask("compute", "POST", "/servers", body)
                self.assertIn(answer.status_code, (202, 403, 503), answer.text)
                if answer.status_code == 202:
                    mine[answer.json()["server"]["id"]] = "kept"
            time.sleep(chance.uniform(0.0, 0.2))
        return mine

    def _settle(self, accepted: dict[str, str]) -> None:
        """Wait until every accepted server is ACTIVE, in ERROR with a reason, or deleted by its owner."""

        def unsettled() -> list[str]:
            return [
                f"{s['id']} {s['status']} {s['OS-EXT-STS:task_state']}"
                for s in self.servers()
                if s["status"] not in ("ACTIVE", "ERROR") or s["OS-EXT-STS:task_state"]
            ]

        self.until("all have settled", lambda: not unsettled(), seconds=CALM)
        servers = {server["id"]: server for server in self.servers()}
        lost = [u for u, fate in accepted.items() if fate == "kept" and u not in servers]
        undead = [u for u in servers if accepted.get(u, "never accepted") not in ("kept", "unsure")]
        self.assertEqual(([], []), (lost, undead))
        active = [one for one in servers.values() if one["status"] == "ACTIVE"]
        for one in servers.values():
            if one["status"] == "ERROR":
                self.assertTrue(one["fault"]["message"], one)
        self.assertEqual(len(servers), self.quota_used())
        self.until(
            "what is allocated is what is there",
            lambda: self.held().get("VCPU", 0) == len(active),
        )
        self.until("there is one guest a server", lambda: self._guests() == len(active))

    def _guests(self) -> int:
        """Return how many guests the hosts say that they have."""
        # The last microversion that counts them.
        answer = self.ask("compute", "GET", "/os-hypervisors/statistics", version="2.87")
        return int(answer.json()["hypervisor_statistics"]["running_vms"])
