"""Selection: gathers what a decision needs, asks the pipeline, claims, and picks anew what was refused."""

import logging
import random
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import msgspec
from oslo_config import cfg

from kilonova.core.candidates import Group, Request
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.decision_record import DecisionRecord, Scored
from kilonova.core.errors import HostsUnavailable, Invalid
from kilonova.core.ids import InstanceUuid
from kilonova.core.scheduling import Decision, NoHost, Reason, RequestSpec
from kilonova.placement.client import Claim, Placement
from kilonova.rpc.messages import Destinations, SelectDestinations
from kilonova.scheduler import prefilters, recipe
from kilonova.scheduler.filters import Moment
from kilonova.scheduler.fit import Fit, amounts_of
from kilonova.scheduler.host_filters import all_fell_silent
from kilonova.scheduler.hosts import Hosts
from kilonova.scheduler.in_flight import InFlight
from kilonova.scheduler.neighbours import Neighbours
from kilonova.scheduler.pipeline import Question, Refusals, Sifted, enough, pick, sift
from kilonova.scheduler.prefilters import Known
from kilonova.scheduler.shortage import lacks, unsuited

LOG = logging.getLogger(__name__)

_ROUNDS = 5
"""Times that refused claims are picked anew before the server counts as one that no host fits."""
_EXPLAINED = 5
"""Hosts whose scores a decision's record tells."""
_ANYTHING = Request(groups=(Group(resources={"VCPU": 1}),))


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided for each server, in the order asked for, and how that came about."""

    decisions: tuple[Decision, ...]
    record: DecisionRecord


class _Course:
    """One selection as it goes on: what is decided, and what its record will tell."""

    def __init__(self, message: SelectDestinations) -> None:
        instances = message.instance_uuids
        self.epochs = dict(zip(instances, message.epochs, strict=False))
        self.decided: dict[InstanceUuid, Decision] = {}
        self.waiting = list(instances)
        self.rounds = 0
        self.claims_refused = 0
        self.best: tuple[Scored, ...] = ()
        self.sifted = Sifted(fits=[], considered=0, refusals=Refusals())
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.never: NoHost | None = None
        """Why nothing will ever fit."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of what is done inside."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began

    def settle(self, picked: Iterable[Decision], refused: Collection[InstanceUuid]) -> None:
        """Take over the picks whose claims stand."""
        self.claims_refused += len(refused)
        for decision in picked:
            if decision.destination and decision.instance_uuid not in refused:
                self.decided[decision.instance_uuid] = decision
        self.waiting = [uuid for uuid in self.waiting if uuid not in self.decided]

    def record(self, why: NoHost | None) -> DecisionRecord:
        """Return how it came about; ``why`` there is no host for those that wait."""
        told = why or self.sifted.refusals.total(self.sifted.considered)
        return DecisionRecord(
            servers=len(self.decided) + len(self.waiting),
            placed=len(self.decided),
            considered=told.considered,
            passed=len(self.sifted.fits),
            refused=told.reasons,
            best=self.best,
            rounds=self.rounds,
            claims_refused=self.claims_refused,
            seconds=dict(self.seconds),
        )


