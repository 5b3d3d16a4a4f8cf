"""What is done to the ports that a server has: security groups, fixed and floating addresses.

The network service does it, under the token of who asks; then the server's host is told to look. Without
a network service each is refused by name.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from kilonova.api.find import find_server
from kilonova.api.microversions import Since
from kilonova.api.routing import Act, Answer, Asked, Route
from kilonova.api.schemas import networks as schemas
from kilonova.api.schemas import server_actions
from kilonova.api.schemas.servers import NO_ARGUMENTS
from kilonova.api.servers.network_wishes import NO_SERVICE, find_group
from kilonova.api.servers.tasks import check_unlocked, placed
from kilonova.core.errors import Conflict, Gone, Invalid, KilonovaError, NotFound
from kilonova.core.external_event import ExternalEvent
from kilonova.core.instance import Located, Nic
from kilonova.db import instances
from kilonova.http.networks import Document, Documents, Networks
from kilonova.rpc.messages import TakeExternalEvents

LOG = logging.getLogger(__name__)

_GROUPS = "os_compute_api:os-security-groups"
_MULTINIC = "os_compute_api:os-multinic"
_FLOATING = "os_compute_api:os-floating-ips"
_EARLIER = Since.NO_ADDRESS_ACTIONS.before


def _free(asked: Asked, server_id: str, action: str) -> Located:
    """Return a server that an action may change: it is unlocked, and has a cell."""
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    placed(located, action)
    return located


def _service(asked: Asked, action: str, what: str) -> Networks:
    if asked.services.networks is None:
        raise Invalid(f"{action}: {NO_SERVICE}, so servers have no {what}")
    return asked.services.networks.under(asked.token)


def _ports(networks: Networks, located: Located) -> Documents:
    return networks.ports(device_id=located.instance.uuid)


def _let_look(asked: Asked, located: Located) -> None:
    """Tell a server's host that its ports have changed. The network service may say it, too."""
    host, cell = located.instance.host, located.cell_uuid
    if host is None or cell is None:
        return
    event = ExternalEvent(server_uuid=located.instance.uuid, name="network-changed")
    message = TakeExternalEvents(events=(event,))
    try:
        asked.services.cell_bus(cell).cast(asked.context, message, host=host)
    except KilonovaError as error:
        LOG.warning("%s: its host does not look at its ports: %s", event.server_uuid, error)


# ---- security groups


def list_groups(asked: Asked, server_id: str) -> Answer:
    """``GET /servers/{server_id}/os-security-groups``."""
    located = find_server(asked, server_id)
    if asked.services.networks is None:
        return Answer({"security_groups": []})
    networks = asked.services.networks.under(asked.token)
    ids = {group for port in _ports(networks, located) for group in port["security_groups"]}
    groups = networks.security_groups_by_id(sorted(ids)) if ids else []
    names = {group["id"]: group for group in groups}
    return Answer({"security_groups": [_group(group, names) for group in groups]})


def _group(group: Document, known: dict[str, Document]) -> dict[str, Any]:
    return {
        "id": group["id"],
        "name": group["name"],
        "description": group.get("description") or "",
        "tenant_id": _owner(group),
        "rules": [
            _rule(rule, known)
            for rule in group.get("security_group_rules", ())
            if rule["direction"] == "ingress"
        ],
    }


def _owner(document: Document) -> str:
    return str(document.get("project_id") or document.get("tenant_id") or "")


def _rule(rule: Document, known: dict[str, Document]) -> dict[str, Any]:
    """Return a rule as the Compute API has it: ports are always said, and so is where from."""
    protocol = rule.get("protocol")
    low, high = rule.get("port_range_min"), rule.get("port_range_max")
    if protocol and low is None and high is None:
        low, high = (1, 65535) if protocol.upper() in ("TCP", "UDP") else (-1, -1)
    source, group = rule.get("remote_ip_prefix"), rule.get("remote_group_id")
    if not source and not group:
        source = "::/0" if rule.get("ethertype") == "IPv6" else "0.0.0.0/0"
    remote = known.get(group or "")
    return {
        "id": rule["id"],
        "parent_group_id": rule["security_group_id"],
        "ip_protocol": protocol,
        "from_port": low,
        "to_port": high,
        "group": {"name": remote["name"], "tenant_id": _owner(remote)} if remote else {},
        "ip_range": {"cidr": source} if source else {},
    }


