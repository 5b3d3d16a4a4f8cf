"""The cards of this host's guests that are ports of a network service: which they are, and their bridges.

They stand in a file in their guest's directory, which goes with the guest's other files.
"""

import logging
import threading
from pathlib import Path
from typing import Any

import msgspec

from kilonova.compute.libvirt import tool
from kilonova.compute.libvirt.elements.nics import bridge_of
from kilonova.compute.libvirt.elements.place import Place
from kilonova.core.errors import BuildFailed
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance, Nic

LOG = logging.getLogger(__name__)

_FILE = "ports.json"
_KINDS = ("bridge", "ovs", "tap")
_NETWORKS = Path("/sys/class/net")
_decode = msgspec.json.Decoder(tuple[Nic, ...]).decode


class PortCards:
    """See ``cards.Cards``."""

    def __init__(self, disks: Path) -> None:
        self._disks = disks
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
        for nic in instance.nics:
            _connect(nic)
        self._keep(instance.uuid, instance.nics)
        return instance.nics

    def of(self, uuid: InstanceUuid) -> tuple[Nic, ...]:
        """See ``Cards``."""
        return self._cards.get(uuid, ())

    def place(self, uuid: InstanceUuid, place: Place) -> Place:
        """See ``Cards``."""
        return msgspec.structs.replace(place, nics=self.of(uuid))

    def add(self, uuid: InstanceUuid, nic: Nic) -> None:
        """See ``Cards``."""
        _connect(nic)
        others = (one for one in self.of(uuid) if one.port_id != nic.port_id)
        self._keep(uuid, (*others, nic))

    def remove(self, uuid: InstanceUuid, port_id: str) -> None:
        """See ``Cards``."""
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


def _connect(nic: Nic) -> None:
    """See that this host can plug a card in; the bridge of a network that has no guest here yet is made.

    Raises:
        BuildFailed: it cannot.
    """
    plug = nic.plug
    if plug is None or plug.kind not in _KINDS or plug.hybrid:
        what = "hybrid ovs" if plug and plug.hybrid else plug.kind if plug else "no"
        raise BuildFailed(
            f"Port {nic.port_id} needs a plug of kind {what}, which this host has not."
        )
    bridge = bridge_of(nic, plug)
    if plug.kind != "bridge" or (_NETWORKS / bridge).exists():
        return
    try:
        tool.run("ip", "link", "add", "name", bridge, "type", "bridge", "forward_delay", "0")
        tool.run("ip", "link", "set", bridge, "up")
    except tool.ToolFailed as error:
        if not (_NETWORKS / bridge).exists():
            raise BuildFailed(f"The bridge of port {nic.port_id} cannot be made.") from error
