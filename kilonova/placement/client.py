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

from kilonova.core.candidates import Request
from kilonova.core.errors import Fenced, InventoryInUse, PlacementUnavailable
from kilonova.core.host import DISABLED_TRAIT
from kilonova.core.ids import InstanceUuid, ProviderUuid
from kilonova.core.scheduling import Allocation, Inventory
from kilonova.placement import host_traits, provider_changes, sharing
from kilonova.placement.client_query import query_of, wants_any_of
from kilonova.placement.offers import Candidate, candidates_in
from kilonova.placement.refusals import error_of

_VERSION = "1.36"
_ANY_OF_TRAITS = "1.39"
"""The microversion from which one of several traits can be asked for."""
_CONSUMER_TYPES = "1.38"
"""The microversion from which a consumer is told to be a server, or a migration."""
_TIMEOUT = 30.0
"""Seconds after which an answer is no longer waited for."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What one server, or a migration, is to hold; nothing, to give all back.

    ``fence`` orders those who claim for one server: whoever comes with a smaller one than was seen, or with
    the same and for something else, is refused. 0 is not compared.
    """

    consumer: InstanceUuid
    project_id: str
    user_id: str
    allocation: Allocation
    consumer_type: str = "INSTANCE"
    fence: int = 0


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer holds; ``generation`` is None for one that holds nothing."""

    allocation: Allocation = {}
    generation: int | None = None


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    claims: Sequence[Claim]
    free: Sequence[InstanceUuid]


class _Refused(msgspec.Struct, frozen=True, kw_only=True):
    refused: dict[InstanceUuid, str]
    fenced: tuple[InstanceUuid, ...] = ()


_encode = msgspec.json.Encoder().encode
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


def is_configured(conf: cfg.ConfigOpts) -> bool:
    """Whether ``[placement]`` says how to reach a Placement service."""
    ks_loading.register_auth_conf_options(conf, "placement")
    return bool(conf.placement.auth_type)


class Placement:
    """A Placement service behind a keystoneauth1 adapter."""

    def __init__(self, http: adapter.Adapter) -> None:
        self._http = http

    def ping(self) -> None:
        """Ask for nothing but an answer.

        Raises:
            PlacementUnavailable: there is none.
        """
        self._ask("GET", "/resource_classes/VCPU")

    def ensure_provider(
        self,
        uuid: ProviderUuid,
        name: str,
        inventory: Mapping[str, Inventory],
        traits: Collection[str],
    ) -> bool:
        """Make a provider have this name, these inventories and these traits; write only what differs.

        Traits that are not a host's to say, such as an operator's own, stay; those that this Placement does
        not know are left out.

        Where less is there than is used already, the provider is made full, and False returned: ask again
        later.

        Raises:
            PlacementUnavailable: no answer.
            GenerationConflict: somebody else changed the provider meanwhile; ask again.
            Conflict: another provider has this name.
            InventoryInUse: one that is left out is in use.
        """
        answer = self._ask("GET", f"/resource_providers/{uuid}", accept=(404,))
        if answer.status_code == 404:
            self._ask("POST", "/resource_providers", {"uuid": uuid, "name": name})
        elif answer.json()["name"] != name:
            self._ask("PUT", f"/resource_providers/{uuid}", {"name": name})
        for trait in sorted(t for t in traits if t.startswith("CUSTOM_")):
            self._ask("PUT", f"/traits/{trait}")
        inventory = sharing.of_its_own(self._ask, uuid, inventory)
        complete = True
        try:
            generation = self._set_inventories(uuid, inventory)
        except InventoryInUse:
            complete = False
            generation = self._set_inventories(uuid, self._no_less_than_used(uuid, inventory))
        host_traits.write(self._ask, uuid, traits, generation)
        return complete

    def _set_inventories(self, uuid: ProviderUuid, inventory: Mapping[str, Inventory]) -> int:
        """Make a provider have these inventories; return its generation."""
        path = f"/resource_providers/{uuid}/inventories"
        held = self._ask("GET", path).json()
        generation: int = held["resource_provider_generation"]
        wanted = {name: msgspec.structs.asdict(one) for name, one in inventory.items()}
        if held["inventories"] == wanted:
            return generation
        body = {"resource_provider_generation": generation, "inventories": wanted}
        answer: int = self._ask("PUT", path, body).json()["resource_provider_generation"]
        return answer

    def _no_less_than_used(
        self, uuid: ProviderUuid, inventory: Mapping[str, Inventory]
    ) -> dict[str, Inventory]:
        """Return inventories in which each that is less than what is used of it is just that."""
        used = self._ask("GET", f"/resource_providers/{uuid}/usages").json()["usages"]
        return {
            name: Inventory(total=used[name]) if one.capacity < used.get(name, 0) else one
            for name, one in inventory.items()
        }

    def allocation_candidates(self, request: Request, *, limit: int) -> tuple[Candidate, ...]:
        """Return at most ``limit`` ways to serve a request.

        Raises:
            PlacementUnavailable: no answer.
            Invalid: the request names a trait or a class that there is not.
        """
        query = "&".join(query_of(request, limit))
        version = _ANY_OF_TRAITS if wants_any_of(request) else None
        answer = self._ask("GET", "/allocation_candidates?" + query, version=version)
        return candidates_in(answer.content)

    def claim(
        self, claims: Sequence[Claim], *, free: Sequence[InstanceUuid] = ()
    ) -> dict[InstanceUuid, str]:
        """Free some and claim for others, each by itself; return why the refused ones were.

        A server that holds something already holds what its claim says afterwards. Safe to repeat.

        Raises:
            PlacementUnavailable: no answer; the claims may or may not stand, so ask again.
            Fenced: somebody else claimed for some of them by now; the other claims stand.
        """
        body = _encode(_Claims(claims=claims, free=free))
        answer = _decode_refused(self._ask("POST", "/kilonova/v1/claims", body).content)
        if answer.fenced:
            raise Fenced(answer.refused[answer.fenced[0]])
        return answer.refused

    def free(self, consumers: Sequence[InstanceUuid]) -> None:
        """Give back all that these servers hold. Safe to repeat.

        Raises:
            PlacementUnavailable: no answer.
        """
        self.claim((), free=consumers)

    def consumer_type(self, consumer: InstanceUuid) -> str | None:
        """Return what kind of consumer this is, None if it holds nothing.

        Raises:
            PlacementUnavailable: no answer.
        """
        answer = self._ask("GET", f"/allocations/{consumer}", version=_CONSUMER_TYPES)
        found: str | None = answer.json().get("consumer_type")
        return found

    def holding(self, consumer: str) -> Holding:
        """Return what a consumer holds, and its generation, for ``exchange``.

        Raises:
            PlacementUnavailable: no answer.
        """
        found = self._ask("GET", f"/allocations/{consumer}").json()
        held = {uuid: entry["resources"] for uuid, entry in found["allocations"].items()}
        return Holding(allocation=held, generation=found.get("consumer_generation"))

    def exchange(self, claims: Sequence[Claim], seen: Mapping[str, Holding]) -> None:
        """Make all of these consumers hold what their claims say, or change nothing.

        ``seen`` is what each of them held when it was looked at. An empty allocation gives all back.

        Raises:
            PlacementUnavailable: no answer; it may have been done.
            GenerationConflict: one of them does not hold any more what it did.
            Conflict: there is no room.
        """
        body = {
            claim.consumer: {
                "allocations": {u: {"resources": a} for u, a in claim.allocation.items()},
                "project_id": claim.project_id,
                "user_id": claim.user_id,
                "consumer_generation": seen[claim.consumer].generation,
                "consumer_type": claim.consumer_type,
            }
            for claim in claims
            if claim.allocation or seen[claim.consumer].allocation
        }
        if body:
            self._ask("POST", "/allocations", body, version=_CONSUMER_TYPES)

    def consumers_on(self, provider: ProviderUuid) -> dict[InstanceUuid, dict[str, int]]:
        """Return who holds what of a provider.

        Raises:
            PlacementUnavailable: no answer.
            KilonovaError: there is no such provider.
        """
        found = self._ask("GET", f"/resource_providers/{provider}/allocations").json()
        return {uuid: entry["resources"] for uuid, entry in found["allocations"].items()}

    def divided(self, provider: ProviderUuid, amounts: Mapping[str, int]) -> Allocation:
        """Return from whom a server on a host has each of its amounts: the host, or who shares with it.

        Raises:
            PlacementUnavailable: no answer.
            KilonovaError: there is no such provider.
        """
        return sharing.divided(self._ask, provider, amounts)

    def members_of(self, aggregate: str) -> frozenset[ProviderUuid]:
        """Return the providers that are in an aggregate.

        Raises:
            PlacementUnavailable: no answer.
        """
        return self._providers(f"member_of={aggregate}")

    def join(
        self, provider: ProviderUuid, wanted: Collection[str], *, among: Collection[str]
    ) -> bool:
        """Let a provider be in the ``wanted`` aggregates and in no other of ``among``; False if it was so.

        What it is in beside those is somebody else's, and stays.

        Raises:
            PlacementUnavailable: no answer.
            GenerationConflict: others change the provider again and again.
            KilonovaError: there is no such provider.
        """
        return provider_changes.join(self._ask, provider, wanted, among)

    def disabled_hosts(self) -> frozenset[ProviderUuid]:
        """Return the providers of which it is known here that they get no new servers.

        Raises:
            PlacementUnavailable: no answer.
        """
        return self._providers(f"required={DISABLED_TRAIT}")

    def set_disabled(self, provider: ProviderUuid, disabled: bool) -> bool:
        """Let a host be a candidate for new servers, or for none from now on; False if it was so.

        Raises:
            PlacementUnavailable: no answer.
            GenerationConflict: others change the provider again and again.
            KilonovaError: there is no such provider.
        """
        return provider_changes.set_disabled(self._ask, provider, disabled)

    def _providers(self, query: str) -> frozenset[ProviderUuid]:
        found = self._ask("GET", f"/resource_providers?{query}").json()
        return frozenset(provider["uuid"] for provider in found["resource_providers"])

    def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        accept: tuple[int, ...] = (),
        version: str | None = None,
    ) -> Any:
        data = body if isinstance(body, bytes | None) else _encode(body)
        try:
            answer = self._http.request(
                path,
                method,
                raise_exc=False,
                data=data,
                headers={"Content-Type": "application/json"} if data else {},
                microversion=version or self._http.default_microversion,
                connect_retries=1,
                timeout=_TIMEOUT,
            )
        except exceptions.ClientException as error:
            raise PlacementUnavailable(f"Placement does not answer: {error}") from error
        if answer.status_code < 400 or answer.status_code in accept:
            return answer
        raise error_of(method, path, answer)