def _change_groups(asked: Asked, server_id: str) -> Answer:
    """``addSecurityGroup`` and ``removeSecurityGroup``."""
    (action,) = asked.body
    located = _free(asked, server_id, action)
    networks = _service(asked, action, "security groups")
    named = asked.body[action]["name"]
    found = find_group(asked, networks, named)
    group, name = found["id"], str(found["name"])
    ports = _ports(networks, located)
    if action == "addSecurityGroup":
        if not ports:
            raise Invalid(f"addSecurityGroup: instance {server_id} has no ports")
        for port in ports:
            _add_group(networks, port, group)
        _note(asked, located, ports, lambda groups: {*groups, name})
    else:
        held = [port for port in ports if group in port["security_groups"]]
        if not held:
            raise NotFound(
                f"Security group {named} is not associated with the instance {server_id}"
            )
        for port in held:
            left = [one for one in port["security_groups"] if one != group]
            networks.update_port(port["id"], {"security_groups": left})
        _note(asked, located, held, lambda groups: groups - {name})
    _let_look(asked, located)
    return Answer(status=202)


def _note(
    asked: Asked, located: Located, ports: Documents, change: Callable[[set[str]], set[str]]
) -> None:
    """Show now in which groups these ports are, and not when the server's host has looked at them."""
    ids = {port["id"] for port in ports}

    def changed(nics: tuple[Nic, ...]) -> tuple[Nic, ...]:
        return tuple(
            msgspec.structs.replace(nic, groups=tuple(sorted(change(set(nic.groups)))))
            if nic.port_id in ids
            else nic
            for nic in nics
        )

    if located.cell_uuid is not None:
        database = asked.services.cells.database(located.cell_uuid)
        instances.change_nics(database, located.instance.uuid, changed)


def _add_group(networks: Networks, port: Document, group: str) -> None:
    if group in port["security_groups"]:
        return
    # A network service without that extension says nothing of it, or null.
    if port.get("port_security_enabled") is False or not port.get("fixed_ips"):
        raise Invalid(
            "Network requires port_security_enabled and subnet associated in order to apply "
            "security groups."
        )
    networks.update_port(port["id"], {"security_groups": [*port["security_groups"], group]})


# ---- addresses


def _add_fixed(asked: Asked, server_id: str) -> Answer:
    """``addFixedIp``: one more address in a network that the server has a port in."""
    located = _free(asked, server_id, "addFixedIp")
    networks = _service(asked, "addFixedIp", "ports")
    network = str(asked.body["addFixedIp"]["networkId"])
    ports = [port for port in _ports(networks, located) if port["network_id"] == network]
    subnets = networks.network(network)["subnets"] if ports else []
    if not subnets:
        raise Invalid(f"Network {network} could not be found for instance {server_id}")
    more = [*_known(ports[0]), {"subnet_id": subnets[0]}]
    networks.update_port(ports[0]["id"], {"fixed_ips": more})
    _let_look(asked, located)
    return Answer(status=202)


def _known(port: Document) -> list[Document]:
    return [
        {"subnet_id": one["subnet_id"], "ip_address": one["ip_address"]}
        for one in port["fixed_ips"]
    ]


def _remove_fixed(asked: Asked, server_id: str) -> Answer:
    """``removeFixedIp``."""
    located = _free(asked, server_id, "removeFixedIp")
    networks = _service(asked, "removeFixedIp", "ports")
    address = asked.body["removeFixedIp"]["address"]
    port = _port_with(_ports(networks, located), address)
    if port is None:
        raise Invalid(f"Fixed IP {address} is not associated with instance {server_id}")
    left = [one for one in _known(port) if one["ip_address"] != address]
    networks.update_port(port["id"], {"fixed_ips": left})
    _let_look(asked, located)
    return Answer(status=202)


