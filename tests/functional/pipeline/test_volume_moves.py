"""Volumes go where their servers go."""

from typing import Any

from tests.functional.pipeline.volume_case import VolumeCase


class MovesTest(VolumeCase):
    """Two hosts, and a server that boots from a volume and has another."""

    hosts = 2

    def setUp(self) -> None:
        super().setUp()
        self.uuid = self.from_volume()
        self.until_status(self.uuid, "ACTIVE")
        self.data = self.volume()
        self.attach(self.uuid, self.data)
        self.settled()

    def settled(self) -> None:
        """Assert that each volume is attached once, where the server is, and the guest has it."""

        def there() -> bool:
            server = self.server(self.uuid)
            host = server["OS-EXT-SRV-ATTR:host"]
            return [self.cinder.hosts_of(one) for one in self.cinder.volumes] == [[host], [host]]

        self.until("the volumes are where the server is", there)
        self.assertEqual({"in-use"}, {one["status"] for one in self.cinder.volumes.values()})
        guests = [guest for n in (0, 1) if (guest := self.guest(self.uuid, n)) is not None]
        self.assertEqual([set(self.cinder.volumes)], [set(guest.volumes) for guest in guests])

    def does(self, action: dict[str, Any], status: str) -> None:
        """Ask for an action and wait for what it makes of the server."""
        answer = self.act(self.uuid, action)
        self.assertLess(answer.status_code, 300, answer.text)
        self.until_status(self.uuid, status)

    def host(self) -> str:
        """Return the server's host."""
        return str(self.server(self.uuid)["OS-EXT-SRV-ATTR:host"])

    def test_a_server_that_migrates_takes_them_along(self) -> None:
        before = self.host()
        self.does({"migrate": None}, "VERIFY_RESIZE")
        self.does({"confirmResize": None}, "ACTIVE")
        self.assertNotEqual(before, self.host())
        self.settled()

    def test_a_server_that_comes_back_has_them_again(self) -> None:
        before = self.host()
        self.does({"migrate": None}, "VERIFY_RESIZE")
        self.does({"revertResize": None}, "ACTIVE")
        self.assertEqual(before, self.host())
        self.settled()

    def test_a_server_that_migrates_while_it_runs_takes_them_along(self) -> None:
        before = self.host()
        self.does({"os-migrateLive": {"host": None, "block_migration": "auto"}}, "ACTIVE")
        self.until("it is elsewhere", lambda: self.host() != before)
        self.settled()

    def test_a_shelved_server_keeps_them_reserved_and_has_new_ones_in_use(self) -> None:
        self.does({"shelve": None}, "SHELVED_OFFLOADED")
        self.until(
            "they are reserved",
            lambda: {one["status"] for one in self.cinder.volumes.values()} == {"reserved"},
        )
        self.assertEqual({None}, {h for v in self.cinder.volumes for h in self.cinder.hosts_of(v)})
        self.detach(self.uuid, self.data)
        self.assertEqual(
            202,
            self.ask(
                "compute",
                "POST",
                self.path(self.uuid),
                {"volumeAttachment": {"volumeId": self.data}},
            ).status_code,
        )
        self.assertEqual("in-use", self.cinder.status(self.data))
        self.does({"unshelve": None}, "ACTIVE")
        self.settled()

    def test_a_deleted_server_that_waits_to_be_confirmed_leaves_none(self) -> None:
        self.does({"migrate": None}, "VERIFY_RESIZE")
        self.delete(self.uuid)
        self.assertEqual({}, self.cinder.attachments)
        self.assertEqual([self.data], list(self.cinder.volumes))
        self.assert_nothing_left()
