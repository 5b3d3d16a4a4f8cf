"""Mediated devices: slices of a card, such as a virtual GPU, of which a guest gets some for itself.

Those are for guests that their operator defined in libvirt, as a PCI device is that he bound to VFIO's
driver: so it is he who says of which type, and how many, a card gives. One is created when a guest gets it
and removed when nobody has it.
"""

import logging
from collections.abc import Collection
from typing import Any

import libvirt

from kilonova.compute.libvirt.topology import mediated

LOG = logging.getLogger(__name__)

_DEFINED = (
    libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE
)
_NONE_HERE = (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INVALID_ARG)
"""What a libvirt says that has no node devices, or none of that kind."""


class MediatedDevices:
    """Those of one host that are for guests."""

    def __init__(self) -> None:
        # Which there are changes with the host's set-up only.
        self._names: dict[str, str] | None = None

    def all(self, connection: Any) -> tuple[str, ...]:
        """Return their UUIDs, in order."""
        if self._names is None:
            self._names = mediated(
                device.XMLDesc() for device in _listed(connection) if device.isPersistent()
            )
        return tuple(sorted(self._names))

    def tend(self, connection: Any, taken: Collection[str]) -> None:
        """Have those that guests have, and no others. One that is in use after all stays.

        Raises:
            libvirt.libvirtError: one that is taken cannot be had.
        """
        for uuid in self.all(connection):
            device = connection.nodeDeviceLookupByName((self._names or {})[uuid])
            if uuid in taken and not device.isActive():
                device.create()
            elif uuid not in taken and device.isActive():
                try:
                    device.destroy()
                except libvirt.libvirtError as error:
                    LOG.warning("Mediated device %s stays: %s", uuid, error)


def _listed(connection: Any) -> list[Any]:
    try:
        found: list[Any] = connection.listAllDevices(_DEFINED)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _NONE_HERE:
            raise
        return []
    return found
