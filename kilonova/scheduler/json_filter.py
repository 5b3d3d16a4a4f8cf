"""JsonFilter: the little language in which the ``query`` hint says which hosts will do. Pure.

A query is ``[operator, argument, ...]``; an argument is a value, ``$name`` of a host's figure, or a query.
Source: Compute documentation, "JsonFilter".
"""

import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from kilonova.core.scheduling import HostState, Reason, RequestSpec
from kilonova.scheduler.filters import Moment, about, hints

_NAME = "JsonFilter"
_HINT = "query"
_DEEPEST = 20

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class _Malformed(ValueError):
    """The query says nothing that can be decided."""


@lru_cache(maxsize=256)
def _parse(texts: tuple[str, ...]) -> list[Any]:
    """Return a query that is one JSON text, or a list of which each part became a text by itself."""
    if len(texts) > 1:
        return [_part(text) for text in texts]
    query = _part(texts[0])
    if not isinstance(query, list):
        raise _Malformed(texts[0])
    return query


def _part(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _figure(host: HostState, name: str) -> Any:
    """Return a figure of the host by the name that queries know it by, None if there is none."""
    own = host.figures
    figures: dict[str, Any] = {
        "$free_ram_mb": own.memory_mb - own.memory_mb_used,
        "$free_disk_mb": (own.disk_gb - own.disk_gb_used) * 1024,
        "$total_usable_ram_mb": own.memory_mb,
        "$vcpus_total": own.vcpus,
        "$vcpus_used": own.vcpus_used,
        "$num_instances": host.servers,
        "$num_io_ops": host.busy,
        "$hypervisor_hostname": host.node,
        "$hypervisor_version": host.hypervisor_version,
        "$host": host.host,
    }
    return figures.get(name, host.capabilities.get(name[1:]))


def _value(part: Any, host: HostState, depth: int) -> Any:
    if isinstance(part, list):
        return _holds(part, host, depth + 1)
    if isinstance(part, str) and part.startswith("$"):
        return _figure(host, part)
    return part


def _holds(query: list[Any], host: HostState, depth: int = 0) -> bool:
    if not query:
        return True
    word, arguments = query[0], [_value(part, host, depth) for part in query[1:]]
    if depth > _DEEPEST or not isinstance(word, str):
        raise _Malformed
    if word == "and":
        return all(arguments)
    if word == "or":
        return any(arguments)
    if word == "not":
        return not any(arguments)
    if word == "in":
        return bool(arguments) and arguments[0] in arguments[1:]
    if word not in _COMPARE:
        raise _Malformed
    return _compare(_COMPARE[word], arguments)


def _compare(test: Callable[[Any, Any], bool], arguments: list[Any]) -> bool:
    """Whether the first argument compares so with each of the others; it does not with what is unknown."""
    if len(arguments) < 2 or None in arguments:
        return False
    try:
        return all(test(arguments[0], other) for other in arguments[1:])
    except TypeError:
        return False


@about(lambda spec: _HINT in spec.hints, steady=False)
def json_filter(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host is as the ``query`` hint wants it."""
    texts = hints(spec, _HINT)
    if not any(texts):
        return None
    try:
        if _holds(_parse(texts), host):
            return None
    except (_Malformed, RecursionError):
        return Reason(refused_by=_NAME, sentence="cannot be judged, as the query cannot be read")
    return Reason(refused_by=_NAME, sentence="are not as the query wants")
