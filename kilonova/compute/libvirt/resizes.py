"""Changes the size of guests where they are. That they change hosts is not supported yet."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from kilonova.compute.libvirt import domains
from kilonova.compute.libvirt.connection import Connection
from kilonova.compute.libvirt.disks import Disks
from kilonova.compute.libvirt.domain_xml import Record, record_for
from kilonova.compute.moving import Voyage
from kilonova.core.errors import NotFound, NotSupported
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.migration import Migration


class Resizes(ABC):
    """The part of the driver that is asked when servers move."""

    _disks: Disks
    _libvirt: Connection
    _records: dict[InstanceUuid, Record]

    @abstractmethod
    def _on(self, uuid: InstanceUuid, work: Callable[[Any], None]) -> None: ...

    @abstractmethod
    def _xml(self, connection: Any, instance: Instance) -> str: ...

    def prepare_move(self, instance: Instance, migration: Migration) -> None:
        """See ``Moving``. Guests change their size where they are; they do not change hosts yet."""
        if not migration.stays:
            raise NotSupported("Moving a server to another host is not supported with libvirt yet.")
        self._disks.check_size(instance)

    def send(self, instance: Instance, migration: Migration) -> None:
        """See ``Moving``."""
        self._disks.keep(instance.uuid)

    def receive(self, instance: Instance, migration: Migration, *, power_on: bool) -> None:
        """See ``Moving``."""
        self._disks.grow(instance)
        self._make_again(instance, power_on=power_on)

    def restore(self, instance: Instance, migration: Migration, *, power_on: bool) -> None:
        """See ``Moving``."""
        if self._disks.is_kept(instance.uuid):
            self._on(instance.uuid, domains.power_off)
            self._disks.put_back(instance.uuid)
        self._make_again(instance, power_on=power_on)

    def forget(self, uuid: InstanceUuid) -> None:
        """See ``Moving``."""
        self._disks.forget(uuid)

    def live_migrate(self, instance: Instance, migration: Migration, voyage: Voyage) -> None:
        """See ``Moving``."""
        raise NotSupported("Live migration is not supported with libvirt yet.")

    def arrive(self, instance: Instance, migration: Migration) -> None:
        """See ``Moving``."""
        raise NotSupported("Live migration is not supported with libvirt yet.")

    def _make_again(self, instance: Instance, *, power_on: bool) -> None:
        """Define a guest's domain anew, in the server's present size and epoch."""

        def make(connection: Any) -> None:
            domain = domains.find(connection, instance.uuid)
            if domain is None and not self._disks.has(instance.uuid):
                raise NotFound(f"There is no guest {instance.uuid} on this host.")
            if domain is not None and domain.isActive():
                # Made already, and what is defined would count only from its next start.
                return
            defined = connection.defineXML(self._xml(connection, instance))
            if power_on:
                domains.power_on(defined)

        self._libvirt.use(make)
        self._records[instance.uuid] = record_for(instance)
