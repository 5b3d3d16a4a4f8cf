"""Volumes on a libvirt host: how they are reached, and how guests get them while they run.

What the block storage service says of a connection is its drivers' own; here it becomes a path or the name
of an image in a network. iSCSI, Fibre Channel and NVMe need os-brick, and so root.
"""

import hashlib
import logging
import platform
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import msgspec
from oslo_config import cfg

from kilonova.compute.libvirt import volume_files
from kilonova.compute.libvirt.cards import Cards
from kilonova.compute.libvirt.connection import Connection
from kilonova.compute.libvirt.elements.volumes import volume_xml
from kilonova.compute.libvirt.tool import ToolFailed, run
from kilonova.compute.libvirt.volume_files import element_of
from kilonova.core.block_devices import short
from kilonova.core.errors import BuildFailed
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.volume import Volume

LOG = logging.getLogger(__name__)

_BRICK = frozenset({"iscsi", "fibre_channel", "nvmeof"})
_LETS_GO = 20.0
"""Seconds that a guest gets to let a disk go, each time that it is asked."""
_TIMES = 4
_LOOKS = 0.25
_INITIATOR = Path("/etc/iscsi/initiatorname.iscsi")
_RATES = frozenset(
    f"{what}_{unit}_sec" for what in ("read", "write", "total") for unit in ("bytes", "iops")
)
_ROOT_HELPER = "sudo"
_PLACES = ("file", "dev", "protocol", "name")
"""What tells one source of a disk from another."""


def reached(connection: Mapping[str, Any], path: str | None = None) -> dict[str, Any]:
    """Return what a volume is on this host; ``path`` is where it was put, if anywhere.

    Raises:
        BuildFailed: guests here cannot have such a volume.
    """
    kind = connection.get("driver_volume_type")
    if connection.get("encrypted"):
        raise BuildFailed("Encrypted volumes cannot be had on this host.")
    found: dict[str, Any] = {}
    if kind == "rbd":
        hosts, ports = connection.get("hosts") or (), connection.get("ports") or ()
        found = {
            "source": "network",
            "protocol": "rbd",
            "name": connection["name"],
            "hosts": [[host, str(port)] for host, port in zip(hosts, ports, strict=False)],
        }
        if connection.get("auth_enabled"):
            found |= {"user": connection["auth_username"], "secret": connection["secret_uuid"]}
    elif path is not None or kind == "local":
        where = path or str(connection.get("device_path") or "")
        found = {"source": _kind_of(where), "path": where}
    else:
        raise BuildFailed(f"Volumes of the kind {kind} cannot be had on this host.")
    found["format"] = connection.get("format") or "raw"
    specs = connection.get("qos_specs") or {}
    found["limits"] = {name: str(int(specs[name])) for name in sorted(_RATES & specs.keys())}
    found["readonly"] = connection.get("access_mode") == "ro"
    found["discard"] = bool(connection.get("discard"))
    return found


def paths_of(volumes: Sequence[Volume]) -> dict[str, str]:
    """Return where connected volumes are on this host, by their ids, of those that have a path."""
    here = {volume.volume_id: volume.connection or {} for volume in volumes}
    return {volume_id: str(at["path"]) for volume_id, at in here.items() if "path" in at}


def _kind_of(path: str) -> str:
    try:
        return "block" if stat.S_ISBLK(Path(path).stat().st_mode) else "file"
    except OSError as error:
        raise BuildFailed("A volume is not where it should be on this host.") from error


