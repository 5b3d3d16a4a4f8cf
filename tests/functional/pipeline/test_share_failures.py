"""Shares that cannot be had, orders that are lost, hosts that die, and a share service that is away."""

from datetime import timedelta
from typing import Any

from kilonova.conductor import patience
from kilonova.rpc.messages import ActOnInstance
from tests.functional.pipeline.host_failure_case import FencedCase
from tests.functional.pipeline.share_case import VERSION, ShareCase
from tests.functional.pipeline.wire import Wire


class BrokenShares(ShareCase):
    """A host that can mount nothing the first time, and let nothing go the second."""

    script = [
        {"step": "mount-share", "times": 1, "error": "mount.nfs: access denied"},
        {"step": "unmount-share", "server": "bbbb", "times": 1, "error": "target is busy"},
    ]

    def test_a_server_whose_share_cannot_be_mounted_is_started_by_a_hard_reboot(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.attach(uuid, share)
        self.assertEqual(202, self.act(uuid, {"os-start": None}).status_code)
        fault = self.until_status(uuid, "ERROR")["fault"]
        self.assertEqual(f"Share {share} cannot be mounted.", fault["message"])
        self.assertEqual({share: "error"}, self.of(uuid))
        self.assertEqual(set(), self.mounted())
        self.do(uuid, "reboot", "ACTIVE", {"type": "HARD"})
        self.assertEqual({share: "active"}, self.of(uuid))
        self.assertEqual({share: share}, self.guest_has(uuid))

    def test_one_that_fails_can_be_taken_from_its_server(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.attach(uuid, share)
        self.act(uuid, {"os-start": None})
        self.until_status(uuid, "ERROR")
        self.detach(uuid, share)
        self.do(uuid, "reboot", "ACTIVE", {"type": "HARD"})
        self.assertEqual({}, self.guest_has(uuid))

    def test_a_share_that_is_not_let_go_says_so_and_the_server_stops(self) -> None:
        uuid, share = self.stopped(), self.share(id="bbbbbbbb-0000-4000-8000-000000000001")
        first = self.share()
        self.attach(uuid, first)
        self.act(uuid, {"os-start": None})
        self.until_status(uuid, "ERROR")
        self.detach(uuid, first)
        self.do(uuid, "reboot", "ACTIVE", {"type": "HARD"})
        self.do(uuid, "os-stop", "SHUTOFF")
        self.attach(uuid, share)
        self.do(uuid, "os-start", "ACTIVE")
        self.do(uuid, "os-stop", "SHUTOFF")
        self.assertEqual({share: "error"}, self.of(uuid))
        self.do(uuid, "os-start", "ACTIVE")
        self.assertEqual({share: "active"}, self.of(uuid))


class ServiceFails(ShareCase):
    """A share service that refuses, or is away."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("NOT_ATTACHED", "NOT_DELETED"):
            self.patch(patience, name, timedelta(seconds=1))

    def test_a_share_that_lets_nobody_in_is_in_error_and_can_be_let_go(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.manila.lets_in = "error"
        self.attach(uuid, share, "error")
        self.assertEqual([("compute_allow_share", "Error")], self.events(uuid, "attach_share"))
        self.detach(uuid, share)
        self.assertEqual({}, self.guest_has(uuid))
        self.do(uuid, "os-start", "ACTIVE")

    def test_what_is_being_taken_away_is_waited_for_when_it_comes_again(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.manila.lets_out = False
        self.attach(uuid, share)
        self.detach(uuid, share)
        self.assertEqual({"ip 127.0.0.1": "denying"}, self.manila.let_in(share))
        self.assertEqual(201, self.ask_to_attach(uuid, share).status_code)
        self.until("it is looked at", lambda: self.manila.asked[-1][1] == "share-access-rules")
        self.assertEqual({share: "attaching"}, self.of(uuid))
        self.manila.lets_out = True
        self.until("it comes", lambda: self.of(uuid) == {share: "inactive"})
        self.assertEqual({"ip 127.0.0.1": "active"}, self.manila.let_in(share))

    def test_nothing_but_these_routes_needs_it(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.manila.stop()
        answer = self.ask_to_attach(uuid, share)
        self.assertEqual(503, answer.status_code, answer.text)
        self.assertIn("share service does not answer", answer.text)
        self.assertEqual({}, self.of(uuid))
        self.do(uuid, "os-start", "ACTIVE")
        self.delete(uuid)

    def test_a_guest_that_runs_keeps_its_shares_while_the_service_is_away(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.attach(uuid, share)
        self.do(uuid, "os-start", "ACTIVE")
        self.manila.stop()
        self.do(uuid, "reboot", "ACTIVE", {"type": "HARD"})
        self.until("it is up", lambda: self.server(uuid)["OS-EXT-STS:task_state"] is None)
        self.assertEqual({share: "active"}, self.of(uuid))
        self.assertEqual({share}, self.mounted())

    def test_what_cannot_be_let_go_now_is_when_the_service_is_back(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.attach(uuid, share)
        self.manila.failures["deny_access"] = 503
        self.ask("compute", "DELETE", self.path(uuid, share), version=VERSION)
        self.until("the guest has none", lambda: self.guest_has(uuid) == {})
        self.assertEqual({share: "detaching"}, self.of(uuid))
        self.manila.failures.clear()
        self.until("the server has none", lambda: self.of(uuid) == {})
        self.assertNotIn("active", self.manila.let_in(share).values())

    def test_an_order_that_is_lost_is_given_again(self) -> None:
        uuid, share = self.stopped(), self.share()
        wire = Wire(self)
        wire.lost.add(ActOnInstance.__name__)
        self.assertEqual(201, self.ask_to_attach(uuid, share).status_code)
        wire.lost.clear()
        self.until("it comes", lambda: self.of(uuid) == {share: "inactive"})
        self.assertEqual({share: share}, self.guest_has(uuid))

    def test_a_server_is_deleted_whatever_is_under_way_with_its_shares(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.ask_to_attach(uuid, share)
        self.delete(uuid)
        self.assertNotIn("active", self.manila.let_in(share).values())
        self.assert_nothing_left()


class DeadHost(ShareCase):
    """A host that does not come back."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(patience, "NOT_DELETED", timedelta(seconds=1))

    def lose_host(self) -> None:
        """Let the host be away, as an operator says."""
        self.deployment.stop_part("compute")
        (service,) = (
            one["id"]
            for one in self.get("compute", "/os-services")["services"]
            if one["binary"] == "nova-compute"
        )
        self.ask("compute", "PUT", f"/os-services/{service}", {"forced_down": True})

    def test_its_servers_let_their_shares_go_when_they_are_deleted(self) -> None:
        one, two, share = self.stopped("one"), self.stopped("two"), self.share()
        for uuid in (one, two):
            self.attach(uuid, share)
        self.lose_host()
        self.delete(one)
        # The other has it still, on the same host.
        self.assertEqual({"ip 127.0.0.1": "active"}, self.manila.let_in(share))
        self.manila.failures["deny_access"] = 503
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{two}").status_code)
        self.until(
            "the service was asked",
            lambda: any(what == "deny_access" for _, what, _ in self.manila.asked),
        )
        self.assertEqual(200, self.ask("compute", "GET", f"/servers/{two}").status_code)
        self.manila.failures.clear()
        self.until("it is gone", lambda: not self.servers())
        self.assertNotIn("active", self.manila.let_in(share).values())
        self.assert_nothing_left()


class EvacuationTest(FencedCase, ShareCase):
    """A host that dies, and leaves its servers to another."""

    def test_a_server_takes_its_shares_along_and_its_old_host_is_let_in_no_more(self) -> None:
        uuid, share = self.stopped(), self.share(share_proto="CEPHFS")
        self.attach(uuid, share)
        self.do(uuid, "os-start", "ACTIVE")
        dead = self.host(uuid)
        (before,) = self.manila.let_in(share)
        died = self.dies(dead)
        self.elsewhere(uuid, dead)
        self.assertEqual({share: "active"}, self.of(uuid))
        services: Any = self.deployment.part("compute")
        (now,) = [one for one in services._services if one._host == self.host(uuid)]
        self.assertEqual({share}, now._driver.mounted_shares())
        self.assertEqual(2, len(self.manila.let_in(share)))
        self.returns(died)
        self.until("it lets go", lambda: died._driver.mounted_shares() == frozenset())
        self.until("it is let in no more", lambda: self.manila.let_in(share)[before] != "active")
        self.assertEqual({share: "active"}, self.of(uuid))
        self.delete(uuid)
        self.assertNotIn("active", self.manila.let_in(share).values())


class ByItself(ShareCase):
    """A guest that shuts itself down."""

    script: list[dict[str, Any]] = [{"step": "power-off", "server": "tired", "seconds": 2}]

    def test_nothing_stays_mounted_for_it(self) -> None:
        share = self.share()
        uuid = self.create("tired")
        self.until_status(uuid, "SHUTOFF")
        self.attach(uuid, share)
        self.do(uuid, "os-start", "ACTIVE")
        self.assertEqual({share}, self.mounted())
        self.driver()._power_off(uuid)
        self.until_status(uuid, "SHUTOFF")
        self.assertEqual({share: "inactive"}, self.of(uuid))
        self.until("it is let go", lambda: self.mounted() == set())
