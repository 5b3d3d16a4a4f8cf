"""What the network service's ports are as a server's network cards, and how a server lets go of them.

A port that was made for a server says so in its description, so that whoever finds it, after whatever
crash, knows that it goes with the server. One that a user brought stays his.
"""

import ipaddress
from collections.abc import Collection, Mapping, Sequence

import msgspec

from kilonova.core.errors import NotFound
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import FixedAddress, Nic, Plug
from kilonova.http.networks import Document, Documents, Networks

OURS = "Made by kilonova for its server"
"""The description of ports that were made for a server."""
FAILED = "binding_failed"
_OWNER = "compute:"
_NAME = 11
"""How much of a port's id the name of its device has room for."""
_DEVICES = ("bridge", "ovs", "tap")


def owner_of(zone: str | None) -> str:
    """Return the owner that a port of a server in an availability zone has."""
    return f"{_OWNER}{zone or ''}"


def cards_of(
    networks: Networks,
    uuid: InstanceUuid,
    known: Sequence[Nic] = (),
    ports: Documents | None = None,
) -> tuple[Nic, ...]:
    """Return a server's cards as the network service has them now.

    ``known`` is how they were, which says their order and tags; ``ports`` are the server's, where they
    have just been seen.

    Raises:
        NetworkUnavailable: it does not answer.
    """
    if ports is None:
        ports = networks.ports(device_id=uuid)
    if not ports:
        return ()
    fixed = [one["subnet_id"] for port in ports for one in port.get("fixed_ips", ())]
    nets = {
        one["id"]: one for one in networks.networks(id=sorted({p["network_id"] for p in ports}))
    }
    subnets = {one["id"]: one for one in networks.subnets(fixed)}
    named = [group for port in ports for group in port.get("security_groups", ())]
    groups = {one["id"]: one["name"] for one in networks.security_groups_by_id(named)}
    leading = networks.floating_ips_of([port["id"] for port in ports])
    before = {nic.port_id: (place, nic) for place, nic in enumerate(known)}
    cards = [
        card_of(port, nets.get(port["network_id"], {}), subnets, (groups, leading))
        for port in ports
    ]
    tagged = [
        _tagged(card, before[card.port_id][1].tag if card.port_id in before else None)
        for card in cards
    ]
    return tuple(sorted(tagged, key=lambda nic: before.get(nic.port_id, (len(before), nic))[0]))


def card_of(
    port: Document,
    network: Document,
    subnets: Mapping[str, Document],
    beside: tuple[Mapping[str, str], Documents],
) -> Nic:
    """Return the card that a port is; ``beside`` names of security groups by id, and floating IPs. Pure."""
    names, leading = beside
    addresses = tuple(
        _fixed(one, subnets.get(one["subnet_id"], {}), port["id"], leading)
        for one in port.get("fixed_ips", ())
    )
    first = addresses[0] if addresses else FixedAddress(address="", prefix=0)
    return Nic(
        network=network.get("name") or port["network_id"],
        network_id=port["network_id"],
        mac=port["mac_address"],
        address=first.address,
        prefix=first.prefix,
        gateway=first.gateway,
        dns=next(iter(first.dns), ""),
        mtu=network.get("mtu") or 1500,
        port_id=port["id"],
        fixed=addresses,
        groups=tuple(sorted({names[g] for g in port.get("security_groups", ()) if g in names})),
        plug=plug_of(port["id"], port.get("binding:vif_type"), port.get("binding:vif_details")),
        is_active=port.get("status") == "ACTIVE",
        is_ours=port.get("description") == OURS,
    )


def _fixed(one: Document, subnet: Document, port_id: str, leading: Documents) -> FixedAddress:
    address = one["ip_address"]
    cidr = subnet.get("cidr")
    widest = ipaddress.ip_address(address).max_prefixlen
    return FixedAddress(
        address=address,
        prefix=ipaddress.ip_network(cidr, strict=False).prefixlen if cidr else widest,
        subnet_id=one["subnet_id"],
        gateway=subnet.get("gateway_ip") or "",
        dns=tuple(subnet.get("dns_nameservers", ())),
        given=_given(subnet),
        floating=tuple(
            found["floating_ip_address"]
            for found in leading
            if (found.get("port_id"), found.get("fixed_ip_address")) == (port_id, address)
        ),
    )


def _given(subnet: Document) -> str:
    """Return how guests come by an address of a subnet."""
    mode: str | None = subnet.get("ipv6_address_mode")
    return mode or ("static" if subnet.get("enable_dhcp") is False else "dhcp")


def plug_of(port_id: str, kind: str | None, details: Document | None) -> Plug:
    """Return how a port is connected, as a binding's vif type and details say. Pure."""
    said = details or {}
    return Plug(
        kind=kind or "unbound",
        bridge=said.get("bridge_name") or "",
        device=f"tap{port_id[:_NAME]}" if kind in _DEVICES else "",
        hybrid=bool(said.get("ovs_hybrid_plug")),
        datapath=said.get("datapath_type") or "",
    )


def _tagged(nic: Nic, tag: str | None) -> Nic:
    return msgspec.structs.replace(nic, tag=tag) if tag is not None else nic


def release(networks: Networks, uuid: InstanceUuid, only: Collection[str] | None = None) -> None:
    """Let go of a server's ports (or ``only`` some): those made for it go, the others are its user's again.

    Raises:
        NetworkUnavailable: it does not answer; some may be left, and this may be done again.
    """
    for port in networks.ports(device_id=uuid):
        if only is None or port["id"] in only:
            release_port(networks, port)


def release_port(networks: Networks, port: Document) -> None:
    """Let go of one port."""
    if port.get("description") == OURS:
        networks.delete_port(port["id"])
        return
    unbound = {"device_id": "", "device_owner": "", "binding:host_id": ""}
    try:
        networks.update_port(port["id"], unbound)
    except NotFound:
        # Its user was faster.
        return
