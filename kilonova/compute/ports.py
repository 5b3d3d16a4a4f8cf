"""The ports of this host's servers at the network service: made, bound to the host, awaited, let go of.

What a server has is found by its id, so each call may be repeated, by whatever host, after whatever crash.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, contextmanager

import msgspec

from kilonova.compute.arrivals import Arrivals
from kilonova.compute.driver import Driver
from kilonova.compute.guests import Turns
from kilonova.compute.wiring import Wiring
from kilonova.core.errors import (
    BuildAborted,
    BuildFailed,
    Conflict,
    Forbidden,
    Invalid,
    KilonovaError,
    NetworkUnavailable,
    NotFound,
)
from kilonova.core.external_event import ExternalEvent
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance, Nic, RequestedNetwork
from kilonova.http.network_cards import FAILED, OURS, cards_of, owner_of, plug_of, release
from kilonova.http.networks import Document, Documents, Networks

LOG = logging.getLogger(__name__)

_FIRST_EPOCH = 1
_PLUGGED_SECONDS = 300.0
"""How long a guest waits for its network to be connected."""
_LOOKS = 5.0
"""Seconds between two looks at ports that are awaited: the word that they are connected may be lost."""

_Events = dict[str, "Future[ExternalEvent]"]


class Ports(Wiring):
    """Cards that are ports."""

    def __init__(
        self,
        host: HostName,
        driver: Driver,
        networks: Networks,
        arrivals: Arrivals,
        turns: Turns,
    ) -> None:
        super().__init__(driver)
        self._host = host
        self._networks = networks
        self._arrivals = arrivals
        self._turns = turns

    def plug(self, instance: Instance) -> tuple[Nic, ...]:
        """See ``Wiring``. What an earlier build left is taken up."""
        wanted = instance.wishes.networks
        requests = () if isinstance(wanted, str) else wanted
        first = instance.epoch <= _FIRST_EPOCH
        there = [] if first else self._networks.ports(device_id=instance.uuid)
        ports: Documents = []
        tags: dict[str, str | None] = {}
        with _refusals():
            for request in requests:
                port = self._take(instance, request, there)
                tags[port["id"]] = request.tag
                ports.append(port)
        nics = tuple(
            msgspec.structs.replace(nic, tag=tags.get(nic.port_id))
            for nic in self._cards(instance, ports)
        )
        return self._plug_in(instance, nics)

    def _take(self, instance: Instance, request: RequestedNetwork, there: Documents) -> Document:
        """Return the port of one wish, bound to this host; one of ``there`` that fits is taken out."""
        for port in there:
            if request.port_id in (None, port["id"]) and _is_of(port, request):
                there.remove(port)
                return self._bind(instance, port)
        if request.port_id is not None:
            port = self._networks.port(request.port_id)
            if port.get("device_id") not in (None, "", instance.uuid):
                raise BuildAborted(f"Port {port['id']} is still in use.")
            return self._bind(instance, port)
        wanted: Document = {
            "network_id": request.network_id,
            "project_id": instance.project_id,
            "device_id": instance.uuid,
            "device_owner": owner_of(instance.availability_zone),
            "binding:host_id": self._host,
            "admin_state_up": True,
            "description": OURS,
        }
        if request.fixed_ip:
            wanted["fixed_ips"] = [{"ip_address": request.fixed_ip}]
        if instance.wishes.security_group_ids:
            wanted["security_groups"] = list(instance.wishes.security_group_ids)
        return self._networks.create_port(wanted)

    def _bind(self, instance: Instance, port: Document) -> Document:
        """Bind a port to this host, if it is not."""
        wanted = {
            "device_id": instance.uuid,
            "device_owner": owner_of(instance.availability_zone),
            "binding:host_id": self._host,
        }
        failed = port.get("binding:vif_type") == FAILED
        if failed or any(port.get(name) != value for name, value in wanted.items()):
            return self._networks.update_port(port["id"], wanted)
        return port

    def bring(self, instance: Instance, *, live: bool = False) -> tuple[Nic, ...]:
        """See ``Wiring``."""
        ports = self._networks.ports(device_id=instance.uuid)
        if live:
            for port in ports:
                self._activate(port["id"])
        with _refusals():
            bound = [self._bind(instance, port) for port in ports]
        return self._plug_in(instance, self._cards(instance, bound))

    def _activate(self, port_id: str) -> None:
        try:
            self._networks.activate_binding(port_id, self._host)
        except (NotFound, Invalid):
            # Nothing was prepared, as the service does not do that: it is bound like any other.
            LOG.debug("Port %s has no binding to be activated", port_id)

    def _cards(self, instance: Instance, ports: Documents | None = None) -> tuple[Nic, ...]:
        nics = cards_of(self._networks, instance.uuid, instance.nics, ports)
        if ports is None:
            return nics
        for nic in nics:
            if nic.plug is not None and nic.plug.kind == FAILED:
                raise BuildFailed(f"Port {nic.port_id} cannot be bound to this host.")
        if instance.nics:
            return nics
        # In the order of the wishes.
        places = {port["id"]: place for place, port in enumerate(ports)}
        return tuple(sorted(nics, key=lambda nic: places[nic.port_id]))

    def _plug_in(self, instance: Instance, nics: tuple[Nic, ...]) -> tuple[Nic, ...]:
        return self._driver.prepare_networks(msgspec.structs.replace(instance, nics=nics))

    @contextmanager
    def plugging(
        self, instance: Instance, nics: Sequence[Nic]
    ) -> Iterator[Callable[[], None] | None]:
        """See ``Wiring``. The events are awaited from now on."""
        waiting = [nic.port_id for nic in nics if nic.port_id and not nic.is_active]
        with ExitStack() as awaited:
            events = {
                port: awaited.enter_context(
                    self._arrivals.awaited(instance.uuid, "network-vif-plugged", port)
                )
                for port in waiting
            }
            yield (lambda: self._await(instance, events)) if events else None

    def _await(self, instance: Instance, events: Mapping[str, "Future[ExternalEvent]"]) -> None:
        """Wait until ports are connected.

        Raises:
            BuildFailed: they are not, in time.
            BuildAborted: the server is to be deleted.
        """
        deadline = time.monotonic() + _PLUGGED_SECONDS
        left = dict(events)
        while left:
            wait(left.values(), timeout=_LOOKS, return_when=FIRST_COMPLETED)
            for port, event in tuple(left.items()):
                if event.done():
                    if event.result().status == "failed":
                        raise BuildFailed(f"The network could not connect port {port}.")
                    del left[port]
            if left:
                self._look(instance, left)
            if left and self._turns.is_going(instance.uuid):
                raise BuildAborted("The server was deleted while its network was being connected.")
            if left and time.monotonic() > deadline:
                ports = ", ".join(sorted(left))
                raise BuildFailed(
                    f"The network did not connect port {ports} within {_PLUGGED_SECONDS:g} s."
                )

    def _look(self, instance: Instance, left: _Events) -> None:
        try:
            ports = self._networks.ports(device_id=instance.uuid)
        except NetworkUnavailable as error:
            LOG.warning("%s waits for its network: %s", instance.uuid, error.in_full)
            return
        for port in ports:
            if port.get("status") == "ACTIVE":
                left.pop(port["id"], None)

    def reserve(self, instance: Instance) -> tuple[Nic, ...]:
        """See ``Wiring``."""
        with _refusals():
            return tuple(self._reserved(nic) for nic in instance.nics)

    def _reserved(self, nic: Nic) -> Nic:
        """Return a card as it is plugged in here, once its port has a binding for this host."""
        try:
            binding = self._networks.add_binding(nic.port_id, self._host)
        except NotFound:
            LOG.debug("Port %s is bound here only when its server is", nic.port_id)
            return nic
        plug = plug_of(nic.port_id, binding.get("vif_type"), binding.get("vif_details"))
        if plug.kind == FAILED:
            raise BuildFailed(f"Port {nic.port_id} cannot be bound to this host.")
        return msgspec.structs.replace(nic, plug=plug)

    def drop(self, uuid: InstanceUuid) -> None:
        """See ``Wiring``."""
        for port in self._networks.ports(device_id=uuid):
            if port.get("binding:host_id") != self._host:
                self._networks.drop_binding(port["id"], self._host)

    def unbind(self, uuid: InstanceUuid, back_to: str = "") -> None:
        """See ``Wiring``."""
        for port in self._networks.ports(device_id=uuid):
            if port.get("binding:host_id") == self._host:
                self._networks.update_port(port["id"], {"binding:host_id": back_to})

    def release(self, uuid: InstanceUuid) -> None:
        """See ``Wiring``."""
        release(self._networks, uuid)

    def cards(self, instance: Instance) -> tuple[Nic, ...]:
        """See ``Wiring``."""
        return self._cards(instance)

    def attach(self, instance: Instance, port_id: str, tag: str | None) -> tuple[Nic, ...]:
        """See ``Wiring``. A port that cannot be attached is let go of."""
        guest = self._driver.guests().get(instance.uuid)
        if guest is not None and any(nic.port_id == port_id for nic in guest.nics):
            return self._known(instance)
        with ExitStack() as undo:
            undo.callback(self._let_go, instance.uuid, port_id)
            with _refusals():
                port = self._networks.port(port_id)
                if port.get("device_id") != instance.uuid:
                    raise BuildFailed(f"Port {port_id} is not the server's any more.")
                bound = self._bind(instance, port)
            (nic,) = self._cards(msgspec.structs.replace(instance, nics=()), [bound])
            nic = msgspec.structs.replace(nic, tag=tag)
            self._driver.attach_interface(instance, nic)
            undo.pop_all()
        return self._known(instance)

    def _let_go(self, uuid: InstanceUuid, port_id: str) -> None:
        try:
            release(self._networks, uuid, (port_id,))
        except KilonovaError as error:
            LOG.warning("Port %s of %s is left: %s", port_id, uuid, error.in_full)

    def detach(self, instance: Instance, port_id: str) -> tuple[Nic, ...]:
        """See ``Wiring``. The guest lets go of it first."""
        self._driver.detach_interface(instance.uuid, port_id)
        release(self._networks, instance.uuid, (port_id,))
        return self._known(instance)

    def _known(self, instance: Instance) -> tuple[Nic, ...]:
        """Return the cards as they are, in the order and with the tags that the guest has them."""
        guest = self._driver.guests().get(instance.uuid)
        known = guest.nics if guest is not None else instance.nics
        return cards_of(self._networks, instance.uuid, known)


def _is_of(port: Document, request: RequestedNetwork) -> bool:
    """Whether a port is what a wish for a network asks for."""
    if request.port_id is not None:
        return True
    addresses = {one["ip_address"] for one in port.get("fixed_ips", ())}
    fits = request.fixed_ip is None or request.fixed_ip in addresses
    return fits and port["network_id"] == request.network_id and port.get("description") == OURS


@contextmanager
def _refusals() -> Iterator[None]:
    """Say of what the network service refuses that the server cannot be built so, here or anywhere."""
    try:
        yield
    except (NotFound, Invalid, Forbidden) as error:
        raise BuildAborted(error.message) from error
    except Conflict as error:
        raise BuildFailed(error.message) from error
