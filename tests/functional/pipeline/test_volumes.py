"""Volumes come to servers, go from them, and end with them, through the whole pipeline."""

from tests.functional.pipeline.volume_case import VolumeCase


class AttachTest(VolumeCase):
    """A server that runs, and volumes that come and go."""

    def test_a_volume_is_attached_and_detached(self) -> None:
        uuid, volume = self.active(), self.volume()
        answer = self.attach(uuid, volume, tag="data")
        self.assertEqual(
            {"id": volume, "serverId": uuid, "volumeId": volume, "device": "/dev/vdb"}
            | {"tag": "data", "delete_on_termination": False},
            answer,
        )
        self.assertEqual([volume], self.attached(uuid))
        self.assertEqual([volume], list(self.guest(uuid).volumes))
        shown = self.get("compute", self.path(uuid, volume))["volumeAttachment"]
        (attachment,) = self.cinder.attachments
        self.assertEqual(attachment, shown["attachment_id"])
        self.assertEqual(("/dev/vdb", "data"), (shown["device"], shown["tag"]))
        self.assertEqual([("compute_attach_volume", "Success")], self.events(uuid, "attach_volume"))
        answer = self.ask("compute", "DELETE", self.path(uuid, volume))
        self.assertEqual(202, answer.status_code, answer.text)
        self.until("it is free", lambda: self.cinder.status(volume) == "available")
        self.until("the server has none", lambda: self.attached(uuid) == [])
        self.assertEqual({}, self.guest(uuid).volumes)
        self.assertEqual({}, self.cinder.attachments)

    def test_what_is_under_way_with_the_user_is_asked_with_his_token(self) -> None:
        uuid, volume = self.active(), self.volume()
        self.attach(uuid, volume)
        reserved = [a for a in self.cinder.asked if a[:2] == ("POST", "/v3/attachments")]
        self.assertEqual([f"admin:{self.project}"], [token for *_, token in reserved])
        connected = [a for a in self.cinder.asked if a[0] == "PUT"]
        self.assertEqual(["admin:service"], [token for *_, token in connected])


class BootTest(VolumeCase):
    """Servers that boot from volumes."""

    def test_a_server_boots_from_a_volume_made_of_an_image(self) -> None:
        uuid = self.from_volume()
        server = self.until_status(uuid, "ACTIVE")
        (volume,) = self.cinder.volumes
        self.assertEqual("", server["image"])
        self.assertEqual("/dev/vda", server["OS-EXT-SRV-ATTR:root_device_name"])
        self.assertEqual([volume], self.attached(uuid))
        self.assertEqual("in-use", self.cinder.status(volume))
        self.assertEqual(self.image, self.cinder.volumes[volume]["wanted"]["imageRef"])
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128}, self.held())
        self.delete(uuid)
        self.assertEqual({}, self.cinder.volumes)
        self.assertEqual({}, self.cinder.attachments)
        self.assert_nothing_left()
