"""From what the servers of a request have in common to each of them: its UUID, its name and its number."""

import re
import uuid

import msgspec

from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance


def host_name(name: str, suffix: str, fallback: str) -> str:
    """Return a host name made of a server's name: letters, digits and hyphens, at most 63 in all."""
    text = re.sub(r"[ _.]", "-", name.lower())
    label = re.sub(r"[^a-z0-9-]", "", text).strip("-")[: 63 - len(suffix)].rstrip("-")
    return label + suffix if label else fallback


def of_template(template: Instance, number: int, suffix: str) -> Instance:
    """Return one server, with a UUID of its own; ``suffix`` is put behind its names."""
    new = InstanceUuid(str(uuid.uuid4()))
    if template.hostname:
        hostname = template.hostname[: 255 - len(suffix)] + suffix
    else:
        hostname = host_name(template.name, suffix, f"server-{new}")
    wishes = template.wishes
    return msgspec.structs.replace(
        template,
        uuid=new,
        name=template.name + suffix,
        hostname=hostname,
        wishes=msgspec.structs.replace(wishes, launch_index=number) if number else wishes,
    )
