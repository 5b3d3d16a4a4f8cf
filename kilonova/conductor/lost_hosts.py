"""What becomes of a move whose host does not answer. Pure: values in, values out.

A host that is only silent may run on behind a broken switch, so nothing that it may have of the server is
made elsewhere: what only removes or prepares goes on without it, the rest waits. Of a host that is dead
(its fence says so, or an operator who forced it down) nothing is expected any more:

- until the source has sent all of a guest, the server is its source's: the destination removes what it
  prepared, and the move waits in RESTORING for the source, which has the disk. An evacuation may take its
  place.
- once it has, the server is its destination's, and the source clears up whenever it is back. If that
  destination dies before it made the guest, the source has all of it still, and makes it again.
- a guest that moved while it ran is at its destination from the moment that its source said so.
"""

from enum import Enum, auto
from typing import NamedTuple

from kilonova.core.migration import ACTS, Kind, Migration, Side, Stage


class Heard(Enum):
    """What is known of a host."""

    ANSWERS = auto()
    SILENT = auto()
    """It gives no sign of life, or somebody says that it is down: it may run its guests still."""
    DEAD = auto()
    """It is silent, and its fence, or an operator, says that it runs nothing."""
    GONE = auto()
    """An operator removed it."""


class Course(Enum):
    """How a move goes on."""

    TELL = auto()
    """The host is told once more what it has to do."""
    FAIL = auto()
    """As if the host had said that it cannot."""
    PASS = auto()
    """As if the host had done it."""
    WAIT = auto()
    """Nobody else can, or may, do it."""


class Way(NamedTuple):
    """A course, and why that: a sentence for the server's owner."""

    course: Course
    why: str = ""


_SILENT = "The {side} does not answer."
_DEAD = "The {side} died."
_HAS_THE_DISK = "The host that has the server's disk does not answer."
_MAY_RUN = "The host to which the server went does not answer, and may run it."
_RUNS = "The host from which the server is being moved does not answer, and may run it."
_CLEARS = "The host on which the server was does not answer."


def way_of(migration: Migration, epoch: int, heard: Heard) -> Way:
    """Return how a move goes on whose acting host is as ``heard``; ``epoch`` is its server's."""
    if heard is Heard.ANSWERS:
        return Way(Course.TELL)
    if removes(migration):
        return _removing(migration, heard)
    if ACTS[migration.stage] is Side.SOURCE:
        return _by_source(migration, dead=heard is not Heard.SILENT)
    return _by_destination(migration, epoch, dead=heard is not Heard.SILENT)


def _by_source(migration: Migration, *, dead: bool) -> Way:
    if not dead or migration.stage is Stage.RESTORING:
        return Way(Course.WAIT, _RUNS if migration.is_live else _HAS_THE_DISK)
    # Whether all of a running guest came, its destination finds out.
    course = Course.PASS if migration.is_live else Course.FAIL
    return Way(course, _DEAD.format(side="source"))


def _by_destination(migration: Migration, epoch: int, *, dead: bool) -> Way:
    if not dead and epoch != migration.epoch:
        return Way(Course.WAIT, _MAY_RUN)
    # It was not told to make the guest, and will not be; or it runs nothing.
    came = migration.is_live and not migration.unsent
    passed = migration.stage is Stage.UNDOING or (migration.stage is Stage.FINISHING and came)
    said = _DEAD if dead else _SILENT
    return Way(Course.PASS if passed else Course.FAIL, said.format(side="destination"))


def _removing(migration: Migration, heard: Heard) -> Way:
    """Return what becomes of what a host is to remove. It is there until the host is back, or for good."""
    shelved = migration.kind is Kind.SHELVE
    if heard is Heard.GONE or (shelved and heard is Heard.DEAD):
        return Way(Course.PASS)
    return Way(Course.WAIT, _CLEARS)


def removes(migration: Migration) -> bool:
    """Whether a host is to remove what it has of a server that has left it."""
    return migration.stage in (Stage.CLEARING, Stage.ABANDONING)


def holds_up(migration: Migration) -> bool:
    """Whether its server waits for a move's present stage. Nobody waits for what is only removed, but one
    that is shelved has no host after that."""
    return not removes(migration) or migration.kind is Kind.SHELVE
