"""Placement's typed client: the door through which services ask, claim and free.

Imports no database. Speaks to any Placement for reads and registration; claims in bulk go through
``POST /kilonova/v1/claims``.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from keystoneauth1 import adapter, exceptions
from keystoneauth1 import loading as ks_loading
from oslo_config import cfg

from kilonova.core.errors import Conflict, GenerationConflict, KilonovaError, PlacementUnavailable
from kilonova.core.ids import InstanceUuid, ProviderUuid
from kilonova.core.scheduling import Allocation, Inventory, Room

_VERSION = "1.28"
_TIMEOUT = 30.0
"""Seconds after which an answer is no longer waited for."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A provider on which a request fits, with its figures."""

    provider_uuid: ProviderUuid
    allocation: Allocation
    rooms: dict[str, Room]
    traits: frozenset[str]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What one server is to hold."""

    consumer: InstanceUuid
    project_id: str
    user_id: str
    allocation: Allocation
    consumer_type: str = "INSTANCE"


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    claims: Sequence[Claim]
    free: Sequence[InstanceUuid]


class _Refused(msgspec.Struct, frozen=True, kw_only=True):
    refused: dict[InstanceUuid, str]


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    resources: dict[str, dict[str, int]]
    traits: frozenset[str] = frozenset()


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    allocations: dict[str, dict[str, dict[str, int]]]


class _Candidates(msgspec.Struct, frozen=True, kw_only=True):
    allocation_requests: list[_Request]
    provider_summaries: dict[str, _Summary]


_encode = msgspec.json.Encoder().encode
_decode_candidates = msgspec.json.Decoder(_Candidates).decode
_decode_refused = msgspec.json.Decoder(_Refused).decode


def load(conf: cfg.ConfigOpts) -> "Placement":
    """Return a client from ``[placement]``, whose options are keystoneauth1's."""
    ks_loading.register_session_conf_options(conf, "placement")
    ks_loading.register_auth_conf_options(conf, "placement")
    ks_loading.register_adapter_conf_options(conf, "placement")
    auth = ks_loading.load_auth_from_conf_options(conf, "placement")
    session = ks_loading.load_session_from_conf_options(conf, "placement", auth=auth)
    conf.set_default("service_type", "placement", "placement")
    loaded = ks_loading.load_adapter_from_conf_options(
        conf, "placement", session=session, default_microversion=_VERSION
    )
    return Placement(loaded)


