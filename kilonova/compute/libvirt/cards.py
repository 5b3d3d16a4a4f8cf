"""The network cards of this host's guests: their network, their addresses, and the metadata service.

What is told of a guest, its card in it, stands in its directory and goes with it: so an address is taken
exactly as long as there is something of its guest here, whatever is killed when.
"""

import logging
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import falcon
import libvirt
import msgspec
from oslo_config import cfg

from kilonova.compute.addresses import AddressBook, range_of
from kilonova.compute.libvirt import network_xml
from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.plugs import Plugs
from kilonova.compute.libvirt.port_cards import PortCards
from kilonova.core.errors import BuildFailed, Invalid, KilonovaError
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance, Nic
from kilonova.core.tagged_devices import Placed, has_tags
from kilonova.core.volume import Volume
from kilonova.http.metadata.openstack import Told
from kilonova.http.metadata.service import ADDRESS, PORT, create_app
from kilonova.http.server import ThreadedServer, check_free

LOG = logging.getLogger(__name__)

_FILE = "told.json"
_SEED = 512
_decode = msgspec.json.Decoder(Told).decode


class Cards(Protocol):
    """What guests are plugged into, and with what."""

    def ensure(self, connection: Any) -> None:
        """Make what cards need on this host, where it is missing.

        Raises:
            Invalid: this host cannot have it.
        """

    def plug(self, instance: Instance) -> tuple[Nic, ...]:
        """Return the cards that a guest gets; may be repeated.

        Raises:
            BuildFailed: this host has none for it.
        """

    def of(self, uuid: InstanceUuid) -> tuple[Nic, ...]:
        """Return the cards that a guest has."""

    def place(self, uuid: InstanceUuid, place: Place) -> Place:
        """Return where a guest lives, with its cards."""

    def connect(self, uuid: InstanceUuid) -> None:
        """See that what a guest is plugged into is there; a host that was switched off has lost it.

        Raises:
            BuildFailed: it cannot be made.
        """

    def disconnect(self, uuid: InstanceUuid) -> None:
        """Take away what was made for a guest that does not run here, before it is forgotten."""

    def add(self, uuid: InstanceUuid, nic: Nic) -> None:
        """Note that a guest has a further card, and have what it is plugged into.

        Raises:
            BuildFailed: this host has not; nothing is noted.
        """

    def remove(self, uuid: InstanceUuid, port_id: str) -> None:
        """Note that a guest has a card no more, and take away what was made for it."""

    def tell_of(self, uuid: InstanceUuid, volumes: Sequence[Volume]) -> None:
        """Note which volumes a guest has, where it is told of them here."""

    def unplug(self, uuid: InstanceUuid) -> None:
        """Give back what a guest had, once nothing of it is left."""

    def close(self) -> None:
        """Serve no more. Guests keep what they have."""


Find = Callable[[InstanceUuid], tuple[Placed, ...]]
"""Says where a guest's devices are. Raises ``KilonovaError``."""


def cards(conf: cfg.ConfigOpts, disks: Path, find: Find) -> Cards:
    """Return what ``[network] provider`` names; ``disks`` is where guests' directories are.

    Raises:
        Invalid: ``[network] fixed_range`` is no range.
    """
    if conf.network.provider == "neutron":
        return PortCards(disks, Plugs(conf))
    if conf.network.provider == "libvirt":
        return LibvirtCards(AddressBook(range_of(conf.network.fixed_range)), disks, find)
    return NoCards()


class NoCards:
    """No guest has a card."""

    def ensure(self, connection: Any) -> None:
        """See ``Cards``."""

    def plug(self, instance: Instance) -> tuple[Nic, ...]:
        """See ``Cards``."""
        return ()

    def of(self, uuid: InstanceUuid) -> tuple[Nic, ...]:
        """See ``Cards``."""
        return ()

    def place(self, uuid: InstanceUuid, place: Place) -> Place:
        """See ``Cards``."""
        return place

    def connect(self, uuid: InstanceUuid) -> None:
        """See ``Cards``. It is there as long as this service is."""

    def disconnect(self, uuid: InstanceUuid) -> None:
        """See ``Cards``. All of it is libvirt's."""

    def add(self, uuid: InstanceUuid, nic: Nic) -> None:
        """See ``Cards``. There are none to be added."""

    def remove(self, uuid: InstanceUuid, port_id: str) -> None:
        """See ``Cards``. There are none to be removed."""

    def tell_of(self, uuid: InstanceUuid, volumes: Sequence[Volume]) -> None:
        """See ``Cards``."""

    def unplug(self, uuid: InstanceUuid) -> None:
        """See ``Cards``."""

    def close(self) -> None:
        """See ``Cards``."""


