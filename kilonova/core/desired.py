"""Desired servers: so many servers of one kind, of which exactly one is to run at each index.

A slot is one index, 0 to ``count - 1``: it holds one server or none, so two at an index cannot be said. A
generation is what the servers are made of; a replace makes the next one.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from kilonova.core.ids import InstanceUuid, ProjectId, UserId
from kilonova.core.instance import Instance
from kilonova.core.scheduling import RequestSpec
from kilonova.core.states import TaskState, VmState

MOST = 1000
"""Servers that one record can desire."""
MOST_OF_PROJECT = 100
"""Records of one project: each is looked at in every round of the converger."""

_FREE_FAILURES = 3
"""So many failures one after another are followed by a start at once."""
_FIRST_BACK_OFF = timedelta(seconds=30)
_LONGEST_BACK_OFF = timedelta(minutes=16)
_LONG_LIFE = timedelta(minutes=5)
"""A server that lived so long ends no row of failures: its own is the first of the next."""


class Ending(StrEnum):
    """Why the server of a slot is to go."""

    FAILED = "failed"
    STOPPED = "stopped"
    """Nothing is wrong with it: there is to be none at its index, or another in its place."""


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """What is desired. ``count`` counts for nothing once it is ``deleting``; times are UTC.

    ``group_uuid`` is the server group that was made for its servers, and goes with it.
    """

    uuid: str
    name: str
    project_id: ProjectId
    user_id: UserId
    count: int
    generation: int
    created_at: datetime
    updated_at: datetime
    deleting: bool = False
    group_uuid: str | None = None

    @property
    def wanted(self) -> int:
        """How many servers there are to be."""
        return 0 if self.deleting else self.count


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """What the servers of a generation are made of: the body that asked for it, and what that came to.

    ``instance`` is every server of it but for its index; no UUID is in it yet.
    """

    asked: dict[str, Any]
    instance: Instance
    spec: RequestSpec


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One index. ``generation`` is that of its last start, 0 before the first.

    ``failures`` were one after another, the last at ``failed_at`` for ``reason``; those of an earlier
    generation do not count.
    """

    number: int
    generation: int = 0
    server: InstanceUuid | None = None
    ending: Ending | None = None
    failures: int = 0
    failed_at: datetime | None = None
    reason: str | None = None

    def due(self) -> datetime | None:
        """Return when its next start may be after its last failure, or None: at once."""
        if self.failed_at is None or self.failures <= _FREE_FAILURES:
            return None
        # Bounded before it is doubled, as the failures are not.
        doublings = min(self.failures - _FREE_FAILURES - 1, 16)
        return self.failed_at + min(_FIRST_BACK_OFF * (1 << doublings), _LONGEST_BACK_OFF)

    def failed(self, launched_at: datetime | None, reason: str, now: datetime) -> "Slot":
        """Return it with one failure more, of a server that ran from ``launched_at``, or never."""
        lived = launched_at is not None and now - launched_at >= _LONG_LIFE
        failures = 1 if lived else self.failures + 1
        return msgspec.structs.replace(self, failures=failures, failed_at=now, reason=reason)


class Life(StrEnum):
    """What the server of a slot is, as far as its slot is concerned."""

    BUILDING = "building"
    RUNNING = "running"
    HELD = "held"
    """Its owner, or an operator, does something with it: it is left to them."""
    BROKEN = "broken"
    LEAVING = "leaving"
    GONE = "gone"
    UNKNOWN = "unknown"
    """Its cell does not answer."""


PRESENT = frozenset({Life.RUNNING, Life.HELD})


class Actual(msgspec.Struct, frozen=True, kw_only=True):
    """A server as it is. ``host_lost`` says that its host is down for so long that nobody waits for it."""

    life: Life
    launched_at: datetime | None = None
    host_lost: bool = False
    reason: str = ""


def life_of(vm_state: VmState, task_state: TaskState | None) -> Life:
    """Return what a server is that is in its cell and not deleted."""
    if task_state == TaskState.DELETING:
        return Life.LEAVING
    if vm_state == VmState.ACTIVE:
        return Life.RUNNING
    if vm_state == VmState.BUILDING:
        return Life.BUILDING
    # One that is off, or deleted and kept, is broken once nobody is about to change that.
    off = vm_state in (VmState.STOPPED, VmState.SOFT_DELETED) and task_state is None
    broken = off or vm_state == VmState.ERROR
    return Life.BROKEN if broken else Life.HELD
