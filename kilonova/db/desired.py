"""Desired servers in the API database: what is desired, what it is made of, and its slots.

A slot changes by compare-and-set, and a start writes the server's build request in the transaction that
puts it into its slot: so however many convergers act, and wherever one breaks off, no slot has two.
The order of locks is the desired servers' row, slots, and then those of ``build_requests``.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.desired import MOST_OF_PROJECT, Desired, Ending, Slot, Template
from kilonova.core.errors import Conflict, DuplicateName, NotFound, QuotaExceeded
from kilonova.core.ids import InstanceUuid, ProjectId
from kilonova.core.quota import Limits
from kilonova.core.server_group import ServerGroup
from kilonova.db import acceptance, server_groups, statements
from kilonova.db.acceptance import Accepted, Lot
from kilonova.db.api_schema import DesiredGeneration, DesiredServers, DesiredSlot
from kilonova.db.engine import Database
from kilonova.db.statements import insert_if_absent, table_of

_desired = table_of(DesiredServers)
_generations = table_of(DesiredGeneration)
_slots = table_of(DesiredSlot)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Template).decode

_COLUMNS = [_desired.c[name] for name in Desired.__struct_fields__]

_PAGE = (
    sa.select(*_COLUMNS)
    .where(_desired.c.uuid > sa.bindparam("after"))
    .order_by(_desired.c.uuid)
    .limit(sa.bindparam("limit"))
)
_PAGE_OF_PROJECT = _PAGE.where(_desired.c.project_id == sa.bindparam("project"))
_SLOTS = (
    sa.select(_slots)
    .where(statements.among(_slots.c.desired_uuid, "uuids"))
    .order_by(_slots.c.number)
)
_HELD = sa.select(*_COLUMNS).where(_desired.c.uuid == sa.bindparam("uuid")).with_for_update()
_UPDATE = sa.update(_desired).where(_desired.c.uuid == sa.bindparam("b_uuid"))
_UPDATE_SLOT = sa.update(_slots).where(
    _slots.c.desired_uuid == sa.bindparam("b_uuid"), _slots.c.number == sa.bindparam("b_number")
)


def _missing(name: str) -> NotFound:
    return NotFound(f"There are no desired servers {name}.")


def create(
    api_db: Database,
    desired: Desired,
    template: Template,
    group: ServerGroup | None,
    limits: Limits,
) -> None:
    """Write desired servers, with the server group that is made for them, in one transaction.

    Raises:
        DuplicateName: the project has some of that name.
        QuotaExceeded: the project has as many of them, or server groups, as it may have.
    """
    count = sa.select(sa.func.count()).where(_desired.c.project_id == desired.project_id)

    def work(connection: sa.Connection) -> None:
        if connection.execute(count).scalar_one() >= MOST_OF_PROJECT:
            raise QuotaExceeded(
                f"A project has desired servers under at most {MOST_OF_PROJECT} names."
            )
        connection.execute(sa.insert(_desired), [msgspec.structs.asdict(desired)])
        _add_generation(connection, desired, template)
        if group is not None:
            server_groups.insert(connection, group, limits)

    try:
        api_db.write(work)
    except exc.IntegrityError as error:
        raise DuplicateName(f"There are desired servers {desired.name} already.") from error


def _add_generation(connection: sa.Connection, desired: Desired, template: Template) -> None:
    row = {
        "desired_uuid": desired.uuid,
        "generation": desired.generation,
        "template": _encode(template),
    }
    connection.execute(sa.insert(_generations), [row])


def find(api_db: Database, name: str, project: ProjectId | None) -> Desired:
    """Return desired servers by their UUID, of a project's or (None) of any, or by their name in it.

    Raises:
        NotFound: there are none.
    """
    mine = _desired.c.uuid == name
    if project is not None:
        named = sa.or_(mine, _desired.c.name == name)
        mine = sa.and_(named, _desired.c.project_id == project)
    query = sa.select(*_COLUMNS).where(mine).order_by(_desired.c.uuid != name).limit(1)
    row = api_db.query(lambda c: c.execute(query).mappings().first())
    if row is None:
        raise _missing(name)
    return Desired(**row)


def list_desired(
    api_db: Database, project: ProjectId | None, *, after: str = "", limit: int
) -> list[Desired]:
    """Return a page of a project's desired servers (of all, for None), in order of UUID."""
    query = _PAGE if project is None else _PAGE_OF_PROJECT
    wanted = {"after": after, "limit": limit, "project": project}
    rows = api_db.query(lambda c: c.execute(query, wanted).mappings().all())
    return [Desired(**row) for row in rows]


