"""Shares of servers, from the API to a fake host, with a share service beside it."""

from tests.functional.pipeline.share_case import VERSION, ShareCase

_REFUSED = {
    "suspend": None,
    "rebuild": {"imageRef": "70a599e0-31e7-49b7-b260-868f441e862b"},
    "resize": {"flavorRef": "2"},
    "migrate": None,
    "os-migrateLive": {"host": None, "block_migration": "auto"},
    "shelve": None,
}


class AttachTest(ShareCase):
    """Shares come to servers that are shut down, and go again."""

    def test_a_share_is_attached_seen_by_the_guest_and_detached(self) -> None:
        uuid, share = self.stopped(), self.share()
        told = self.attach(uuid, share)
        self.assertEqual(("attaching", share), (told["status"], told["tag"]))
        self.assertEqual(f"192.0.2.1:/exports/{share}", told["export_location"])
        self.assertEqual({"ip 127.0.0.1": "active"}, self.manila.let_in(share))
        self.assertEqual(set(), self.mounted())
        self.do(uuid, "os-start", "ACTIVE")
        self.assertEqual({share: "active"}, self.of(uuid))
        self.assertEqual({share}, self.mounted())
        self.assertEqual({share: share}, self.guest_has(uuid))
        self.do(uuid, "os-stop", "SHUTOFF")
        self.assertEqual({share: "inactive"}, self.of(uuid))
        self.assertEqual(set(), self.mounted())
        self.detach(uuid, share)
        self.assertEqual({}, self.guest_has(uuid))
        self.assertEqual({}, {k: v for k, v in self.manila.let_in(share).items() if v == "active"})
        for action, event in (("attach_share", "allow"), ("detach_share", "deny")):
            self.assertEqual(
                [(f"compute_{event}_share", "Success")], self.events(uuid, action), action
            )

    def test_one_is_shown_by_itself_with_more_for_administrators(self) -> None:
        uuid, share = self.stopped(), self.share()
        told = self.attach(uuid, share, tag="data")
        answer = self.ask("compute", "GET", self.path(uuid, share), version=VERSION)
        self.assertEqual(told | {"status": "inactive"}, answer.json()["share"])
        self.assertEqual("data", told["tag"])

    def test_the_users_own_token_is_what_a_share_is_looked_at_with(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.attach(uuid, share)
        user, service = f"admin:{self.project}", "admin:service"
        asked = [(what, token) for _, what, token in self.manila.asked]
        self.assertEqual([("shares", user)] * 2, asked[:2])
        self.assertIn(("allow_access", service), asked)
        self.assertEqual({service}, {token for _, token in asked[2:]})

    def test_a_host_mounts_a_share_once_for_all_guests_that_have_it(self) -> None:
        share = self.share()
        one, two = self.stopped("one"), self.stopped("two")
        for uuid in (one, two):
            self.attach(uuid, share)
            self.do(uuid, "os-start", "ACTIVE")
        self.assertEqual(1, len(self.manila.let_in(share)))
        self.do(one, "os-stop", "SHUTOFF")
        self.assertEqual({share}, self.mounted())
        self.detach(one, share)
        self.assertEqual({"ip 127.0.0.1": "active"}, self.manila.let_in(share))
        self.delete(two)
        self.assertEqual(set(), self.mounted())
        self.assertNotIn("active", self.manila.let_in(share).values())

    def test_a_share_of_ceph_is_mounted_by_the_hosts_own_identity(self) -> None:
        uuid, share = self.stopped(), self.share(share_proto="CEPHFS")
        self.attach(uuid, share)
        self.do(uuid, "os-start", "ACTIVE")
        (identity,) = self.driver()._mounts.values()
        self.assertRegex(identity, r"^kilonova-[0-9a-f]{32}$")
        self.assertEqual({f"cephx {identity}": "active"}, self.manila.let_in(share))

    def test_what_a_server_cannot_have_is_refused(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.attach(uuid, share, tag="data")
        for why, words, status, more in (
            ("twice", "associated", 409, {"share": share}),
            ("a tag twice", "associated", 409, {"share": self.share(), "tag": "data"}),
            ("not ready", "'creating'", 409, {"share": self.share(status="creating")}),
            ("nowhere", "missing", 409, {"share": self.share(exports=[])}),
            ("other protocol", "CIFS", 409, {"share": self.share(share_proto="CIFS")}),
            (
                "none",
                "could not be found",
                404,
                {"share": "f" * 8 + "-0000-4000-8000-000000000000"},
            ),
            ("bad tag", "tag", 400, {"share": self.share(), "tag": "a b"}),
            ("long tag", "tag", 400, {"share": self.share(), "tag": "a" * 37}),
        ):
            answer = self.ask_to_attach(uuid, more.pop("share"), **more)
            self.assertEqual(status, answer.status_code, f"{why}: {answer.text}")
            self.assertIn(words, answer.text, why)
        self.assertEqual({share: "inactive"}, self.of(uuid))

    def test_only_a_server_that_is_shut_down_gets_one_or_loses_it(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.attach(uuid, share)
        self.do(uuid, "os-start", "ACTIVE")
        self.assertEqual(409, self.ask_to_attach(uuid, self.share()).status_code)
        answer = self.ask("compute", "DELETE", self.path(uuid, share), version=VERSION)
        self.assertEqual(409, answer.status_code, answer.text)
        self.assertEqual({share: "active"}, self.of(uuid))

    def test_a_server_with_shares_does_not_do_what_shares_do_not_bear(self) -> None:
        uuid, share = self.stopped(), self.share()
        self.attach(uuid, share)
        self.do(uuid, "os-start", "ACTIVE")
        for action, details in _REFUSED.items():
            answer = self.act(uuid, {action: details})
            self.assertEqual(409, answer.status_code, f"{action}: {answer.text}")
            self.assertIn("shares", answer.text, action)
        self.do(uuid, "reboot", "ACTIVE", {"type": "HARD"})
        self.until("it is up", lambda: self.server(uuid)["OS-EXT-STS:task_state"] is None)
        self.assertEqual({share}, self.mounted())
        self.assertEqual({share: share}, self.guest_has(uuid))

    def test_a_service_that_knows_no_locks_lets_in_without(self) -> None:
        self.manila._newest = (2, 60)
        uuid, share = self.stopped(), self.share()
        self.attach(uuid, share)
        (rule,) = self.manila.rules.values()
        self.assertNotIn("lock_deletion", rule)
        self.detach(uuid, share)
