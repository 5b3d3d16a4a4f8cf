"""How a resource is added to the API.

A module of a resource has a table ``ROUTES`` of ``Route`` and the handlers in it; ``app.py`` joins them.

    ROUTES = (
        Route("GET", "/flavors", "os_compute_api:flavors:list", list_flavors, query=_QUERY),
        Route("POST", "/flavors", "os_compute_api:os-flavor-manage:create", create, body=_CREATE),
        Route("PUT", "/flavors/{flavor_id}", "...:update", update, when=Since.FLAVOR_DESCRIPTION),
    )

    def create(asked: Asked) -> Answer:
        wanted = asked.body["flavor"]          # valid by _CREATE at asked.version
        ...
        return Answer({"flavor": view})        # 200; Answer(status=204) has no body

A handler takes ``asked`` and the path's parameters by name, and raises ``core.errors``; it is called only
if policy allows the route's rule to the asker for his own project. What belongs to another project is a
matter for the handler: ``asked.authorize(rule, project_id)``. A ``POST .../action`` has ``ActOn`` a table
of ``Act`` as its handler, and no rule of its own.

``when`` says at which microversions a route is served, all by default: ``Since.FLAVOR_DESCRIPTION``, or
what was before such a change. ``body`` and ``query`` are ``Schemas``: the schema that counts is that of the
newest change that holds. A route without ``query`` takes no parameters, and says so from 2.102. Where
routes share a path and a method, the first that is served at the microversion answers.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from kilonova.api.microversions import ALWAYS, Since, Span, Version, edges
from kilonova.api.policies.base import CONTEXT_IS_ADMIN
from kilonova.api.services import Services
from kilonova.core.context import RequestContext
from kilonova.core.errors import Forbidden, Invalid
from kilonova.http.peers import Asker

_FORMATS = FormatChecker()

BODY, QUERY = "field/attribute", "query parameters"
"""What a part of a request is called in the sentence that refuses it."""


class Schemas:
    """JSON Schemas by the change from which each counts to the next, compiled once."""

    def __init__(self, by_change: Mapping[Span, Mapping[str, Any]]) -> None:
        newest_first = sorted(by_change.items(), key=lambda item: item[0].since, reverse=True)
        self._validators = [
            (change, Draft202012Validator(schema, format_checker=_FORMATS))
            for change, schema in newest_first
        ]

    @classmethod
    def changing(
        cls, make: Callable[[Version], Mapping[str, Any]], spans: Iterable[Span]
    ) -> "Schemas":
        """Return the schemas that ``make`` returns, made anew wherever one of the spans begins or ends."""
        return cls({Span(version): make(version) for version in edges(spans)})

    @property
    def edges(self) -> set[Version]:
        """The microversions from which another schema counts."""
        return {change.since for change, _ in self._validators}

    def at(self, version: Version) -> Mapping[str, Any]:
        """Return the schema that counts at a microversion; without one, that of everything."""
        for change, validator in self._validators:
            if version in change:
                schema: Mapping[str, Any] = validator.schema
                return schema
        return {}

    def check(self, value: object, version: Version, what: str, *, lenient: bool = False) -> None:
        """Check what is a ``BODY`` or a ``QUERY``. ``lenient`` removes unknown keys, and spaces around
        names, instead of refusing them.

        Raises:
            Invalid: naming the field that is wrong.
        """
        for change, validator in self._validators:
            if version in change:
                for error in validator.iter_errors(value):
                    if not (
                        lenient and (_forget_unknown(error) or _strip(error, value, validator))
                    ):
                        raise Invalid(_sentence(error, what))
                return


def _forget_unknown(error: Any) -> bool:
    """Remove the keys that a closed object does not know; False if the error is another."""
    if error.validator != "additionalProperties" or "patternProperties" in error.schema:
        return False
    known = error.schema.get("properties", {})
    for key in [key for key in error.instance if key not in known]:
        del error.instance[key]
    return True


_NAMES = frozenset({"name", "availability_zone", "key_name"})


def _strip(error: Any, whole: Any, validator: Any) -> bool:
    """Remove the spaces around a name; False if the error is another, or remains."""
    path = list(error.absolute_path)
    if error.validator != "pattern" or not path or path[-1] not in _NAMES:
        return False
    name = error.instance.strip()
    if not validator.evolve(schema=error.schema).is_valid(name):
        return False
    for step in path[:-1]:
        whole = whole[step]
    whole[path[-1]] = name
    return True


def _sentence(error: Any, what: str) -> str:
    reason = error.message
    if error.validator == "pattern" and "title" in error.schema:
        title, rule = error.schema["title"], error.schema["description"]
        return f"An invalid '{title}' value was provided. The {title} must be: {rule}"
    if error.validator == "pattern" and "description" in error.schema:
        reason = f"It must be {error.schema['description']}"
    reason = _short(reason, 300)
    path = list(error.absolute_path)
    if not path:
        return reason
    value = _short(str(error.instance), 100)
    return f"Invalid input for {what} {_named(path, what)}. Value: {value}. {reason}"


def _named(path: list[str | int], what: str) -> str:
    """Return what clients know a field by: its own name, and its place where it stands in a list."""
    if what == QUERY:
        return str(path[0])
    last = max((at for at, step in enumerate(path) if isinstance(step, str)), default=0)
    return "/".join(str(step) for step in path[last:])


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


NO_QUERY = Schemas({Since.STRICT_QUERIES: {"type": "object", "additionalProperties": False}})


class Answer:
    """What a handler answers: a value that is encoded as JSON, or ``lines`` of JSON that are sent as they
    are made, or no body."""

    __slots__ = ("body", "headers", "lines", "status")

    def __init__(
        self,
        body: Any = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        lines: Iterable[bytes] | None = None,
    ) -> None:
        self.body = body
        self.lines = lines
        self.status = status
        self.headers = headers or {}


class Asked:
    """One request, as a handler sees it.

    ``body`` is the checked JSON body (None without one); ``query`` maps each parameter to all its values;
    ``host_url`` is scheme and host as the client knows them; ``token`` is the asker's, as it came;
    ``lenient`` is set for the legacy root, which ignores keys that it does not know.
    """

    __slots__ = (
        "body",
        "context",
        "host_url",
        "lenient",
        "query",
        "services",
        "token",
        "version",
    )

    def __init__(
        self, services: Services, context: RequestContext, version: Version, host_url: str
    ) -> None:
        self.services = services
        self.context = context
        self.version = version
        self.host_url = host_url
        self.body: Any = None
        self.query: dict[str, list[str]] = {}
        self.lenient = False
        self.token = ""

    @property
    def asker(self) -> Asker:
        """Who asks, as services have to know that say themselves what he may do with what is theirs."""
        return Asker(self.token, self.context.project_id)

    def one(self, name: str) -> str | None:
        """Return the last value of a query parameter, or None."""
        values = self.query.get(name)
        return values[-1] if values else None

    @property
    def is_admin(self) -> bool:
        """Whether the asker is an administrator, to whom nothing is another project's."""
        return self.allows(CONTEXT_IS_ADMIN)

    def allows(self, rule: str, project_id: str | None = None, user_id: str | None = None) -> bool:
        """Whether policy allows a rule for what belongs to a project and user (the asker's own)."""
        return self.services.policy.allows(
            rule,
            self.context,
            self.context.project_id if project_id is None else project_id,
            self.context.user_id if user_id is None else user_id,
        )

    def authorize(
        self, rule: str, project_id: str | None = None, user_id: str | None = None
    ) -> None:
        """Refuse what ``allows`` does not allow.

        Raises:
            Forbidden: naming the rule.
        """
        if not self.allows(rule, project_id, user_id):
            raise Forbidden(f"Policy doesn't allow {rule} to be performed.")

    def link(self, path: str) -> str:
        """Return the URL of a path below the versioned root."""
        prefix = self.services.conf.api.compute_link_prefix or f"{self.host_url}/v2.1"
        return f"{prefix}{path}"

    @property
    def own_root(self) -> str:
        """The root of what is no part of the Compute API, as the client reaches it."""
        return self.link("").removesuffix("/v2.1") + "/kilonova/v1"

    def links(self, path: str) -> list[dict[str, str]]:
        """Return the self and bookmark links of a resource."""
        prefix = self.services.conf.api.compute_link_prefix or self.host_url
        bookmark = prefix.removesuffix("/v2.1") + path
        return [{"rel": "self", "href": self.link(path)}, {"rel": "bookmark", "href": bookmark}]


