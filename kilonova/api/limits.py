"""Limits: ``/limits``, and the limits that other resources hold their requests against."""

from kilonova.api import parameters
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.parameters import TEXT, values
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.views import quotas as views
from kilonova.core.ids import ProjectId, UserId
from kilonova.core.quota import Limits, limits_in
from kilonova.db import quotas

_QUERY = parameters.queries({ALWAYS: {"tenant_id": values(TEXT)}}, strict=Since.STRICT_LISTS)


def limits_of(asked: Asked, project: ProjectId, user: UserId | None = None) -> Limits:
    """Return the limits of a project, or of a user in it, in one SELECT."""
    services = asked.services
    return quotas.limits_of(services.api_db, limits_in(services.conf.quota), project, user)


def show(asked: Asked) -> Answer:
    """Answer the limits of the asker's project, or of the one that an administrator names."""
    project = asked.context.project_id
    if named := asked.one("tenant_id"):
        project = ProjectId(named)
        if project != asked.context.project_id:
            asked.authorize("os_compute_api:limits:other_project")
    used = quotas.used_by(asked.services.api_db, project)
    return Answer(views.absolute_limits(limits_of(asked, project), used, asked.version))


ROUTES = (Route("GET", "/limits", "os_compute_api:limits", show, query=_QUERY),)
