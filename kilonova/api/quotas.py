"""Quotas: ``/os-quota-sets`` and ``/os-quota-class-sets``."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kilonova.api import parameters
from kilonova.api.limits import limits_of
from kilonova.api.microversions import ALWAYS, Since, Version
from kilonova.api.parameters import BOOLEAN, NUMBER, TEXT, closed, values
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.views import quotas as views
from kilonova.core.errors import Invalid
from kilonova.core.ids import ProjectId, UserId
from kilonova.core.quota import UNLIMITED, Limits, limits_in
from kilonova.db import quotas

_RULE = "os_compute_api:os-quota-sets"
_CLASS_RULE = "os_compute_api:os-quota-class-sets"


def _set_schema(names: tuple[str, ...], key: str, **more: Any) -> parameters.Schema:
    return closed({key: closed(dict.fromkeys(names, NUMBER) | more)}, key)


def _set_at(version: Version) -> parameters.Schema:
    return _set_schema(views.resources(version), "quota_set", force=BOOLEAN)


def _class_at(version: Version) -> parameters.Schema:
    # Server groups were accepted before they were shown.
    named = (*views.class_resources(version), "server_groups", "server_group_members")
    return _set_schema(named, "quota_class_set")


_UPDATE = Schemas.changing(_set_at, (Since.NO_PROXIES, Since.NO_FILES))
_UPDATE_CLASS = Schemas.changing(_class_at, (Since.CLASSES_WITH_GROUPS, Since.NO_FILES))
_USER = parameters.queries({ALWAYS: {"user_id": values(TEXT)}}, strict=Since.STRICT_LISTS)


def _user(asked: Asked) -> UserId | None:
    named = asked.query.get("user_id", [""])[0]
    return UserId(named) if named else None


def show(asked: Asked, project_id: str) -> Answer:
    """Answer the limits of a project, or of a user in it."""
    asked.authorize(f"{_RULE}:show", project_id)
    limits = limits_of(asked, ProjectId(project_id), _user(asked)).nearest
    return Answer(views.quota_set(limits, asked.version, project_id))


def show_detail(asked: Asked, project_id: str) -> Answer:
    """Answer the limits of a project, or of a user in it, and what is used of them."""
    asked.authorize(f"{_RULE}:detail", project_id)
    project, user = ProjectId(project_id), _user(asked)
    limits = limits_of(asked, project, user).nearest
    used = _used(asked, project, user)
    return Answer(views.detailed_set(limits, used, asked.version, project_id))


def _used(asked: Asked, project: ProjectId, user: UserId | None) -> dict[str, int]:
    """Return what a project uses, or of that what is a user's, and the user's key pairs."""
    api_db = asked.services.api_db
    used: dict[str, int] = msgspec.structs.asdict(quotas.used_by(api_db, project, user))
    return used if user is None else used | {"key_pairs": quotas.key_pairs_of(api_db, user)}


def show_defaults(asked: Asked, project_id: str) -> Answer:
    """Answer the limits of a project that has none of its own."""
    limits = _class_limits(asked, quotas.DEFAULT_CLASS)
    return Answer(views.quota_set(limits, asked.version, project_id))


def _class_limits(asked: Asked, name: str) -> Limits:
    services = asked.services
    return quotas.limits_of_class(services.api_db, limits_in(services.conf.quota), name)


def update(asked: Asked, project_id: str) -> Answer:
    """Set limits of a project, or of a user in it."""
    asked.authorize(f"{_RULE}:update", project_id)
    project, user = ProjectId(_short(project_id, "project id")), _user(asked)
    body = dict(asked.body["quota_set"])
    force = parameters.is_true(body.pop("force", False))
    wanted = _limits(body)
    if not force:
        _check(asked, wanted, project, user)
    quotas.set_limits(asked.services.api_db, project, wanted, user)
    return Answer(views.quota_set(limits_of(asked, project, user).nearest, asked.version))


def _short(text: str, what: str) -> str:
    if len(text) > 255:
        raise Invalid(f"The {what} has {len(text)} characters, more than 255.")
    return text


def _limits(body: Mapping[str, Any]) -> dict[str, int]:
    return {name: parameters.whole(value, name, low=UNLIMITED) for name, value in body.items()}


def _check(
    asked: Asked, wanted: Mapping[str, int], project: ProjectId, user: UserId | None
) -> None:
    """Refuse limits below what is used, and those of users that are more than their project's together.

    Raises:
        Invalid: naming the limit.
    """
    used = _used(asked, project, user)
    allotted = quotas.allotted(asked.services.api_db, project, besides=user)
    whole = limits_of(asked, project)
    for name, limit in wanted.items():
        least, taken, most = used.get(name, 0), allotted.get(name, 0), getattr(whole, name)
        if user is None:
            least = max(least, taken)
        if limit != UNLIMITED and limit < least:
            raise Invalid(
                f"Quota limit {limit} for {name} must be greater than or equal to already used and "
                f"reserved {least}."
            )
        if user is None or most == UNLIMITED:
            continue
        if limit == UNLIMITED or limit > most - taken:
            raise Invalid(
                f"Quota limit {limit} for {name} must be less than or equal to {most - taken}."
            )


def reset(asked: Asked, project_id: str) -> Answer:
    """Give a project, or a user in it, the default limits again."""
    asked.authorize(f"{_RULE}:delete", project_id)
    quotas.reset_limits(asked.services.api_db, ProjectId(project_id), _user(asked))
    return Answer(status=202)


def show_class(asked: Asked, name: str) -> Answer:
    """Answer the limits of a quota class."""
    return Answer(views.class_set(_class_limits(asked, name), asked.version, name))


def update_class(asked: Asked, name: str) -> Answer:
    """Set limits of a quota class."""
    known = _short(name, "name of the quota class")
    limits = _limits(asked.body["quota_class_set"])
    quotas.set_class_limits(asked.services.api_db, known, limits)
    return Answer(views.class_set(_class_limits(asked, name), asked.version))


_ONE = "/os-quota-sets/{project_id}"
_CLASS = "/os-quota-class-sets/{name}"

ROUTES = (
    Route("GET", _ONE, f"{_RULE}:show", show, query=_USER),
    Route("PUT", _ONE, f"{_RULE}:update", update, body=_UPDATE, query=_USER),
    Route("DELETE", _ONE, f"{_RULE}:delete", reset, query=_USER),
    Route("GET", _ONE + "/detail", f"{_RULE}:detail", show_detail, query=_USER),
    Route("GET", _ONE + "/defaults", f"{_RULE}:defaults", show_defaults),
    Route("GET", _CLASS, f"{_CLASS_RULE}:show", show_class),
    Route("PUT", _CLASS, f"{_CLASS_RULE}:update", update_class, body=_UPDATE_CLASS),
)
