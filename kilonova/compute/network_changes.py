"""What the network service says has changed of this host's servers, and what that makes of their cards."""

import logging
import threading

from kilonova.compute.driver import Driver
from kilonova.compute.guests import Turns
from kilonova.compute.reporter import Reporter
from kilonova.core.context import RequestContext
from kilonova.core.errors import KilonovaError
from kilonova.core.external_event import ExternalEvent
from kilonova.core.ids import InstanceUuid
from kilonova.core.report import InstanceReport
from kilonova.http.network_cards import cards_of
from kilonova.http.networks import Networks

LOG = logging.getLogger(__name__)

_CHANGED = "network-changed"
_DELETED = "network-vif-deleted"


class NetworkChanges:
    """Looks at the ports of servers of which something was said, and reports them."""

    def __init__(
        self, driver: Driver, networks: Networks, reporter: Reporter, turns: Turns
    ) -> None:
        self._driver = driver
        self._networks = networks
        self._reporter = reporter
        self._turns = turns
        self._lock = threading.Lock()
        self._waiting: set[InstanceUuid] = set()

    def concerns(self, event: ExternalEvent) -> bool:
        """Whether an event is to be followed; not if one that says as much waits to be."""
        if event.name == _DELETED:
            return True
        if event.name != _CHANGED:
            return False
        with self._lock:
            if event.server_uuid in self._waiting:
                return False
            self._waiting.add(event.server_uuid)
            return True

    def follow(self, context: RequestContext, event: ExternalEvent) -> None:
        """Report a server's cards as they are now; a card whose port is gone is taken away first."""
        uuid = event.server_uuid
        with self._turns.turn(uuid):
            with self._lock:
                # What is said from now on is to be looked at again.
                self._waiting.discard(uuid)
            try:
                if event.name == _DELETED and event.tag:
                    self._take_away(uuid, event.tag)
                self._report(context, uuid)
            except KilonovaError as error:
                LOG.warning("%s: %s is not followed: %s", uuid, event.name, error.in_full)

    def _take_away(self, uuid: InstanceUuid, port_id: str) -> None:
        guest = self._driver.guests().get(uuid)
        there = guest is not None and any(nic.port_id == port_id for nic in guest.nics)
        if there and not self._networks.ports(id=port_id):
            self._driver.detach_interface(uuid, port_id)

    def _report(self, context: RequestContext, uuid: InstanceUuid) -> None:
        guest = self._driver.guests().get(uuid)
        if guest is None:
            return
        nics = cards_of(self._networks, uuid, guest.nics)
        self._reporter.send(
            InstanceReport(
                instance_uuid=uuid, epoch=guest.epoch, request_id=context.request_id, nics=nics
            )
        )
