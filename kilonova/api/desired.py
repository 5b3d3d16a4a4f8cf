"""Desired servers: ``/kilonova/v1/desired``. The converger keeps exactly one running at each index.

POST   /desired          202, with its place as Location: so many servers, of which each is like the others
GET    /desired/{id}     how each index is; the id or, in the asker's project, the name
PUT    /desired/{id}     202: another ``count``, or something else to make the ``server``s of, one by one
DELETE /desired/{id}     202: its servers are deleted, and then it is gone itself

Written is only what is desired: nothing is made or deleted here.
"""

import uuid as uuids
from collections.abc import Mapping
from typing import Any

import msgspec

from kilonova.api.limits import limits_of
from kilonova.api.microversions import ALWAYS
from kilonova.api.parameters import BOOLEAN, SHORT, closed, is_true, values, whole
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.schemas.desired import CHANGE, CREATE
from kilonova.api.servers import create as server_create
from kilonova.api.views import desired as views
from kilonova.core.block_devices import on_volume
from kilonova.core.clock import utcnow
from kilonova.core.desired import Desired, Template
from kilonova.core.errors import Invalid, NotFound
from kilonova.core.server_group import GroupRule, Policy, ServerGroup
from kilonova.db import desired as store
from kilonova.db.desired_sight import look

_RULE = "kilonova:desired"
_MAKE = "os_compute_api:servers:create"
_MOST = 1000
_USUAL = 100
_NUMBER: dict[str, Any] = {"pattern": r"^[0-9]{1,10}\Z", "description": "a whole number"}
_QUERY = Schemas(
    {
        ALWAYS: closed(
            {
                "limit": values(_NUMBER, once=True),
                "marker": values(SHORT, once=True),
                "all_projects": values(BOOLEAN, once=True),
            }
        )
    }
)


def create(asked: Asked) -> Answer:
    """``POST /kilonova/v1/desired``. Refused for whatever a server like this would be, but its quota."""
    asked.authorize(_MAKE)
    wanted = asked.body["desired"]
    now = utcnow()
    group = _group(asked, wanted)
    template = _template(asked, wanted["name"], asked.body, group.rule() if group else None)
    desired = Desired(
        uuid=str(uuids.uuid4()),
        name=wanted["name"],
        project_id=asked.context.project_id,
        user_id=asked.context.user_id,
        count=wanted["count"],
        generation=1,
        created_at=now,
        updated_at=now,
        group_uuid=group.uuid if group else None,
    )
    limits = limits_of(asked, desired.project_id, desired.user_id)
    store.create(asked.services.api_db, desired, template, group, limits)
    place = f"{asked.own_root}/desired/{desired.uuid}"
    return Answer({"desired": views.outline(desired, [])}, 202, {"Location": place})


def _group(asked: Asked, wanted: Mapping[str, Any]) -> ServerGroup | None:
    """Return the server group to be made for the servers, if one is asked for."""
    if "group_policy" not in wanted:
        return None
    if asked.body.get("os:scheduler_hints", {}).get("group"):
        raise Invalid("group_policy: the hint 'group' names a server group already")
    return ServerGroup(
        uuid=str(uuids.uuid4()),
        name=wanted["name"],
        project_id=asked.context.project_id,
        user_id=asked.context.user_id,
        policy=Policy(wanted["group_policy"]),
        created_at=utcnow(),
    )


def _template(asked: Asked, name: str, body: Mapping[str, Any], rule: GroupRule | None) -> Template:
    """Return what servers are made of that a body asks for, in the group that was made for them, if any."""
    lasting = {key: body[key] for key in ("server", "os:scheduler_hints") if key in body}
    asked.body = lasting | {"server": body["server"] | {"name": name}}
    wanted = server_create.wanted(asked)
    if any(on_volume(device) for device in wanted.template.wishes.block_devices):
        # They are made by nobody's request, and only a user's token has volumes.
        raise Invalid("block_device_mapping_v2: desired servers have no volumes")
    group = rule or wanted.spec.group
    # A password that nobody was told is of no use, and would be kept for as long as this.
    wishes = msgspec.structs.replace(wanted.template.wishes, group=group, admin_pass="")
    return Template(
        asked=lasting,
        instance=msgspec.structs.replace(wanted.template, wishes=wishes),
        spec=msgspec.structs.replace(wanted.spec, group=group),
    )


