"""A notification, and what all payloads have in common."""

from datetime import datetime
from typing import Any

import msgspec

Payload = dict[str, Any]
"""A payload as JSON has it."""

INFO, ERROR = "INFO", "ERROR"
START, END = "start", "end"


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, as ``instance.create.end``, and who says so, as ``nova-compute:HOST``."""

    event_type: str
    publisher: str
    payload: Payload
    priority: str = INFO


def versioned(name: str, version: str, data: Payload) -> Payload:
    """Return a payload, or a part of one, of a type and version."""
    return {
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": version,
        "nova_object.data": data,
    }


def shown(moment: datetime | None) -> str | None:
    """Return a time as payloads show it: UTC, to the second."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def by_api(host: str) -> str:
    """Return the publisher that an API on a machine is."""
    return f"nova-api:{host}"


def by_compute(host: str) -> str:
    """Return the publisher that a compute host is."""
    return f"nova-compute:{host}"


def by_conductor(host: str) -> str:
    """Return the publisher that a conductor on a machine is."""
    return f"nova-conductor:{host}"
