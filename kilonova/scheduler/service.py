"""The scheduler's service: answers ``SelectDestinations``."""

import logging
import random
import time
from collections.abc import Sequence

from oslo_config import cfg

from kilonova.core import flavor
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.errors import HostsUnavailable
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.scheduling import Decision, NoHost, Reason, RequestSpec
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement.client import Candidate, Claim, Placement
from kilonova.rpc.bus import Bus, Server
from kilonova.rpc.messages import Destinations, SelectDestinations, Topic
from kilonova.scheduler import recipe
from kilonova.scheduler.filters import Moment, all_fell_silent
from kilonova.scheduler.hosts import Hosts
from kilonova.scheduler.in_flight import InFlight
from kilonova.scheduler.pipeline import Fit, Refusals, filter_hosts, lacking, pick

LOG = logging.getLogger(__name__)

_ROUNDS = 5
"""Times that refused claims are picked anew before the server counts as one that no host fits."""


class Selection:
    """Handles ``SelectDestinations``: gathers, asks the pipeline, claims."""

    def __init__(self, conf: cfg.ConfigOpts, hosts: Hosts, placement: Placement) -> None:
        self._limit = conf.scheduler.max_placement_results
        self._down_after = conf.service_down_time
        self._recipe = recipe.load(conf)
        self._hosts = hosts
        self._placement = placement
        self._in_flight = InFlight()

    def select_destinations(
        self, context: RequestContext, message: SelectDestinations
    ) -> Destinations:
        """Choose and claim a host for each server; one that no host fits gets the counted reasons.

        Raises:
            PlacementUnavailable: nothing was decided; what was claimed is claimed again the next time.
            HostsUnavailable: no host gives a sign of life, or a cell's hosts were never read, so the
                request has to wait.
        """
        spec = message.spec
        decided: dict[InstanceUuid, Decision] = {}
        waiting = list(message.instance_uuids)
        for _ in range(_ROUNDS):
            asked_at = time.monotonic()
            fits, refusals = self._fits(spec)
            unseen = self._in_flight.deduct_from(fits, asked_at)
            picked = pick(
                spec,
                waiting,
                fits,
                self._recipe,
                alternates=message.alternates,
                seed=random.getrandbits(32),
            )
            refused = self._claim(spec, [d for d in picked if d.destination])
            for decision in picked:
                if decision.destination and decision.instance_uuid not in refused:
                    decided[decision.instance_uuid] = decision
            waiting = [uuid for uuid in waiting if uuid not in decided]
            if not waiting or not (refused or unseen):
                break
        if waiting:
            if not self._hosts.complete:
                raise HostsUnavailable("The hosts of a cell could not be read yet.")
            if all_fell_silent(self._hosts.all(), self._moment()):
                raise HostsUnavailable("No host at all gives a sign of life.")
            no_host = self._why(spec, refusals)
            LOG.info("%d servers have no host: %s", len(waiting), no_host.sentence())
            for uuid in waiting:
                decided[uuid] = Decision(instance_uuid=uuid, no_host=no_host)
        LOG.info("%d servers have a host", len(decided) - len(waiting))
        return Destinations(decisions=tuple(decided[uuid] for uuid in message.instance_uuids))

    def _fits(self, spec: RequestSpec) -> tuple[list[Fit], Refusals]:
        resources = flavor.resources(spec.flavor, boots_from_volume=spec.boots_from_volume)
        candidates = self._placement.allocation_candidates(resources, limit=self._limit)
        by_provider: dict[str, Candidate] = {c.provider_uuid: c for c in candidates}
        states = self._hosts.known([c.provider_uuid for c in candidates])
        offered = [states[c.provider_uuid] for c in candidates if c.provider_uuid in states]
        passed, refusals = filter_hosts(spec, offered, self._recipe, self._moment())
        fits = [
            Fit(
                host=host,
                allocation=by_provider[host.provider_uuid].allocation,
                rooms=dict(by_provider[host.provider_uuid].rooms),
            )
            for host in passed
        ]
        return fits, refusals

    def _moment(self) -> Moment:
        return Moment(now=utcnow(), down_after=self._down_after)

    def _claim(self, spec: RequestSpec, picked: Sequence[Decision]) -> dict[InstanceUuid, str]:
        if not picked:
            return {}
        claims = [
            Claim(
                consumer=decision.instance_uuid,
                project_id=spec.project_id,
                user_id=spec.user_id,
                allocation=decision.destination.allocation,
            )
            for decision in picked
            if decision.destination
        ]
        self._in_flight.add((claim.consumer, claim.allocation) for claim in claims)
        refused: dict[InstanceUuid, str] = {claim.consumer: "" for claim in claims}
        try:
            refused = self._placement.claim(claims)
        finally:
            self._in_flight.claimed((claim.consumer for claim in claims), refused)
        return refused

    def _why(self, spec: RequestSpec, refusals: Refusals) -> NoHost:
        """Count also the hosts that Placement did not offer. Only for requests that nothing fits."""
        resources = flavor.resources(spec.flavor, boots_from_volume=spec.boots_from_volume)
        offered = self._placement.allocation_candidates(resources, limit=self._limit)
        with_room = {candidate.provider_uuid for candidate in offered}
        some = self._placement.allocation_candidates({"VCPU": 1}, limit=self._limit)
        states = self._hosts.known([candidate.provider_uuid for candidate in some])
        rooms = {candidate.provider_uuid: candidate.rooms for candidate in some}
        lacking(resources, rooms, refusals, [p for p in states if p not in with_room])
        no_host = refusals.total(len(states))
        if states and not no_host.reasons:
            full = Reason(refused_by="claim", sentence="filled up meanwhile", hosts=len(states))
            return NoHost(considered=len(states), reasons=(full,))
        return no_host


class SchedulerService:
    """Serves ``Topic.SCHEDULER`` on the top level's bus."""

    def __init__(
        self, conf: cfg.ConfigOpts, bus: Bus, api_db: Database, cells: Cells, placement: Placement
    ) -> None:
        self._name: HostName = conf.host
        self._bus = bus
        self._hosts = Hosts(conf, api_db, cells)
        self._selection = Selection(conf, self._hosts, placement)
        self._server: Server | None = None

    def start(self) -> None:
        """Read the hosts and listen."""
        self._hosts.start()
        self._server = self._bus.serve(Topic.SCHEDULER, self._name, self._selection, threads=8)

    def stop(self) -> None:
        """Take no more messages, and return when those in hand are answered."""
        if self._server is not None:
            self._server.stop()
        self._hosts.stop()
