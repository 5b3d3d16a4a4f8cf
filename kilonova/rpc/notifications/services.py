"""Payloads of ``service.create``, ``service.update`` and ``service.delete``."""

from kilonova.core.host import Service
from kilonova.rpc.notifications.notification import Payload, shown, versioned


def of_service(service: Service) -> Payload:
    """Return the payload of a service. Its signs of life are not counted, so their number is always 0."""
    data = {
        "uuid": service.uuid,
        "host": service.host,
        "binary": service.binary,
        "topic": service.topic,
        "disabled": not service.enabled,
        "disabled_reason": service.disabled_reason,
        "forced_down": service.forced_down,
        "version": service.version,
        "availability_zone": None,
        "last_seen_up": shown(service.last_seen),
        "report_count": 0,
    }
    return versioned("ServiceStatusPayload", "1.1", data)


def by_service(service: Service) -> str:
    """Return the publisher that a service is."""
    return f"{service.binary}:{service.host}"
