"""Records that point nowhere."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.ids import CELL0, CellUuid, InstanceUuid
from kilonova.db import build_requests, instances, strays

_RECENT = timedelta(hours=1)
"""How long after a request a conductor that stood still may go on and write its servers into cell0."""


_LATELY = timedelta(minutes=5)
"""What a round looks back on, and with a wide margin what happened since the one before."""


def mapped_nowhere(scene: Scene) -> Iterator[Finding]:
    """Find servers that are in no cell, and that nobody is to place."""
    for uuid in strays.mapped_nowhere(scene.api_db):
        yield Finding(uuid, "its mapping points nowhere", partial(_forget, scene, uuid))


def _forget(scene: Scene, uuid: InstanceUuid) -> str | None:
    return "mapping removed" if strays.forget_mapping(scene.api_db, uuid) else None


def counted(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers that are deleted, and whose delete broke off in the API before the quota heard of it."""
    window = _RECENT if scene.turn in (None, 1) else _LATELY
    ended = strays.ended_since(scene.database(cell), utcnow() - window)
    for uuid in strays.still_counted(scene.api_db, ended):
        yield Finding(uuid, "is deleted, and counts", partial(_uncount, scene, uuid))


def _uncount(scene: Scene, uuid: InstanceUuid) -> str | None:
    return "counts no more" if build_requests.queue_for_delete(scene.api_db, uuid) else None


def in_cell0(scene: Scene) -> Iterator[Finding]:
    """Find servers in cell0 that live elsewhere, or that their owners took back before they were there.

    In other cells these are builds that nobody begins.
    """
    uuids = strays.created_since(scene.database(CELL0), utcnow() - _RECENT)
    for uuid in strays.not_mapped_to(scene.api_db, CELL0, uuids):
        yield Finding(uuid, "it is not cell0's", partial(_remove, scene, uuid))


def _remove(scene: Scene, uuid: InstanceUuid) -> str:
    instances.remove(scene.database(CELL0), [uuid])
    return "removed from cell0"