class VolumesHere(ABC):
    """The part of the driver that has to do with volumes."""

    _conf: cfg.ConfigOpts
    _host: HostName
    _libvirt: Connection
    _cards: Cards

    @abstractmethod
    def _on(self, uuid: InstanceUuid, work: Callable[[Any], None]) -> None: ...

    def connector(self) -> dict[str, Any]:
        """See ``Attaching``."""
        plain: dict[str, Any] = {
            "host": self._host,
            "ip": self._conf.my_ip,
            "multipath": False,
            "platform": platform.machine(),
            "os_type": "linux",
            "do_local_attach": False,
        }
        if _INITIATOR.exists():
            for line in _INITIATOR.read_text(errors="replace").splitlines():
                name, _, value = line.partition("=")
                if name.strip() == "InitiatorName":
                    plain["initiator"] = value.strip()
        return plain

    def connect_volume(self, volume: Volume) -> Volume:
        """See ``Attaching``."""
        said = volume.connection or {}
        kind, path = said.get("driver_volume_type"), None
        if kind == "nfs":
            path = str(self._mounted(said) / str(said["name"]))
        elif kind in _BRICK:
            path = str(_brick(kind).connect_volume(dict(said))["path"])
        return msgspec.structs.replace(volume, connection=reached(said, path))

    def _mounted(self, said: Mapping[str, Any]) -> Path:
        """Return where an export is mounted."""
        export = str(said["export"])
        digest = hashlib.sha256(export.encode()).hexdigest()[:32]
        where = Path(self._conf.state_path).absolute() / "mnt" / digest
        if where.is_mount():
            return where
        options = str(said.get("options") or "").split()
        try:
            where.mkdir(parents=True, exist_ok=True)
            run("mount", "-t", "nfs", *options, "--", export, str(where))
        except (OSError, ToolFailed) as error:
            raise BuildFailed("An export cannot be mounted on this host.") from error
        return where

    def disconnect_volume(self, volume: Volume) -> None:
        """See ``Attaching``. What is mounted stays so, for the next one."""
        said = volume.connection or {}
        if said.get("driver_volume_type") in _BRICK:
            _brick(said["driver_volume_type"]).disconnect_volume(dict(said), None)

    def attach_volume(self, instance: Instance, volume: Volume) -> None:
        """See ``Attaching``."""

        def attach(domain: Any) -> None:
            flags = 0
            if element_of(domain, volume, libvirt.VIR_DOMAIN_XML_INACTIVE) is None:
                flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if domain.isActive() and element_of(domain, volume) is None:
                flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            if flags:
                domain.attachDeviceFlags(volume_xml(volume), flags)

        self._on(instance.uuid, attach)
        self._cards.tell_of(instance.uuid, instance.volumes)

    def detach_volume(self, instance: Instance, volume: Volume) -> None:
        """See ``Attaching``. A guest may be slow to let a disk go, and is asked again."""

        def detach(domain: Any) -> None:
            defined = element_of(domain, volume, libvirt.VIR_DOMAIN_XML_INACTIVE)
            if defined is not None:
                domain.detachDeviceFlags(defined, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            if not _let_go(domain, volume):
                if defined is not None:
                    domain.attachDeviceFlags(defined, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
                raise BuildFailed(f"The guest does not let volume {volume.volume_id} go.")

        self._on(instance.uuid, detach)

    def swap_volume(self, instance: Instance, volume: Volume, replacement: Volume) -> None:
        """See ``Attaching``. libvirt copies while the guest runs, and turns it over at the end."""
        fresh = msgspec.structs.replace(replacement, device=volume.device)

        def swap(domain: Any) -> None:
            defined = element_of(domain, volume, libvirt.VIR_DOMAIN_XML_INACTIVE)
            live = element_of(domain, volume) if domain.isActive() else defined
            if live is None:
                raise BuildFailed(f"The guest has no volume {volume.volume_id}.")
            if domain.isActive() and _source_of(live) != _source_of(volume_xml(fresh)):
                _copy(domain, short(volume.device), volume_xml(fresh))
            if defined is not None:
                domain.detachDeviceFlags(defined, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            domain.attachDeviceFlags(volume_xml(fresh), libvirt.VIR_DOMAIN_AFFECT_CONFIG)

        self._on(instance.uuid, swap)

    def extend_volume(self, instance: Instance, volume: Volume) -> None:
        """See ``Attaching``."""

        def extend(domain: Any) -> None:
            if domain.isActive():
                flags = libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
                domain.blockResize(short(volume.device), volume.size_gb << 30, flags)

        self._on(instance.uuid, extend)

    def snapshot_volume(self, instance: Instance, volume: Volume, new_file: str) -> None:
        """See ``Attaching``."""
        self._on(instance.uuid, lambda domain: volume_files.go_on_with(domain, volume, new_file))

    def merge_snapshot(
        self, instance: Instance, volume: Volume, files: tuple[str | None, str | None]
    ) -> None:
        """See ``Attaching``."""
        self._on(instance.uuid, lambda domain: volume_files.merge(domain, volume, files))


def _source_of(disk: str) -> dict[str, str]:
    """Return where a disk's element says that its data is."""
    source = ET.fromstring(disk).find("source")  # noqa: S314 - libvirt's, or ours
    found = {} if source is None else source.attrib
    return {name: found[name] for name in _PLACES if name in found}


def _let_go(domain: Any, volume: Volume) -> bool:
    """Ask a guest that runs to let a disk go; False if it does not."""
    for _ in range(_TIMES):
        live = element_of(domain, volume) if domain.isActive() else None
        if live is None:
            return True
        try:
            domain.detachDeviceFlags(live, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            # An earlier request may still be under way, or may have been heard by now.
            LOG.info("%s keeps %s: %s", domain.name(), volume.volume_id, error)
        deadline = time.monotonic() + _LETS_GO
        while time.monotonic() < deadline:
            if not domain.isActive() or element_of(domain, volume) is None:
                return True
            time.sleep(_LOOKS)
    return False


def _copy(domain: Any, device: str, xml: str) -> None:
    flags = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
    domain.blockCopy(device, xml, None, flags)
    while True:
        job = domain.blockJobInfo(device, 0)
        if not job:
            raise BuildFailed("A volume could not be copied to the other.")
        if job["cur"] == job["end"] and job["end"] and _pivot(domain, device):
            return
        time.sleep(_LOOKS)


def _pivot(domain: Any, device: str) -> bool:
    """Let a guest go on with the copy of a disk; False if that is not quite ready, though all is copied."""
    try:
        domain.blockJobAbort(device, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_BLOCK_COPY_ACTIVE:
            raise
        return False
    return True


def _brick(kind: str) -> Any:
    """Return os-brick's connector of a kind.

    Raises:
        BuildFailed: os-brick is not installed.
    """
    try:
        # Imported here: only hosts with such volumes have it.
        from os_brick.initiator import connector  # noqa: PLC0415
    except ImportError as error:
        raise BuildFailed(f"This host has no os-brick, which {kind} volumes need.") from error
    return connector.InitiatorConnector.factory(kind.upper(), _ROOT_HELPER)
