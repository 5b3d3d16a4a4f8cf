"""Servers that move, or change their size: resize, migrate, live migration, evacuation.

What can be judged at once is judged here. Then the migration is written with the server's task, in one
transaction, and the super conductor is told to find a destination. What is lost after that is sent on by
the converger.
"""

import logging
import secrets
from typing import Any

import msgspec

from kilonova.api.find import find_server
from kilonova.api.limits import limits_of
from kilonova.api.microversions import Since, Span
from kilonova.api.parameters import is_true
from kilonova.api.routing import Act, Answer, Asked
from kilonova.api.schemas import moves as schemas
from kilonova.api.schemas.servers import NO_ARGUMENTS
from kilonova.api.servers import wishes
from kilonova.api.servers.reach import host_is_up
from kilonova.api.servers.tasks import (
    begin,
    check_state,
    check_unlocked,
    find_free,
    placed,
    record_of,
)
from kilonova.core import migration as mig
from kilonova.core.clock import utcnow
from kilonova.core.devices import pci_wanted
from kilonova.core.errors import Conflict, Invalid, KilonovaError, QuotaExceeded, WrongState
from kilonova.core.flavor import Flavor
from kilonova.core.hardware import has_tpm
from kilonova.core.ids import HostName
from kilonova.core.image import Image
from kilonova.core.instance import Instance, Located
from kilonova.core.migration import Kind, Migration, Stage
from kilonova.core.quota import Amount
from kilonova.core.states import Action
from kilonova.db import hosts, instances, moves, quotas, resizes
from kilonova.db.moves import Next
from kilonova.rpc.messages import MoveInstance, StartMove

LOG = logging.getLogger(__name__)

_RULE = {
    Kind.RESIZE: Action.RESIZE,
    Kind.MIGRATION: Action.MIGRATE,
    Kind.LIVE: Action.LIVE_MIGRATE,
    Kind.EVACUATION: Action.EVACUATE,
    Kind.SHELVE: Action.SHELVE,
    Kind.UNSHELVE: Action.UNSHELVE,
}

_WITHOUT_TPM = (Kind.SHELVE, Kind.EVACUATION)
"""How a server comes away from its host with nothing but its disk."""

