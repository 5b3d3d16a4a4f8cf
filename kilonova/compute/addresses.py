"""The fixed addresses of one host's range: who has which. Each goes with a MAC address that is made of it.

As an address and its MAC never part, whoever serves DHCP can know every pair beforehand, and giving one to
a guest is noted in one place: here, and in what the driver keeps of the guest.
"""

import ipaddress
import threading
import uuid
from collections.abc import Sequence

from kilonova.core.errors import BuildFailed, Invalid
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Nic

NETWORK = "default"
"""How users know the one network that there is."""
_NAMESPACE = uuid.UUID("6f4a9f0e-2f0a-5f0b-9a3e-0d1d1c5f7f5a")
_MAC = "52:54"
"""An address of a local administrator's; the four bytes of the IP address follow."""
_LARGEST, _SMALLEST = 20, 29


def range_of(text: str) -> ipaddress.IPv4Network:
    """Return the range that an option names.

    Raises:
        Invalid: it is none, or too large or small.
    """
    try:
        found = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise Invalid(f"[network] fixed_range: {error}") from error
    if not _LARGEST <= found.prefixlen <= _SMALLEST:
        raise Invalid(f"[network] fixed_range: {text} is not from /{_LARGEST} to /{_SMALLEST}")
    return found


def mac_of(address: ipaddress.IPv4Address) -> str:
    """Return the MAC address that goes with an address."""
    return ":".join((_MAC, *(f"{byte:02x}" for byte in address.packed)))


class AddressBook:
    """Addresses of a range by server. The range's first address is the host's own, and its router."""

    def __init__(self, range_: ipaddress.IPv4Network) -> None:
        self.range = range_
        self.router, *self.addresses = range_.hosts()
        self._lock = threading.Lock()
        self._cards: dict[InstanceUuid, Nic] = {}
        self._holders: dict[str, InstanceUuid] = {}

    def take(self, uuid: InstanceUuid, had: Sequence[Nic] = ()) -> Nic:
        """Return a server's card: the one it has, one with the address that it had elsewhere, or any free.

        Raises:
            BuildFailed: no address is free.
        """
        wanted = [ipaddress.IPv4Address(nic.address) for nic in had]
        with self._lock:
            card = self._cards.get(uuid)
            if card is not None:
                return card
            mine = set(wanted) & set(self.addresses) if wanted else ()
            for address in (*mine, *self.addresses):
                if str(address) not in self._holders:
                    return self._note(uuid, self._card(address))
        raise BuildFailed("No address is free on this host.")

    def hold(self, uuid: InstanceUuid, card: Nic) -> None:
        """Note a card that a server had before this process began."""
        with self._lock:
            self._note(uuid, card)

    def give_back(self, uuid: InstanceUuid) -> None:
        """Free a server's address. Who has none is no error."""
        with self._lock:
            card = self._cards.pop(uuid, None)
            if card is not None and self._holders.get(card.address) == uuid:
                del self._holders[card.address]

    def cards(self, uuid: InstanceUuid) -> tuple[Nic, ...]:
        """Return a server's cards."""
        card = self._cards.get(uuid)
        return () if card is None else (card,)

    def holder(self, address: str) -> InstanceUuid | None:
        """Return whose an address is."""
        return self._holders.get(address)

    def _note(self, uuid: InstanceUuid, card: Nic) -> Nic:
        self._cards[uuid] = card
        self._holders[card.address] = uuid
        return card

    def _card(self, address: ipaddress.IPv4Address) -> Nic:
        return Nic(
            network=NETWORK,
            network_id=str(uuid.uuid5(_NAMESPACE, str(self.range))),
            mac=mac_of(address),
            address=str(address),
            prefix=self.range.prefixlen,
            gateway=str(self.router),
            dns=str(self.router),
        )