def _port_with(ports: Documents, address: str) -> Document | None:
    for port in ports:
        if any(one["ip_address"] == address for one in port["fixed_ips"]):
            return port
    return None


def _add_floating(asked: Asked, server_id: str) -> Answer:
    """``addFloatingIp``: lets an address of the asker's lead to the server, to its first of IPv4."""
    located = _free(asked, server_id, "addFloatingIp")
    networks = _service(asked, "addFloatingIp", "ports")
    wanted = asked.body["addFloatingIp"]
    ports = _ports(networks, located)
    fixed = wanted.get("fixed_address") or next(
        (one["ip_address"] for port in ports for one in port["fixed_ips"] if _is_v4(one)), None
    )
    if fixed is None:
        raise Invalid(f"Instance {server_id} has no fixed IPs. Unable to associate floating IP")
    port = _port_with(ports, fixed)
    if port is None:
        raise Invalid("Specified fixed address not assigned to instance")
    found = _floating(networks, wanted["address"])
    changes = {"port_id": port["id"], "fixed_ip_address": fixed}
    try:
        networks.update_floating_ip(found["id"], changes)
    except NotFound as error:
        raise Invalid(f"Unable to associate floating IP: {error.message}") from error
    _let_look(asked, located)
    return Answer(status=202)


def _is_v4(one: Document) -> bool:
    return ":" not in one["ip_address"]


def _floating(networks: Networks, address: str) -> Document:
    for found in networks.floating_ips(floating_ip_address=address):
        return found
    raise NotFound("floating IP not found")


def _remove_floating(asked: Asked, server_id: str) -> Answer:
    """``removeFloatingIp``."""
    located = _free(asked, server_id, "removeFloatingIp")
    networks = _service(asked, "removeFloatingIp", "ports")
    address = asked.body["removeFloatingIp"]["address"]
    found = _floating(networks, address)
    if found.get("port_id") not in {port["id"] for port in _ports(networks, located)}:
        raise Conflict(f"Floating IP {address} is not associated with instance {server_id}.")
    networks.update_floating_ip(found["id"], {"port_id": None})
    _let_look(asked, located)
    return Answer(status=202)


# ---- what hosts were told once


def _inject(asked: Asked, server_id: str) -> Answer:
    """``injectNetworkInfo``: the host looks at the server's ports."""
    located = _free(asked, server_id, "injectNetworkInfo")
    if asked.services.networks is None:
        raise Conflict(f"injectNetworkInfo: {NO_SERVICE}, so there is nothing to inject")
    _let_look(asked, located)
    return Answer(status=202)


def _reset(asked: Asked, server_id: str) -> Answer:
    """``resetNetwork``: no hypervisor that could do it is left."""
    find_server(asked, server_id)
    raise Gone("resetNetwork: this action is gone from the API.")


_ADMIN = "os_compute_api:os-admin-actions"

ACTS = {
    "addSecurityGroup": Act(f"{_GROUPS}:add", _change_groups, server_actions.ADD_SECURITY_GROUP),
    "removeSecurityGroup": Act(
        f"{_GROUPS}:remove", _change_groups, server_actions.REMOVE_SECURITY_GROUP
    ),
    "addFixedIp": Act(f"{_MULTINIC}:add", _add_fixed, schemas.ADD_FIXED_IP, when=_EARLIER),
    "removeFixedIp": Act(
        f"{_MULTINIC}:remove", _remove_fixed, schemas.REMOVE_FIXED_IP, when=_EARLIER
    ),
    "addFloatingIp": Act(f"{_FLOATING}:add", _add_floating, schemas.ADD_FLOATING_IP, when=_EARLIER),
    "removeFloatingIp": Act(
        f"{_FLOATING}:remove", _remove_floating, schemas.REMOVE_FLOATING_IP, when=_EARLIER
    ),
    "injectNetworkInfo": Act(f"{_ADMIN}:inject_network_info", _inject, NO_ARGUMENTS),
    "resetNetwork": Act(f"{_ADMIN}:reset_network", _reset, NO_ARGUMENTS),
}

ROUTES = (Route("GET", "/servers/{server_id}/os-security-groups", f"{_GROUPS}:list", list_groups),)
