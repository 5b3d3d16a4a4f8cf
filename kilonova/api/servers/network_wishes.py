"""What ``POST /servers`` says of networks and security groups, judged as its user sees them.

Which network is meant is decided here, once: hosts are told ids.
"""

import ipaddress
import uuid as uuids
from collections.abc import Mapping
from typing import Any

import msgspec

from kilonova.api.routing import Asked
from kilonova.core.errors import Conflict, Forbidden, Invalid, NotFound
from kilonova.core.instance import RequestedNetwork
from kilonova.http.networks import Document, Documents, Networks

Body = Mapping[str, Any]

NO_SERVICE = "no network service is configured"
DEFAULT_GROUP = "default"
_EXTERNAL = "network:attach_external_network"


class Plugs(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is plugged into, as ``Wishes`` has it."""

    networks: str | tuple[RequestedNetwork, ...] = "none"
    groups: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()


def wanted_by(asked: Asked, body: Body) -> Plugs:
    """Return what a request says.

    Raises:
        Invalid: there is no such network, port, address or group, or this deployment has none at all.
        Conflict: it could mean several, or a port is in use.
        Forbidden: the network is not for servers.
        NetworkUnavailable: nobody knows.
    """
    wanted = body.get("networks", "auto")
    named = [group.get("name", DEFAULT_GROUP) for group in body.get("security_groups", ())]
    if asked.services.networks is None:
        if any(name != DEFAULT_GROUP for name in named):
            raise Invalid(f"security_groups: {NO_SERVICE}, so only 'default' can be asked for")
        if wanted and not isinstance(wanted, str):
            raise Invalid(f"networks: {NO_SERVICE}, so only 'none' and 'auto' can be asked for")
        return Plugs(networks=wanted or "auto")
    if wanted == "none":
        return Plugs()
    networks = asked.services.networks.under(asked.token)
    groups = tuple(dict.fromkeys(named)) or (DEFAULT_GROUP,)
    ids = () if groups == (DEFAULT_GROUP,) else tuple(_ids(asked, networks, groups))
    if not wanted or isinstance(wanted, str):
        # Named, or left out where that could still be: only who names it wants one to be made.
        found = _only(asked, networks, makes="networks" in body and wanted == "auto")
        chosen: tuple[RequestedNetwork, ...] = (
            (RequestedNetwork(network_id=found),) if found else ()
        )
    else:
        several = int(body.get("max_count", body.get("min_count", 1))) > 1
        chosen = tuple(_checked(asked, networks, [_request(one) for one in wanted], several))
    if not chosen:
        return Plugs()
    return Plugs(networks=chosen, groups=groups, group_ids=ids)


def _request(one: Body) -> RequestedNetwork:
    if one.get("port"):
        if one.get("fixed_ip"):
            raise Invalid(
                f"networks: Specified Fixed IP '{one['fixed_ip']}' cannot be used with port "
                f"'{one['port']}': the two cannot be specified together."
            )
        return RequestedNetwork(port_id=_uuid(one["port"]), tag=one.get("tag"))
    if not one.get("uuid"):
        raise Invalid("networks: each names a network or a port")
    return RequestedNetwork(
        network_id=_uuid(one["uuid"]), fixed_ip=one.get("fixed_ip"), tag=one.get("tag")
    )


def _uuid(text: str) -> str:
    try:
        # A network's bridge may stand before it, as clients wrote it once.
        return str(uuids.UUID(text.removeprefix("br-")))
    except ValueError as error:
        raise Invalid(
            f"networks: Bad networks format: network uuid is not in proper format ({text})"
        ) from error


def available(asked: Asked, networks: Networks) -> Documents:
    """Return the networks that a server of the asker's project can be plugged into unnamed."""
    own = networks.networks(tenant_id=asked.context.project_id, shared=False)
    return [*own, *networks.networks(shared=True)]


def _only(asked: Asked, networks: Networks, *, makes: bool) -> str | None:
    """Return the one network that is meant when none is named; None if there is none at all."""
    found = available(asked, networks)
    if len(found) > 1:
        raise Conflict("Multiple possible networks found, use a Network ID to be more specific.")
    if found:
        check_network(asked, found[0])
        return str(found[0]["id"])
    if not makes:
        return None
    project = asked.context.project_id
    try:
        return networks.own_network(project)
    except (NotFound, Invalid, Conflict, Forbidden) as error:
        raise Invalid(
            f"Unable to automatically allocate a network for project {project}"
        ) from error


def _checked(
    asked: Asked, networks: Networks, requests: list[RequestedNetwork], several: bool
) -> list[RequestedNetwork]:
    wanted = sorted({r.network_id for r in requests if r.network_id is not None})
    there = {one["id"]: one for one in networks.networks(id=wanted)} if wanted else {}
    ports: set[str] = set()
    for request in requests:
        if several and (request.port_id or request.fixed_ip):
            raise Invalid(
                "networks: a port or a fixed address can only be given to one server at a time"
            )
        if request.port_id is not None:
            if request.port_id in ports:
                raise Invalid(f"networks: port {request.port_id} is named twice")
            ports.add(request.port_id)
            check_port(asked.context.project_id, _found(networks.port, request.port_id, "Port"))
        else:
            network = there.get(request.network_id or "")
            if network is None:
                raise Invalid(f"Network {request.network_id} could not be found.")
            check_network(asked, network)
            if request.fixed_ip is not None:
                _check_address(networks, network, request.fixed_ip)
    return requests


def _found(get: Any, found_id: str, what: str) -> Document:
    try:
        document: Document = get(found_id)
    except NotFound as error:
        raise Invalid(f"{what} id {found_id} could not be found.") from error
    return document


def check_port(project_id: str, port: Document) -> None:
    """See that a port that a user brings can be plugged in.

    Raises:
        Conflict: it is in use.
        Invalid: it is another project's, or has no address.
    """
    if port.get("device_id"):
        raise Conflict(f"Port {port['id']} is still in use.")
    if port.get("project_id", port.get("tenant_id")) != project_id:
        raise Invalid(f"Port {port['id']} not usable for a server of this project.")
    if not port.get("fixed_ips") and port.get("ip_allocation") != "deferred":
        raise Invalid(f"Port {port['id']} requires a FixedIP in order to be used.")


def check_network(asked: Asked, network: Document) -> None:
    """See that servers can be plugged into a network.

    Raises:
        Invalid: it has no subnet.
        Forbidden: it leads outside, and policy keeps servers out of it.
    """
    if not network.get("subnets"):
        raise Invalid(f"Network {network['id']} requires a subnet in order to boot instances on.")
    outside = network.get("router:external") and not network.get("shared")
    if outside and not asked.allows(_EXTERNAL):
        raise Forbidden(
            "It is not allowed to create an interface on external network " + network["id"]
        )


def _check_address(networks: Networks, network: Document, address: str) -> None:
    found = ipaddress.ip_address(address)
    subnets = networks.subnets(network["subnets"])
    if not any(found in ipaddress.ip_network(one["cidr"], strict=False) for one in subnets):
        raise Invalid(
            f"Fixed IP address {address} is not a valid ip address for network {network['id']}."
        )
    if networks.ports(network_id=network["id"], fixed_ips=f"ip_address={address}"):
        raise Invalid(f"Fixed IP address {address} is already in use.")


def find_group(asked: Asked, networks: Networks, named: str) -> Document:
    """Return the asker's security group of a name or an id.

    Raises:
        NotFound: there is none.
        Conflict: there are several of that name.
    """
    mine = networks.security_groups(tenant_id=asked.context.project_id)
    return _pick(asked, mine, named)


def _ids(asked: Asked, networks: Networks, named: tuple[str, ...]) -> list[str]:
    mine = networks.security_groups(tenant_id=asked.context.project_id)
    try:
        return [str(_pick(asked, mine, name)["id"]) for name in named]
    except NotFound as error:
        raise Invalid(error.message) from error


def _pick(asked: Asked, groups: Documents, named: str) -> Document:
    for group in groups:
        if group["id"] == named:
            return group
    found = [group for group in groups if group["name"] == named]
    if not found:
        raise NotFound(
            f"Unable to find security_group with name or id '{named}' in project "
            f"{asked.context.project_id}."
        )
    if len(found) > 1:
        raise Conflict(
            f"Multiple security_group matches found for name '{named}', use an ID to be more specific."
        )
    return found[0]
