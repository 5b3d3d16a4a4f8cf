"""What a host does in each part of a move, in order, and what it removes of a part that failed.

``mover`` says when; every method here may be done twice.
"""

import logging
from collections.abc import Callable
from functools import partial

import msgspec

from kilonova.compute.acts import CLEAN_SECONDS
from kilonova.compute.collaborators import Collaborators
from kilonova.compute.move_part import Part
from kilonova.core.block_devices import boots_from_volume
from kilonova.core.context import service_context
from kilonova.core.errors import BuildFailed, KilonovaError
from kilonova.core.instance import Instance
from kilonova.core.migration import Kind, Migration, Stage
from kilonova.core.states import PowerState, VmState

LOG = logging.getLogger(__name__)


class MoveWork:
    """Does parts of moves with the hypervisor, images, volumes and networks of one host."""

    def __init__(self, collaborators: Collaborators) -> None:
        self._driver, self._images = collaborators.driver, collaborators.images
        self._volumes, self._wiring = collaborators.volumes, collaborators.wiring
        self._shares = collaborators.shares

    def do(self, part: Part) -> None:
        """Do a part; raises ``KilonovaError``."""
        work: dict[Stage, Callable[[Part], None]] = {
            Stage.PREPARING: self._prepare,
            Stage.SENDING: self._send,
            Stage.FINISHING: self._finish,
            Stage.CLEARING: self._clear,
            Stage.UNDOING: self._remove,
            Stage.RESTORING: self._restore,
            Stage.ABANDONING: self._remove,
        }
        work[part.migration.stage](part)

    def power_of(self, part: Part) -> PowerState:
        """Return how the guest is now; raises ``HypervisorUnavailable``."""
        guest = self._driver.guests().get(part.instance.uuid)
        return guest.power if guest is not None else PowerState.NOSTATE

    def clean(self, part: Part) -> None:
        """Remove the guest that a failed part left here, and let go of what it had.

        Raises ``KilonovaError`` while the guest may be there still.
        """
        self._driver.destroy(part.instance.uuid)
        self.disown(part)
        if part.instance.volumes:
            self._volumes.try_to_let_go(part.instance, part.request_id)
        self._shares.forget(part.instance.uuid)

    def disown(self, part: Part) -> None:
        """Let go of the ports of a server that does not come, and has them elsewhere, or nowhere."""
        uuid = part.instance.uuid
        try:
            if part.migration.is_live:
                self._wiring.drop(uuid)
            elif part.migration.builds:
                # What is evacuated in vain is its old host's; a shelved server has none.
                self._wiring.unbind(uuid, back_to=part.migration.source_host)
        except KilonovaError as error:
            LOG.warning("Ports of %s stay bound to this host: %s", uuid, error.in_full)

    def remove_image(self, migration: Migration) -> None:
        """Remove the image of a server that is not shelved, or not any more."""
        if migration.image is None:
            return
        try:
            self._images.delete(migration.image.image_id)
        except KilonovaError as error:
            LOG.warning("Image %s is left: %s", migration.image.image_id, error.in_full)

    def _prepare(self, part: Part) -> None:
        # A guest that comes while it runs has its ports and volumes here before it comes.
        instance = part.instance
        if part.migration.is_live:
            nics = self._wiring.reserve(instance)
            instance = msgspec.structs.replace(self._connected(part), nics=nics)
        part.berth = self._driver.prepare_move(instance, part.migration)

    def _connected(self, part: Part) -> Instance:
        return self._volumes.connect(part.instance, part.request_id, lambda: part.aborted)

    def _send(self, part: Part) -> None:
        instance, migration = part.instance, part.migration
        if migration.is_live:
            part.moved = self._driver.live_migrate(self._connected(part), migration, part)
            return
        if migration.vm_state is not VmState.STOPPED:
            # Whatever else it was: what stands still, or is saved, has nothing to wait for.
            self._driver.stop(instance.uuid, CLEAN_SECONDS, lambda: part.aborted)
        if migration.kind is Kind.SHELVE:
            if not boots_from_volume(instance.wishes):
                self._save(part)
        else:
            self._driver.send(instance, migration)

    def _save(self, part: Part) -> None:
        """Make of a guest the image that it is shelved as. Done before, it stays done."""
        image = part.migration.image
        if image is None:
            raise BuildFailed("There is no image to shelve the server as.")
        if self._images.get(service_context(), image.image_id).status == "active":
            return
        with self._driver.snapshot(part.instance) as copy:
            if part.aborted:
                raise BuildFailed("The server was deleted while it was being shelved.")
            self._images.upload(image.image_id, copy.data, copy.disk_format)

    def _finish(self, part: Part) -> None:
        instance, migration = part.instance, part.migration
        if migration.builds:
            self._rebuild(part)
            return
        part.nics = nics = self._wiring.bring(instance, live=migration.is_live)
        instance = self._connected(part)
        if migration.is_live:
            self._driver.arrive(instance, migration)
        else:
            with self._wiring.plugging(instance, nics) as until:
                self._driver.receive(instance, migration, power_on=migration.power_on, until=until)
        self._volumes.complete(instance)

    def _rebuild(self, part: Part) -> None:
        """Make the guest of a server of an image, as there is nothing else."""
        instance = part.instance
        self._driver.destroy(instance.uuid)
        part.nics = nics = self._wiring.bring(instance)
        if part.migration.kind is Kind.EVACUATION:
            self._driver.recover_disks(instance)
        else:
            self._driver.prepare_disks(instance)
        connected = self._connected(part)
        with (
            self._shares.mounted(connected, part.request_id) as instance,
            self._wiring.plugging(instance, nics) as until_plugged,
        ):
            self._driver.spawn(instance, until_plugged)
        self._volumes.complete(instance)
        if not part.migration.power_on:
            self._driver.stop(instance.uuid, 0, lambda: True)
            self._shares.unmount(instance, part.request_id)

    def _clear(self, part: Part) -> None:
        if part.migration.stays:
            self._driver.forget(part.instance.uuid)
            return
        self._driver.destroy(part.instance.uuid)
        # A server that is shelved has no host, and keeps its ports and volumes.
        shelved = part.migration.kind is Kind.SHELVE
        if shelved:
            self._wiring.unbind(part.instance.uuid)
        elif part.migration.is_live:
            self._wiring.drop(part.instance.uuid)
        self._volumes.let_go(part.instance, part.request_id, keep=shelved)

    def _remove(self, part: Part) -> None:
        # Of a guest that stayed, restoring makes what it was.
        if not part.migration.stays:
            self._driver.destroy(part.instance.uuid)
            self._volumes.let_go(part.instance, part.request_id)
        if part.migration.is_live:
            self._wiring.drop(part.instance.uuid)

    def _restore(self, part: Part) -> None:
        instance, migration = part.instance, part.migration
        if migration.is_live:
            # It never stopped.
            return
        part.nics = nics = self._wiring.bring(instance)
        instance = self._connected(part)
        with self._wiring.plugging(instance, nics) as until_plugged:
            until = partial(_or_go_on, instance, until_plugged) if until_plugged else None
            self._driver.restore(instance, migration, power_on=migration.power_on, until=until)
        self._volumes.complete(instance)


def _or_go_on(instance: Instance, until_plugged: Callable[[], None]) -> None:
    """Wait for a server's cards where it ran before: it has nowhere else to go."""
    try:
        until_plugged()
    except BuildFailed as error:
        LOG.warning("%s runs all the same: %s", instance.uuid, error.in_full)