class LibvirtCards(NoCards):
    """One card for each guest that wants one, in a network that libvirt keeps on this host."""

    def __init__(self, book: AddressBook, disks: Path, find: Find) -> None:
        self._book = book
        self._find = find
        self._disks = disks
        self._told: dict[InstanceUuid, Told] = {}
        self._lock = threading.Lock()
        self._server: ThreadedServer | None = None
        for file in sorted(disks.glob(f"*/{_FILE}")):
            self._take_over(file)

    def _take_over(self, file: Path) -> None:
        """Note what an earlier run of this host gave a guest."""
        uuid = InstanceUuid(file.parent.name)
        try:
            told = _decode(file.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            LOG.warning("What is told of %s cannot be read: %s", uuid, error)
            return
        self._told[uuid] = told
        for nic in told.nics:
            self._book.hold(uuid, nic)

    def ensure(self, connection: Any) -> None:
        """See ``Cards``."""
        with self._lock:
            try:
                self._ensure_network(connection)
                if self._server is None:
                    connection.nwfilterDefineXML(network_xml.filter_xml())
                    self._server = _serve(self._told_to)
            except (libvirt.libvirtError, KilonovaError, OSError) as error:
                if _is_gone(connection):
                    raise
                raise Invalid(
                    f"[network] provider is libvirt, and this host cannot be that: {error}"
                ) from error

    def _ensure_network(self, connection: Any) -> None:
        try:
            network = connection.networkLookupByName(network_xml.NAME)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                raise
            network = connection.networkDefineXML(network_xml.network_xml(self._book))
            network.setAutostart(True)
        if self._server is None and not network_xml.serves(network.XMLDesc(), self._book):
            network = self._replace(connection, network)
        if not network.isActive():
            network.create()
            LOG.info("Network %s of %s is up", network_xml.NAME, self._book.range)

    def _replace(self, connection: Any, network: Any) -> Any:
        """Make the network anew, as its range is another now.

        Raises:
            Invalid: guests have addresses of the range that it has.
        """
        if self._told:
            raise Invalid(
                f"[network] fixed_range is {self._book.range}, and guests have addresses of another"
            )
        if network.isActive():
            network.destroy()
        return connection.networkDefineXML(network_xml.network_xml(self._book))

    def plug(self, instance: Instance) -> tuple[Nic, ...]:
        """See ``Cards``."""
        if instance.wishes.networks == "none":
            return ()
        nic = self._book.take(instance.uuid, instance.nics)
        before = self._told.get(instance.uuid)
        seed = before.seed if before else secrets.token_bytes(_SEED)
        told = Told(instance=instance, nics=(nic,), seed=seed)
        try:
            self._write(instance.uuid, told)
        except OSError as error:
            if before is None:
                self._book.give_back(instance.uuid)
            raise BuildFailed("A network card cannot be made on this host.") from error
        self._told[instance.uuid] = told
        return told.nics

    def _write(self, uuid: InstanceUuid, told: Told) -> None:
        directory = self._disks / uuid
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f"{_FILE}.new"
        # It holds what its owner told the guest alone.
        with os.fdopen(
            os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb"
        ) as file:
            file.write(msgspec.json.encode(told))
        partial.rename(directory / _FILE)

    def of(self, uuid: InstanceUuid) -> tuple[Nic, ...]:
        """See ``Cards``."""
        told = self._told.get(uuid)
        return told.nics if told else ()

    def place(self, uuid: InstanceUuid, place: Place) -> Place:
        """See ``Cards``."""
        return msgspec.structs.replace(
            place,
            nics=self.of(uuid),
            network=network_xml.NAME,
            nic_filter=network_xml.FILTER,
        )

    def tell_of(self, uuid: InstanceUuid, volumes: Sequence[Volume]) -> None:
        """See ``Cards``. How they are reached is not kept."""
        before = self._told.get(uuid)
        if before is None:
            return
        plain = tuple(msgspec.structs.replace(volume, connection=None) for volume in volumes)
        instance = msgspec.structs.replace(before.instance, volumes=plain)
        told = self._told[uuid] = msgspec.structs.replace(before, instance=instance)
        try:
            self._write(uuid, told)
        except OSError as error:
            LOG.warning("What is told of %s is not kept: %s", uuid, error)

    def unplug(self, uuid: InstanceUuid) -> None:
        """See ``Cards``."""
        self._told.pop(uuid, None)
        self._book.give_back(uuid)

    def _told_to(self, request: falcon.Request) -> Told | None:
        """Return what is told to who asks, known by the address: that it is its own, the filter sees to."""
        uuid = self._book.holder(request.remote_addr)
        told = None if uuid is None else self._told.get(uuid)
        if uuid is None or told is None or not has_tags(told.instance, told.nics):
            return told
        try:
            return msgspec.structs.replace(told, placed=self._find(uuid))
        except KilonovaError as error:
            LOG.info("Where devices of %s are is not known: %s", uuid, error)
            return told

    def close(self) -> None:
        """See ``Cards``."""
        with self._lock:
            if self._server is not None:
                self._server.stop()
                self._server = None


def _serve(told_of: Callable[[falcon.Request], Told | None]) -> ThreadedServer:
    check_free(ADDRESS, PORT)
    server = ThreadedServer(create_app(told_of), ADDRESS, PORT, threads=4)
    server.start()
    return server


def _is_gone(connection: Any) -> bool:
    try:
        return not connection.isAlive()
    except libvirt.libvirtError:
        return True