class Selection:
    """Handles ``SelectDestinations``."""

    def __init__(
        self, conf: cfg.ConfigOpts, hosts: Hosts, placement: Placement, neighbours: Neighbours
    ) -> None:
        self._prefilters = tuple(conf.scheduler.request_filters)
        self._recipe = recipe.load(conf)
        self._limit = self._recipe.most
        self._moment = recipe.moment(conf, utcnow())
        self._hosts = hosts
        self._placement = placement
        self._neighbours = neighbours
        self._in_flight = InFlight()

    def select_destinations(
        self, _context: RequestContext, message: SelectDestinations
    ) -> Destinations:
        """Choose and claim a host for each server; one that no host fits gets the counted reasons.

        Raises:
            PlacementUnavailable: nothing was decided; what was claimed is claimed again the next time.
            Fenced: another was asked the same, or for later builds of these servers; nothing was decided.
            HostsUnavailable: no host gives a sign of life, or a cell's hosts were never read, so the
                request has to wait.
        """
        return Destinations(decisions=self.select(message).decisions)

    def select(self, message: SelectDestinations) -> Selected:
        """Do the same, and tell how it came about."""
        spec = message.spec
        course = _Course(message)
        moment = replace(self._moment, now=utcnow(), host_of=self._neighbours.hosts_named_by(spec))
        while course.rounds < _ROUNDS and course.waiting:
            course.rounds += 1
            asked_at = time.monotonic()
            question = Question(
                spec=spec,
                instances=course.waiting,
                moment=moment,
                alternates=message.alternates,
                seed=random.getrandbits(32),
                explained=_EXPLAINED if course.rounds == 1 else 0,
            )
            try:
                self._sift(question, course)
            except Invalid as error:
                # What the flavor names is not known to Placement, and waiting makes it no better.
                course.never = self._refused_by_placement(error)
                break
            with course.stage("pick"):
                unseen = self._in_flight.deduct_from(course.sifted.fits, asked_at)
                picked = pick(question, course.sifted.fits, self._recipe)
            course.best = course.best or picked.best
            with course.stage("claim"):
                refused = self._claim(spec, picked.decisions, course.epochs)
            course.settle(picked.decisions, refused)
            if not (refused or unseen):
                break
        return self._close(spec, moment, course, message.instance_uuids)

    def _close(
        self, spec: RequestSpec, moment: Moment, course: _Course, asked: Sequence[InstanceUuid]
    ) -> Selected:
        """Return all decisions in order; those for whom there is no host get the reasons."""
        LOG.info("%d servers have a host", len(course.decided))
        decisions = course.decided
        no_host = None
        if course.waiting:
            if not self._hosts.complete:
                raise HostsUnavailable("The hosts of a cell could not be read yet.")
            if all_fell_silent(self._hosts.all(), moment):
                raise HostsUnavailable("No host at all gives a sign of life.")
            no_host = course.never or self._why(spec, moment, course.sifted)
            LOG.info("%d servers have no host: %s", len(course.waiting), no_host.sentence())
            decisions = decisions | {
                uuid: Decision(instance_uuid=uuid, no_host=no_host) for uuid in course.waiting
            }
        record = course.record(no_host)
        LOG.debug("Decided: %s", record)
        return Selected(decisions=tuple(decisions[uuid] for uuid in asked), record=record)

    def _refused_by_placement(self, error: Invalid) -> NoHost:
        self._hosts.refresh()
        count = len(self._hosts.all())
        sentence = f"refused by Placement ({error.message.rstrip('.')})"
        reason = Reason(refused_by="placement", sentence=sentence, hosts=count)
        return NoHost(considered=count, reasons=(reason,))

    def _known(self, spec: RequestSpec) -> Known:
        host, node = spec.forced_host, spec.forced_node
        mine = []
        if host is not None or node is not None:
            mine = [
                s for s in self._hosts.all() if host in (None, s.host) and node in (None, s.node)
            ]
        return Known(
            enabled=self._prefilters,
            aggregates=self._hosts.aggregates,
            only=mine[0].provider_uuid if len(mine) == 1 else None,
        )

    def _sift(self, question: Question, course: _Course) -> None:
        """Look at as many candidates as are enough; where too few of these fit, at all that may be."""
        asked = prefilters.request(question.spec, self._known(question.spec))
        few = enough(question, self._recipe) or self._limit
        for limit in dict.fromkeys((few, self._limit)):
            with course.stage("candidates"):
                fits, complete = self._candidates(asked, limit)
            with course.stage("filter"):
                course.sifted = sift(question, fits, self._recipe)
            if complete or len(course.sifted.fits) >= len(question.instances):
                break

    def _candidates(self, asked: Request, limit: int) -> tuple[list[Fit], bool]:
        """Return the hosts that Placement offers, and whether these are all."""
        found = self._placement.allocation_candidates(asked, limit=limit)
        # One way to use a host is as good as another: the first, of a random order, will do.
        one_each = {candidate.provider_uuid: candidate for candidate in reversed(found)}
        states = self._hosts.known(one_each)
        fits = [
            Fit(
                host=states[uuid],
                allocation=candidate.allocation,
                amounts=amounts_of(candidate.allocation),
                free=candidate.free,
            )
            for uuid, candidate in one_each.items()
            if uuid in states
        ]
        return fits, len(found) < limit

    def _claim(
        self, spec: RequestSpec, picked: Sequence[Decision], epochs: Mapping[InstanceUuid, int]
    ) -> dict[InstanceUuid, str]:
        claims = [
            Claim(
                consumer=decision.instance_uuid,
                project_id=spec.project_id,
                user_id=spec.user_id,
                allocation=decision.destination.allocation,
                fence=epochs.get(decision.instance_uuid, 0),
            )
            for decision in picked
            if decision.destination
        ]
        if not claims:
            return {}
        self._in_flight.add((claim.consumer, claim.allocation) for claim in claims)
        refused: dict[InstanceUuid, str] = {claim.consumer: "" for claim in claims}
        try:
            refused = self._placement.claim(claims)
        finally:
            self._in_flight.claimed((claim.consumer for claim in claims), refused)
        return refused

    def _why(self, spec: RequestSpec, moment: Moment, sifted: Sifted) -> NoHost:
        """Count also the hosts that Placement did not offer. Only for requests that nothing fits."""
        asked = prefilters.request(spec, self._known(spec))
        offered = self._placement.allocation_candidates(asked, limit=self._limit)
        some = self._placement.allocation_candidates(_ANYTHING, limit=self._limit)
        figures = {candidate.provider_uuid: candidate for candidate in some}
        states = self._hosts.known(figures)
        # Where Placement tells of only so many, nothing is known of the others.
        unknown = states.keys() - figures if len(some) == self._limit else frozenset()
        wanted = prefilters.resources(asked)
        with_room = []
        for uuid in states.keys() - {c.provider_uuid for c in offered} - unknown:
            shortage = lacks(wanted, figures[uuid].free if uuid in figures else {})
            if shortage:
                sifted.refusals.add(shortage)
            else:
                with_room.append(Fit(host=states[uuid]))
        others = sift(Question(spec=spec, instances=(), moment=moment), with_room, self._recipe)
        for reason in others.refusals.total(0).reasons:
            sifted.refusals.add(reason)
        for fit in others.fits:
            uuid = fit.host.provider_uuid
            sifted.refusals.add(unsuited(asked, uuid, figures[uuid].traits))
        no_host = sifted.refusals.total(len(states) - len(unknown))
        if states and not no_host.reasons:
            full = Reason(refused_by="claim", sentence="filled up meanwhile", hosts=len(states))
            return NoHost(considered=len(states), reasons=(full,))
        return no_host