class Placement:
    """A Placement service behind a keystoneauth1 adapter."""

    def __init__(self, http: adapter.Adapter) -> None:
        self._http = http

    def ensure_provider(
        self,
        uuid: ProviderUuid,
        name: str,
        inventory: Mapping[str, Inventory],
        traits: Collection[str],
    ) -> None:
        """Make a provider have this name, these inventories and these traits; write only what differs.

        Raises:
            PlacementUnavailable: no answer.
            GenerationConflict: somebody else changed the provider meanwhile; ask again.
            Conflict: another provider has this name, or an inventory that is left out is in use.
        """
        answer = self._ask("GET", f"/resource_providers/{uuid}", accept=(404,))
        if answer.status_code == 404:
            self._ask("POST", "/resource_providers", {"uuid": uuid, "name": name})
        elif answer.json()["name"] != name:
            self._ask("PUT", f"/resource_providers/{uuid}", {"name": name})
        for trait in sorted(t for t in traits if t.startswith("CUSTOM_")):
            self._ask("PUT", f"/traits/{trait}")
        path = f"/resource_providers/{uuid}/inventories"
        held = self._ask("GET", path).json()
        generation = held["resource_provider_generation"]
        wanted = {name: msgspec.structs.asdict(one) for name, one in inventory.items()}
        if held["inventories"] != wanted:
            body = {"resource_provider_generation": generation, "inventories": wanted}
            generation = self._ask("PUT", path, body).json()["resource_provider_generation"]
        path = f"/resource_providers/{uuid}/traits"
        if set(self._ask("GET", path).json()["traits"]) != set(traits):
            body = {"resource_provider_generation": generation, "traits": sorted(traits)}
            self._ask("PUT", path, body)

    def allocation_candidates(
        self,
        resources: Mapping[str, int],
        *,
        required: Collection[str] = (),
        forbidden: Collection[str] = (),
        member_of: Sequence[Collection[str]] = (),
        limit: int = 1000,
    ) -> tuple[Candidate, ...]:
        """Return at most ``limit`` providers on which all of ``resources`` fits.

        Raises:
            PlacementUnavailable: no answer.
        """
        query = [f"limit={limit}", "resources=" + _joined(resources)]
        traits = [*sorted(required), *("!" + trait for trait in sorted(forbidden))]
        if traits:
            query.append("required=" + ",".join(traits))
        query += ["member_of=in:" + ",".join(sorted(group)) for group in member_of]
        answer = self._ask("GET", "/allocation_candidates?" + "&".join(query))
        found = _decode_candidates(answer.content)
        return tuple(
            _candidate(request, found.provider_summaries) for request in found.allocation_requests
        )

    def claim(
        self, claims: Sequence[Claim], *, free: Sequence[InstanceUuid] = ()
    ) -> dict[InstanceUuid, str]:
        """Free some and claim for others, each by itself; return why the refused ones were.

        A server that holds something already holds what its claim says afterwards. Safe to repeat.

        Raises:
            PlacementUnavailable: no answer; the claims may or may not stand, so ask again.
        """
        body = _encode(_Claims(claims=claims, free=free))
        answer = self._ask("POST", "/kilonova/v1/claims", body)
        return _decode_refused(answer.content).refused

    def free(self, consumers: Sequence[InstanceUuid]) -> None:
        """Give back all that these servers hold. Safe to repeat.

        Raises:
            PlacementUnavailable: no answer.
        """
        self.claim((), free=consumers)

    def held_by(self, consumer: InstanceUuid) -> Allocation:
        """Return what a server holds.

        Raises:
            PlacementUnavailable: no answer.
        """
        found = self._ask("GET", f"/allocations/{consumer}").json()["allocations"]
        return {uuid: entry["resources"] for uuid, entry in found.items()}

    def consumers_on(self, provider: ProviderUuid) -> dict[InstanceUuid, dict[str, int]]:
        """Return who holds what of a provider.

        Raises:
            PlacementUnavailable: no answer.
            KilonovaError: there is no such provider.
        """
        found = self._ask("GET", f"/resource_providers/{provider}/allocations").json()
        return {uuid: entry["resources"] for uuid, entry in found["allocations"].items()}

    def _ask(
        self, method: str, path: str, body: Any = None, *, accept: tuple[int, ...] = ()
    ) -> Any:
        data = body if isinstance(body, bytes | None) else _encode(body)
        try:
            answer = self._http.request(
                path,
                method,
                raise_exc=False,
                data=data,
                headers={"Content-Type": "application/json"} if data else {},
                connect_retries=1,
                timeout=_TIMEOUT,
            )
        except exceptions.ClientException as error:
            raise PlacementUnavailable(f"Placement does not answer: {error}") from error
        if answer.status_code < 400 or answer.status_code in accept:
            return answer
        raise _error(method, path, answer)


def _joined(resources: Mapping[str, int]) -> str:
    return ",".join(f"{name}:{amount}" for name, amount in sorted(resources.items()))


def _candidate(request: _Request, summaries: Mapping[str, _Summary]) -> Candidate:
    allocation = {uuid: entry["resources"] for uuid, entry in request.allocations.items()}
    provider = next(iter(allocation))
    summary = summaries[provider]
    return Candidate(
        provider_uuid=ProviderUuid(provider),
        allocation=allocation,
        rooms={
            name: Room(capacity=room["capacity"], used=room["used"])
            for name, room in summary.resources.items()
        },
        traits=summary.traits,
    )


def _error(method: str, path: str, answer: Any) -> KilonovaError:
    detail = answer.text[:500]
    try:
        first = answer.json()["errors"][0]
        detail, code = first["detail"], first.get("code", "")
    except (ValueError, LookupError, TypeError):
        code = ""
    if answer.status_code >= 500 or answer.status_code == 401:
        return PlacementUnavailable(f"Placement answered {answer.status_code}: {detail}")
    if code == "placement.concurrent_update":
        return GenerationConflict(detail)
    if answer.status_code == 409:
        return Conflict(detail)
    return KilonovaError(f"Placement refused {method} {path}: {detail}")
