"""``GET /allocation_candidates``: who has room for what is asked, and how it could be allocated there."""

import logging
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from kilonova.core.candidates import Candidate, Provider, Request, Tree
from kilonova.db import placement_candidates as store
from kilonova.db.engine import Database
from kilonova.placement import candidates_needs, candidates_query
from kilonova.placement.candidates_engine import Engine
from kilonova.placement.names import check_classes, check_traits
from kilonova.placement.wire import Answer, Asked, Version

LOG = logging.getLogger(__name__)

_append = msgspec.json.Encoder().encode_into
_END = -1


def list_candidates(asked: Asked) -> Answer:
    """``GET /allocation_candidates``."""
    query = candidates_query.read(asked.parameters, asked.version)
    check_classes(asked.database, query.classes)
    check_traits(asked.database, query.traits)
    options = asked.conf.placement_api
    chance = random.Random() if options.randomize_allocation_candidates else None
    limits = [n for n in (query.limit, options.max_allocation_candidates) if n is not None]
    found = _Found(asked.version, query.classes)
    request = _with_roots(asked.database, query.request)
    if request is not None:
        shared = _shared(asked.database, request)
        windows = _windows(asked.database, request, shared, query.limit, chance)
        engine = Engine(request, shared, chance)
        for candidate in islice(engine.candidates(found.watch(windows, shared)), min(limits)):
            found.add(candidate)
        if engine.given_up:
            LOG.warning("%s trees were not searched to the end: %s", engine.given_up, request)
    return Answer(found.body())


def _with_roots(database: Database, request: Request) -> Request | None:
    """Return the request with roots in place of what ``in_tree`` names, None if it is not there."""
    named = {group.in_tree for group in request.groups if group.in_tree is not None}
    if not named:
        return request
    roots = store.roots_of(database, named)
    if named - set(roots):
        return None
    groups = tuple(
        msgspec.structs.replace(group, in_tree=roots[group.in_tree]) if group.in_tree else group
        for group in request.groups
    )
    return msgspec.structs.replace(request, groups=groups)


def _shared(database: Database, request: Request) -> tuple[Tree, ...]:
    if candidates_needs.asks_one_provider(request):
        return ()
    with_resources = all(group.resources for group in request.groups)
    classes = {name for group in request.groups for name in group.resources}
    return store.sharing_trees(database, classes if with_resources else ())


def _windows(
    database: Database,
    request: Request,
    shared: Sequence[Tree],
    limit: int | None,
    chance: random.Random | None,
) -> Iterator[Sequence[Tree]]:
    wanted = store.Wanted(
        needs=candidates_needs.needs(request, shared),
        root_required=request.root_required,
        root_forbidden=request.root_forbidden,
    )
    roots = candidates_needs.only_roots(request, shared)
    if roots is not None:
        return store.trees_under(database, wanted, sorted(roots), few=limit)
    return store.trees(database, wanted, few=limit, chance=chance)


class _Found:
    """The answer as it grows. Written out at once, so that a large one is in memory only as its text."""

    def __init__(self, version: Version, classes: frozenset[str]) -> None:
        self._version = version
        self._classes = classes
        self._trees: dict[str, Tree] = {}
        self._described: set[str] = set()
        self._requests = bytearray()
        self._summaries = bytearray()

    def watch(
        self, windows: Iterator[Sequence[Tree]], shared: Sequence[Tree]
    ) -> Iterator[Sequence[Tree]]:
        """Pass windows on, and keep the last for the summaries of its providers."""
        always = {tree.root: tree for tree in shared}
        for window in windows:
            self._trees = always | {tree.root: tree for tree in window}
            yield window

    def add(self, candidate: Candidate) -> None:
        """Add a candidate of the last window, and the providers of the trees that it takes from."""
        if self._requests:
            self._requests += b","
        _append(self._request(candidate), self._requests, _END)
        for provider in self._involved(candidate):
            if provider.uuid not in self._described:
                self._described.add(provider.uuid)
                if self._summaries:
                    self._summaries += b","
                _append(provider.uuid, self._summaries, _END)
                self._summaries += b":"
                _append(self._summary(provider), self._summaries, _END)

    def body(self) -> dict[str, msgspec.Raw]:
        """Return the whole answer."""
        return {
            "allocation_requests": msgspec.Raw(b"[" + self._requests + b"]"),
            "provider_summaries": msgspec.Raw(b"{" + self._summaries + b"}"),
        }

    def _involved(self, candidate: Candidate) -> Iterator[Provider]:
        """Yield whom the summaries show: all of the trees, or before 1.29 those that give something."""
        for root in candidate.roots:
            for provider in self._trees[root].providers:
                if self._version >= (1, 29) or provider.uuid in candidate.allocation:
                    yield provider

    def _request(self, candidate: Candidate) -> dict[str, Any]:
        given = candidate.allocation.items()
        if self._version < (1, 12):
            listed = [{"resource_provider": {"uuid": u}, "resources": of} for u, of in given]
            return {"allocations": listed}
        request: dict[str, Any] = {"allocations": {u: {"resources": of} for u, of in given}}
        if self._version >= (1, 34):
            request["mappings"] = candidate.mappings
        return request

    def _summary(self, provider: Provider) -> dict[str, Any]:
        summary: dict[str, Any] = {
            "resources": {
                name: {"capacity": stock.capacity, "used": stock.used}
                for name, stock in provider.stock.items()
                if self._version >= (1, 27) or name in self._classes
            }
        }
        if self._version >= (1, 17):
            summary["traits"] = provider.traits
        if self._version >= (1, 29):
            summary["parent_provider_uuid"] = provider.parent
            summary["root_provider_uuid"] = provider.root
        return summary