class Route:
    """A method of a path, the rule it needs, and what answers it."""

    __slots__ = ("body", "handler", "method", "path", "query", "rule", "when")

    def __init__(  # noqa: PLR0913 - a row of a table
        self,
        method: str,
        path: str,
        rule: str | None,
        handler: Callable[..., Answer],
        *,
        body: Schemas | None = None,
        query: Schemas = NO_QUERY,
        when: Span = ALWAYS,
    ) -> None:
        self.method = method
        self.path = path
        self.rule = rule
        self.handler = handler
        self.body = body
        self.query = query
        self.when = when


class Act:
    """An action of a ``POST .../action``. ``body`` checks the whole body, which the handler reads."""

    __slots__ = ("body", "handler", "rule", "when")

    def __init__(
        self,
        rule: str,
        handler: Callable[..., Answer],
        body: Schemas,
        *,
        when: Span = ALWAYS,
    ) -> None:
        self.rule = rule
        self.handler = handler
        self.body = body
        self.when = when


class ActOn:
    """The handler of a ``POST .../action``: passes a body such as ``{"os-stop": null}`` to its action."""

    __slots__ = ("acts",)

    def __init__(self, acts: Mapping[str, Act]) -> None:
        self.acts = acts

    def __call__(self, asked: Asked, **params: str) -> Answer:
        """Answer what the action answers.

        Raises:
            Invalid: there is no such action at this microversion, or its body is wrong.
        """
        body = asked.body
        if not isinstance(body, dict) or len(body) != 1:
            raise Invalid("Malformed request body: an action is an object with one key.")
        name = next(iter(body))
        act = self.acts.get(name)
        if act is None or asked.version not in act.when:
            raise Invalid(f"There is no such action: {name}")
        asked.authorize(act.rule)
        act.body.check(body, asked.version, BODY, lenient=asked.lenient)
        return act.handler(asked, **params)
