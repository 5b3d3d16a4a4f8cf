"""What a host does so that a server's network cards are connected: nothing but what its driver does.

``ports.Ports`` is the same where the cards are ports of a network service.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kilonova.compute.driver import Driver
from kilonova.core.errors import NotSupported
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance, Nic


class Wiring:
    """Cards that are the driver's affair alone. Errors are those of ``Driver.prepare_networks``."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def plug(self, instance: Instance) -> tuple[Nic, ...]:
        """Make what a server that is to be built is plugged into, and return its cards."""
        return self._driver.prepare_networks(instance)

    def bring(self, instance: Instance, *, live: bool = False) -> tuple[Nic, ...]:
        """Plug a server in here that has its cards already, wherever it was; ``live`` while it runs."""
        return self._driver.prepare_networks(instance)

    @contextmanager
    def plugging(
        self, instance: Instance, nics: Sequence[Nic]
    ) -> Iterator[Callable[[], None] | None]:
        """Give what waits until cards are connected, once a guest has them; None if nothing is to be
        waited for."""
        yield None

    def reserve(self, instance: Instance) -> tuple[Nic, ...]:
        """Make ready for a server that comes while it runs, and return its cards as they will be here."""
        return instance.nics

    def drop(self, uuid: InstanceUuid) -> None:
        """Let go of what this host has of a server that runs elsewhere."""

    def unbind(self, uuid: InstanceUuid, back_to: str = "") -> None:
        """Let go of a server that keeps its cards and is on another host, which had them before, or on
        none."""

    def release(self, uuid: InstanceUuid) -> None:
        """Let go of a server's cards for good. May be repeated."""

    def cards(self, instance: Instance) -> tuple[Nic, ...]:
        """Return a server's cards as they are now."""
        return instance.nics

    def attach(self, instance: Instance, port_id: str, tag: str | None) -> tuple[Nic, ...]:
        """Give a guest a further card and return all that it has then. One that it has is no error.

        Raises:
            NotFound: there is no such guest or port.
            BuildFailed: this host cannot have it.
        """
        raise NotSupported("No network service is configured.")

    def detach(self, instance: Instance, port_id: str) -> tuple[Nic, ...]:
        """Take a card away and return what is left. One that it has not is no error.

        Raises:
            NotFound: there is no such guest.
        """
        raise NotSupported("No network service is configured.")
