"""Microversions: what each changed, which are served, and which one a request speaks.

What a change means is in the tables that it changed: routes (``since``, ``until``), schemas and views.
"""

import re
from collections.abc import Callable, Mapping

from kilonova.core.errors import Invalid, NotAcceptable

Version = tuple[int, int]

VERSIONS: Mapping[Version, str] = {
    (2, minor): change
    for minor, change in enumerate(
        (
            "The first.",
            "Key pairs have a type.",
            "Administrators see more attributes of servers.",
            "Fixed addresses say whether they are reserved.",
            "Everybody filters servers by IPv6 address.",
            "Consoles are resources below a server.",
            "Access is granted to private flavors only.",
            "Consoles of the protocol mks.",
            "Servers say whether they are locked.",
            "Administrators manage other users' key pairs.",
            "Compute services can be forced down.",
            "Virtual interfaces say their network.",
            "Server groups say their project and user.",
            "Evacuation needs no word on shared storage.",
            "Server groups with soft policies.",
            "Servers say the status of their host.",
            "A crash dump can be triggered.",
            "The project in the path is optional.",
            "Servers have a description.",
            "Volumes of shelved servers.",
            "Actions of deleted servers can be read.",
            "A live migration can be forced to complete.",
            "Live migrations in progress are listed below their server.",
            "A live migration can be aborted.",
            "Live migration chooses by itself whether to copy disks.",
            "Servers have tags.",
            "The header OpenStack-API-Version.",
            "Hypervisors show cpu_info as an object.",
            "Evacuation checks the host that is named.",
            "Live migration checks the host that is named.",
            "Console tokens of every type can be looked up.",
            "Network and block devices have tags.",
            "Lists of hypervisors have pages.",
            "Live migration is checked after it is accepted.",
            "Lists of key pairs have pages.",
            "What other services do is no longer passed on to them.",
            "Servers name their networks, or say auto or none.",
            "A status that does not exist is refused in lists.",
            "Metadata of images is no longer passed on.",
            "Usage has pages.",
            "Aggregates show their UUID.",
            "Network and block devices have tags again.",
            "Hosts are seen as hypervisors and services only.",
            "Addresses and virtual interfaces are the network service's.",
            "Creating an image answers its id in the body.",
            "The header X-Compute-Request-Id.",
            "Servers show their flavor's figures instead of its id.",
            "Diagnostics are the same on every hypervisor.",
            "Devices that are attached have tags.",
            "Quota classes hold server groups and no networks.",
            "Owners see the events of actions.",
            "Servers are created with tags.",
            "Services and hypervisors are known by UUID.",
            "A rebuild changes the key pair.",
            "Flavors have a description.",
            "A cold migration names its host.",
            "Files are no longer injected.",
            "Lists of actions have pages.",
            "Lists of migrations have pages.",
            "Volumes of several servers.",
            "Flavors show their extra specs.",
            "Events of actions show their host.",
            "Servers name the certificates that their image is trusted by.",
            "Server groups have one policy with rules.",
            "A queued live migration can be aborted.",
            "Lists are filtered by changes-before.",
            "Block devices name a volume type.",
            "Hosts that are named are always checked.",
            "Servers of a cell that is down are listed in part.",
            "Attached devices show their tags.",
            "A server shows its groups.",
            "Ports with a guaranteed bandwidth.",
            "A lock has a reason, and lists are filtered by locks.",
            "A server is created on a host that is named.",
            "Unknown query parameters are refused; a change of a server answers all of it.",
            "External events about power.",
            "A server is unshelved into a zone.",
            "The NUMA topology of a server.",
            "An attached volume can be deleted with its server.",
            "Migrations show their user and project.",
            "Images are cached on the hosts of an aggregate.",
            "External events about accelerators.",
            "Everybody filters servers by more of their fields.",
            "Events of actions show details.",
            "An attachment can be changed.",
            "Extra specs are checked.",
            "Servers that boot from a volume can be rescued.",
            "Hypervisors show uptime and no usage.",
            "Attachments show their own id.",
            "Servers have a host name of their own.",
            "A server is unshelved onto a host.",
            "Key pairs are imported, not made.",
            "Servers that boot from a volume can be rebuilt.",
            "Host names may have a domain.",
            "Evacuated servers stay stopped.",
            "Servers show the zone that was asked for.",
            "Servers have shares.",
            "Servers show their image's properties.",
            "Consoles of the protocol SPICE, direct.",
            "Servers show their scheduler hints.",
            "Volumes are attached without waiting for them.",
            "Flavors are found by name and lose two fields; no route takes unknown query parameters.",
            "The other name of servers that boot from volumes is gone.",
            "The zone that a server is pinned to can be changed.",
        ),
        start=1,
    )
}
"""What each microversion changed (Compute API history), for the routes that are served and the others.

A version stands here only if its change, and every earlier one's, holds for the routes that are served.
"""

MINIMUM: Version = min(VERSIONS)
MAXIMUM: Version = max(VERSIONS)

HEADER = "OpenStack-API-Version"
LEGACY_HEADER = "X-OpenStack-Nova-API-Version"
_FORM = re.compile(r"([1-9][0-9]{0,5})\.([1-9][0-9]{0,5}|0)")


def shown(version: Version) -> str:
    """Return a version as headers have it."""
    return f"{version[0]}.{version[1]}"


def asked_for(header: Callable[[str], str | None]) -> str:
    """Return the version that the headers name, as text; the legacy one counts without the new one."""
    for part in (header(HEADER) or "").split(","):
        service, _, value = part.strip().partition(" ")
        if service.lower() == "compute" and value:
            return value.strip()
    return (header(LEGACY_HEADER) or shown(MINIMUM)).strip()


def negotiate(text: str) -> Version:
    """Return the version that a text means.

    Raises:
        Invalid: it is malformed.
        NotAcceptable: it is not served.
    """
    if text.lower() == "latest":
        return MAXIMUM
    match = _FORM.fullmatch(text)
    if match is None:
        raise Invalid(
            f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        )
    version = int(match[1]), int(match[2])
    if not MINIMUM <= version <= MAXIMUM:
        raise NotAcceptable(
            f"Version {text} is not supported by the API. "
            f"Minimum is {shown(MINIMUM)} and maximum is {shown(MAXIMUM)}."
        )
    return version
