"""The cards of this host's guests that are ports of a network service: which they are, and their plugs.

They stand in a file in their guest's directory, which goes with the guest's other files; what they are
plugged into goes before.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.plugs import Plugs
from kilonova.core.errors import BuildFailed
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance, Nic
from kilonova.core.volume import Volume

LOG = logging.getLogger(__name__)

_FILE = "ports.json"
_decode = msgspec.json.Decoder(tuple[Nic, ...]).decode


class PortCards:
    """See ``cards.Cards``. What is plugged in is noted first, so that it is found whatever ends this."""

    def __init__(self, disks: Path, plugs: Plugs) -> None:
        self._disks = disks
        self._plugs = plugs
        self._lock = threading.Lock()
        self._cards: dict[InstanceUuid, tuple[Nic, ...]] = {}
        for file in sorted(disks.glob(f"*/{_FILE}")):
            try:
                self._cards[InstanceUuid(file.parent.name)] = _decode(file.read_bytes())
            except (OSError, msgspec.DecodeError) as error:
                LOG.warning("The cards of %s cannot be read: %s", file.parent.name, error)

    def ensure(self, connection: Any) -> None:
        """See ``Cards``. The network service's agents make what there is."""

    def plug(self, instance: Instance) -> tuple[Nic, ...]:
        """See ``Cards``. They are ports already."""
        self._keep(instance.uuid, instance.nics)
        self.connect(instance.uuid)
        return instance.nics

    def tell_of(self, uuid: InstanceUuid, volumes: Sequence[Volume]) -> None:
        """See ``Cards``. The network service's agents ask for it elsewhere."""

    def connect(self, uuid: InstanceUuid) -> None:
        """See ``Cards``."""
        for nic in self.of(uuid):
            self._plugs.connect(uuid, nic)

    def disconnect(self, uuid: InstanceUuid) -> None:
        """See ``Cards``."""
        for nic in self.of(uuid):
            self._plugs.disconnect(uuid, nic)

    def of(self, uuid: InstanceUuid) -> tuple[Nic, ...]:
        """See ``Cards``."""
        return self._cards.get(uuid, ())

    def place(self, uuid: InstanceUuid, place: Place) -> Place:
        """See ``Cards``."""
        return msgspec.structs.replace(place, nics=self.of(uuid))

    def add(self, uuid: InstanceUuid, nic: Nic) -> None:
        """See ``Cards``."""
        others = (one for one in self.of(uuid) if one.port_id != nic.port_id)
        self._keep(uuid, (*others, nic))
        try:
            self._plugs.connect(uuid, nic)
        except BuildFailed:
            self.remove(uuid, nic.port_id)
            raise

    def remove(self, uuid: InstanceUuid, port_id: str) -> None:
        """See ``Cards``."""
        for nic in self.of(uuid):
            if nic.port_id == port_id:
                self._plugs.disconnect(uuid, nic)
        self._keep(uuid, tuple(one for one in self.of(uuid) if one.port_id != port_id))

    def unplug(self, uuid: InstanceUuid) -> None:
        """See ``Cards``."""
        self._cards.pop(uuid, None)

    def close(self) -> None:
        """See ``Cards``. Nothing is open."""

    def _keep(self, uuid: InstanceUuid, nics: tuple[Nic, ...]) -> None:
        directory = self._disks / uuid
        partial = directory / f"{_FILE}.new"
        with self._lock:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(msgspec.json.encode(nics))
                partial.rename(directory / _FILE)
            except OSError as error:
                raise BuildFailed("A network card cannot be made on this host.") from error
            self._cards[uuid] = nics
