"""Servers that move while parts of a deployment go away and messages are lost or come twice.

``KILONOVA_FAULT_SEED`` replays the faults of one seed; how threads fall between them is new each time.
"""

import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import testscenarios
from testtools.content import text_content

from tests.faults import storm
from tests.functional.pipeline.moving_case import MovingCase

load_tests = testscenarios.load_tests_apply_scenarios

SEEDS = (
    [int(os.environ["KILONOVA_FAULT_SEED"])] if "KILONOVA_FAULT_SEED" in os.environ else [1, 2, 3]
)
SECONDS = 30.0
LEAST, LONGER = 10, 120.0
"""Moves, and seconds that a storm goes on for more than those."""
CALM = 90.0
"""Seconds within which everything must have settled."""

_RESTS = ("ACTIVE", "SHUTOFF", "ERROR", "VERIFY_RESIZE", "SHELVED_OFFLOADED")
_MOVES: tuple[dict[str, Any], ...] = (
    {"resize": {"flavorRef": "large"}},
    {"resize": {"flavorRef": "1"}},
    {"migrate": None},
    {"os-migrateLive": {"host": None, "block_migration": "auto"}},
    {"shelve": None},
)
_ASKED: dict[str, tuple[dict[str, Any], ...]] = {
    "VERIFY_RESIZE": ({"confirmResize": None}, {"revertResize": None}),
    "SHELVED_OFFLOADED": ({"unshelve": None},),
}


class MovingStormTest(MovingCase):
    """People who let servers move all the time, and delete them."""

    scenarios = [(f"seed {seed}", {"seed": seed}) for seed in SEEDS]
    seed = 1
    more = "[quota]\ninstances = 30\ncores = -1\nram = -1\n"
    script: list[dict[str, Any]] = [
        {"step": "live-migrate", "seconds": 0.2},
        {"step": "receive", "server": "b", "error": "it does not fit"},
        {"step": "prepare-move", "server": "c", "times": 3, "error": "not here"},
    ]

    def setUp(self) -> None:
        super().setUp()
        for name in ("StartMove", "MoveInstance"):
            self.patch(storm, "LOST", (*storm.LOST, name))
            self.patch(storm, "REPEATED", (*storm.REPEATED, name))

    def test_every_server_is_at_one_place_with_one_claim_and_one_guest(self) -> None:
        blown = storm.Storm(self.seed, self.deployment, self.wire, self.outage)
        self.addDetail("seed", text_content(str(self.seed)))
        servers = [self.active(name) for name in "aaabbccddd"]
        over = threading.Event()
        with ThreadPoolExecutor(3) as people:
            lives = [
                people.submit(self._live, self.seed * 10 + n, servers[n::3], over) for n in range(3)
            ]
            try:
                blown.blow(SECONDS)
                # A busy machine moves less in a time.
                end = time.monotonic() + LONGER
                while self._moves().total() <= LEAST and time.monotonic() < end:
                    blown.blow(SECONDS / 6)
            finally:
                over.set()
            for life in lives:
                life.result()
        self.addDetail("faults", text_content("\n".join(blown.told)))
        self.until("all have come to rest", self._all_rest, seconds=CALM)
        self.until("guests are where servers are", self._guests_agree, seconds=CALM)
        self.until("claims are what servers are", self._claims_agree, seconds=CALM)
        moves = self._moves()
        self.addDetail("moves", text_content(str(dict(moves))))
        self.assertLess(LEAST, moves.total(), "too little moved to prove anything")
        for server in self.servers():
            self.delete(server["id"])
        self.until("no guest is left", lambda: self.guests() == {})
        self.assert_nothing_left()
        absolute = self.get("compute", "/limits")["limits"]["absolute"]
        self.assertEqual((0, 0), (absolute["totalCoresUsed"], absolute["totalRAMUsed"]))

    def _moves(self) -> Counter[str]:
        """Return how many moves there were, by what became of them."""
        answer = self.ask("compute", "GET", "/os-migrations")
        found = answer.json()["migrations"] if answer.status_code == 200 else ()
        return Counter(one["status"] for one in found)

    def _live(self, seed: int, mine: list[str], over: threading.Event) -> None:
        """Ask for something of one of the servers, again and again; now and then delete one."""
        chance = random.Random(seed)
        while not over.is_set():
            uuid = chance.choice(mine)
            shown = self.ask("compute", "GET", f"/servers/{uuid}")
            status = shown.json()["server"]["status"] if shown.status_code == 200 else ""
            if chance.random() < 0.01:
                answer = self.ask("compute", "DELETE", f"/servers/{uuid}")
            else:
                answer = self.act(uuid, chance.choice(_ASKED.get(status, _MOVES)))
            self.assertIn(answer.status_code, (202, 204, 400, 404, 409, 503), answer.text)
            time.sleep(chance.uniform(0.0, 0.1))

    def _all_rest(self) -> bool:
        return all(
            server["status"] in _RESTS and server["OS-EXT-STS:task_state"] is None
            for server in self.servers()
        )

    def _guests_agree(self) -> bool:
        """Whether there is one guest of each server, on its host; and a second of one that may return."""
        guests = self.guests()
        wrong: list[object] = []
        for server in self.servers():
            found = guests.pop(server["id"], [])
            here = [one for one in found if one.startswith(f"{server['OS-EXT-SRV-ATTR:host']} ")]
            running = [one for one in found if one.endswith("RUNNING")]
            may_be = {"VERIFY_RESIZE": 2, "SHELVED_OFFLOADED": 0}.get(server["status"], 1)
            least = 0 if server["status"] in ("SHELVED_OFFLOADED", "ERROR") else 1
            if len(found) > may_be or len(here) < least or len(running) > 1:
                wrong.append((found, server, self.migrations(server["id"])))
        if wrong or guests:
            self.addDetail("guests", text_content(f"{wrong}\n{guests}"))
        return not (wrong or guests)

    def _claims_agree(self) -> bool:
        """Whether each server holds what it takes, those that may return also by their migrations, and
        nobody else anything."""
        expected: dict[str, int] = {}
        for server in self.servers():
            if server["status"] == "VERIFY_RESIZE":
                (move,) = [
                    one for one in self.migrations(server["id"]) if one["status"] == "finished"
                ]
                expected[move["uuid"]] = self._cores(move["old_instance_type_id"])
            if server["status"] != "SHELVED_OFFLOADED" and server["OS-EXT-SRV-ATTR:host"]:
                expected[server["id"]] = server["flavor"]["vcpus"]
        held = self._held_by_all()
        if held != expected:
            told = {server["id"]: server for server in self.servers()}
            self.addDetail("claims", text_content(f"{held}\n{expected}\n{told}"))
        return held == expected

    def _held_by_all(self) -> dict[str, int]:
        """Return the cores that each consumer holds."""
        held: dict[str, int] = {}
        for provider in self.get("placement", "/resource_providers")["resource_providers"]:
            path = f"/resource_providers/{provider['uuid']}/allocations"
            for consumer, allocation in self.get("placement", path)["allocations"].items():
                held[consumer] = held.get(consumer, 0) + allocation["resources"]["VCPU"]
        return held

    def _cores(self, number: int) -> int:
        """Return the cores of a flavor by its number: the larger one was made last."""
        return 1 if number == 1 else 2
