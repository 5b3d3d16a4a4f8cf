"""What a simulated cloud is asked for, and when: described, and drawn from a seed.

    flavors:
      small: {vcpus: 1, memory_mb: 2048, root_gb: 20}
    servers:                     # what is asked for, by weight
      - {flavor: small, weight: 5, count: 1, lifetime: 3600, zone: z1}
    arrival: {kind: poisson, rate: 50, requests: 5000}

Other arrivals are ``{kind: burst, requests: 10000}``, all at once, and ``{kind: trace, file: trace.csv}``:
a table with the columns at, flavor, count, lifetime and zone, of which the last three may be empty. Times
are seconds. Without a lifetime a server stays.
"""

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import yaml

from kilonova.core.errors import Invalid
from kilonova.core.flavor import Flavor, resources
from kilonova.core.ids import FlavorId, ProjectId, UserId
from kilonova.core.scheduling import RequestSpec
from kilonova.scheduler.simulated_fleet import FleetPlan


class Size(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A flavor: memory in MiB, disk in GiB."""

    vcpus: int
    memory_mb: int
    root_gb: int = 0
    extra_specs: dict[str, str] = {}


class ServerKind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Servers that are asked for: ``count`` by one request, for ``lifetime`` seconds on average."""

    flavor: str
    weight: float = 1.0
    count: int = 1
    lifetime: float | None = None
    zone: str | None = None
    project: str = "simulated"
    hints: dict[str, str | list[str]] = {}


class Arrival(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When requests arrive. ``rate`` is requests a second, ``requests`` how many there are."""

    kind: Literal["poisson", "burst", "trace"]
    rate: float = 10.0
    requests: int = 1000
    file: str = ""


class WorkloadPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What WORKLOAD.yaml describes. A server is being built for ``build_seconds``."""

    flavors: dict[str, Size]
    arrival: Arrival
    servers: tuple[ServerKind, ...] = ()
    build_seconds: float = 10.0


class Asked(msgspec.Struct, frozen=True):
    """One request: when, for how many servers that are alike, and how long they live."""

    at: float
    spec: RequestSpec
    count: int
    lifetime: float | None


def read_fleet(path: Path) -> FleetPlan:
    """Return the fleet that a file describes.

    Raises:
        Invalid: naming the file and what is wrong in it.
    """
    return _read(path, FleetPlan)


def read_workload(path: Path) -> WorkloadPlan:
    """Return the workload that a file describes; a trace's file is looked for beside it.

    Raises:
        Invalid: naming the file and what is wrong in it.
    """
    plan = _read(path, WorkloadPlan)
    unknown = sorted({kind.flavor for kind in plan.servers} - plan.flavors.keys())
    if unknown:
        raise Invalid(f"{path}: there is no flavor {unknown[0]!r}.")
    if plan.arrival.kind == "trace":
        file = str(path.parent / plan.arrival.file)
        return msgspec.structs.replace(
            plan, arrival=msgspec.structs.replace(plan.arrival, file=file)
        )
    if not plan.servers or sum(kind.weight for kind in plan.servers) <= 0:
        raise Invalid(f"{path}: servers: none is asked for.")
    if plan.arrival.kind == "poisson" and plan.arrival.rate <= 0:
        raise Invalid(f"{path}: arrival: rate must be above 0.")
    return plan


_T = TypeVar("_T")


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), kind)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise Invalid(f"{path}: {error}") from error


def least(plan: WorkloadPlan) -> dict[str, int]:
    """Return the smallest amount of each class that any flavor takes."""
    each = [resources(_flavor(name, size)) for name, size in plan.flavors.items()]
    names = {name for amounts in each for name in amounts}
    return {name: min(amounts.get(name, 0) for amounts in each) for name in names}


def requests(plan: WorkloadPlan, seed: int) -> Iterator[Asked]:
    """Yield all requests in the order of their arrival; the same for the same seed.

    Raises:
        Invalid: a trace cannot be read.
    """
    if plan.arrival.kind == "trace":
        yield from _trace(plan)
        return
    chance = random.Random(seed)
    kinds = [(kind, _spec(plan, kind)) for kind in plan.servers]
    weights = [kind.weight for kind in plan.servers]
    now = 0.0
    for _ in range(plan.arrival.requests):
        if plan.arrival.kind == "poisson":
            now += chance.expovariate(plan.arrival.rate)
        kind, spec = chance.choices(kinds, weights)[0]
        lifetime = chance.expovariate(1 / kind.lifetime) if kind.lifetime else None
        yield Asked(now, spec, kind.count, lifetime)


def _trace(plan: WorkloadPlan) -> Iterator[Asked]:
    path = plan.arrival.file
    specs: dict[tuple[str, str], RequestSpec] = {}
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows: Sequence[dict[str, str]] = sorted(
                csv.DictReader(file), key=lambda row: float(row["at"])
            )
        for row in rows:
            kind = ServerKind(flavor=row["flavor"], zone=row.get("zone") or None)
            spec = specs.setdefault((kind.flavor, kind.zone or ""), _spec(plan, kind))
            lifetime = float(row["lifetime"]) if row.get("lifetime") else None
            yield Asked(float(row["at"]), spec, int(row.get("count") or 1), lifetime)
    except (OSError, KeyError, ValueError) as error:
        raise Invalid(f"{path}: {error!r}") from error


def _flavor(name: str, size: Size) -> Flavor:
    return Flavor(
        flavor_id=FlavorId(name),
        name=name,
        vcpus=size.vcpus,
        memory_mb=size.memory_mb,
        root_gb=size.root_gb,
        extra_specs=size.extra_specs,
    )


def _spec(plan: WorkloadPlan, kind: ServerKind) -> RequestSpec:
    return RequestSpec(
        project_id=ProjectId(kind.project),
        user_id=UserId(kind.project),
        flavor=_flavor(kind.flavor, plan.flavors[kind.flavor]),
        image=None,
        availability_zone=kind.zone,
        hints=kind.hints,
    )