replace = msgspec.structs.replace


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is to move."""

    kind: Kind
    flavor: Flavor | None = None
    host: HostName | None = None
    forced: bool = False
    stays_off: bool = False
    image: Image | None = None


def begin_move(asked: Asked, located: Located, wanted: Wanted) -> Migration:
    """Write a migration with its server's task.

    Raises:
        WrongState, NotFound: as ``tasks.begin``; an evacuation also where the server moves already.
        Conflict: what its TPM remembers would be lost.
    """
    before = located.instance
    if wanted.kind in _WITHOUT_TPM and has_tpm(before.flavor, before.image):
        action = _RULE[wanted.kind]
        raise Conflict(
            f"Operation '{action}' not supported for vTPM-enabled instance {before.uuid}."
        )
    made: list[Migration] = []

    def write(connection: Any, server: Instance) -> None:
        # Whatever else is under way may be left, as the host is dead; but nobody moves twice at once, nor
        # leaves another host than the one that was looked at.
        if wanted.kind is Kind.EVACUATION and not (
            server.host == before.host and moves.give_way(connection, server, utcnow())
        ):
            raise WrongState(f"Cannot 'evacuate' instance {server.uuid} while it is being migrated")
        made[:] = [_migration(asked, server, wanted)]
        moves.insert(connection, made[0])

    begin(asked, located, _RULE[wanted.kind], beside=write)
    return made[0]


def _migration(asked: Asked, server: Instance, wanted: Wanted) -> Migration:
    now = utcnow()
    accepted = replace(
        mig.of_server(server, wanted.kind, asked.context, now),
        new_flavor=wanted.flavor or server.flavor,
        requested_host=wanted.host,
        forced=wanted.forced,
        stays_off=wanted.stays_off,
        image=wanted.image,
    )
    # Where it goes needs no finding: it goes into an image.
    return mig.at(accepted, Stage.SENDING, now) if wanted.kind is Kind.SHELVE else accepted


def start(asked: Asked, located: Located, migration: Migration) -> None:
    """Have a destination found. If nobody can be told now, the converger tells it."""
    _, cell = placed(located, _RULE[migration.kind])
    message = StartMove(cell_uuid=cell, migration=migration.uuid)
    try:
        asked.services.bus.cast(asked.context, message)
    except KilonovaError as error:
        # Accepted is accepted.
        LOG.warning("%s: its move waits for the converger: %s", migration.instance_uuid, error)


def _named_host(asked: Asked, located: Located, name: str | None, rule: str) -> HostName | None:
    """Return the host that a request names, if it names one.

    Raises:
        Invalid: there is none of that name in the server's cell, or the server is on it.
        Forbidden: policy does not let the asker name one.
    """
    if name is None:
        return None
    asked.authorize(rule)
    database = asked.services.cells.database(placed(located, Action.MIGRATE)[1])
    if not hosts.list_services(database, binary=hosts.COMPUTE, host=name):
        raise Invalid(f"Compute host {name} could not be found.")
    if name == located.instance.host:
        raise Invalid(f"The server {located.instance.uuid} is on host {name} already.")
    return HostName(name)


def resize(asked: Asked, server_id: str) -> Answer:
    """``resize``: another flavor, on the same host where that has room, else on another."""
    located = find_free(asked, server_id, Action.RESIZE)
    body = asked.body["resize"]
    server = located.instance
    flavor = wishes.flavor_of(asked, body)
    if flavor.flavor_id == server.flavor.flavor_id:
        raise Invalid("When resizing, instances must change flavor!")
    if not flavor.root_gb and server.flavor.root_gb:
        raise Invalid("Resize to flavor with zero disk is not allowed.")
    _check_quota(asked, server, flavor)
    migration = begin_move(asked, located, Wanted(kind=Kind.RESIZE, flavor=flavor))
    limits = limits_of(asked, server.project_id, server.user_id)
    try:
        resizes.grow(asked.services.api_db, server.uuid, flavor, limits)
    except QuotaExceeded as error:
        _refuse(asked, located, migration, error)
        raise
    if "OS-DCF:diskConfig" in body:
        database = asked.services.cells.database(placed(located, Action.RESIZE)[1])
        instances.wish(database, server.uuid, {"disk_config": body["OS-DCF:diskConfig"]})
    start(asked, located, migration)
    return Answer(status=202)


def _check_quota(asked: Asked, server: Instance, flavor: Flavor) -> None:
    """Refuse what the quota does not hold anyhow, before anything is written.

    Raises:
        QuotaExceeded: it does not.
    """
    more = Amount(
        cores=max(0, flavor.vcpus - server.flavor.vcpus),
        ram=max(0, flavor.memory_mb - server.flavor.memory_mb),
    )
    limits = limits_of(asked, server.project_id, server.user_id)
    over = quotas.refusal(asked.services.api_db, server.project_id, more, limits)
    if over is not None:
        raise QuotaExceeded(over)


def _refuse(asked: Asked, located: Located, migration: Migration, error: QuotaExceeded) -> None:
    """End a move that another request has left no quota for."""
    database = asked.services.cells.database(placed(located, Action.MIGRATE)[1])

    def step(accepted: Migration, server: Instance) -> Next:
        ended = mig.ended(replace(accepted, reason=error.message), utcnow())
        idle = replace(server, task_state=None, task_request=None, updated_at=utcnow())
        return Next(migration=ended, instance=idle, over=True, failed=error.message)

    moves.change(database, migration, step)


def migrate(asked: Asked, server_id: str) -> Answer:
    """``migrate``: to another host, from 2.56 to one that is named."""
    located = find_free(asked, server_id, Action.MIGRATE)
    named = (
        (asked.body["migrate"] or {}).get("host")
        if asked.version in Since.MIGRATION_NAMES_HOST
        else None
    )
    rule = "os_compute_api:os-migrate-server:migrate:host"
    host = _named_host(asked, located, named, rule)
    migration = begin_move(asked, located, Wanted(kind=Kind.MIGRATION, host=host))
    start(asked, located, migration)
    return Answer(status=202)


def _is_forced(asked: Asked, host: HostName | None, checks: Span) -> bool:
    """Whether a host is taken as it is: before such hosts were checked at all, or where it is asked for."""
    (wish,) = asked.body.values()
    return host is not None and (asked.version not in checks or is_true(wish.get("force")))


def live_migrate(asked: Asked, server_id: str) -> Answer:
    """``os-migrateLive``: to another host while it runs."""
    located = find_free(asked, server_id, Action.LIVE_MIGRATE)
    body = asked.body["os-migrateLive"]
    rule = "os_compute_api:os-migrate-server:migrate_live:host"
    host = _named_host(asked, located, body["host"], rule)
    if not host_is_up(asked, located.instance.host):
        raise Invalid(f"Compute service of {located.instance.host} is unavailable at this time.")
    if pci_wanted(located.instance.flavor):
        raise Invalid(
            "Migration pre-check error: a server with devices of its host's own does not move live."
        )
    forced = _is_forced(asked, host, Since.LIVE_MIGRATION_CHECKS_HOST)
    wanted = Wanted(kind=Kind.LIVE, host=host, forced=forced)
    migration = begin_move(asked, located, wanted)
    start(asked, located, migration)
    return Answer(status=202)


def evacuate(asked: Asked, server_id: str) -> Answer:
    """``evacuate``: a server whose host is dead is built anew on another; it stays off from 2.95."""
    located = find_free(asked, server_id, Action.EVACUATE)
    body = asked.body["evacuate"]
    host = _named_host(asked, located, body.get("host"), "os_compute_api:os-evacuate")
    if host_is_up(asked, located.instance.host):
        raise Invalid(f"Compute service of {located.instance.host} is still in use.")
    wanted = Wanted(
        kind=Kind.EVACUATION,
        host=host,
        forced=_is_forced(asked, host, Since.EVACUATION_CHECKS_HOST),
        stays_off=asked.version in Since.EVACUATED_STAY_OFF,
    )
    migration = begin_move(asked, located, wanted)
    start(asked, located, migration)
    if (
        asked.version not in Since.NO_SHARED_STORAGE
        and asked.services.conf.api.enable_instance_password
    ):
        return Answer({"adminPass": body.get("adminPass") or secrets.token_urlsafe(9)})
    return Answer()


def _check_is_up(asked: Asked, host: HostName, which: str) -> None:
    """Refuse to decide on a move while that would leave its server on a host that is down.

    Raises:
        Conflict: it is.
    """
    if not host_is_up(asked, host):
        raise Conflict(f"The server cannot be moved on now: {which} is down.")


def confirm(asked: Asked, server_id: str) -> Answer:
    """``confirmResize``: the server stays as it is, and its old host forgets it."""
    located, migration = _finished(asked, server_id, Action.CONFIRM_RESIZE)
    # What its old host has may be all that is left of it.
    _check_is_up(asked, migration.chosen.host, "its host")

    def step(finished: Migration, server: Instance) -> Next:
        after = mig.confirming(finished, server, asked.context.request_id, utcnow())
        return Next(migration=after[0], instance=after[1])

    _decide(asked, located, migration, (Action.CONFIRM_RESIZE, step))
    resizes.resize(asked.services.api_db, migration.instance_uuid, migration.new_flavor)
    return Answer(status=204)


def revert(asked: Asked, server_id: str) -> Answer:
    """``revertResize``: the server is what and where it was."""
    located, migration = _finished(asked, server_id, Action.REVERT_RESIZE)
    _check_is_up(asked, migration.source_host, "the host to which it would return")

    def step(finished: Migration, server: Instance) -> Next:
        after = mig.reverting(finished, server, asked.context.request_id, utcnow())
        return Next(migration=after[0], instance=after[1])

    _decide(asked, located, migration, (Action.REVERT_RESIZE, step))
    return Answer(status=202)


def _finished(asked: Asked, server_id: str, action: Action) -> tuple[Located, Migration]:
    """Return a server and its move on which its owner is to decide.

    Raises:
        NotFound, ServerLocked, WrongState: as ``find_free``.
        Invalid: it was decided on already.
    """
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    check_state(located.instance, action)
    database = asked.services.cells.database(placed(located, Action.MIGRATE)[1])
    for migration in moves.unfinished(database, [located.instance.uuid]):
        if migration.stage is Stage.FINISHED:
            return located, migration
    raise Invalid("Instance has not been resized.")


def _decide(
    asked: Asked, located: Located, migration: Migration, decision: tuple[Action, moves.Step]
) -> None:
    """Bring a finished move on its way, and tell the host that has to act.

    Raises:
        Conflict: it was decided on a moment ago, or the server is being deleted.
    """
    action, step = decision
    cell = placed(located, Action.MIGRATE)[1]
    record = record_of(asked, located.instance, action)
    database = asked.services.cells.database(cell)
    found = moves.change(database, migration, step, record=record)
    if found is None or found.instance is None:
        raise Conflict(f"Instance {located.instance.uuid} is changing; look again.")
    tell(asked, Located(instance=found.instance, cell_uuid=cell), found.migration)


def tell(asked: Asked, located: Located, migration: Migration) -> None:
    """Tell the host that has to act. If it cannot be told now, the converger tells it."""
    server, cell = placed(located, _RULE[migration.kind])
    sized = replace(server, flavor=migration.acting_flavor)
    message = MoveInstance(migration=migration, instance=sized)
    try:
        asked.services.cell_bus(cell).cast(asked.context, message, host=migration.acting())
    except KilonovaError as error:
        LOG.warning("%s: its move waits for the converger: %s", server.uuid, error)


_S = "os_compute_api:servers"
_M = "os_compute_api:os-migrate-server"
ACTS = {
    "resize": Act(f"{_S}:resize", resize, schemas.RESIZE),
    "confirmResize": Act(f"{_S}:confirm_resize", confirm, NO_ARGUMENTS),
    "revertResize": Act(f"{_S}:revert_resize", revert, NO_ARGUMENTS),
    "migrate": Act(f"{_M}:migrate", migrate, schemas.MIGRATE),
    "os-migrateLive": Act(f"{_M}:migrate_live", live_migrate, schemas.LIVE_MIGRATE),
    "evacuate": Act("os_compute_api:os-evacuate", evacuate, schemas.EVACUATE),
}
