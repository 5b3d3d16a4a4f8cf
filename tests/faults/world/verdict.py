"""What must be so in a deployment that has come to rest, whatever happened before."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from kilonova.core import flavor
from kilonova.core.instance import Instance
from kilonova.core.migration import Kind, Stage
from kilonova.core.states import PowerState, VmState
from kilonova.db import instances
from kilonova.db.api_schema import BuildRequest, DesiredSlot, InstanceMapping, QuotaUsage
from kilonova.db.cell_schema import StoredInstance, StoredMigration
from kilonova.db.hosts import nodes_of
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.placement_schema import Consumer, StoredAllocation, StoredInventory
from kilonova.db.statements import table_of
from tests.faults.world.deployment import CELLS, Deployment
from tests.faults.world.keeper import NAME, OWNER
from tests.faults.world.people import DELETED, KEPT

_instances = table_of(StoredInstance)
_mappings = table_of(InstanceMapping)
_requests = table_of(BuildRequest)
_usages = table_of(QuotaUsage)
_allocations = table_of(StoredAllocation)
_inventories = table_of(StoredInventory)
_consumers = table_of(Consumer)
_migrations = table_of(StoredMigration)
_slots = table_of(DesiredSlot)
_ALL_ALLOCATIONS = sa.select(_allocations)
_ALL_CONSUMERS = sa.select(_consumers)
_ALL_INVENTORIES = sa.select(_inventories)
_ALL_MAPPINGS = sa.select(_mappings)
_ALL_MIGRATIONS = sa.select(_migrations)
_ALL_REQUESTS = sa.select(_requests)
_ALL_SLOTS = sa.select(_slots)
_ALL_USAGES = sa.select(_usages)
_SERVERS = sa.select(*COLUMNS).where(_instances.c.deleted.is_(False))
_ENDED = (Stage.ENDED, Stage.FINISHED)
_RESTING = {
    VmState.ACTIVE: PowerState.RUNNING,
    VmState.STOPPED: PowerState.SHUTDOWN,
}


class Verdict:
    """Looks at the databases and the hypervisors themselves."""

    def __init__(
        self, deployment: Deployment, fates: Mapping[str, str], desired: int | None = None
    ) -> None:
        self._deployment = deployment
        self._cells = deployment.layout.cells
        self._fates = fates
        self._desired = desired
        self.servers: list[tuple[str, Instance]] = []
        for cell in ("cell0", *self._cells):
            for row in self._rows(cell, _SERVERS):
                self.servers.append((cell, instance_of(row)))

    def _rows(self, database: str, query: sa.Select[Any]) -> list[Any]:
        return list(self._deployment.storage[database].query(lambda c: c.execute(query).all()))

    def unrest(self) -> list[str]:
        """Return what is still under way."""
        waiting = [f"{row.instance_uuid} is requested" for row in self._rows("api", _ALL_REQUESTS)]
        busy = [
            f"{one.uuid} is {one.vm_state} {one.task_state}"
            for _, one in self.servers
            if one.task_state is not None or one.vm_state == VmState.BUILDING
        ]
        going = [
            f"{row.instance_uuid} is on the move, {row.stage}"
            for cell in self._cells
            for row in self._rows(cell, _ALL_MIGRATIONS)
            if row.stage not in _ENDED
        ]
        return [*waiting, *busy, *going, *self._not_as_desired()]

    def _not_as_desired(self) -> Iterator[str]:
        """Yield what is desired and does not run, or is there and not desired."""
        wanted = {f"{NAME}-{number}" for number in range(self._desired or 0)}
        owned = [one for _, one in self.servers if one.project_id == OWNER]
        running = {one.name for one in owned if one.vm_state == VmState.ACTIVE}
        yield from (f"{name} does not run" for name in sorted(wanted - running))
        if self._desired is not None:
            yield from (f"{one.name} is there" for one in owned if one.name not in wanted)

    def undecided(self) -> list[str]:
        """Return the servers whose resize is to be confirmed or reverted."""
        return [one.uuid for _, one in self.servers if one.vm_state == VmState.RESIZED]

    def wrongs(self) -> Iterator[str]:
        """Yield a sentence for everything that can never be."""
        yield from self._fates_are_kept()
        yield from self._errors_have_reasons()
        yield from self._guests_are_servers()
        yield from self._claims_are_servers()
        yield from self._nothing_is_overcommitted()
        yield from self._records_agree()
        if self._desired is not None:
            yield from self._desired_are_there(self._desired)

    def _fates_are_kept(self) -> Iterator[str]:
        there = Counter(one.uuid for _, one in self.servers)
        yield from (f"{uuid} stands in {n} cells" for uuid, n in there.items() if n > 1)
        for uuid, fate in self._fates.items():
            if fate == KEPT and uuid not in there:
                yield f"{uuid} was accepted, and is lost"
            if fate == DELETED and uuid in there:
                yield f"{uuid} was deleted, and is there"

    def _errors_have_reasons(self) -> Iterator[str]:
        for cell, one in self.servers:
            if one.vm_state == VmState.ERROR:
                database = self._deployment.storage[cell]
                fault = instances.newest_faults(database, [one.uuid]).get(one.uuid)
                if fault is None or not fault.message:
                    yield f"{one.uuid} is in ERROR without a reason"
                elif "seconds, so the build was given up" in fault.message:
                    # Everything was back long before the deadline.
                    yield f"{one.uuid} was given up: {fault.message}"

    def _guests_are_servers(self) -> Iterator[str]:
        expected = {
            (one.host, one.uuid): (_RESTING[one.vm_state], one)
            for _, one in self.servers
            if one.vm_state in _RESTING
        }
        found = {
            (host, uuid): guest
            for host, hypervisor in self._deployment.hypervisors.items()
            for uuid, guest in hypervisor.guests().items()
        }
        for where in expected.keys() | found.keys():
            (power, server), guest = expected.get(where, (None, None)), found.get(where)
            if server is None or guest is None or guest.power != power:
                yield f"{where}: the cell says {power}, the host {guest}"
            elif guest.epoch != server.epoch and not self._may_keep(server, guest.epoch):
                yield f"{where}: the guest is of build {guest.epoch}, and the server {server.epoch}"

    def _may_keep(self, server: Instance, epoch: int) -> bool:
        """Whether a server may have the guest of a build that was ended: its host's fence was asked, or it
        is its old host's again, as nobody else could make it."""
        if not server.begun_epoch <= epoch < server.epoch:
            return False
        return self._deployment.layout.fenced or any(
            row.instance_uuid == server.uuid and row.kind == Kind.EVACUATION
            for cell in self._cells
            for row in self._rows(cell, _ALL_MIGRATIONS)
        )

    def _claims_are_servers(self) -> Iterator[str]:
        providers = {
            (name, node.node): node.provider_uuid
            for name in self._cells
            for node in nodes_of(self._deployment.storage[name])
        }
        expected = {
            (one.uuid, providers[cell, one.node], name): amount
            for cell, one in self.servers
            if one.host is not None and one.node is not None
            for name, amount in flavor.resources(one.flavor).items()
        }
        found = {
            (row.consumer_uuid, row.provider_uuid, row.resource_class): row.used
            for row in self._rows("placement", _ALL_ALLOCATIONS)
        }
        yield from (f"{what} is not claimed" for what in expected.items() - found.items())
        yield from (f"{what} is claimed" for what in found.items() - expected.items())
        held = {row.consumer_uuid for row in self._rows("placement", _ALL_ALLOCATIONS)}
        for row in self._rows("placement", _ALL_CONSUMERS):
            if row.uuid not in held:
                yield f"consumer {row.uuid} holds nothing"

    def _nothing_is_overcommitted(self) -> Iterator[str]:
        sums: Counter[tuple[str, str]] = Counter()
        for row in self._rows("placement", _ALL_ALLOCATIONS):
            sums[row.provider_uuid, row.resource_class] += row.used
        for row in self._rows("placement", _ALL_INVENTORIES):
            where = (row.provider_uuid, row.resource_class)
            if row.used != sums[where]:
                yield f"{where}: {row.used} is counted as used, {sums[where]} is"
            if row.used > (row.total - row.reserved) * row.allocation_ratio:
                yield f"{where}: {row.used} of {row.total} is used"

    def _records_agree(self) -> Iterator[str]:
        mapped = {
            row.instance_uuid: row.cell_uuid
            for row in self._rows("api", _ALL_MAPPINGS)
            if not row.queued_for_delete
        }
        there = {one.uuid: CELLS[cell] for cell, one in self.servers}
        for uuid in mapped.keys() | there.keys():
            if mapped.get(uuid) != there.get(uuid):
                yield f"{uuid} is mapped to {mapped.get(uuid)} and is in {there.get(uuid)}"
        used = sum(row.instances for row in self._rows("api", _ALL_USAGES))
        if used != len(self.servers):
            yield f"the quota counts {used} servers, and there are {len(self.servers)}"

    def _desired_are_there(self, count: int) -> Iterator[str]:
        """Exactly one server stands at each index, and is the one that its slot names."""
        named = {row.server: f"{NAME}-{row.number}" for row in self._rows("api", _ALL_SLOTS)}
        there = {one.uuid: one.name for _, one in self.servers if one.project_id == OWNER}
        if sorted(there.values()) != [f"{NAME}-{number}" for number in range(count)]:
            yield f"{count} servers are desired, and there are {sorted(there.values())}"
        if named != there:
            yield f"the slots name {named}, and there are {there}"
