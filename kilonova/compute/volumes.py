"""A host's hold on servers' volumes: reserved, connected, complete, and let go again.

The cell is told of an attachment before the host uses it, so that whoever comes after a crash finds it; and
what nobody was told of is found in the block storage service by the server that it is for.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from kilonova.compute.driver import Driver
from kilonova.compute.reporter import Reporter
from kilonova.core.errors import BuildAborted, BuildFailed, KilonovaError, NotFound
from kilonova.core.ids import HostName, ImageId, InstanceUuid, RequestId
from kilonova.core.instance import Instance
from kilonova.core.report import InstanceReport
from kilonova.core.volume import NOBODY, Volume, VolumeReport, VolumeStage
from kilonova.http import volume_release
from kilonova.http.volumes import IS_MOVING, Volumes

LOG = logging.getLogger(__name__)

_READY_SECONDS = 600.0
"""What the block storage service gets to make a volume of an image or a snapshot."""
_LOOKS = 1.0
_BEING_MADE = frozenset({"creating", "downloading", "restoring-backup", "uploading"})


class HostVolumes:
    """What one host does with volumes. Every method raises what ``Volumes`` and ``Driver`` raise."""

    def __init__(
        self, host: HostName, collaborators: tuple[Driver, Volumes], reporter: Reporter
    ) -> None:
        self._host = host
        self._driver, self._storage = collaborators
        self._reporter = reporter
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._stopped.set()

    def connect(
        self,
        instance: Instance,
        request_id: RequestId,
        is_going: Callable[[], bool] = lambda: False,
    ) -> Instance:
        """Have every volume of a server here, and return the server with what they are here.

        Raises:
            BuildAborted: a volume cannot be had of anybody.
            BuildFailed: this host cannot have it.
        """
        if not instance.volumes:
            return instance
        for volume in instance.volumes:
            if not volume.attachments:
                self._await(volume, is_going)
        connected = [self.connect_one(instance, one, request_id) for one in instance.volumes]
        return msgspec.structs.replace(instance, volumes=tuple(connected))

    def _await(self, volume: Volume, is_going: Callable[[], bool]) -> None:
        """Wait until a volume that was made for a server is ready."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                status = self._storage.get(volume.volume_id).status
            except NotFound as error:
                raise BuildAborted(f"Volume {volume.volume_id} could not be found.") from error
            if status not in _BEING_MADE:
                break
            if is_going() or self._stopped.wait(_LOOKS):
                raise BuildFailed("The server or its host came to an end before its volume.")
            if time.monotonic() > deadline:
                raise BuildAborted(f"Volume {volume.volume_id} did not become ready in time.")
        if status == "error":
            raise BuildAborted(f"Volume {volume.volume_id} could not be made: it is in error.")

    def connect_one(self, instance: Instance, volume: Volume, request_id: RequestId) -> Volume:
        """Have one volume of a server here."""
        connection = self._connection(volume)
        attachment = volume.attachments.get(self._host, "")
        if not connection:
            attachment, connection = self._attach(instance, volume, request_id)
        here = msgspec.structs.replace(
            volume, attachments={self._host: attachment}, connection=connection
        )
        return self._driver.connect_volume(here)

    def _attach(
        self, instance: Instance, volume: Volume, request_id: RequestId
    ) -> tuple[str, dict[str, Any]]:
        """Return an attachment of this host's, of which the cell knows, and how it reaches the volume."""
        reserved = volume.attachments.get(self._host) or volume.attachments.get(NOBODY)
        if reserved is not None:
            self._tell_attached(instance, volume, request_id, reserved)
            return reserved, self._storage.connect(reserved, self._driver.connector())
        # Not in two steps: a reservation is not to be connected while another host has the volume.
        made = self._storage.attach(volume.volume_id, instance.uuid, self._driver.connector())
        self._tell_attached(instance, volume, request_id, made.attachment_id)
        return made.attachment_id, made.connection

    def _tell_attached(
        self, instance: Instance, volume: Volume, request_id: RequestId, attachment: str
    ) -> None:
        said = VolumeReport(volume_id=volume.volume_id, attachment=attachment)
        if not self.tell(instance.uuid, request_id, said):
            self._storage.release(attachment)
            raise BuildFailed(f"Volume {volume.volume_id} is the server's no more.")

    def _connection(self, volume: Volume) -> dict[str, object]:
        attachment = volume.attachments.get(self._host)
        if attachment is None:
            return {}
        try:
            return self._storage.connection(attachment)
        except NotFound:
            return {}

    def complete(self, instance: Instance) -> None:
        """Say that the guest has its volumes."""
        for volume in instance.volumes:
            self._storage.complete(volume.attachments[self._host])

    def let_go(self, instance: Instance, request_id: RequestId, *, keep: bool = False) -> None:
        """Have none of a server's volumes here any more; with ``keep`` they stay reserved for it."""
        for volume in instance.volumes:
            attachment = volume.attachments.get(self._host)
            if attachment is None:
                continue
            if keep:
                # First, so that nobody else can have it in between.
                reserved = self._storage.reserve(volume.volume_id, instance.uuid)
                said = VolumeReport(volume_id=volume.volume_id, reserved=reserved)
                self.tell(instance.uuid, request_id, said)
            self._disconnect(volume)
            self._storage.release(attachment)
            self.tell(
                instance.uuid, request_id, VolumeReport(volume_id=volume.volume_id, attachment="")
            )

    def try_to_let_go(self, instance: Instance, request_id: RequestId) -> None:
        """Do the same as far as that can be done: what is left is found when the server is deleted."""
        try:
            self.let_go(self.as_told(instance), request_id)
        except KilonovaError as error:
            LOG.warning("%s: volumes are not let go: %s", instance.uuid, error.in_full)

    def rewrite(self, instance: Instance, image_id: ImageId, request_id: RequestId) -> Instance:
        """Write an image over the root volume, which stays the server's; return the server with it.

        Raises:
            BuildAborted: it could not be written.
        """
        (root,) = [volume for volume in instance.volumes if volume.boot_index == 0]
        reserved = self._storage.reserve(root.volume_id, instance.uuid)
        said = VolumeReport(volume_id=root.volume_id, reserved=reserved)
        self.tell(instance.uuid, request_id, said)
        self._disconnect(root)
        for attachment in root.attachments.values():
            self._storage.release(attachment)
        self.tell(instance.uuid, request_id, VolumeReport(volume_id=root.volume_id, attachment=""))
        self._storage.reimage(root.volume_id, image_id)
        self._await(root, lambda: False)
        after = msgspec.structs.replace(root, attachments={NOBODY: reserved})
        volumes = tuple(after if one is root else one for one in instance.volumes)
        return msgspec.structs.replace(instance, volumes=volumes)

    def as_told(self, instance: Instance) -> Instance:
        """Return a server with the attachments that this host may have made meanwhile."""
        if not instance.volumes:
            return instance
        others = {
            attachment
            for volume in instance.volumes
            for host, attachment in volume.attachments.items()
            if host not in (self._host, NOBODY)
        }
        made = {
            one.volume_id: one.attachment_id
            for one in self._storage.attachments_of(instance.uuid)
            if one.attachment_id not in others
        }
        volumes = tuple(
            msgspec.structs.replace(volume, attachments={self._host: made[volume.volume_id]})
            for volume in instance.volumes
            if volume.volume_id in made
        )
        return msgspec.structs.replace(instance, volumes=volumes)

    def join(self, instance: Instance, volume: Volume) -> Volume:
        """Have here what is to take a volume's place, and return it under that volume's id, which stays."""
        replacement, connector = volume.replacement or "", self._driver.connector()
        attachment = self.attachment_to(instance, replacement)
        if attachment:
            connection = self._storage.connect(attachment, connector)
        else:
            made = self._storage.attach(replacement, instance.uuid, connector)
            attachment, connection = made.attachment_id, made.connection
        return self._driver.connect_volume(
            msgspec.structs.replace(
                volume, attachments={self._host: attachment}, connection=connection
            )
        )

    def attachment_to(self, instance: Instance, volume_id: str) -> str:
        """Return an attachment that a server has to a volume, an empty text if it has none."""
        found = (
            one.attachment_id
            for one in self._storage.attachments_of(instance.uuid)
            if one.volume_id == volume_id
        )
        return next(found, "")

    def is_moving(self, volume: Volume) -> bool:
        """Whether the storage still waits for a volume's data to be copied to the one that replaces it."""
        return self._storage.get(volume.volume_id).migration_status in IS_MOVING

    def finish_move(self, instance: Instance, volume: Volume, here: Volume | None) -> str:
        """Let the storage do away with one of two volumes: the replaced one, or (None) its replacement.

        Returns the id of the volume that the server has from now on.
        """
        replacement = volume.replacement or ""
        if here is None:
            fresh = msgspec.structs.replace(volume, volume_id=replacement, attachments={})
            self.free(instance, fresh)
        else:
            self.free(instance, volume)
        return self._storage.finish_migration(
            volume.volume_id, replacement, has_failed=here is None
        )

    def _disconnect(self, volume: Volume) -> None:
        connection = self._connection(volume)
        if connection:
            self._driver.disconnect_volume(msgspec.structs.replace(volume, connection=connection))

    def free(self, instance: Instance, volume: Volume) -> None:
        """Let one volume go from its server for good, whoever made the attachments."""
        self._disconnect(volume)
        for one in self._storage.attachments_of(instance.uuid):
            if one.volume_id == volume.volume_id:
                self._storage.release(one.attachment_id)

    def remove(self, instance: Instance, request_id: RequestId) -> None:
        """Free the volumes of a server that is deleted, and delete those that end with it."""
        if not instance.volumes:
            return
        for volume in instance.volumes:
            self._disconnect(volume)
        for one in self._storage.attachments_of(instance.uuid):
            self._storage.release(one.attachment_id)
        for volume in instance.volumes:
            if volume.delete_on_termination:
                volume_release.delete(self._storage, volume.volume_id)
            said = VolumeReport(volume_id=volume.volume_id, gone=True)
            self.tell(instance.uuid, request_id, said)

    def tell(self, uuid: InstanceUuid, request_id: RequestId, said: VolumeReport) -> bool:
        """Tell the cell of a volume; False if it does not count any more."""
        report = InstanceReport(instance_uuid=uuid, epoch=0, request_id=request_id, volume=said)
        return self._reporter.ask(report, self._stopped)

    def begins(
        self, instance: Instance, request_id: RequestId, volume_id: str, stage: VolumeStage
    ) -> bool:
        """Say that what is under way with a volume is begun; False if it must not be."""
        said = VolumeReport(volume_id=volume_id, begins=stage)
        return self.tell(instance.uuid, request_id, said)

    def finished(self, volume: Volume) -> None:
        """Say of one volume that the guest has it."""
        self._storage.complete(volume.attachments[self._host])

    def tell_snapshot(self, snapshot_id: str, status: str, progress: str) -> None:
        """Tell the block storage service how far a snapshot is."""
        self._storage.tell_snapshot(snapshot_id, status, progress)

    def size_of(self, volume_id: str) -> int:
        """Return the GiB of a volume."""
        return self._storage.get(volume_id).size_gb
