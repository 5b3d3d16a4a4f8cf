"""``kilonova converge --once``: what differs is shown, and mended only if that is wanted."""

import requests

from kilonova.cli import converge
from kilonova.conductor.converger import Outcome
from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.ids import InstanceUuid
from kilonova.db import build_requests, instances
from kilonova.db.api_schema import BuildRequest
from kilonova.db.engine import Database
from kilonova.db.statements import table_of
from tests.functional.db import servers
from tests.functional.pipeline.case import PipelineCase

UNKNOWN = "cccccccc-0000-4000-8000-000000000001"
FOREIGN = "cccccccc-0000-4000-8000-000000000002"


class ConvergeCommandTest(PipelineCase):
    """A deployment whose own converger makes no round; two servers that are ACTIVE."""

    hosts = 2
    more = "[DEFAULT]\nconverge_interval = 3600\n"

    def setUp(self) -> None:
        super().setUp()
        self.uuids = [self.create(f"vm-{number}") for number in range(2)]
        for uuid in self.uuids:
            self.until_status(uuid, "ACTIVE")
        # Nobody has mapped the hosts yet.
        self.assertEqual(["map host"] * 2, [one.repair for one in self.converge()])

    def converge(self, *, dry_run: bool = False) -> list[Outcome]:
        """Run the command."""
        file = str(self.state / "kilonova.conf")
        conf = settings.read_config(["--config-file", file], prog="kilonova")
        return converge.converge(conf, dry_run=dry_run)

    def claims(self) -> dict[str, dict[str, int]]:
        """Return what each consumer holds."""
        found: dict[str, dict[str, int]] = {}
        for provider in self.get("placement", "/resource_providers")["resource_providers"]:
            path = f"/resource_providers/{provider['uuid']}/allocations"
            for uuid, held in self.get("placement", path)["allocations"].items():
                found[uuid] = held["resources"]
        return found

    def claim(self, consumer: str, kind: str, *, like: str) -> None:
        """Let a consumer hold what a server holds, on its host."""
        held = self.get("placement", f"/allocations/{like}")["allocations"]
        body = {
            "allocations": {uuid: {"resources": one["resources"]} for uuid, one in held.items()},
            "project_id": self.project,
            "user_id": "admin",
            "consumer_generation": None,
            "consumer_type": kind,
        }
        url = self.deployment.options.urls["placement"] + f"/allocations/{consumer}"
        headers = {"X-Auth-Token": "admin", "OpenStack-API-Version": "placement 1.38"}
        answer = requests.put(url, json=body, headers=headers, timeout=10)
        self.assertEqual(204, answer.status_code, answer.text)

    def test_where_nothing_differs_it_says_so(self) -> None:
        outcomes = self.converge()
        self.assertEqual([], outcomes)
        self.assertEqual("0 differ, 0 mended, 0 failed\n", converge.table(outcomes))
        self.assertEqual(0, converge.status(outcomes))

    def test_claims_are_mended_both_ways_and_those_of_others_left_alone(self) -> None:
        good = self.claims()
        lacking, kept = self.uuids
        self.claim(UNKNOWN, "INSTANCE", like=kept)
        self.claim(FOREIGN, "MIGRATION", like=kept)
        foreign = {FOREIGN: self.claims()[FOREIGN]}
        self.ask("placement", "DELETE", f"/allocations/{lacking}")
        broken = self.claims()
        found = self.converge(dry_run=True)
        self.assertEqual({UNKNOWN, lacking}, {one.subject for one in found})
        self.assertEqual((1, broken), (converge.status(found), self.claims()))
        self.assertIn("holds nothing on its host", converge.table(found))
        mended = self.converge()
        self.assertEqual({UNKNOWN, lacking}, {one.subject for one in mended})
        self.assertEqual((0, good | foreign), (converge.status(mended), self.claims()))
        self.assertEqual([], self.converge())

    def test_a_claim_on_the_wrong_host_goes_to_the_right_one(self) -> None:
        good = [self.get("placement", f"/allocations/{uuid}") for uuid in self.uuids]
        one = self.uuids[0]
        (here,) = good[0]["allocations"]
        providers = self.get("placement", "/resource_providers")["resource_providers"]
        (there,) = [p["uuid"] for p in providers if p["uuid"] != here]
        body = {
            "allocations": {there: {"resources": good[0]["allocations"][here]["resources"]}},
            "project_id": self.project,
            "user_id": "admin",
            "consumer_generation": good[0]["consumer_generation"],
        }
        answer = self.ask("placement", "PUT", f"/allocations/{one}", body)
        self.assertEqual(204, answer.status_code, answer.text)
        self.assertEqual([one], sorted({o.subject for o in self.converge()}))
        now = self.get("placement", f"/allocations/{one}")["allocations"]
        self.assertEqual({here}, set(now))

    def test_a_claim_of_the_wrong_size_gets_the_right_one(self) -> None:
        good = self.claims()
        one = self.uuids[0]
        held = self.get("placement", f"/allocations/{one}")
        (here,) = held["allocations"]
        body = {
            "allocations": {here: {"resources": {"MEMORY_MB": 64, "VCPU": 1, "DISK_GB": 1}}},
            "project_id": self.project,
            "user_id": "admin",
            "consumer_generation": held["consumer_generation"],
        }
        answer = self.ask("placement", "PUT", f"/allocations/{one}", body)
        self.assertEqual(204, answer.status_code, answer.text)
        mended = self.converge()
        self.assertEqual([one], [o.subject for o in mended])
        self.assertIn("holds 64 MEMORY_MB and takes 128", converge.table(mended))
        self.assertEqual(good, self.claims())

    def test_records_that_point_nowhere_are_removed_and_give_back_their_quota(self) -> None:
        conf = settings.read_config(["--config-file", str(self.state / "kilonova.conf")], prog="k")
        api_db = Database(conf.api_database.connection)
        self.deployment.stop_part("conductor")
        uuid = InstanceUuid(self.create("vm"))
        pending = table_of(BuildRequest)
        api_db.write(lambda c: c.execute(pending.delete()))
        self.assertEqual(3, self.quota_used())
        # A conductor that stood still, and wrote it after its owner had taken it back.
        late = servers.placed(
            uuid=uuid, created_at=utcnow(), host=None, node=None, project_id=self.project
        )
        cell0 = Database(f"sqlite:///{self.state}/cell0.db")
        instances.insert(cell0, [late])
        outcomes = self.converge()
        self.assertEqual(
            {("mapping", uuid), ("stray", uuid)}, {(o.repair, o.subject) for o in outcomes}
        )
        self.assertEqual(2, self.quota_used())
        self.assertIsNone(instances.get(cell0, uuid))
        self.assertFalse(build_requests.exists(api_db, uuid))

    def test_what_cannot_be_looked_at_is_told_and_the_rest_is_done(self) -> None:
        self.deployment.stop_part("placement")
        outcomes = self.converge()
        self.assertEqual(["disabled host", "allocation"], [one.repair for one in outcomes])
        self.assertEqual(2, converge.status(outcomes))
        self.assertIn("FAILED: Placement does not answer", converge.table(outcomes))

    def test_what_an_earlier_resize_left_to_be_counted_does_not_count_for_a_later_one(self) -> None:
        large = {"id": "large", "name": "large", "vcpus": 2, "ram": 256, "disk": 2}
        self.assertEqual(
            200, self.ask("compute", "POST", "/flavors", {"flavor": large}).status_code
        )
        uuid = self.uuids[0]
        for answer, status in (({"revertResize": None}, 202), ({"confirmResize": None}, 204)):
            self.assertEqual(202, self.act(uuid, {"resize": {"flavorRef": "large"}}).status_code)
            self.until_status(uuid, "VERIFY_RESIZE")
            self.assertEqual(3, self._cores())
            # That of the resize before is over, and was not heard of yet.
            self.converge()
            self.assertEqual(3, self._cores())
            self.assertEqual(status, self.act(uuid, answer).status_code)
            self.until_status(uuid, "ACTIVE")
        self.assertEqual(202, self.act(uuid, {"resize": {"flavorRef": "1"}}).status_code)
        self.until_status(uuid, "VERIFY_RESIZE")
        self.converge()
        self.assertEqual(3, self._cores())
        self.assertEqual(202, self.act(uuid, {"revertResize": None}).status_code)
        self.until_status(uuid, "ACTIVE")
        self.converge()
        self.assertEqual(3, self._cores())

    def _cores(self) -> int:
        limits = self.get("compute", "/limits")["limits"]["absolute"]
        return int(limits["totalCoresUsed"])
