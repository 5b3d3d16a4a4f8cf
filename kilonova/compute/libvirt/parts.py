"""What guests of this host have of it for themselves: CPUs, NUMA cells, huge pages and devices.

What a guest got stands in its directory and goes with it, so it is the guest's exactly as long as there is
something of it here, whatever is killed when. Two guests never get the same: one is given at a time.
"""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from oslo_config import cfg

from kilonova.compute.inventory import set_apart
from kilonova.compute.libvirt.elements.place import Pins, Place
from kilonova.compute.libvirt.mediated import MediatedDevices
from kilonova.compute.libvirt.node import pci_devices
from kilonova.compute.libvirt.topology import devices_for_guests, host_cells
from kilonova.core import pinning
from kilonova.core.errors import BuildFailed
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.pinning import Assigned, Device, Parts, Wanted

LOG = logging.getLogger(__name__)


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest wanted and got, and on which host: others may share its directory."""

    host: HostName
    wanted: Wanted
    assigned: Assigned


_decode = msgspec.json.Decoder(_Kept).decode


class NoRoom(Exception):
    """Why a host has no room, in figures that are its operator's to read."""


class GuestParts:
    """The parts of one host, and whose they are."""

    def __init__(self, conf: cfg.ConfigOpts, host: HostName, disks: Path) -> None:
        self._conf = conf
        self._host = host
        self._disks = disks
        self._lock = threading.Lock()
        # Which there are changes with the host's set-up only.
        self._devices: tuple[Device, ...] | None = None
        self._mediated = MediatedDevices()
        self._kept: dict[InstanceUuid, _Kept] = dict(self._read())

    def _read(self) -> Mapping[InstanceUuid, _Kept]:
        found = {}
        for file in self._disks.glob("*/parts-*.json"):
            try:
                kept = _decode(file.read_bytes())
            except (OSError, msgspec.MsgspecError) as error:
                LOG.warning("What %s has for itself cannot be read: %s", file.parent.name, error)
                continue
            if kept.host == self._host:
                found[InstanceUuid(file.parent.name)] = kept
        return found

    def _of_host(self, connection: Any) -> Parts:
        if self._devices is None:
            listed = [device.XMLDesc() for device in pci_devices(connection)]
            self._devices = devices_for_guests(listed)
        apart = set_apart(self._conf, int(connection.getInfo()[2]))
        return Parts(
            cells=host_cells(connection.getCapabilities(), apart),
            devices=self._devices,
            vgpus=self._mediated.all(connection),
        )

    def vgpus(self, connection: Any) -> int:
        """Return how many mediated devices there are for guests, free or not."""
        return len(self._mediated.all(connection))

    def free(self, connection: Any) -> Parts:
        """Return what no guest has."""
        with self._lock:
            taken = [kept.assigned for kept in self._kept.values()]
        return pinning.left(self._of_host(connection), taken)

    def place(self, connection: Any, instance: Instance, place: Place) -> Place:
        """Return where a guest lives, with what it has for itself: what it got before, as long as it wants
        the same.

        Raises:
            BuildFailed: there is not enough of it, or it cannot be noted.
            Malformed: it wants what cannot be.
        """
        whole = self._of_host(connection)
        # Guests that have no CPUs of their own keep off those of others.
        shared = whole.shared if any(cell.cores for cell in whole.cells) else frozenset()
        assigned = self._assign(whole, instance)
        if whole.vgpus:
            self.tend(connection)
        if assigned is None:
            pins = Pins(shared=shared) if shared else None
            return msgspec.structs.replace(place, pins=pins)
        return msgspec.structs.replace(
            place,
            pins=_pins(instance, assigned, shared),
            devices=assigned.devices,
            vgpus=assigned.vgpus,
        )

    def tend(self, connection: Any) -> None:
        """Have the mediated devices that guests have: none outlives a restart of the machine.

        Raises:
            libvirt.libvirtError: one of them cannot be had.
        """
        with self._lock:
            taken = {uuid for kept in self._kept.values() for uuid in kept.assigned.vgpus}
            self._mediated.tend(connection, taken)

    def _assign(self, whole: Parts, instance: Instance) -> Assigned | None:
        wanted = pinning.wanted(instance)
        if wanted == Wanted():
            self.give_back(instance.uuid)
            return None
        with self._lock:
            kept = self._kept.get(instance.uuid)
            if kept is not None and kept.wanted == wanted:
                return kept.assigned
            taken = [k.assigned for uuid, k in self._kept.items() if uuid != instance.uuid]
            found = pinning.assign(instance, pinning.left(whole, taken))
            if isinstance(found, str):
                raise BuildFailed(
                    "This host has too little left of what the server wants for itself."
                ) from NoRoom(found)
            self._keep(instance.uuid, _Kept(host=self._host, wanted=wanted, assigned=found))
            return found

    def _keep(self, uuid: InstanceUuid, kept: _Kept) -> None:
        file = self._file(uuid)
        partial = file.with_suffix(".new")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(msgspec.json.encode(kept))
            partial.rename(file)
        except OSError as error:
            raise BuildFailed("What the server has for itself cannot be noted.") from error
        self._kept[uuid] = kept

    def give_back(self, uuid: InstanceUuid) -> None:
        """Let others have what a guest had."""
        with self._lock:
            if self._kept.pop(uuid, None) is not None:
                self._file(uuid).unlink(missing_ok=True)

    def _file(self, uuid: InstanceUuid) -> Path:
        return self._disks / uuid / f"parts-{self._host}.json"


def _pins(instance: Instance, assigned: Assigned, shared: frozenset[int]) -> Pins:
    cells = pinning.wanted(instance).cells
    emulator = frozenset() if assigned.emulator is None else frozenset({assigned.emulator})
    if cells is not None and cells.emulator == "share":
        emulator = shared
    return Pins(
        cpus=assigned.cpus,
        shared=shared if len(assigned.cpus) < instance.flavor.vcpus else frozenset(),
        emulator=emulator,
        cells=assigned.cells,
        pages=assigned.pages,
    )
