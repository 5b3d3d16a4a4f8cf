"""Where the consoles of this host's guests are: behind the host's door."""

from functools import partial
from pathlib import Path
from socket import socket as Socket
from typing import Any

import libvirt

from kilonova.compute.libvirt.connection import Connection
from kilonova.compute.libvirt.console_door import ConsoleDoor, Inside, line
from kilonova.core.console import ConsoleAddress
from kilonova.core.errors import BuildFailed, Invalid, WrongState
from kilonova.core.ids import InstanceUuid


class Consoles:
    """Screens (VNC), which libvirt hands out and which listen nowhere, and serial lines at sockets."""

    def __init__(self, connection: Connection, address: str) -> None:
        self._libvirt = connection
        self._door = ConsoleDoor(address)

    def find(self, uuid: InstanceUuid, kind: str, socket: Path | None) -> ConsoleAddress:
        """Return where a guest's console is; ``socket`` is where its serial line is, None for nowhere.

        Raises:
            NotFound, Invalid, WrongState: see ``Driver``.
            BuildFailed: the host cannot listen at its address.
        """
        consoles: dict[str, Inside] = {"novnc": partial(self._screen, uuid)}
        if socket is not None:
            consoles["serial"] = partial(line, socket)

        def is_active(connection: Any) -> bool:
            return bool(connection.lookupByUUIDString(uuid).isActive())

        active = self._libvirt.use(is_active)
        if kind not in consoles:
            raise Invalid(f"Unavailable console type {kind}.")
        if not active:
            raise WrongState(f"Instance {uuid} does not run, so it has no console.")
        try:
            return self._door.tell(consoles[kind])
        except OSError as error:
            raise BuildFailed("This host cannot open its door to consoles.") from error

    def _screen(self, uuid: InstanceUuid) -> Socket:
        flags = libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH
        return self._libvirt.use(
            lambda c: Socket(fileno=c.lookupByUUIDString(uuid).openGraphicsFD(0, flags))
        )

    def close(self) -> None:
        """Let nobody in any more."""
        self._door.close()
