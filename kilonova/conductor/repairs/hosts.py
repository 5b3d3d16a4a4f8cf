"""Hosts that no one mapped to their cell yet."""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.ids import CellUuid, HostName
from kilonova.db import hosts
from kilonova.db.cells import hosts_in, map_hosts


def unmapped(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find hosts that have reported to the cell and are in none."""
    unknown = set(hosts.hosts_of(scene.database(cell))) - hosts_in(scene.api_db, cell)
    for host in sorted(unknown):
        yield Finding(host, "is not mapped to its cell", partial(_map, scene, cell, host))


def _map(scene: Scene, cell: CellUuid, host: HostName) -> str:
    map_hosts(scene.api_db, cell, [host])
    return f"mapped to cell {scene.cells.get(cell).name}"
