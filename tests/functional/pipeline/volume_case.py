"""A deployment with a block storage service beside it."""

from typing import Any

from tests.functional.peers.cinder import Cinder
from tests.functional.pipeline.case import PipelineCase


class VolumeCase(PipelineCase):
    """A deployment, and volumes in its project."""

    def setUp(self) -> None:
        self.cinder = Cinder()
        self.more = f"{type(self).more}\n{self.cinder.options}"
        super().setUp()
        self.addCleanup(self.cinder.stop)

    def volume(self, **more: Any) -> str:
        """Have a volume."""
        return self.cinder.add(self.project, **more)

    def path(self, uuid: str, volume: str = "") -> str:
        """Return the path of a server's volumes, or of one of them."""
        return f"/servers/{uuid}/os-volume_attachments" + (f"/{volume}" if volume else "")

    def attached(self, uuid: str) -> list[str]:
        """Return the volumes that a server is shown with."""
        shown = self.server(uuid)["os-extended-volumes:volumes_attached"]
        return [one["id"] for one in shown]

    def attach(self, uuid: str, volume: str, **more: Any) -> Any:
        """Attach a volume, wait until it is, and return what the API answers that tells of it."""
        body = {"volumeAttachment": {"volumeId": volume} | more}
        answer = self.ask("compute", "POST", self.path(uuid), body, version="2.100")
        self.assertEqual(200, answer.status_code, answer.text)
        self.until("it is in use", lambda: self.cinder.status(volume) == "in-use")
        return answer.json()["volumeAttachment"]

    def detach(self, uuid: str, volume: str, status: str = "available") -> None:
        """Detach a volume and wait until it has a status, and the server has it no more."""
        answer = self.ask("compute", "DELETE", self.path(uuid, volume))
        self.assertEqual(202, answer.status_code, answer.text)
        self.until(f"it is {status}", lambda: self.cinder.status(volume) == status)
        self.until("the server has it no more", lambda: volume not in self.attached(uuid))

    def until_over(self, uuid: str, action: str, result: str = "Success") -> None:
        """Wait until an action of a server is over, with its event's result."""
        self.until(
            f"{action} is over",
            lambda: [end for _, end in self.events(uuid, action)][-1:] == [result],
        )

    def active(self, name: str = "vm", **more: Any) -> str:
        """Create a server and wait until it is ACTIVE."""
        uuid = self.create(name, **more)
        self.until_status(uuid, "ACTIVE")
        return uuid

    def from_volume(self, name: str = "bfv", **device: Any) -> str:
        """Create a server that boots from a volume made of the image, and return its UUID."""
        root = {
            "source_type": "image",
            "uuid": self.image,
            "destination_type": "volume",
            "boot_index": 0,
            "volume_size": 1,
            "delete_on_termination": True,
        } | device
        return self.create(name, imageRef="", block_device_mapping_v2=[root])

    def guest(self, uuid: str, host: int = 0) -> Any:
        """Return the fake guest of a server on one of the hosts."""
        hosts: Any = self.deployment.part("compute")
        return hosts._services[host]._driver._guests.get(uuid)