def slots_of(api_db: Database, uuids: Collection[str]) -> dict[str, list[Slot]]:
    """Return the slots of these desired servers, in order of number, in one SELECT."""
    found: defaultdict[str, list[Slot]] = defaultdict(list)
    these = {"uuids": list(uuids)}
    for row in api_db.query(lambda c: c.execute(_SLOTS, these).mappings().all()) if uuids else ():
        values = dict(row)
        owner = values.pop("desired_uuid")
        ending = values["ending"] and Ending(values["ending"])
        found[owner].append(Slot(**values | {"ending": ending}))
    return dict(found)


def among(api_db: Database, servers: Collection[InstanceUuid]) -> frozenset[InstanceUuid]:
    """Return those of the servers that are at an index."""
    query = sa.select(_slots.c.server).where(_slots.c.server.in_(servers))
    if not servers:
        return frozenset()
    return frozenset(api_db.query(lambda c: c.execute(query).scalars().all()))


def template_of(api_db: Database, uuid: str, generation: int) -> Template | None:
    """Return what the servers of a generation are made of, or None if it is forgotten."""
    query = sa.select(_generations.c.template).where(
        _generations.c.desired_uuid == uuid, _generations.c.generation == generation
    )
    stored = api_db.query(lambda c: c.execute(query).scalar())
    return None if stored is None else _decode(stored)


def _hold(connection: sa.Connection, uuid: str) -> Desired | None:
    row = connection.execute(_HELD, {"uuid": uuid}).mappings().first()
    return None if row is None else Desired(**row)


def change(
    api_db: Database,
    seen: Desired,
    *,
    count: int | None,
    template: Template | None,
    now: datetime,
) -> Desired:
    """Set how many servers there are to be, or begin a new generation of them, or both.

    Raises:
        NotFound: they are gone.
        Conflict: they are being deleted, or another began a new generation meanwhile.
    """

    def work(connection: sa.Connection) -> Desired:
        held = _hold(connection, seen.uuid)
        if held is None:
            raise _missing(seen.uuid)
        if held.deleting:
            raise Conflict(f"The desired servers {held.name} are being deleted.")
        if template is not None and held.generation != seen.generation:
            raise Conflict(f"Another replaces the desired servers {held.name} at this moment.")
        changed = msgspec.structs.replace(
            held,
            count=held.count if count is None else count,
            generation=held.generation + (template is not None),
            updated_at=now,
        )
        if template is not None:
            connection.execute(sa.delete(_generations).where(_forgotten(held)))
            _add_generation(connection, changed, template)
        _update(connection, changed)
        return changed

    return api_db.write(work)


def _forgotten(desired: Desired) -> sa.ColumnElement[bool]:
    """Return the condition of generations that no slot is of, and that are not the newest."""
    used = sa.select(_slots.c.generation).where(_slots.c.desired_uuid == desired.uuid)
    return sa.and_(
        _generations.c.desired_uuid == desired.uuid,
        _generations.c.generation < desired.generation,
        _generations.c.generation.not_in(used),
    )


def _update(connection: sa.Connection, desired: Desired) -> None:
    values = msgspec.structs.asdict(desired) | {"b_uuid": desired.uuid}
    connection.execute(_UPDATE, values)


