"""Accepting servers: what is written down of them before anybody is told, and counted.

Owns the one transaction after which a request is never lost. What becomes of a build request then is in
``build_requests``.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import ProjectId, RequestId
from kilonova.core.instance import Instance
from kilonova.core.quota import Amount, Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.core.server_group import GroupRule
from kilonova.db import quotas, server_groups
from kilonova.db.api_schema import BuildRequest, InstanceMapping, StoredRequestSpec
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_encode = msgspec.json.Encoder().encode

_INSERT_REQUESTS = sa.insert(table_of(BuildRequest))
_INSERT_SPECS = sa.insert(table_of(StoredRequestSpec))
_INSERT_MAPPINGS = sa.insert(table_of(InstanceMapping))


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A server that passed every check and is to be written down."""

    instance: Instance
    spec: RequestSpec
    request_id: RequestId


class Lot(msgspec.Struct, frozen=True):
    """The servers of one request, and the limits on them: all of one project, and of one server group or
    none. They are accepted together or not at all."""

    accepted: Sequence[Accepted]
    limits: Limits

    @property
    def project(self) -> ProjectId:
        """Whose they are."""
        return self.accepted[0].instance.project_id

    @property
    def group(self) -> GroupRule | None:
        """The server group that they are to be in."""
        return self.accepted[0].instance.wishes.group


def accept(api_db: Database, lots: Sequence[Lot]) -> None:
    """Write build requests, request specs and unmapped mappings, and count them, in one transaction.

    Only one of several lots may be for a server group. Nothing is written if a project's quota, or the
    group's, does not hold all of them.

    Raises:
        QuotaExceeded: naming what is exceeded, asked for, used and allowed.
        Invalid: the server group is gone.
        DatabaseUnavailable: the database does not answer.
    """
    api_db.write(writing(lots))


def writing(lots: Sequence[Lot]) -> Callable[[sa.Connection], None]:
    """Return what ``accept`` does within its transaction, for those who do more in it."""
    requests, specs, mappings = [], [], []
    counted: defaultdict[tuple[ProjectId, Limits], list[Instance]] = defaultdict(list)
    for lot in lots:
        spec, encoded = None, b""
        for one in lot.accepted:
            if one.spec is not spec:
                spec, encoded = one.spec, _encode(one.spec)
            requests.append(_request(one))
            specs.append({"instance_uuid": one.instance.uuid, "spec": encoded})
            mappings.append(_mapping(one.instance))
            counted[lot.project, lot.limits].append(one.instance)

    def work(connection: sa.Connection) -> None:
        for lot in lots:
            if lot.group is not None:
                most = lot.limits.server_group_members
                server_groups.admit(connection, lot.group, len(lot.accepted), most)
        connection.execute(_INSERT_REQUESTS, requests)
        connection.execute(_INSERT_SPECS, specs)
        connection.execute(_INSERT_MAPPINGS, mappings)
        # Last, because it locks the projects' rows until the commit; in one order, so that nobody waits
        # for another who waits for him.
        for (project, limits), servers in sorted(counted.items(), key=lambda item: item[0][0]):
            quotas.count(connection, project, _amount(servers), limits)

    return work


def _amount(servers: Sequence[Instance]) -> Amount:
    return Amount(
        instances=len(servers),
        cores=sum(server.flavor.vcpus for server in servers),
        ram=sum(server.flavor.memory_mb for server in servers),
    )


def _request(accepted: Accepted) -> dict[str, Any]:
    instance = accepted.instance
    return {
        "instance_uuid": instance.uuid,
        "project_id": instance.project_id,
        "request_id": accepted.request_id,
        "created_at": instance.created_at,
        "driver": "",
        "driven_at": instance.created_at,
        "withdrawn": False,
        "instance": _encode(instance),
    }


def _mapping(instance: Instance) -> dict[str, Any]:
    group = instance.wishes.group
    return {
        "instance_uuid": instance.uuid,
        "project_id": instance.project_id,
        "user_id": instance.user_id,
        "vcpus": instance.flavor.vcpus,
        "memory_mb": instance.flavor.memory_mb,
        "created_at": instance.created_at,
        "queued_for_delete": False,
        "group_uuid": group.group_uuid if group else None,
    }
