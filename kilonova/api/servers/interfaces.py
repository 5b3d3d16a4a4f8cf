"""A server's network cards one by one: ``/servers/{server_id}/os-interface``.

With a network service they are its ports; without one, what the host reported, which nobody changes.
"""

import uuid as uuids
from typing import Any

from kilonova.api.find import find_server
from kilonova.api.microversions import Since
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas.networks import ATTACH
from kilonova.api.servers import network_wishes
from kilonova.api.servers.network_wishes import NO_SERVICE
from kilonova.api.servers.reach import check_reached
from kilonova.api.servers.tasks import find_free, order
from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, Invalid, KilonovaError, NotFound
from kilonova.core.instance import Instance, Located, Nic
from kilonova.core.orders import AttachInterface, CardOrder, DetachInterface
from kilonova.core.states import Action
from kilonova.db import card_orders
from kilonova.http.network_cards import OURS, owner_of, release_port
from kilonova.http.networks import AddressTaken, Document, Networks

_NAMESPACE = uuids.UUID("a1e0a3b2-6c2f-5d0e-8f5e-3f9a51a7c0de")


def list_interfaces(asked: Asked, server_id: str) -> Answer:
    """Answer a server's cards."""
    return Answer({"interfaceAttachments": _views(asked, find_server(asked, server_id).instance)})


def show(asked: Asked, server_id: str, port_id: str) -> Answer:
    """Answer one card."""
    for view in _views(asked, find_server(asked, server_id).instance):
        if view["port_id"] == port_id:
            return Answer({"interfaceAttachment": view})
    raise _missing(server_id, port_id)


def attach(asked: Asked, server_id: str) -> Answer:
    """Give a server a card: a port that its user brings, or one that is made for it."""
    located = find_free(asked, server_id, Action.ATTACH_INTERFACE)
    instance = located.instance
    check_reached(asked, instance)
    # None, or nothing, stands for a port in the only network that there is.
    wanted: dict[str, Any] = (asked.body or {}).get("interfaceAttachment") or {}
    network_id, port_id = wanted.get("net_id"), wanted.get("port_id")
    address = next((one["ip_address"] for one in wanted.get("fixed_ips", ())), None)
    if network_id and port_id:
        raise Invalid("Must not input both network_id and port_id")
    if address and not network_id:
        raise Invalid("Must input network_id when request IP address")
    networks = _service(asked)
    if port_id:
        port = _claim(asked, networks, instance, port_id)
    else:
        port = _make(asked, networks, instance, (network_id, address))
    try:
        _order(asked, located, AttachInterface(port_id=port["id"], tag=wanted.get("tag")))
    except KilonovaError:
        release_port(networks, port)
        raise
    return Answer({"interfaceAttachment": _view(asked, port, wanted.get("tag"))})


def _claim(asked: Asked, networks: Networks, instance: Instance, port_id: str) -> Document:
    """Make a user's port the server's, as only its user can."""
    port = networks.under(asked.token).port(port_id)
    network_wishes.check_port(instance.project_id, port)
    changes = {"device_id": instance.uuid, "device_owner": owner_of(instance.availability_zone)}
    return networks.update_port(port["id"], changes)


def _make(
    asked: Asked, networks: Networks, instance: Instance, wanted: tuple[str | None, str | None]
) -> Document:
    network_id, address = wanted
    seen = networks.under(asked.token)
    if network_id:
        network = seen.network(network_id)
    else:
        found = network_wishes.available(asked, seen)
        if len(found) != 1:
            raise Invalid(
                "Multiple possible networks found, use a Network ID to be more specific."
                if found
                else "No specific network was requested and none are available."
            )
        (network,) = found
    network_wishes.check_network(asked, network)
    port: Document = {
        "network_id": network["id"],
        "project_id": instance.project_id,
        "device_id": instance.uuid,
        "device_owner": owner_of(instance.availability_zone),
        "admin_state_up": True,
        "description": OURS,
    }
    if address:
        port["fixed_ips"] = [{"ip_address": address}]
    try:
        return networks.create_port(port)
    except AddressTaken:
        raise
    except Conflict as error:
        raise Invalid(error.message) from error


def detach(asked: Asked, server_id: str, port_id: str) -> Answer:
    """Take a card away."""
    located = find_free(asked, server_id, Action.DETACH_INTERFACE)
    _service(asked)
    if all(view["port_id"] != port_id for view in _views(asked, located.instance)):
        raise _missing(server_id, port_id)
    check_reached(asked, located.instance)
    _order(asked, located, DetachInterface(port_id=port_id))
    return Answer(status=202)


def _order(asked: Asked, located: Located, wanted: CardOrder) -> None:
    """Give an order about a card, which is kept: it is sent again if it is lost."""
    kept = card_orders.keeping(wanted, asked.context.request_id, utcnow())
    order(asked, located.instance.uuid, wanted, located=located, beside=kept)


def _service(asked: Asked) -> Networks:
    if asked.services.networks is None:
        raise Invalid(f"os-interface: {NO_SERVICE}, so cards are neither attached nor detached")
    return asked.services.networks


def _missing(server_id: str, port_id: str) -> NotFound:
    return NotFound(f"Instance {server_id} does not have a port with id {port_id}")


def _views(asked: Asked, instance: Instance) -> list[dict[str, Any]]:
    if asked.services.networks is None:
        return [_view(asked, _as_port(nic), nic.tag) for nic in instance.nics]
    tags = {nic.port_id: nic.tag for nic in instance.nics}
    ports = asked.services.networks.ports(device_id=instance.uuid)
    return [_view(asked, port, tags.get(port["id"])) for port in ports]


def _as_port(nic: Nic) -> Document:
    """Return a card of a host's own network as a port would be."""
    return {
        "id": str(uuids.uuid5(_NAMESPACE, f"{nic.network_id} {nic.mac}")),
        "network_id": nic.network_id,
        "mac_address": nic.mac,
        "status": "ACTIVE",
        "fixed_ips": [
            {"ip_address": one.address, "subnet_id": one.subnet_id} for one in nic.addresses
        ],
    }


def _view(asked: Asked, port: Document, tag: str | None) -> dict[str, Any]:
    view = {
        "net_id": port["network_id"],
        "port_id": port["id"],
        "mac_addr": port["mac_address"],
        "port_state": port["status"],
        "fixed_ips": port["fixed_ips"],
    }
    return view | {"tag": tag} if asked.version in Since.ATTACHED_TAGS else view


_RULE = "os_compute_api:os-attach-interfaces"
_PATH = "/servers/{server_id}/os-interface"

ROUTES = (
    Route("GET", _PATH, f"{_RULE}:list", list_interfaces),
    Route("POST", _PATH, f"{_RULE}:create", attach, body=ATTACH),
    Route("GET", f"{_PATH}/{{port_id}}", f"{_RULE}:show", show),
    Route("DELETE", f"{_PATH}/{{port_id}}", f"{_RULE}:delete", detach),
)