def give_up(api_db: Database, uuid: str, now: datetime) -> None:
    """Say that none of these servers is to be any more.

    Raises:
        NotFound: they are gone.
    """
    mine = _desired.c.uuid == uuid
    change = sa.update(_desired).where(mine).values(deleting=True, updated_at=now)
    if not api_db.write(lambda c: c.execute(change).rowcount):
        raise _missing(uuid)


def move(api_db: Database, uuid: str, before: Slot, after: Slot) -> bool:
    """Make of a slot what it becomes; False if it is not what it was seen as, or nothing is desired."""

    def work(connection: sa.Connection) -> bool:
        return _hold(connection, uuid) is not None and _move(connection, uuid, before, after)

    return api_db.write(work)


def _move(connection: sa.Connection, uuid: str, before: Slot, after: Slot) -> bool:
    # One that was never filled has no row yet.
    blank = msgspec.structs.asdict(Slot(number=before.number)) | {"desired_uuid": uuid}
    insert_if_absent(connection, _slots, [blank], "number")
    # Locked first: what an UPDATE counts that changes nothing differs from database to database.
    found = connection.execute(
        sa.select(_slots.c.number).where(_same(uuid, before)).with_for_update()
    )
    if found.first() is None:
        return False
    values = msgspec.structs.asdict(after) | {"b_uuid": uuid, "b_number": before.number}
    connection.execute(_UPDATE_SLOT, values)
    return True


def _same(uuid: str, slot: Slot) -> sa.ColumnElement[bool]:
    """Return the condition that a slot is as it was seen, by all that decisions rest on."""

    def is_(name: str) -> sa.ColumnElement[bool]:
        value: Any = getattr(slot, name)
        return _slots.c[name].is_(None) if value is None else _slots.c[name] == value

    names = ("number", "generation", "server", "ending", "failures")
    return sa.and_(_slots.c.desired_uuid == uuid, *(is_(name) for name in names))


class Filling(msgspec.Struct, frozen=True):
    """A slot that is to be filled: as it was seen, as it is with its server, and that server."""

    before: Slot
    after: Slot
    accepted: Accepted


def start(
    api_db: Database, uuid: str, fillings: Sequence[Filling], limits: Limits
) -> list[InstanceUuid]:
    """Put servers into their slots and accept them, in one transaction; return those that were.

    Left out are slots that another has filled, or that are not wanted any more.

    Raises:
        QuotaExceeded: the quota does not hold them all; nothing is written.
        Invalid: their server group is gone; nothing is written.
    """

    def work(connection: sa.Connection) -> list[InstanceUuid]:
        held = _hold(connection, uuid)
        wanted = 0 if held is None else held.wanted
        won = [
            one.accepted
            for one in fillings
            if one.before.number < wanted and _move(connection, uuid, one.before, one.after)
        ]
        if won:
            acceptance.writing([Lot(won, limits)])(connection)
        return [accepted.instance.uuid for accepted in won]

    return api_db.write(work)


def drop(api_db: Database, uuid: str, slot: Slot) -> bool:
    """Forget a slot that is empty; False if it is not as it was seen."""

    def work(connection: sa.Connection) -> bool:
        held = _hold(connection, uuid)
        if held is None or slot.number < held.wanted:
            return False
        gone = sa.delete(_slots).where(_same(uuid, slot), _slots.c.server.is_(None))
        return bool(connection.execute(gone).rowcount)

    return api_db.write(work)


def finish(api_db: Database, uuid: str) -> bool:
    """Forget desired servers that are being deleted and have no slot left, with their server group."""
    mine = _desired.c.uuid == uuid

    def work(connection: sa.Connection) -> bool:
        held = _hold(connection, uuid)
        left = sa.select(_slots.c.number).where(_slots.c.desired_uuid == uuid).limit(1)
        if held is None or not held.deleting or connection.execute(left).first() is not None:
            return False
        connection.execute(sa.delete(_generations).where(_generations.c.desired_uuid == uuid))
        connection.execute(sa.delete(_desired).where(mine))
        if held.group_uuid is not None:
            # Its owner may have deleted it before.
            server_groups.remove(connection, held.group_uuid, held.project_id)
        return True

    return api_db.write(work)
