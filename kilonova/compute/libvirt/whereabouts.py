"""Where a guest is that was being moved while it ran, by what both its hosts' libvirts say. Pure.

A guest that was sent whole stands still at its source until that hears that it runs elsewhere, and may go
on there. In post-copy it runs at its destination while part of its memory is still at the source: from then
on it is nobody's but the destination's, and neither half may go before both are one.
"""

from enum import Enum, auto
from typing import NamedTuple

import libvirt

from kilonova.compute.libvirt import domains


class State(NamedTuple):
    """What libvirt says of a domain: ``virDomainState``, and why it is in that."""

    state: int
    reason: int


class Where(Enum):
    """Where a guest is, and so what is to be done about it."""

    HERE = auto()
    """It is its source's, whatever it does."""
    STANDS = auto()
    """It stands still at its source, and runs nowhere: it goes on there."""
    THERE = auto()
    """It is its destination's; what may be left here is removed."""
    BETWEEN = auto()
    """It runs there, and what it lacks comes from here."""
    BROKEN = auto()
    """It runs there, what it lacks is here, and nothing comes any more."""
    LOST = auto()
    """It ran there, and is there no more: its disks are there, and its memory is nowhere whole."""


_SENT = State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
_GIVES = State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY)
_GAVE = State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)
_LEFT = State(libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED)
_COMING = (
    State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION),
    State(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP),
)
_LACKS = (
    State(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY),
    State(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED),
    _GIVES,
    _GAVE,
)
_ENDED = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED)
_BY_ITSELF = (libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)


def is_sure(here: State | None) -> bool:
    """Whether the source's word alone says where a guest is."""
    return here is None or (here.state not in _ENDED and here not in (_SENT, _GIVES, _GAVE))


def where(here: State | None, there: State | None) -> Where:
    """Return where a guest is; None stands for a host that has no domain of it."""
    if here is None:
        return Where.THERE
    if here in (_GIVES, _GAVE):
        return _parted(here, there)
    if here == _LEFT:
        return Where.THERE
    if here.state in _ENDED:
        # What it lacks there has ended here.
        return Where.LOST if there in _LACKS else Where.HERE
    if here != _SENT:
        return Where.HERE
    if there in _LACKS:
        return Where.BETWEEN
    return Where.THERE if _is_whole(there) else Where.STANDS


def _parted(here: State, there: State | None) -> Where:
    """Return where a guest is of which the source gives, or gave, what its destination lacks."""
    if there in _LACKS:
        return Where.BETWEEN if here == _GIVES else Where.BROKEN
    if _is_whole(there) or _has_ended(there):
        return Where.THERE
    # As long as the source believes in it, it will find out by itself.
    return Where.BETWEEN if here == _GIVES else Where.LOST


def _is_whole(there: State | None) -> bool:
    """Whether a guest runs there, and is not one that is still coming."""
    if there is None or there.state in _ENDED:
        return False
    return there.state in domains.POWER and there not in _COMING and there not in _LACKS


def _has_ended(there: State | None) -> bool:
    return there is not None and there.state in _ENDED and there.reason in _BY_ITSELF


def arrived(there: State | None, *, unsent: bool) -> Where:
    """Return what a destination has that is to take over a guest: all of it (``THERE``), what it cannot run
    on (``LOST``), or nothing that ever ran there (``HERE``). With ``unsent`` its source died unheard."""
    if there is None:
        return Where.HERE if unsent else Where.LOST
    if there in _LACKS or (there.state in _ENDED and not _has_ended(there)):
        return Where.LOST
    return Where.HERE if unsent and there in _COMING else Where.THERE
