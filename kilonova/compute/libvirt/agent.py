"""The QEMU guest agent: a program inside a guest that does what is asked of it, or does not answer.

Whatever it says is a stranger's word, and it is waited for no longer than a few seconds.
Source of the commands: QEMU's "QEMU Guest Agent Protocol Reference".
"""

import base64
import binascii
import logging
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

import libvirt
import libvirt_qemu
import msgspec

from kilonova.core.errors import BuildFailed, KilonovaError
from kilonova.core.ids import InstanceUuid, uuid_of_domain

LOG = logging.getLogger(__name__)

_ANSWERS = 10
"""Seconds for an answer to what a user asked."""
_TELLS = 2
"""Seconds for an answer to what only figures need."""
_EVERY = 10.0
"""Seconds between two questions how guests are."""
_PAUSE = 6
"""Rounds in which an agent is left alone that did not answer."""
_LONGEST = 8192
_CONNECTED = re.compile(r"name='org\.qemu\.guest_agent\.0' state='connected'")
_SILENT = frozenset({libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED})
_MISSING = frozenset({libvirt.VIR_ERR_CONFIG_UNSUPPORTED, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED})

Command = Callable[[str], str]
"""Sends a command in JSON to an agent and returns its answer."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent read inside: load over 1, 5 and 15 minutes; MiB of swap, used and there."""

    load: tuple[float, float, float] | None = None
    swap: tuple[int, int] | None = None


def set_password(domain: Any, user: str, password: str) -> None:
    """Set a user's password inside a guest.

    Raises:
        BuildFailed: with a sentence that its owner can act on.
        libvirt.libvirtError: anything else.
    """
    try:
        domain.agentSetResponseTimeout(_ANSWERS, 0)
        domain.setUserPassword(user, password, 0)
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        if code in _SILENT:
            raise BuildFailed("The agent in the guest does not answer.") from error
        if code in _MISSING:
            raise BuildFailed("The guest has no agent (hw_qemu_guest_agent).") from error
        if error.get_error_domain() == libvirt.VIR_FROM_QEMU and domain.isActive():
            raise BuildFailed("The agent in the guest refused the password.") from error
        raise


class Agents:
    """Asks the agents of all guests now and then, in a thread of its own: what is inside, the hypervisor
    cannot see."""

    def __init__(self, use: Callable[[Callable[[Any], list[Any]]], list[Any]]) -> None:
        self._use = use
        self._told: dict[InstanceUuid, Told] = {}
        self._left_alone: dict[InstanceUuid, int] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def told(self, uuid: InstanceUuid) -> Told | None:
        """Return what a guest's agent told at the last question; begins to ask."""
        with self._lock:
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name="agents", daemon=True)
                self._thread.start()
        return self._told.get(uuid)

    def close(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(_EVERY):
            try:
                self._look(self._use(lambda c: c.listAllDomains(_RUNNING)))
            except KilonovaError as error:
                LOG.debug("Agents of guests cannot be asked: %s", error.in_full)

    def _look(self, domains: Iterable[Any]) -> None:
        found: dict[InstanceUuid, Told] = {}
        for domain in domains:
            uuid = uuid_of_domain(domain.name())
            if uuid is None or self._ended.is_set():
                continue
            if self._left_alone.get(uuid, 0):
                self._left_alone[uuid] -= 1
                continue
            try:
                if _CONNECTED.search(domain.XMLDesc()):
                    found[uuid] = ask(
                        lambda text, domain=domain: libvirt_qemu.qemuAgentCommand(  # type: ignore[misc]
                            domain, text, _TELLS, 0
                        )
                    )
            except (libvirt.libvirtError, NotUnderstood) as error:
                LOG.debug("The agent of %s: %s", uuid, error)
                self._left_alone[uuid] = _PAUSE
        self._left_alone = {uuid: n for uuid, n in self._left_alone.items() if n}
        self._told = found


_RUNNING = libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING


class NotUnderstood(Exception):
    """An agent's answer makes no sense."""


def ask(command: Command) -> Told:
    """Read inside a guest how it is.

    Raises:
        NotUnderstood: it says what makes no sense.
    """
    return Told(
        load=load_of(_read(command, "/proc/loadavg")), swap=swap_of(_read(command, "/proc/meminfo"))
    )


class _Opened(msgspec.Struct, frozen=True):
    value: int = msgspec.field(name="return")


class _Bytes(msgspec.Struct, frozen=True):
    data: str = msgspec.field(name="buf-b64")


class _Read(msgspec.Struct, frozen=True):
    value: _Bytes = msgspec.field(name="return")


def _read(command: Command, path: str) -> str:
    def do(name: str, **arguments: object) -> str:
        asked = {"execute": f"guest-file-{name}", "arguments": arguments}
        return command(msgspec.json.encode(asked).decode())

    try:
        handle = msgspec.json.decode(do("open", path=path, mode="r"), type=_Opened).value
        try:
            said = msgspec.json.decode(do("read", handle=handle, count=_LONGEST), type=_Read)
        finally:
            do("close", handle=handle)
        return base64.b64decode(said.value.data[: 2 * _LONGEST]).decode(errors="replace")
    except (msgspec.MsgspecError, binascii.Error) as error:
        raise NotUnderstood(str(error)) from error


def load_of(text: str) -> tuple[float, float, float] | None:
    """Return the loads that /proc/loadavg tells, None if that is not what it is. Pure."""
    words = text.split()[:3]
    if len(words) < 3 or not all(
        re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,4})?", word) for word in words
    ):
        return None
    return float(words[0]), float(words[1]), float(words[2])


def swap_of(text: str) -> tuple[int, int] | None:
    """Return the MiB of swap used and there that /proc/meminfo tells, None if it tells none. Pure."""
    found = dict(re.findall(r"(?m)^(SwapTotal|SwapFree): +([0-9]{1,15}) kB$", text))
    if len(found) < 2:
        return None
    total, free = int(found["SwapTotal"]), int(found["SwapFree"])
    return max(0, total - free) >> 10, total >> 10
