"""Moves guests: to another size, and to another host, shut down or while they run."""

import logging
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import msgspec
from oslo_config import cfg

from kilonova.compute.crossing.harbour import Harbour
from kilonova.compute.crossing.line import Line
from kilonova.compute.libvirt import domains, whereabouts
from kilonova.compute.libvirt.cards import Cards
from kilonova.compute.libvirt.carried import IMAGE, Carried, instance_of
from kilonova.compute.libvirt.connection import Connection
from kilonova.compute.libvirt.disks import EARLIER_LOG, Disks
from kilonova.compute.libvirt.domain_xml import (
    NAMESPACE,
    Record,
    metadata_of,
    place_xml,
    record_for,
)
from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.live import LiveMove
from kilonova.compute.libvirt.parts import GuestParts
from kilonova.compute.libvirt.tpm_states import TpmStates
from kilonova.compute.libvirt.volumes import paths_of
from kilonova.compute.libvirt.whereabouts import State, Where
from kilonova.compute.moving import Until, Voyage
from kilonova.core import pinning
from kilonova.core.block_devices import boots_from_volume
from kilonova.core.errors import (
    BuildAborted,
    BuildFailed,
    ImageStoreUnavailable,
    KilonovaError,
    MemoryLost,
    NotFound,
    NotSupported,
)
from kilonova.core.hardware import hardware_of
from kilonova.core.ids import InstanceUuid
from kilonova.core.image import Image
from kilonova.core.instance import Instance
from kilonova.core.migration import Berth, Migration, Progress
from kilonova.core.states import VmState

LOG = logging.getLogger(__name__)

_KEY = "kilonova"


