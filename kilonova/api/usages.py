"""What projects used: ``/os-simple-tenant-usage``."""

import itertools
from datetime import UTC, datetime
from typing import Any

from kilonova.api import parameters
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.paging import next_links, page
from kilonova.api.parameters import TEXT, values
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.views import usages as views
from kilonova.core.clock import utcnow
from kilonova.core.errors import Invalid
from kilonova.core.ids import InstanceUuid, ProjectId
from kilonova.core.usage import Ran, totals
from kilonova.db import usages
from kilonova.db.cells import mapping_of
from kilonova.db.scatter import gather
from kilonova.db.usages import Period

_RULE = "os_compute_api:os-simple-tenant-usage"

_SHOW = {"start": values(TEXT), "end": values(TEXT)}
_LIST = _SHOW | {"detailed": values(TEXT)}
_LIST_QUERY = parameters.queries(
    {ALWAYS: _LIST, Since.USAGE_PAGES: _LIST | parameters.PAGE}, strict=Since.STRICT_LISTS
)
_SHOW_QUERY = parameters.queries(
    {ALWAYS: _SHOW, Since.USAGE_PAGES: _SHOW | parameters.PAGE}, strict=Since.STRICT_LISTS
)


def list_usages(asked: Asked) -> Answer:
    """Answer what every project used in a period."""
    now = utcnow()
    period = _period(asked, None, now)
    servers = _servers(asked, period)
    detail = parameters.is_true(asked.query.get("detailed", ["0"])[0])
    body: dict[str, Any] = {
        "tenant_usages": [
            views.project(name, total, period, now, detail=detail)
            for name, total in totals(servers, period.begin, period.end).items()
        ]
    }
    _add_links(asked, body, "tenant_usages_links", "", servers)
    return Answer(body)


def show(asked: Asked, project_id: str) -> Answer:
    """Answer what one project used in a period, server by server; an empty object for nothing."""
    asked.authorize(f"{_RULE}:show", project_id)
    now, project = utcnow(), ProjectId(project_id)
    period = _period(asked, project, now)
    servers = _servers(asked, period)
    total = totals(servers, period.begin, period.end).get(project)
    usage = {} if total is None else views.project(project, total, period, now, detail=True)
    body: dict[str, Any] = {"tenant_usage": usage}
    _add_links(asked, body, "tenant_usage_links", f"/{project_id}", servers)
    return Answer(body)


def _add_links(
    asked: Asked, body: dict[str, Any], name: str, below: str, servers: list[Ran]
) -> None:
    if asked.version not in Since.USAGE_PAGES:
        return
    limit, _marker = page(asked)
    uuids = [server.uuid for server in servers]
    if links := next_links(asked, f"/os-simple-tenant-usage{below}", limit, uuids):
        body[name] = links


def _period(asked: Asked, project: ProjectId | None, now: datetime) -> Period:
    begin, end = _moment(asked, "start", now), _moment(asked, "end", now)
    # Without a start nothing is asked for, which is no mistake.
    if begin > end or (begin == end and asked.one("start")):
        raise Invalid("Invalid start time. The start time must be before the end time.")
    limit, marker = asked.services.conf.api.max_limit, None
    if asked.version in Since.USAGE_PAGES:
        limit, marker = page(asked)
    if marker is not None and mapping_of(asked.services.api_db, InstanceUuid(marker)) is None:
        raise Invalid(f"marker [{marker}] not found")
    return Period(
        begin=begin,
        end=min(end, now),
        project=project,
        marker=None if marker is None else InstanceUuid(marker),
        limit=limit,
    )


def _moment(asked: Asked, name: str, now: datetime) -> datetime:
    text = asked.query.get(name, [""])[0]
    if not text:
        return now
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{name} is no time that can be read: {text}") from error


def _servers(asked: Asked, period: Period) -> list[Ran]:
    if period.begin >= period.end:
        return []
    found = gather(asked.services.cells, lambda db: usages.servers_in(db, period))
    servers = itertools.chain.from_iterable(found.answers.values())
    return sorted(servers, key=lambda server: server.uuid)[: period.limit]


ROUTES = (
    Route("GET", "/os-simple-tenant-usage", f"{_RULE}:list", list_usages, query=_LIST_QUERY),
    Route("GET", "/os-simple-tenant-usage/{project_id}", f"{_RULE}:show", show, query=_SHOW_QUERY),
)
