"""What goes wrong with volumes: nothing stays reserved, and nothing is attached twice."""

from datetime import timedelta

from kilonova.conductor import patience
from kilonova.rpc.messages import ActOnInstance
from tests.functional.pipeline.volume_case import VolumeCase
from tests.functional.pipeline.wire import Wire


class AttachFails(VolumeCase):
    """A host at which volumes fail."""

    script = [
        {"step": "attach-volume", "error": "no slot is left", "times": 1},
        {
            "step": "detach-volume",
            "server": "clings",
            "error": "the guest clings to it",
            "times": 1,
        },
    ]

    def test_a_volume_that_cannot_be_attached_is_free_again(self) -> None:
        uuid, volume = self.active(), self.volume()
        body = {"volumeAttachment": {"volumeId": volume}}
        self.assertEqual(202, self.ask("compute", "POST", self.path(uuid), body).status_code)
        self.until("it failed", lambda: self.attached(uuid) == [])
        self.until_over(uuid, "attach_volume", "Error")
        self.assertEqual("available", self.cinder.status(volume))
        self.assertEqual({}, self.cinder.attachments)
        self.attach(uuid, volume)

    def test_a_volume_that_a_guest_does_not_let_go_stays_attached(self) -> None:
        self.test_a_volume_that_cannot_be_attached_is_free_again()
        uuid, volume = self.active("clings"), self.volume()
        self.attach(uuid, volume)
        answer = self.ask("compute", "DELETE", self.path(uuid, volume))
        self.assertEqual(202, answer.status_code)
        self.until_over(uuid, "detach_volume", "Error")
        self.assertEqual([volume], self.attached(uuid))
        self.assertEqual("in-use", self.cinder.status(volume))


class SpawnFails(VolumeCase):
    """Two hosts, of which the first that is tried cannot spawn."""

    hosts = 2
    script = [
        {"step": "spawn", "error": "no luck", "times": 1, "server": "moves"},
        {"step": "spawn", "error": "no luck", "server": "never"},
    ]

    def test_the_next_host_has_the_volume_and_the_first_has_not(self) -> None:
        uuid = self.from_volume("moves")
        host = self.until_status(uuid, "ACTIVE")["OS-EXT-SRV-ATTR:host"]
        (volume,) = self.cinder.volumes
        self.assertEqual([host], self.cinder.hosts_of(volume))
        self.delete(uuid)
        self.assertEqual({}, self.cinder.volumes)

    def test_a_volume_of_a_server_that_no_host_can_build_is_free(self) -> None:
        data = self.volume()
        device = {"source_type": "volume", "uuid": data, "destination_type": "volume"}
        uuid = self.create("never", block_device_mapping_v2=[device])
        self.until_status(uuid, "ERROR")
        self.until("it is free", lambda: self.cinder.status(data) == "available")
        self.assertEqual({}, self.cinder.attachments)
        self.delete(uuid)


class LostAndDead(VolumeCase):
    """Orders that are lost, hosts that die, and a block storage service that is away."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("NOT_ATTACHED", "NOT_DELETED"):
            self.patch(patience, name, timedelta(seconds=1))

    def test_an_order_that_is_lost_is_given_again(self) -> None:
        uuid, volume = self.active(), self.volume()
        wire = Wire(self)
        wire.lost.add(ActOnInstance.__name__)
        body = {"volumeAttachment": {"volumeId": volume}}
        self.assertEqual(202, self.ask("compute", "POST", self.path(uuid), body).status_code)
        wire.lost.clear()
        self.until("it is", lambda: self.cinder.status(volume) == "in-use")
        self.assertEqual([volume], list(self.guest(uuid).volumes))

    def test_what_cannot_be_let_go_now_is_when_the_service_is_back(self) -> None:
        uuid, volume = self.active(), self.volume()
        self.attach(uuid, volume)
        self.cinder.failures["DELETE attachments"] = 503
        self.ask("compute", "DELETE", self.path(uuid, volume))
        self.until("the guest has none", lambda: self.guest(uuid).volumes == {})
        self.assertEqual([volume], self.attached(uuid))
        self.cinder.failures.clear()
        self.until("it is free", lambda: self.cinder.status(volume) == "available")
        self.until("the server has none", lambda: self.attached(uuid) == [])

    def test_a_host_that_dies_while_a_volume_comes_goes_on_with_it(self) -> None:
        uuid, volume = self.active(), self.volume()
        self.deployment.stop_part("compute")
        body = {"volumeAttachment": {"volumeId": volume}}
        self.assertEqual(202, self.ask("compute", "POST", self.path(uuid), body).status_code)
        self.deployment.start_part("compute")
        # Fake guests end with their host: there is nothing to attach it to.
        self.until("it is free", lambda: self.cinder.status(volume) == "available")
        self.until("the server has none", lambda: self.attached(uuid) == [])
        self.assertEqual({}, self.cinder.attachments)

    def test_a_server_is_deleted_whatever_is_under_way_with_its_volumes(self) -> None:
        uuid, volume = self.active(), self.volume()
        body = {"volumeAttachment": {"volumeId": volume, "delete_on_termination": True}}
        self.ask("compute", "POST", self.path(uuid), body)
        self.delete(uuid)
        self.assertEqual({}, self.cinder.attachments)
        self.assertNotIn(volume, self.cinder.volumes)
        self.assert_nothing_left()

    def test_a_server_whose_host_does_not_come_back_gives_its_volumes_back(self) -> None:
        uuid, stays, ends = self.active(), self.volume(), self.volume()
        self.attach(uuid, stays)
        self.attach(uuid, ends, delete_on_termination=True)
        self.deployment.stop_part("compute")
        (service,) = (
            one["id"]
            for one in self.get("compute", "/os-services")["services"]
            if one["binary"] == "nova-compute"
        )
        self.ask("compute", "PUT", f"/os-services/{service}", {"forced_down": True})
        self.cinder.failures["DELETE attachments"] = 503
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.until("the storage was asked", lambda: self.cinder.asked[-1][0] == "DELETE")
        # It is not gone before its volumes are free.
        self.assertEqual(200, self.ask("compute", "GET", f"/servers/{uuid}").status_code)
        self.assertEqual("in-use", self.cinder.status(stays))
        self.cinder.failures.clear()
        self.until("it is gone", lambda: not self.servers())
        self.assertEqual([stays], list(self.cinder.volumes))
        self.assertEqual("available", self.cinder.status(stays))
        self.assertEqual({}, self.cinder.attachments)
        self.assert_nothing_left()

    def test_a_shelved_server_is_gone_when_the_storage_hears_of_it(self) -> None:
        uuid, volume = self.active(), self.volume()
        self.attach(uuid, volume)
        self.assertEqual(202, self.act(uuid, {"shelve": None}).status_code)
        self.until_status(uuid, "SHELVED_OFFLOADED")
        self.cinder.stop()
        self.assertEqual(204, self.ask("compute", "DELETE", f"/servers/{uuid}").status_code)
        self.assertEqual([volume], self.attached(uuid))
        self.cinder.come()
        self.until("it is gone", lambda: not self.servers())
        self.assertEqual("available", self.cinder.status(volume))
        self.assertEqual({}, self.cinder.attachments)
