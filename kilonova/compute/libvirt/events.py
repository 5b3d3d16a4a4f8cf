"""What libvirt's events mean to whoever watches guests."""

from typing import Any

from kilonova.compute.driver import Watcher
from kilonova.compute.libvirt import domains
from kilonova.core.ids import uuid_of_domain


class Events:
    """Tells a watcher what libvirt's events mean."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def opened(self) -> None:
        """See ``connection.Listener``."""
        self._watcher.changes_missed()

    def happened(self, domain: Any, event: int, _detail: int) -> None:
        """See ``connection.Listener``."""
        uuid = uuid_of_domain(domain.name())
        power = domains.POWER_AFTER.get(event)
        if uuid is not None and power is not None:
            self._watcher.power_changed(uuid, power)
