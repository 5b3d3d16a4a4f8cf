"""Allocations against servers, both ways: none outlives its server, and no server lacks its own.

Only servers that nothing is under way with are judged, and only consumers that are servers, or moves that
are over: other tools' consumers are left alone. A round looks at some hosts; the next goes on from there.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.devices import held_by
from kilonova.core.errors import Conflict, GenerationConflict, NotFound
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.migration import Migration, Stage
from kilonova.core.scheduling import Allocation
from kilonova.core.states import VmState
from kilonova.db import hosts, instances, moves
from kilonova.db.cells import mapping_of
from kilonova.db.hosts import Node
from kilonova.placement.client import Claim, Holding

_HOSTS_A_ROUND = 50
_SETTLED = (
    VmState.ACTIVE,
    VmState.STOPPED,
    VmState.PAUSED,
    VmState.SUSPENDED,
    VmState.RESCUED,
    VmState.ERROR,
)
_SERVER, _MOVE = "INSTANCE", "MIGRATION"
_ITS_HOSTS = ("VCPU", "PCPU", "MEMORY_MB")
"""What a server has of nobody but its host."""


def not_as_held(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find what is held on a host of this cell for servers that are not there, and servers that hold
    nothing, or too little or too much, where they are."""
    for node in _turn(hosts.nodes_of(scene.database(cell)), scene.turn):
        # In this order: who is placed between the two looks holds what it should already.
        held = scene.placement.consumers_on(node.provider_uuid)
        there = {
            i.uuid: i
            for i in instances.of_host(scene.database(cell), node.host)
            if i.node == node.node
        }
        for uuid in sorted(held.keys() - there.keys()):
            yield from _stray(scene, cell, uuid, node)
        for uuid, server in sorted(there.items()):
            differs = _difference(server, held.get(uuid, {}))
            if differs and not moves.unfinished(scene.database(cell), [uuid]):
                said = f"{differs} on its host {node.host}"
                yield Finding(uuid, said, partial(_claim, scene, cell, server))


def _turn(nodes: Sequence[Node], turn: int | None) -> Sequence[Node]:
    if turn is None or len(nodes) <= _HOSTS_A_ROUND:
        return nodes
    rounds = -(-len(nodes) // _HOSTS_A_ROUND)
    start = turn % rounds * _HOSTS_A_ROUND
    return nodes[start : start + _HOSTS_A_ROUND]


def _stray(scene: Scene, cell: CellUuid, uuid: InstanceUuid, node: Node) -> Iterator[Finding]:
    """Judge what is held on a host for a server that is not there."""
    mapping = mapping_of(scene.api_db, uuid)
    if mapping is None:
        # Deleted before it was placed, perhaps: then its conductor has no use for the claim any more, and
        # may be dead, or wait for whoever made it.
        kind = scene.placement.consumer_type(uuid)
        if kind == _SERVER:
            differs = f"holds on {node.host}, and is no server"
            yield Finding(uuid, differs, partial(_free, scene, uuid))
        elif kind == _MOVE and _is_over(moves.get(scene.database(cell), uuid)):
            differs = f"holds on {node.host}, for a move that is over"
            yield Finding(uuid, differs, partial(_free, scene, uuid))
        return
    if mapping.cell_uuid is None:
        return
    database = scene.database(mapping.cell_uuid)
    instance = instances.get(database, uuid, with_deleted=True)
    if instance is None:
        return
    if instance.deleted:
        yield Finding(uuid, f"holds on {node.host}, and is deleted", partial(_free, scene, uuid))
    elif instance.task_state is None and instance.vm_state == VmState.ERROR and not instance.host:
        free = partial(_release, scene, instance)
        yield Finding(uuid, f"holds on {node.host}, and is on no host", free)
    elif _is_settled(instance) and not moves.unfinished(database, [uuid]):
        claim = partial(_claim, scene, mapping.cell_uuid, instance)
        yield Finding(uuid, f"holds on {node.host}, and is on {instance.host}", claim)


def _difference(server: Instance, held: Mapping[str, int]) -> str:
    """Return how what a server holds on its host differs from what it takes there; empty if it does not.

    Its disk may be another provider's, who shares it.
    """
    if not _is_settled(server):
        return ""
    if not held:
        return "holds nothing"
    wanted = held_by(server)
    differ = [name for name in _ITS_HOSTS if held.get(name, 0) != wanted.get(name, 0)]
    return ", ".join(f"holds {held.get(n, 0)} {n} and takes {wanted.get(n, 0)}" for n in differ)


def _is_over(move: Migration | None) -> bool:
    """Whether nobody claims for a move any more. One that is not known is another tool's."""
    return move is not None and move.stage is Stage.ENDED and move.settled


def _is_settled(instance: Instance) -> bool:
    """Whether what a server holds is known: its flavor's plain amounts, on its one host."""
    special = any(key.startswith("resources") for key in instance.flavor.extra_specs)
    idle = instance.task_state is None and not instance.deleted
    return idle and instance.host is not None and instance.vm_state in _SETTLED and not special


def _free(scene: Scene, uuid: InstanceUuid) -> str:
    scene.placement.free([uuid])
    return "freed"


def _release(scene: Scene, instance: Instance) -> str:
    scene.placement.claim([_as_claim(instance, {}, instance.epoch)])
    return "freed"


def _claim(scene: Scene, cell: CellUuid, read: Instance) -> str | None:
    """Let a server hold what it should where it is; somebody else may have got the room meanwhile.

    What it holds is looked at first: who begins to move it from then on changes that, and keeps it.
    """
    seen: dict[str, Holding] = {read.uuid: scene.placement.holding(read.uuid)}
    database = scene.database(cell)
    instance = instances.get(database, read.uuid)
    if instance is None or not _is_settled(instance) or instance.host != read.host:
        return None
    if moves.unfinished(database, [instance.uuid]):
        return None
    nodes = [n for n in hosts.nodes_of(database, instance.host) if n.node == instance.node]
    if not nodes:
        raise NotFound(f"{instance.uuid} is on node {instance.node}, which has no provider.")
    allocation = scene.placement.divided(nodes[0].provider_uuid, held_by(instance))
    try:
        scene.placement.exchange([_as_claim(instance, allocation, 0)], seen)
    except GenerationConflict:
        return None
    except Conflict as error:
        runs = f"{instance.host} has no room for {instance.uuid}, which runs there."
        raise NotFound(runs) from error
    return f"claimed on {instance.host}"


def _as_claim(instance: Instance, allocation: Allocation, fence: int) -> Claim:
    return Claim(
        consumer=instance.uuid,
        project_id=instance.project_id,
        user_id=instance.user_id,
        allocation=allocation,
        fence=fence,
    )
