"""``kilonova-manage placement``: what is used against what is allocated, and Placement against the cells.

``audit`` needs Placement's database alone. ``sync`` and ``heal`` look at the cells, too, where there is an
API database; where there is none, nothing says what Placement should have.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from oslo_config import cfg

from kilonova.core.aggregate import HostAggregate
from kilonova.core.devices import held_by
from kilonova.core.errors import KilonovaError, NotFound
from kilonova.core.host import NodeReport
from kilonova.core.ids import CELL0, ConsumerUuid, ProviderUuid
from kilonova.core.instance import Instance
from kilonova.db import (
    aggregates,
    cells,
    hosts,
    instances,
    placement_audit,
    placement_claims,
    placement_holdings,
    placement_inventories,
    placement_names,
    placement_providers,
    placement_sharing,
)
from kilonova.db.engine import Database
from kilonova.db.placement_audit import Drift
from kilonova.placement import host_traits
from kilonova.placement.names import custom_traits


class Change(NamedTuple):
    """Something that is not as it should be, and what makes it so."""

    sentence: str
    make: Callable[[], object]


def add_commands(groups: Any) -> None:
    """Add the group ``placement`` to a parser's groups."""
    commands = groups.add_parser("placement", help="Placement against the cells").add_subparsers(
        required=True
    )
    for command, option, meaning in (
        (audit, "--repair", "set what is used to what is allocated"),
        (sync, "--dry-run", "only say what would be changed"),
        (heal, "--dry-run", "only say what would be allocated"),
    ):
        parser = commands.add_parser(command.__name__, help=command.__doc__)
        parser.add_argument(option, action="store_true", help=meaning)
        parser.set_defaults(command=command)


def _placement(conf: cfg.ConfigOpts) -> Database:
    if not conf.placement_database.connection:
        raise NotFound("[placement_database] connection is not set")
    return Database(conf.placement_database.connection)