class Moves(ABC):
    """The part of the driver that is asked when servers move."""

    _conf: cfg.ConfigOpts
    _disks: Disks
    _cards: Cards
    _libvirt: Connection
    _uri: str
    _records: dict[InstanceUuid, Record]
    _harbour: Harbour
    _carried: Carried
    _tpms: TpmStates
    _parts: GuestParts
    _closing: threading.Event

    @property
    @abstractmethod
    def _is_test(self) -> bool: ...

    @abstractmethod
    def _on(self, uuid: InstanceUuid, work: Callable[[Any], None]) -> None: ...

    @abstractmethod
    def _xml(self, connection: Any, instance: Instance) -> str: ...

    # ---- at the destination, before

    def prepare_move(self, instance: Instance, migration: Migration) -> Berth | None:
        """See ``Moving``."""
        if migration.stays:
            self._disks.check_size(instance)
            return None
        self._libvirt.use(lambda connection: None)
        if migration.is_live:
            self._check_live(instance)
        if self._is_test:
            self._disks.make_directory(instance.uuid)
            return None
        berth = self._berth(instance, migration)
        if not migration.is_live:
            return berth
        return msgspec.structs.replace(berth, nics=instance.nics, place=self._place(instance))

    def _place(self, instance: Instance) -> str:
        """Pick what a guest is to have of this host, and return it as XML."""

        def pick(connection: Any) -> str:
            nowhere = Place(virt_type="", arch="", console_log="")
            return place_xml(instance, self._parts.place(connection, instance, nowhere))

        return self._libvirt.use(pick)

    def _check_live(self, instance: Instance) -> None:
        if self._is_test or not instance_of(self._uri):
            raise NotSupported("Live migration takes a libvirt with QEMU on the host itself.")
        if pinning.wanted(instance).has_devices:
            raise NotSupported("A server with devices of its host's own does not move live.")
        had = instance.nics
        now = self._cards.plug(instance)
        if [(nic.mac, nic.address) for nic in had] != [(nic.mac, nic.address) for nic in now]:
            self._cards.unplug(instance.uuid)
            raise BuildFailed("The server cannot have its addresses at the destination.")

    def _berth(self, instance: Instance, migration: Migration) -> Berth:
        uuid = instance.uuid
        owner = self._disks.owners.of(uuid)
        shared = owner is not None and owner.host == migration.source_host
        if owner is None and self._disks.disk(uuid).exists():
            raise BuildFailed("There are files of the server at the destination already.")
        wanted: Image | None = None
        wants_image = False
        if not shared:
            self._disks.make_directory(uuid)
            wanted = None if boots_from_volume(instance.wishes) else instance.image
            wants_image = wanted is not None and not self._has(wanted)
        return msgspec.structs.replace(
            self._harbour.open(uuid, wanted),
            directory=str(self._disks.directory(uuid)),
            hypervisor=instance_of(self._uri),
            shared=shared,
            wants_image=wants_image,
            volumes=paths_of(instance.volumes),
        )

    def _has(self, image: Image) -> bool:
        """Have an image here; whether that went well. Its store may not have it any more."""
        try:
            self._disks.cache(image)
        except (BuildAborted, BuildFailed, ImageStoreUnavailable):
            return False
        return True

    # ---- at the source, shut down

    def send(self, instance: Instance, migration: Migration) -> None:
        """See ``Moving``."""
        uuid, berth = instance.uuid, migration.berth
        if not migration.stays:
            # Its ports are the other host's from now on; where it comes back, they are brought back.
            self._cards.disconnect(uuid)
        sized = msgspec.structs.replace(instance, flavor=migration.new_flavor)
        if not self._is_test:
            self._disks.check_size(sized)
            self._put_down_tpm(instance)
        if migration.stays or (berth is not None and berth.shared):
            self._disks.kept.keep(uuid)
        elif not self._is_test:
            line = self._line(berth, self._closing.is_set)
            try:
                self._send_files(uuid, berth, line)
            finally:
                line.close()

    def _line(self, berth: Berth | None, end: Callable[[], bool]) -> Line:
        if berth is None:
            raise BuildFailed("The destination is not prepared.")
        return Line(berth, end)

    def _send_files(self, uuid: InstanceUuid, berth: Berth | None, line: Line) -> None:
        image = self._carried.image(uuid)
        if berth is not None and berth.wants_image and image is not None:
            line.put(image, IMAGE)
        for path in self._carried.files(uuid):
            line.put(path, path.name)

    # ---- at the destination, after

    def receive(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """See ``Moving``."""
        berth = migration.berth
        if not migration.stays and not self._is_test:
            # Nobody writes any more what is used from here on.
            self._harbour.close(instance.uuid)
            if berth is not None and berth.shared:
                self._disks.owners.take(instance.uuid, migration.source_host)
            elif boots_from_volume(instance.wishes):
                pass
            elif not self._disks.disk(instance.uuid).exists():
                raise BuildFailed("The disk of the server did not arrive.")
            elif not self._is_active(instance.uuid):
                self._disks.rebase(instance)
        if not self._is_active(instance.uuid):
            self._disks.grow(instance)
        if migration.stays:
            # Its TPM remembers all by itself.
            self._disks.tpm_state(instance.uuid).unlink(missing_ok=True)
        self._make_again(instance, power_on=power_on, until=until)

    def _is_active(self, uuid: InstanceUuid) -> bool:
        def look(connection: Any) -> bool:
            domain = domains.find(connection, uuid)
            return domain is not None and bool(domain.isActive())

        return self._libvirt.use(look)

    def restore(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """See ``Moving``."""
        if self._disks.kept.has(instance.uuid):
            self._on(instance.uuid, domains.power_off)
            self._disks.kept.put_back(instance.uuid)
        self._make_again(instance, power_on=power_on, until=until)

    def forget(self, uuid: InstanceUuid) -> None:
        """See ``Moving``."""
        had_tpm = self._disks.kept.of(self._disks.tpm_state(uuid)).exists()
        if had_tpm and not self._has_tpm(uuid):
            self._tpms.remove(uuid)
        self._disks.kept.forget(uuid)

    def _has_tpm(self, uuid: InstanceUuid) -> bool:
        def look(connection: Any) -> bool:
            return "<tpm " in connection.lookupByUUIDString(uuid).XMLDesc()

        return self._libvirt.use(look)

    # ---- what libvirt keeps elsewhere

    def _put_down_tpm(self, instance: Instance) -> None:
        """Let what the guest's TPM remembers, if it has one, be among its files."""
        file = self._disks.tpm_state(instance.uuid)
        file.unlink(missing_ok=True)
        if hardware_of(instance.flavor, instance.image).tpm is not None:
            self._tpms.pack(instance.uuid, file)

    def _drop_tpm(self, uuid: InstanceUuid) -> None:
        """Let nothing remember what came here for a guest of which there is no domain yet."""
        if self._disks.tpm_state(uuid).exists() and self._disks.owners.is_mine(uuid):
            self._tpms.remove(uuid)

    def _take_up_tpm(self, instance: Instance) -> None:
        """Let the guest's TPM, if it has one, remember what is among its files."""
        file = self._disks.tpm_state(instance.uuid)
        if file.exists() and hardware_of(instance.flavor, instance.image).tpm is not None:
            self._tpms.unpack(instance.uuid, file)

    def recover_disks(self, instance: Instance) -> None:
        """See ``Moving``."""
        uuid = instance.uuid
        if self._is_test or self._disks.owners.is_mine(uuid) or not self._disks.disk(uuid).exists():
            self._prepare_disks(instance)
            return
        self._disks.owners.take(uuid)
        self._disks.rebase(instance)

    @abstractmethod
    def _prepare_disks(self, instance: Instance) -> None: ...

    # ---- while it runs

    def live_migrate(self, instance: Instance, migration: Migration, voyage: Voyage) -> Progress:
        """See ``Moving``."""
        uuid, berth = instance.uuid, migration.berth
        if berth is None or berth.hypervisor not in ("/system", "/session"):
            raise NotSupported("The destination cannot receive servers that run.")
        line = Line(berth, lambda: voyage.aborted or self._closing.is_set())
        try:
            moved = LiveMove(
                migration,
                (self._libvirt, self._disks, self._carried),
                line,
                self._closing,
                post_copy=self._conf.libvirt.live_migration_permit_post_copy,
            ).run(voyage)
            if not berth.shared:
                self._send_console(uuid, line)
        finally:
            line.close()
        if berth.shared:
            self._disks.owners.give(uuid, migration.chosen.host)
        return moved

    def _send_console(self, uuid: InstanceUuid, line: Line) -> None:
        """Let the destination know what the guest said here, where it does not run any more."""
        try:
            with tempfile.NamedTemporaryFile() as file:
                file.write(self._disks.console_end(uuid))
                file.flush()
                line.put(Path(file.name), EARLIER_LOG)
        except (KilonovaError, OSError) as error:
            LOG.warning("What %s said here is lost: %s", uuid, error)

    def arrive(self, instance: Instance, migration: Migration) -> None:
        """See ``Moving``."""
        uuid = instance.uuid

        def take(connection: Any) -> None:
            domain = domains.find(connection, uuid)
            state = None if domain is None else State(*domain.state())
            found = whereabouts.arrived(state, unsent=migration.unsent)
            if found is Where.HERE:
                raise NotFound(f"Guest {uuid} did not come whole before its source died.")
            if found is Where.LOST:
                if domain is not None:
                    domains.power_off(domain)
                raise MemoryLost(
                    "Its memory was lost on its way. Reboot it hard, and it starts from its disks."
                )
            connection.defineXML(self._xml(connection, instance))
            if not domain.isActive():
                return
            _mark(domain, instance)
            if migration.vm_state is not VmState.PAUSED:
                # It was paused to let it come, if it is.
                domains.unpause(domain)

        self._harbour.close(uuid)
        if not self._disks.has(uuid):
            raise NotFound(f"There is no guest {uuid} on this host.")
        self._libvirt.use(take)
        self._disks.owners.take(uuid)
        self._records[uuid] = record_for(instance)

    def _make_again(self, instance: Instance, *, power_on: bool, until: Until) -> None:
        """Define a guest's domain anew, in the server's present size and epoch."""

        def make(connection: Any) -> None:
            domain = domains.find(connection, instance.uuid)
            if domain is None and not self._disks.has(instance.uuid):
                raise NotFound(f"There is no guest {instance.uuid} on this host.")
            if domain is not None and domain.isActive():
                # Made already, and what is defined would count only from its next start.
                return
            self._take_up_tpm(instance)
            defined = connection.defineXML(self._xml(connection, instance))
            if power_on:
                domains.power_on(defined, paused=until is not None)

        self._libvirt.use(make)
        if power_on:
            if until is not None:
                until()
            # Whoever was interrupted here left it paused.
            self._on(instance.uuid, domains.unpause)
        self._disks.tpm_state(instance.uuid).unlink(missing_ok=True)
        self._records[instance.uuid] = record_for(instance)


def _mark(domain: Any, instance: Instance) -> None:
    """Let a domain that runs tell of which build it is."""
    element, live = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMetadata(element, metadata_of(instance), _KEY, NAMESPACE, live)
