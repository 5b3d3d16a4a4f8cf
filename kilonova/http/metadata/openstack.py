"""OpenStack's tree: documents by path, as config drives and metadata services have them. Pure.

Source of the shapes and versions: Compute documentation, "Metadata"; cloud-init, "Config Drive".
"""

import base64
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kilonova.core.asked import Malformed
from kilonova.core.hardware import hardware_of
from kilonova.core.instance import FixedAddress, Instance, Nic
from kilonova.core.share import Share
from kilonova.core.tagged_devices import Placed, Tagged, tagged

_FIRST = "2012-08-10"
_LATEST = "latest"
VERSIONS = (
    _FIRST, "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22",
    "2018-08-27", "2020-10-14", _LATEST,
)  # fmt: skip
"""Oldest first; what is true of one is true of those behind it."""

_META_DATA = "meta_data.json"
_SINCE: Mapping[str, str] = {
    "random_seed": "2013-04-04",
    "project_id": "2015-10-15",
    "keys": "2015-10-15",
    "devices": "2016-06-30",
    "dedicated_cpus": "2020-10-14",
}
"""Field of meta_data.json -> the version that brought it; the rest is as old as the format."""
_DOCUMENTS_SINCE: Mapping[str, str] = {
    "vendor_data.json": "2013-10-17",
    "network_data.json": "2015-10-15",
    "vendor_data2.json": "2016-10-06",
}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a server. ``seed`` is entropy for the guest, made once for each server; ``placed``
    is where its devices are, None where that is not known."""

    instance: Instance
    nics: tuple[Nic, ...] = ()
    seed: bytes = b""
    placed: tuple[Placed, ...] | None = None


def documents(told: Told, version: str) -> dict[str, Callable[[], bytes]]:
    """Return the documents of one of ``VERSIONS`` by name, each made when it is asked for."""
    made: dict[str, Callable[[], bytes]] = {
        _META_DATA: lambda: _json(meta_data(told, version)),
    }
    user_data = told.instance.wishes.user_data
    if user_data:
        made["user_data"] = lambda: base64.b64decode(user_data)
    contents: Mapping[str, Callable[[], Any]] = {
        "vendor_data.json": dict,
        "network_data.json": lambda: network_data(told.nics),
        "vendor_data2.json": lambda: {"static": {}},
    }
    for name, content in contents.items():
        if _is_in(version, _DOCUMENTS_SINCE[name]):
            made[name] = lambda content=content: _json(content())  # type: ignore[misc]
    return made


def contents(told: Told) -> dict[str, bytes]:
    """Return the files that go into the guest, by their names below ``openstack/content``."""
    files = told.instance.wishes.files
    return {f"{n:04}": base64.b64decode(file.contents) for n, file in enumerate(files)}


def meta_data(told: Told, version: str = _LATEST) -> dict[str, Any]:
    """Return meta_data.json."""
    instance = told.instance
    wishes = instance.wishes
    found: dict[str, Any] = {
        "uuid": instance.uuid,
        "name": instance.name,
        "hostname": instance.hostname,
        "availability_zone": instance.availability_zone,
        "launch_index": wishes.launch_index,
        "meta": instance.metadata,
        "project_id": instance.project_id,
        "random_seed": base64.b64encode(told.seed).decode(),
        "devices": [_device(one) for one in tagged(instance, told.nics, told.placed)]
        + [_share(one) for one in instance.shares if version == _LATEST],
        "dedicated_cpus": _dedicated(instance),
    }
    key = wishes.key_pair
    if key is not None:
        found["public_keys"] = {key.name: key.public_key}
        found["keys"] = [{"name": key.name, "type": key.kind, "data": key.public_key}]
    if wishes.admin_pass:
        found["admin_pass"] = wishes.admin_pass
    if wishes.files:
        found["files"] = [
            {"content_path": f"/content/{n:04}", "path": file.path}
            for n, file in enumerate(wishes.files)
        ]
    return {
        name: value for name, value in found.items() if _is_in(version, _SINCE.get(name, _FIRST))
    }


def network_data(nics: Sequence[Nic]) -> dict[str, Any]:
    """Return network_data.json: the cards, and how each comes by its addresses."""
    names = [f"tap{number}" for number in range(len(nics))]
    return {
        "links": [
            {
                "id": name,
                "vif_id": nic.port_id or nic.mac,
                "type": nic.plug.kind if nic.plug else "bridge",
                "mtu": nic.mtu,
                "ethernet_mac_address": nic.mac,
            }
            for name, nic in zip(names, nics, strict=True)
        ],
        "networks": [
            {"id": f"network{number}", "link": name, "network_id": nic.network_id} | _address(fixed)
            for number, (name, nic, fixed) in enumerate(
                (name, nic, fixed)
                for name, nic in zip(names, nics, strict=True)
                for fixed in nic.addresses
            )
        ],
        "services": [
            {"type": "dns", "address": address}
            for address in sorted({address for nic in nics for address in _dns(nic)})
        ],
    }


def _address(fixed: FixedAddress) -> dict[str, Any]:
    """Return how a guest comes by an address; all of it where nobody else tells."""
    found = ipaddress.ip_interface(f"{fixed.address}/{fixed.prefix}")
    family = f"ipv{found.version}"
    if fixed.given != "static":
        return {"type": f"{family}_{fixed.given}"}
    anywhere = str(type(found.network.network_address)(0))
    routes = [{"network": anywhere, "netmask": anywhere, "gateway": fixed.gateway}]
    return {
        "type": family,
        "ip_address": fixed.address,
        "netmask": str(found.netmask),
        "routes": routes if fixed.gateway else [],
    }


def _dns(nic: Nic) -> Sequence[str]:
    said = [address for fixed in nic.fixed for address in fixed.dns]
    return said or ([nic.dns] if nic.dns else [])


def _share(share: Share) -> dict[str, Any]:
    """Return a share, as its owner's programs look for it: it is nowhere in the machine that is seen."""
    where = {"bus": "none", "address": "none"}
    return {"type": "share", "share_id": share.share_id, "tag": share.tag} | where


def _device(device: Tagged) -> dict[str, Any]:
    """Return a device that has a tag, as its owner's programs look for it."""
    where = device.placed
    found: dict[str, Any] = {
        "type": device.kind,
        "bus": where.bus if where else "none",
        "address": where.address if where else "none",
    }
    if device.kind == "nic":
        found["mac"] = device.mac
    else:
        found["serial"] = device.serial
        if where is not None and where.path:
            found["path"] = where.path
    return found | {"tags": [device.tag]}


def _dedicated(instance: Instance) -> list[int]:
    """Return the VCPUs that have CPUs of their own."""
    try:
        cells = hardware_of(instance.flavor, instance.image).cells
    except Malformed:
        return []
    return [] if cells is None else sorted(cells.pinned)


def netmask(nic: Nic) -> str:
    """Return the mask of a card's network."""
    return str(ipaddress.IPv4Network((0, nic.prefix)).netmask)


def _is_in(version: str, since: str) -> bool:
    return VERSIONS.index(version) >= VERSIONS.index(since)


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
