"""What was part of the API once: answered with 410, so that a client learns that it is no mistake of his.

Some was taken out of every microversion. The rest passed requests on to other services up to one of them:
up to there it is answered that nothing is passed on, and by which service; from then on it is not found.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn

from kilonova.api.microversions import ALWAYS, Since, Span
from kilonova.api.routing import Asked, Route
from kilonova.core.errors import Gone

_REMOVED: Mapping[str, str] = {
    "/consoles/{id}": "GET DELETE",
    "/os-agents": "GET POST",
    "/os-agents/{id}": "PUT DELETE",
    "/os-cells": "GET POST",
    "/os-cells/capacities": "GET",
    "/os-cells/detail": "GET",
    "/os-cells/info": "GET",
    "/os-cells/sync_instances": "POST",
    "/os-cells/{id}": "GET PUT DELETE",
    "/os-cells/{id}/capacities": "GET",
    "/os-certificates": "POST",
    "/os-certificates/{id}": "GET",
    "/os-cloudpipe": "GET POST",
    "/os-cloudpipe/{id}": "PUT",
    "/os-fixed-ips/{id}": "GET",
    "/os-fixed-ips/{id}/action": "POST",
    "/os-floating-ip-dns": "GET",
    "/os-floating-ip-dns/{id}": "PUT DELETE",
    "/os-floating-ip-dns/{id}/entries/{entry}": "GET PUT DELETE",
    "/os-floating-ips-bulk": "GET",
    "/os-floating-ips-bulk/{id}": "GET PUT",
    "/os-fping": "GET",
    "/os-fping/{id}": "GET",
    "/os-networks": "POST",
    "/os-networks/add": "POST",
    "/os-networks/{id}": "DELETE",
    "/os-networks/{id}/action": "POST",
    "/os-security-group-default-rules": "GET POST",
    "/os-security-group-default-rules/{id}": "GET DELETE",
    "/os-tenant-networks": "POST",
    "/os-tenant-networks/{id}": "DELETE",
    "/servers/{server_id}/consoles": "GET POST",
    "/servers/{server_id}/consoles/{console}": "GET DELETE",
    "/servers/{server_id}/os-virtual-interfaces": "GET",
}
"""Path -> the methods that were taken out of every microversion."""

_PASSED_ON: Sequence[tuple[str, Span, Mapping[str, str]]] = (
    (
        "a network service",
        Since.NO_PROXIES.before,
        {
            "/os-networks": "GET",
            "/os-networks/{id}": "GET",
            "/os-tenant-networks": "GET",
            "/os-tenant-networks/{id}": "GET",
            "/os-security-groups": "GET POST",
            "/os-security-groups/{id}": "GET PUT DELETE",
            "/os-security-group-rules": "POST",
            "/os-security-group-rules/{id}": "DELETE",
            "/os-floating-ips": "GET POST",
            "/os-floating-ips/{id}": "GET DELETE",
            "/os-floating-ip-pools": "GET",
        },
    ),
    (
        "a volume service",
        Since.NO_PROXIES.before,
        {
            "/os-volumes": "GET POST",
            "/os-volumes/detail": "GET",
            "/os-volumes/{id}": "GET DELETE",
            "/os-snapshots": "GET POST",
            "/os-snapshots/detail": "GET",
            "/os-snapshots/{id}": "GET DELETE",
        },
    ),
    (
        "the image service",
        Since.NO_PROXIES.before,
        {"/images": "GET", "/images/detail": "GET", "/images/{id}": "GET DELETE"},
    ),
    (
        "the image service",
        Since.NO_IMAGE_METADATA.before,
        {"/images/{id}/metadata": "GET POST PUT", "/images/{id}/metadata/{key}": "GET PUT DELETE"},
    ),
    (
        "the bare metal service",
        Since.NO_PROXIES.before,
        {"/os-baremetal-nodes": "GET POST", "/os-baremetal-nodes/{id}": "GET DELETE"},
    ),
)
"""(whose it is, when it was passed on, path -> methods)."""


def _refusal(sentence: str) -> Callable[..., NoReturn]:
    def refuse(_asked: Asked, **_names: str) -> NoReturn:
        raise Gone(sentence)

    return refuse


def _routes(
    paths: Mapping[str, str], when: Span, handler: Callable[..., NoReturn]
) -> Iterator[Route]:
    for path, methods in paths.items():
        for method in methods.split():
            yield Route(method, path, None, handler, when=when)


def _all() -> Iterator[Route]:
    removed = _refusal("This resource was removed from the Compute API; no microversion has it.")
    yield from _routes(_REMOVED, ALWAYS, removed)
    for owner, when, paths in _PASSED_ON:
        sentence = f"This is a matter of {owner}, to which nothing is passed on here: ask it."
        yield from _routes(paths, when, _refusal(sentence))


ROUTES: tuple[Route, ...] = tuple(_all())
