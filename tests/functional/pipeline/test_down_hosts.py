"""Servers of hosts that are down: deleted, or copied, without leaving anything with other services."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from kilonova.compute.driver import DiskCopy
from kilonova.compute.fake import FakeDriver
from kilonova.conductor import patience
from kilonova.core.errors import BuildFailed
from kilonova.core.instance import Instance
from kilonova.core.migration import Side, Stage
from tests.functional.peers.cinder import Cinder
from tests.functional.peers.neutron import Neutron
from tests.functional.pipeline.dying_case import DyingCase
from tests.functional.pipeline.moving_case import SMALL
from tests.functional.pipeline.test_shelving import SHELVE, UNSHELVE


class DownHost(DyingCase):
    """A host that is down, and no fence: whoever wants its servers gone need not wait for it."""

    mode = "never"

    def setUp(self) -> None:
        self.patch(patience, "NOT_DONE_BY_SILENT", timedelta(seconds=1))
        super().setUp()
        # Nothing here is to wait for that.
        self.patch(patience, "NOT_DELETED", timedelta(seconds=3600))
        ends, through = self.ends, FakeDriver.snapshot

        @contextmanager
        def snapshot(driver: FakeDriver, instance: Instance) -> Iterator[DiskCopy]:
            if instance.name == "copied":
                ends.wait()
                raise BuildFailed("It came to no end.")
            with through(driver, instance) as copy:
                yield copy

        self.patch(FakeDriver, "snapshot", snapshot)

    def deleted(self, uuid: str) -> None:
        """Delete a server whose host is down, and check that it is gone soon, and nothing is held."""
        answer = self.ask("compute", "DELETE", f"/servers/{uuid}")
        self.assertEqual(204, answer.status_code, answer.text)
        path = f"/servers/{uuid}"
        self.until("it is gone", lambda: self.ask("compute", "GET", path).status_code == 404)
        self.assertEqual({}, self.held())
        self.assertEqual(0, self.quota_used())

    def until_down(self, uuid: str) -> None:
        """Let the host of a server be off, and wait until that is known."""
        self.power_off(self.host(uuid))
        self.until("it is known", lambda: self.server(uuid)["host_status"] != "UP")

    def until_up(self, uuid: str) -> None:
        """Have the host back, and wait until that is known, and its servers run."""
        self.power_on()
        self.until("it is known", lambda: self.server(uuid)["host_status"] == "UP")
        self.until_idle(uuid, "SHUTOFF")

    def until_removed(self) -> None:
        """Have the host back, and wait until it has removed the guest that it had."""
        self.assertEqual(1, len(self.guests()))
        self.power_on()
        self.until("its guest is removed", lambda: self.guests() == {})


class DownHostTest(DownHost):
    """Without other services but the image store."""

    def test_a_server_is_gone_at_once_and_its_guest_when_the_host_is_back(self) -> None:
        uuid = self.active("vm")
        self.power_off(self.host(uuid))
        self.deleted(uuid)
        self.until_removed()

    def test_a_copy_that_broke_off_is_removed_and_the_server_says_why(self) -> None:
        uuid = self.active("copied")
        self.asked_for(uuid, {"createImage": {"name": "copy"}})
        self.until("it is copied", lambda: len(self._images()) == 2)
        task = "OS-EXT-STS:task_state"
        self.until("it has begun", lambda: self.server(uuid)[task] is not None)
        self.power_off(self.host(uuid))
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual(1, len(self._images()))
        self.assertEqual("Error", self.action(uuid, "createImage")["message"])
        self.power_on()
        self.until_idle(uuid, "SHUTOFF")
        self.assertEqual(1, len(self._images()))
        self.gone(uuid)

    def test_a_server_that_is_deleted_while_it_was_copied_leaves_no_image(self) -> None:
        uuid = self.active("copied")
        self.asked_for(uuid, {"createImage": {"name": "copy"}})
        self.until("it is copied", lambda: len(self._images()) == 2)
        self.patch(patience, "NOT_DONE_BY_SILENT", timedelta(seconds=3600))
        self.power_off(self.host(uuid))
        self.deleted(uuid)
        self.assertEqual(1, len(self._images()))
        self.until_removed()

    def _images(self) -> list[Any]:
        found: list[Any] = self.get("image", "/v2/images")["images"]
        return found


class DownHostWithVolumes(DownHost):
    """The same, with volumes."""

    def setUp(self) -> None:
        self.cinder = Cinder()
        self.beside = self.cinder.options
        super().setUp()
        self.addCleanup(self.cinder.stop)

    def test_a_server_is_gone_at_once_and_its_guest_when_the_host_is_back(self) -> None:
        data = self.cinder.add(self.project)
        devices = [
            {
                "source_type": "image",
                "uuid": self.image,
                "destination_type": "volume",
                "boot_index": 0,
                "volume_size": 1,
                "delete_on_termination": True,
            },
            {"source_type": "volume", "uuid": data, "destination_type": "volume"},
        ]
        uuid = self.active("vm", imageRef="", block_device_mapping_v2=devices)
        self.until("it is in use", lambda: self.cinder.status(data) == "in-use")
        self.power_off(self.host(uuid))
        self.deleted(uuid)
        self.assertEqual("available", self.cinder.status(data))
        self.assertEqual({}, self.cinder.attachments)
        self.assertEqual([data], list(self.cinder.volumes), "the other one ends with its server")
        self.until_removed()

    def test_volumes_leave_a_host_that_died_before_it_let_them_go(self) -> None:
        data = self.cinder.add(self.project)
        device = {"source_type": "volume", "uuid": data, "destination_type": "volume"}
        uuid = self.active("vm", block_device_mapping_v2=[device])
        self.kills(Stage.CLEARING, Side.SOURCE)
        self.asked_for(uuid, SHELVE)
        dead = self.until_off()
        self.force(dead, down=True)
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.assertEqual("reserved", self.cinder.status(data))
        self.assertEqual([None], self.cinder.hosts_of(data))
        self.asked_for(uuid, UNSHELVE)
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual([self.host(uuid)], self.cinder.hosts_of(data))
        self.power_on()
        self.force(dead, down=False)
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)
        self.assertEqual("available", self.cinder.status(data))

    def test_volumes_neither_come_nor_go_and_both_do_when_the_host_is_back(self) -> None:
        first, second = self.cinder.add(self.project), self.cinder.add(self.project)
        device = {"source_type": "volume", "uuid": first, "destination_type": "volume"}
        uuid = self.active("vm", block_device_mapping_v2=[device])
        path = f"/servers/{uuid}/os-volume_attachments"
        self.until_down(uuid)
        attach = ("POST", path, {"volumeAttachment": {"volumeId": second}})
        detach = ("DELETE", f"{path}/{first}", None)
        for asked in (attach, detach):
            self.assertEqual(409, self.ask("compute", *asked).status_code, asked)
        self.assertEqual("available", self.cinder.status(second))
        self.assertEqual("in-use", self.cinder.status(first))
        self.until_up(uuid)
        for asked in (attach, detach):
            self.assertIn(self.ask("compute", *asked).status_code, (200, 202), asked)
        self.until("one has come", lambda: self.cinder.status(second) == "in-use")
        self.until("the other is gone", lambda: self.cinder.status(first) == "available")

    def test_a_volume_that_was_asked_for_as_its_host_died_comes_when_that_is_back(self) -> None:
        self.patch(patience, "NOT_ATTACHED", timedelta(seconds=1))
        volume = self.cinder.add(self.project)
        uuid = self.active("vm")
        self.power_off(self.host(uuid))
        body = {"volumeAttachment": {"volumeId": volume}}
        path = f"/servers/{uuid}/os-volume_attachments"
        self.assertIn(self.ask("compute", "POST", path, body).status_code, (200, 202))
        self.assertEqual("reserved", self.cinder.status(volume))
        self.until_up(uuid)
        self.until("it has come", lambda: self.cinder.status(volume) == "in-use")
        self.until("it is told", lambda: self.events(uuid, "attach_volume")[-1][1] == "Success")


class DownHostWithPorts(DownHost):
    """The same, with a network service."""

    def setUp(self) -> None:
        self.neutron = Neutron()
        self.addCleanup(self.neutron.stop)
        self.beside = self.neutron.options
        super().setUp()
        self.neutron.events = self._tell
        self.net = self.neutron.network("net", self.project)

    def test_a_server_is_gone_at_once_and_its_guest_when_the_host_is_back(self) -> None:
        users = self.neutron.port(self.net, self.project)
        uuid = self.active("vm", networks=[{"uuid": self.net}, {"port": users}])
        self.assertEqual(2, len(self.neutron.ports_of(uuid)))
        self.power_off(self.host(uuid))
        self.deleted(uuid)
        self.assertEqual([], self.neutron.ports_of(uuid))
        self.until_removed()

    def test_cards_neither_come_nor_go(self) -> None:
        uuid = self.active("vm", networks=[{"uuid": self.net}])
        (port,) = self.neutron.ports_of(uuid)
        self.until_down(uuid)
        path = f"/servers/{uuid}/os-interface"
        wanted = {"interfaceAttachment": {"net_id": self.net}}
        for method, where, body in (
            ("POST", path, wanted),
            ("DELETE", f"{path}/{port['id']}", None),
        ):
            answer = self.ask("compute", method, where, body)
            self.assertEqual(409, answer.status_code, answer.text)
            self.assertIn("is down", answer.text)
        self.assertEqual([port], self.neutron.ports_of(uuid))

    def _tell(self, events: list[dict[str, Any]]) -> None:
        self.ask("compute", "POST", "/os-server-external-events", {"events": events})
