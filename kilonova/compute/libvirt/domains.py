"""What is done to one domain, and what its states and events mean."""

import re
import time
from collections.abc import Callable
from operator import methodcaller
from typing import Any

import libvirt

from kilonova.core.ids import InstanceUuid
from kilonova.core.states import PowerState

POWER = {
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.SUSPENDED,
}
"""``virDomainState`` -> power. A guest that is shutting down still runs."""

POWER_AFTER = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: PowerState.SUSPENDED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: PowerState.CRASHED,
}
"""``virDomainEventType`` -> power. Other events change none."""

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
)
_KEEP = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM
_LOOKS = 0.2
"""Seconds between two looks at whether a guest has shut down."""
_LOOP_TAKEN = re.compile("to loop device: .*busy")
_LOOPS = 5
"""How many loop devices are tried."""
_ASKS = 5.0
"""Seconds between two requests to shut down: a guest that is still booting does not hear the first."""


def find(connection: Any, uuid: InstanceUuid) -> Any:
    """Return a domain, or None if there is none."""
    try:
        return connection.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return None


def create(domain: Any, flags: int = 0) -> None:
    """Start a domain. The loop device that libvirt finds for a container's disk may be somebody else's by
    the time that it is taken: then another is looked for."""
    for tried in range(_LOOPS):
        try:
            domain.createWithFlags(flags)
        except libvirt.libvirtError as error:
            if tried + 1 == _LOOPS or _LOOP_TAKEN.search(str(error)) is None:
                raise
        else:
            return


def remove(domain: Any, *, has_nvram: bool) -> None:
    """Cut the power and undefine. The variables of UEFI are a file among the guest's, whoever has those;
    libvirt's test driver knows none, and refuses to keep them."""
    power_off(domain)
    domain.undefineFlags(_UNDEFINE | (libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM if has_nvram else 0))


def power_on(domain: Any, *, paused: bool = False) -> None:
    """Start a domain that does not run; its CPUs stand still if it is to be ``paused``."""
    if domain.isActive():
        return
    flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
    try:
        create(domain, flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_TIMEOUT:
            raise
        # It ended by itself while it was stuck.
        _define_anew(domain)
        create(domain, flags)


def is_stuck(domain: Any) -> bool:
    """Whether libvirt believes that a copy of a running domain goes on of which it knows nothing else.

    It does if it was killed at the very beginning of one. What it does one at a time with a domain (copies,
    suspending, live migration, a start) waits for that in vain from then on.
    """
    try:
        domain.jobInfo()
    except libvirt.libvirtError as error:
        return bool(error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR)
    return False


def _define_anew(domain: Any) -> None:
    """Let libvirt know of a domain that does not run nothing but its definition."""
    connection = domain.connect()
    defined = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    domain.undefineFlags(_KEEP)
    connection.defineXML(defined)


def forget_saved(domain: Any) -> None:
    """Remove the memory of a suspended domain: the next start is from its disk."""
    if domain.hasManagedSaveImage():
        domain.managedSaveRemove()


def power_off(domain: Any) -> None:
    """Cut the power of a domain that runs."""
    if not domain.isActive():
        return
    stuck = is_stuck(domain)
    try:
        domain.destroy()
    except libvirt.libvirtError:
        # It may have ended by itself in between.
        if domain.isActive():
            raise
    if stuck:
        _define_anew(domain)


def pause(domain: Any) -> None:
    """Stop a domain's CPUs."""
    if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
        domain.suspend()


def unpause(domain: Any) -> None:
    """Let a domain's CPUs go on."""
    if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
        domain.resume()


def save(domain: Any) -> bool:
    """Write the memory of a domain that runs to a file of libvirt's, from which it starts the next time.

    Returns whether it ran.
    """
    if not domain.isActive():
        return False
    domain.managedSave()
    return True


def shut_down(
    domain: Any,
    clean_seconds: float,
    hurry: Callable[[], bool],
    ask: Callable[[Any], None] = methodcaller("shutdown"),
) -> None:
    """Ask, wait, and force."""
    deadline = time.monotonic() + clean_seconds
    asks = 0.0
    while domain.isActive() and time.monotonic() < deadline and not hurry():
        if time.monotonic() >= asks:
            try:
                ask(domain)
            except libvirt.libvirtError:
                # Ended in between; or it cannot be asked, as it is paused or has no ACPI.
                break
            asks = time.monotonic() + _ASKS
        time.sleep(_LOOKS)
    power_off(domain)