def audit(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Report what is used but not allocated, or allocated but not used; 1 if any of it is left."""
    database = _placement(conf)
    found = placement_audit.drift(database)
    left = 0
    for wrong in found:
        repaired = options.repair and placement_audit.repair(database, wrong)
        left += not repaired
        print(f"{'repaired' if repaired else 'DRIFT   '} {_told(wrong)}")
    print(f"{len(found)} found, {left} left")
    return 1 if left else 0


def _told(wrong: Drift) -> str:
    used = "no inventory" if wrong.used is None else f"used {wrong.used}"
    return f"{wrong.provider} {wrong.resource_class}: {used}, allocated {wrong.allocated}"


def sync(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Make names, traits and aggregates in Placement what the cells and the host aggregates say."""
    database = _placement(conf)
    changes = [*_unnamed(database)]
    groups = _aggregates(conf)
    for _cell_db, node in _nodes(conf):
        changes += _node_changes(database, node.report)
        changes += _aggregate_changes(database, node, groups)
    return _apply(changes, options.dry_run)


def heal(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Allocate what servers use of their hosts, for those that hold nothing."""
    database = _placement(conf)
    changes: list[Change] = []
    for cell_db, node in _nodes(conf):
        on_node = (i for i in instances.of_host(cell_db, node.host) if i.node == node.report.node)
        changes += _holding_changes(database, node.report, on_node)
    return _apply(changes, options.dry_run)


def _apply(changes: Iterable[Change], dry_run: bool) -> int:
    """Make changes, or only print them; return 1 if one could not be made."""
    made = failed = 0
    for change in changes:
        try:
            if not dry_run:
                change.make()
        except KilonovaError as error:
            failed += 1
            print(f"FAILED  {change.sentence}: {error}")
        else:
            made += 1
            print(f"{'would  ' if dry_run else 'done   '} {change.sentence}")
    print(f"{made} {'to make' if dry_run else 'made'}, {failed} failed")
    return 1 if failed else 0


def _nodes(conf: cfg.ConfigOpts) -> Iterator[tuple[Database, hosts.StoredNode]]:
    """Yield every compute node with its cell's database."""
    if not conf.api_database.connection:
        print("[api_database] connection is not set: there are no cells to look at")
        return
    for cell in cells.list_cells(Database(conf.api_database.connection)):
        if cell.uuid == CELL0:
            continue
        cell_db = Database(cell.database_connection)
        for node in hosts.list_nodes(cell_db):
            yield cell_db, node


def _aggregates(conf: cfg.ConfigOpts) -> tuple[HostAggregate, ...]:
    if not conf.api_database.connection:
        return ()
    return aggregates.list_aggregates(Database(conf.api_database.connection))


def _unnamed(database: Database) -> Iterator[Change]:
    for kind, name in placement_names.missing(database):
        yield Change(
            f"name the {kind} {name}, which is used",
            partial(placement_names.add, database, kind, name),
        )


def _node_changes(database: Database, report: NodeReport) -> Iterator[Change]:
    uuid, name = report.provider_uuid, report.node
    try:
        provider = placement_providers.get(database, uuid)
    except NotFound:
        yield Change(f"make provider {uuid} of {name}", lambda: _make(database, report))
        return
    if provider.name != name:
        yield Change(
            f"rename provider {uuid} from {provider.name} to {name}",
            lambda: placement_providers.rename(database, uuid, name),
        )
    held = placement_providers.traits(database, uuid)
    traits = host_traits.joined(report.traits, held)
    if set(held) != traits:
        yield Change(f"set the traits of {name}", lambda: _set_traits(database, uuid, traits))


def _make(database: Database, report: NodeReport) -> None:
    placement_providers.create(database, report.provider_uuid, report.node)
    placement_inventories.replace(database, report.provider_uuid, None, report.inventory)
    _set_traits(database, report.provider_uuid, set(report.traits))


def _set_traits(database: Database, uuid: ProviderUuid, traits: set[str]) -> None:
    custom = custom_traits(traits)
    for name in sorted(custom):
        placement_names.add(database, "trait", name)
    placement_providers.set_traits(database, uuid, None, traits, custom)


def _aggregate_changes(
    database: Database, node: hosts.StoredNode, groups: tuple[HostAggregate, ...]
) -> Iterator[Change]:
    uuid = node.report.provider_uuid
    ours = {group.uuid for group in groups}
    should = {group.uuid for group in groups if node.host in group.hosts}
    # Aggregates that are no host aggregates are somebody else's, and stay.
    are = set(placement_providers.aggregates(database, uuid))
    wanted = (are - ours) | should
    if are != wanted:
        yield Change(
            f"put {node.report.node} into {len(should)} aggregates",
            lambda: placement_providers.set_aggregates(database, uuid, None, wanted),
        )


def _holding_changes(
    database: Database, report: NodeReport, on_node: Iterable[Instance]
) -> Iterator[Change]:
    there = placement_holdings.of_provider(database, report.provider_uuid)
    known = {holding.consumer for holding in there}
    for instance in on_node:
        # One in a task has its allocation on the way, or on another host.
        if instance.uuid in known or instance.task_state is not None:
            continue
        if placement_holdings.of_consumer(database, instance.uuid) is None:
            claim = _claim(database, report, instance)
            shared = [
                f", {amounts} of {provider}"
                for provider, amounts in claim.allocation.items()
                if provider != report.provider_uuid
            ]
            own = claim.allocation.get(report.provider_uuid, {})
            yield Change(
                f"allocate {own} of {report.node}{''.join(shared)} to {instance.uuid}",
                partial(placement_claims.replace_all, database, [claim]),
            )


def _claim(database: Database, report: NodeReport, instance: Instance) -> placement_claims.Claim:
    return placement_claims.Claim(
        consumer=ConsumerUuid(instance.uuid),
        project_id=instance.project_id,
        user_id=instance.user_id,
        allocation=placement_sharing.divided(database, report.provider_uuid, held_by(instance)),
        generation=None,
        consumer_type="INSTANCE",
    )
