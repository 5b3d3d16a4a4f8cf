"""What libvirt says of its host's memory and devices, where it says it well."""

from typing import Any

import libvirt


def memory_mb(connection: Any, reported: int) -> int:
    """Return the host's memory: ``getInfo`` is wrong on some machines, the memory statistics are not."""
    try:
        return (
            int(connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]) >> 10
        )
    except libvirt.libvirtError:
        return reported


def pci_devices(connection: Any) -> list[Any]:
    """Return the node devices that are on a PCI bus, none where libvirt was built without them."""
    try:
        found: list[Any] = connection.listAllDevices(
            libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise
        return []
    return found