def list_desired(asked: Asked) -> Answer:
    """``GET /kilonova/v1/desired``: those of the project, in order of their ids."""
    everybodys = is_true(asked.one("all_projects"))
    if everybodys:
        asked.authorize(f"{_RULE}:list:all_projects")
    limit = whole(asked.one("limit") or _USUAL, "limit", low=1, high=_MOST)
    api_db = asked.services.api_db
    project = None if everybodys else asked.context.project_id
    found = store.list_desired(api_db, project, after=asked.one("marker") or "", limit=limit)
    slots = store.slots_of(api_db, [one.uuid for one in found])
    body: dict[str, Any] = {"desired": [views.outline(o, slots.get(o.uuid, [])) for o in found]}
    if len(found) == limit:
        body["next_marker"] = found[-1].uuid
    return Answer(body)


def _find(asked: Asked, desired_id: str) -> Desired:
    """Return desired servers of the asker's project or, by their id, for administrators of any.

    Raises:
        NotFound: there are none.
    """
    try:
        return store.find(asked.services.api_db, desired_id, asked.context.project_id)
    except NotFound:
        if not asked.is_admin:
            raise
        return store.find(asked.services.api_db, desired_id, None)


def show(asked: Asked, desired_id: str) -> Answer:
    """``GET /kilonova/v1/desired/{desired_id}``: with each index, what is wrong, and when what follows."""
    return Answer({"desired": _in_full(asked, _find(asked, desired_id))})


def _in_full(asked: Asked, desired: Desired) -> dict[str, Any]:
    services = asked.services
    slots = store.slots_of(services.api_db, [desired.uuid]).get(desired.uuid, [])
    servers = [slot.server for slot in slots if slot.server is not None]
    actual = look(services.api_db, services.cells, servers)
    template = store.template_of(services.api_db, desired.uuid, desired.generation)
    return views.in_full(desired, slots, actual, template)


def change(asked: Asked, desired_id: str) -> Answer:
    """``PUT /kilonova/v1/desired/{desired_id}``: scale them, replace them, or both."""
    desired = _find(asked, desired_id)
    asked.authorize(f"{_RULE}:update", desired.project_id)
    body = asked.body
    changed = store.change(
        asked.services.api_db,
        desired,
        count=body.get("desired", {}).get("count"),
        template=_next(asked, desired) if body.keys() - {"desired"} else None,
        now=utcnow(),
    )
    return Answer({"desired": _in_full(asked, changed)}, 202)


def _next(asked: Asked, desired: Desired) -> Template:
    """Return what a new generation is made of: what the newest is, but for what the request says.

    It is the owner's, whoever asks: his key pairs, and the images that his project may use.
    """
    asked.authorize(_MAKE, desired.project_id)
    last = store.template_of(asked.services.api_db, desired.uuid, desired.generation)
    if last is None:
        raise NotFound(f"There are no desired servers {desired.name}.")
    owner = msgspec.structs.replace(
        asked.context, project_id=desired.project_id, user_id=desired.user_id
    )
    own = desired.group_uuid is not None
    return _template(
        Asked(asked.services, owner, asked.version, asked.host_url),
        desired.name,
        last.asked | asked.body | {"server": last.asked["server"] | asked.body.get("server", {})},
        last.instance.wishes.group if own else None,
    )


def delete(asked: Asked, desired_id: str) -> Answer:
    """``DELETE /kilonova/v1/desired/{desired_id}``."""
    desired = _find(asked, desired_id)
    asked.authorize(f"{_RULE}:delete", desired.project_id)
    store.give_up(asked.services.api_db, desired.uuid, utcnow())
    return Answer(status=202)


_ONE = "/desired/{desired_id}"

ROUTES = (
    Route("POST", "/desired", f"{_RULE}:create", create, body=CREATE),
    Route("GET", "/desired", f"{_RULE}:list", list_desired, query=_QUERY),
    Route("GET", _ONE, f"{_RULE}:show", show),
    Route("PUT", _ONE, f"{_RULE}:update", change, body=CHANGE),
    Route("DELETE", _ONE, f"{_RULE}:delete", delete),
)
