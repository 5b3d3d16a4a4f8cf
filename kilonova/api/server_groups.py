"""Server groups: ``/os-server-groups``. A server joins one by a hint when it is created, and only then."""

import logging
import uuid as uuids
from collections.abc import Iterable
from typing import Any

from kilonova.api import notices, parameters
from kilonova.api.limits import limits_of
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.parameters import MOST, NAME, TEXT, Schema, closed, values, whole
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.views import server_groups as views
from kilonova.core.clock import utcnow
from kilonova.core.errors import Invalid, KilonovaError, NotFound
from kilonova.core.server_group import HARD, Policy, ServerGroup
from kilonova.db import grouped, server_groups
from kilonova.rpc.notifications.server_groups import of_group

LOG = logging.getLogger(__name__)

_RULE = "os_compute_api:os-server-groups"

_POSITIVE: Schema = {
    "type": ["integer", "string"],
    "minimum": 1,
    "pattern": r"^[0-9]{1,10}\Z",
    "description": "a whole number above 0",
}


def _one_of(policies: Iterable[Policy]) -> Schema:
    """Return the schema of a policy. Its names are plain texts, as a refusal tells them."""
    return {"enum": [policy.value for policy in sorted(policies)]}


def _listed(policies: frozenset[Policy]) -> Schema:
    one = {"type": "array", "items": _one_of(policies), "minItems": 1, "maxItems": 1}
    return closed(
        {"server_group": closed({"name": NAME, "policies": one}, "name", "policies")},
        "server_group",
    )


_NAMED = {
    "name": NAME,
    "policy": _one_of(Policy),
    "rules": closed({"max_server_per_host": _POSITIVE}),
}
_CREATE = Schemas(
    {
        ALWAYS: _listed(HARD),
        Since.SOFT_POLICIES: _listed(frozenset(Policy)),
        Since.GROUP_RULES: closed(
            {"server_group": closed(_NAMED, "name", "policy")}, "server_group"
        ),
    }
)
_WHOLE = {"pattern": r"^[0-9]+\Z", "description": "a whole number"}
_QUERY = parameters.queries(
    {ALWAYS: {"all_projects": values(TEXT), "limit": values(_WHOLE), "offset": values(_WHOLE)}},
    strict=Since.STRICT_LISTS,
)


def index(asked: Asked) -> Answer:
    """Answer a page of the project's groups; of all projects, where policy allows."""
    everybodys = "all_projects" in asked.query and asked.allows(f"{_RULE}:index:all_projects")
    project = None if everybodys else asked.context.project_id
    most: int = asked.services.conf.api.max_limit
    # A limit of nothing is none.
    limit = min(_number(asked, "limit") or most, most)
    found = server_groups.list_groups(
        asked.services.api_db, project, limit=limit, offset=_number(asked, "offset")
    )
    return Answer({"server_groups": [views.full(group, asked.version) for group in found]})


def _number(asked: Asked, name: str) -> int:
    text = asked.query.get(name, ["0"])[0]
    # Longer ones are beyond every list, and Python refuses to read the longest.
    return MOST if len(text) > 10 else min(int(text), MOST)


def _find(asked: Asked, group_id: str, rule: str) -> ServerGroup:
    """Return a group with which the asker may do what the rule says.

    Raises:
        NotFound: there is none.
        Forbidden: it is another's.
    """
    try:
        uuid = str(uuids.UUID(group_id))
    except ValueError as error:
        raise NotFound(server_groups.missing(group_id)) from error
    group = server_groups.get(asked.services.api_db, uuid)
    asked.authorize(f"{_RULE}:{rule}", group.project_id)
    return group


def show(asked: Asked, group_id: str) -> Answer:
    """Answer one group."""
    return Answer({"server_group": views.full(_find(asked, group_id, "show"), asked.version)})


def create(asked: Asked) -> Answer:
    """Make a group."""
    wanted = asked.body["server_group"]
    policy = Policy(wanted["policy"] if "policy" in wanted else wanted["policies"][0])
    group = ServerGroup(
        uuid=str(uuids.uuid4()),
        name=wanted["name"],
        project_id=asked.context.project_id,
        user_id=asked.context.user_id,
        policy=policy,
        max_server_per_host=_limit(wanted, policy),
        created_at=utcnow(),
    )
    limits = limits_of(asked, group.project_id, group.user_id)
    server_groups.create(asked.services.api_db, group, limits)
    notices.tell(asked, "server_group.create", lambda: of_group(group))
    return Answer({"server_group": views.full(group, asked.version)})


def _limit(wanted: dict[str, Any], policy: Policy) -> int | None:
    rules = wanted.get("rules")
    if not rules:
        return None
    if policy != Policy.ANTI_AFFINITY:
        raise Invalid("Only anti-affinity policy supports rules.")
    return whole(rules["max_server_per_host"], "max_server_per_host", low=1)


def delete(asked: Asked, group_id: str) -> Answer:
    """Remove a group. Its servers stay where they are."""
    group = _find(asked, group_id, "delete")
    services = asked.services
    cells = {place.cell_uuid for place in server_groups.places_of(services.api_db, group.rule())}
    server_groups.delete(services.api_db, group)
    notices.tell(asked, "server_group.delete", lambda: of_group(group))
    for cell in sorted(filter(None, cells)):
        try:
            grouped.disband(services.cells.database(cell), group.uuid)
        except KilonovaError as error:
            # There its rule holds a little longer, for those that are being built.
            LOG.warning("Server group %s is still known in cell %s: %s", group.uuid, cell, error)
    return Answer(status=204)


_ONE = "/os-server-groups/{group_id}"

ROUTES = (
    Route("GET", "/os-server-groups", f"{_RULE}:index", index, query=_QUERY),
    Route("POST", "/os-server-groups", f"{_RULE}:create", create, body=_CREATE),
    Route("GET", _ONE, f"{_RULE}:show", show),
    Route("DELETE", _ONE, f"{_RULE}:delete", delete),
)
