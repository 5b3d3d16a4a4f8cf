"""``/healthcheck`` and ``/metrics``: what load balancers, operators and Prometheus ask every service.

``GET /healthcheck`` answers 200 where the service is ready and 503 where one of its dependencies does not
answer, naming each; ``GET /healthcheck/live`` answers 200 as long as the process serves. None of them needs
a token, and none tells an address or a password.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kilonova.core import counter
from kilonova.core.counter import Counter
from kilonova.core.errors import KilonovaError
from kilonova.http.identity import Wsgi

Check = Callable[[], object]
"""Asks a dependency something small. Raises KilonovaError if it does not answer."""

_REMEMBERED = 1.0
"""Seconds for which an answer holds, so that nobody wears out a database by asking for its health."""


class Health:
    """The dependencies of a service, by name."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._known: tuple[float, dict[str, str]] = (-_REMEMBERED, {})

    def dependencies(self) -> dict[str, str]:
        """Return "ok" for each dependency, or why it is not."""
        asked_at, known = self._known
        if time.monotonic() - asked_at >= _REMEMBERED:
            known = {name: _state(check) for name, check in self._checks.items()}
            self._known = (time.monotonic(), known)
        return known


def _state(check: Check) -> str:
    try:
        check()
    except KilonovaError as error:
        return error.message
    return "ok"


class WithHealth:
    """An application with ``/healthcheck`` and ``/metrics`` before it, whose requests are counted."""

    def __init__(self, app: Wsgi | None, health: Health) -> None:
        self._app = app
        self._health = health

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """See WSGI."""
        path = environ.get("PATH_INFO", "")
        if environ.get("REQUEST_METHOD") == "GET":
            if path == "/metrics":
                return _answer(start_response, 200, _metrics(), "text/plain; version=0.0.4")
            if path == "/healthcheck/live":
                return _answer(start_response, 200, b'{"live": true}', "application/json")
            if path == "/healthcheck":
                return self._healthcheck(start_response)
        if self._app is None:
            return _answer(start_response, 404, b"{}", "application/json")
        return self._app(environ, _counted(environ, start_response))

    def _healthcheck(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        dependencies = self._health.dependencies()
        ready = all(state == "ok" for state in dependencies.values())
        body = {"live": True, "ready": ready, "dependencies": dependencies}
        status = 200 if ready else 503
        return _answer(start_response, status, json.dumps(body).encode(), "application/json")


_REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


def _answer(
    start_response: Callable[..., Any], status: int, body: bytes, kind: str
) -> Iterable[bytes]:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(f"{status} {_REASONS[status]}", headers)
    return [body]


def _counted(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Callable[..., Any]:
    method = environ.get("REQUEST_METHOD", "")

    def start(status: str, headers: Any, *error: Any) -> Any:
        _REQUESTS.add(method if method in _METHODS else "OTHER", status[:3])
        return start_response(status, headers, *error)

    return start


_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")

_REQUESTS = Counter("kilonova_http_requests", "Requests that were answered", ("method", "status"))


def _metrics() -> bytes:
    # Imported here: see core/counter.
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest  # noqa: PLC0415
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    counter.make_all()
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return bytes(generate_latest(REGISTRY))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return bytes(generate_latest(registry))
