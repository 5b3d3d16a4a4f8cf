"""Ports that outlived their servers: made for a server, and left when it went while the network service
was away.

Only those of servers that a cell positively knows to be deleted go: another deployment may have ports at
the same network service, marked as ours are.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.errors import DatabaseUnavailable
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.db import cells, instances
from kilonova.db.engine import Database
from kilonova.http.network_cards import OURS, release
from kilonova.http.networks import Networks

_AT_ONCE = 1000


def outlived(scene: Scene) -> Iterator[Finding]:
    """Find deleted servers that have ports, of the cells that answer."""
    if scene.networks is None or not scene.is_due(patience.PORTS_EVERY):
        return
    ports = scene.networks.ports(description=OURS, fields=["id", "device_id"])
    uuids = sorted({InstanceUuid(port["device_id"]) for port in ports})
    for start in range(0, len(uuids), _AT_ONCE):
        for uuid in _deleted(scene, uuids[start : start + _AT_ONCE]):
            yield Finding(uuid, "ports outlived it", partial(_release, scene.networks, uuid))


def _release(networks: Networks, uuid: InstanceUuid) -> str:
    release(networks, uuid)
    return "its ports are let go of"


def _deleted(scene: Scene, uuids: Sequence[InstanceUuid]) -> list[InstanceUuid]:
    """Return those of these servers that are deleted."""
    by_cell: defaultdict[CellUuid, list[InstanceUuid]] = defaultdict(list)
    for uuid, cell in cells.cells_of(scene.api_db, uuids).items():
        by_cell[cell].append(uuid)
    gone: list[InstanceUuid] = []
    for cell, mapped in by_cell.items():
        try:
            gone += _deleted_in(scene.database(cell), mapped)
        except DatabaseUnavailable:
            # Looked at again when it answers.
            continue
    return gone


def _deleted_in(database: Database, mapped: Sequence[InstanceUuid]) -> list[InstanceUuid]:
    there = instances.known(database, mapped)
    missing = [uuid for uuid in mapped if uuid not in there]
    found = [instances.get(database, uuid, with_deleted=True) for uuid in missing]
    return [one.uuid for one in found if one is not None and one.deleted]
