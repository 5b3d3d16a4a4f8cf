"""The state of servers' hosts, as ``host_status`` shows it, read at most every two seconds."""

import time

from kilonova.api.fleet import Fleet
from kilonova.core.clock import utcnow
from kilonova.core.host import Service
from kilonova.core.instance import Instance
from kilonova.db import hosts

_KEPT = 2.0


class HostStatuses:
    """Remembers the compute services of all cells."""

    def __init__(self, fleet: Fleet, down_after: float) -> None:
        self._fleet = fleet
        self._down_after = down_after
        self._read_at = -_KEPT
        self._services: dict[str, Service] = {}

    def of(self, instance: Instance) -> str:
        """Return UP, DOWN, MAINTENANCE, UNKNOWN, or nothing for a server without host."""
        if not instance.host:
            return ""
        if time.monotonic() - self._read_at > _KEPT:
            found, _ = self._fleet.services(binary=hosts.COMPUTE)
            self._services = {service.host: service for service in found}
            self._read_at = time.monotonic()
        service = self._services.get(instance.host)
        if service is None:
            return "UNKNOWN"
        if service.forced_down:
            return "DOWN"
        if not service.is_up(utcnow(), self._down_after):
            return "UNKNOWN"
        return "UP" if service.enabled else "MAINTENANCE"
