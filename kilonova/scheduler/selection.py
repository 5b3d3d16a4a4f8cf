"""Selection: gathers what a decision needs, asks the pipeline, claims, and picks anew what was refused."""

import logging
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec
from oslo_config import cfg

from kilonova.core.candidates import Group, Request
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.decision_record import (
    CANDIDATES,
    CLAIM,
    FILTER,
    PICK,
    REASONS,
    DecisionRecord,
)
from kilonova.core.errors import HostsUnavailable, Invalid
from kilonova.core.host import DISABLED_TRAIT
from kilonova.core.ids import HostName, InstanceUuid, ProviderUuid
from kilonova.core.scheduling import Decision, NoHost, Reason, RequestSpec
from kilonova.placement.client import Claim, Placement
from kilonova.rpc.messages import Destinations, SelectDestinations
from kilonova.scheduler import prefilters, recipe
from kilonova.scheduler.course import Course
from kilonova.scheduler.filters import Moment
from kilonova.scheduler.fit import Fit, amounts_of
from kilonova.scheduler.group_members import GroupMembers, near_hosts, only_host
from kilonova.scheduler.host_filters import all_fell_silent
from kilonova.scheduler.hosts import Hosts
from kilonova.scheduler.in_flight import InFlight
from kilonova.scheduler.neighbours import Neighbours
from kilonova.scheduler.pipeline import Question, enough, pick, sift
from kilonova.scheduler.prefilters import Known
from kilonova.scheduler.shortage import TAKEN, lacks, unsuited

LOG = logging.getLogger(__name__)

_ROUNDS = 20
"""Times that refused claims are picked anew before the server counts as one that no host fits. Each time,
somebody else's claim stood instead, so that it takes a crowd to need more than two or three."""
_TAKEN_BY_GROUP = "other servers of the group were quicker"
_EXPLAINED = 5
"""Hosts whose scores a decision's record tells."""
_ANYTHING = Request(groups=(Group(resources={"VCPU": 1}),))


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided for each server, in the order asked for, and how that came about."""

    decisions: tuple[Decision, ...]
    record: DecisionRecord


def _joined(candidates: Iterable[list[Fit]]) -> list[Fit]:
    """Return candidates in order, each host once."""
    once: dict[ProviderUuid, Fit] = {}
    for fits in candidates:
        for fit in fits:
            once.setdefault(fit.host.provider_uuid, fit)
    return list(once.values())


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

        In a dry run nothing is claimed, and all is as if it had been.

        Raises:
            PlacementUnavailable: nothing was decided; what was claimed is claimed again the next time.
            Fenced: another was asked the same, or for later builds of these servers; nothing was decided.
            HostsUnavailable: no host gives a sign of life, or a cell's hosts were never read, so the
                request has to wait.
        """
        selected = self.select(message)
        return Destinations(decisions=selected.decisions, record=selected.record)

    def select(self, message: SelectDestinations) -> Selected:
        """Do the same, and tell how it came about."""
        spec = message.spec
        course = Course(message)
        moment = replace(self._moment, now=utcnow(), host_of=self._neighbours.hosts_named_by(spec))
        group = self._neighbours.group_of(spec)
        while course.rounds < _ROUNDS and course.waiting:
            course.rounds += 1
            if group is not None:
                moment = moment.with_members(group.look(besides=course.waiting))
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
            with course.stage(PICK):
                unseen = self._in_flight.deduct_from(course.sifted.fits, asked_at)
                picked = pick(question, course.sifted.fits, self._recipe)
            course.best = course.best or picked.best
            if message.dry_run:
                course.settle(picked.decisions, None)
                break
            with course.stage(CLAIM):
                refused = self._claim(course, picked.decisions, group)
            placed = course.settle(picked.decisions, refused)
            self._hosts.occupy(spec, placed)
            # Another look tells those of a group for whom nothing was left that the others were in the way.
            again = refused or unseen or (group and placed)
            # Whoever put a host into a zone may ask for a server there in the next moment.
            if not again and not (course.waiting and self._hosts.regrouped()):
                break
        if group is not None and course.waiting and not message.dry_run:
            group.let_go(course.waiting)
        return self._close(message, moment, course)

    def _close(self, message: SelectDestinations, moment: Moment, course: Course) -> Selected:
        """Return all decisions in order; those for whom there is no host get the reasons."""
        LOG.info("%d servers have a host", len(course.decided))
        decisions = course.decided
        no_host = None
        if course.waiting:
            if not self._hosts.complete:
                raise HostsUnavailable("The hosts of a cell could not be read yet.")
            if all_fell_silent(self._hosts.all(), moment):
                raise HostsUnavailable("No host at all gives a sign of life.")
            with course.stage(REASONS):
                no_host = course.never or self._why(message, moment, course)
            LOG.info("%d servers have no host: %s", len(course.waiting), no_host.sentence())
            decisions = decisions | {
                uuid: Decision(instance_uuid=uuid, no_host=no_host) for uuid in course.waiting
            }
        record = course.record(no_host)
        LOG.debug("Decided: %s", record)
        in_order = tuple(decisions[uuid] for uuid in message.instance_uuids)
        return Selected(decisions=in_order, record=record)

    def _refused_by_placement(self, error: Invalid) -> NoHost:
        self._hosts.refresh()
        count = len(self._hosts.all())
        sentence = f"were refused by Placement ({error.message.rstrip('.')})"
        reason = Reason(refused_by="placement", sentence=sentence, hosts=count)
        return NoHost(considered=count, reasons=(reason,))

    def _asked(self, spec: RequestSpec, only: HostName | None = None) -> Request:
        """Return what Placement is asked, of one host if one is named or given."""
        host, node = spec.forced_host or only, spec.forced_node
        mine = []
        if host is not None or node is not None:
            mine = [
                s for s in self._hosts.all() if host in (None, s.host) and node in (None, s.node)
            ]
        known = Known(
            enabled=self._prefilters,
            aggregates=self._hosts.aggregates,
            only=mine[0].provider_uuid if len(mine) == 1 else None,
        )
        return prefilters.request(spec, known)

    def _sift(self, question: Question, course: Course) -> None:
        """Look at as many candidates as are enough; where too few of these fit, at all that may be."""
        spec, members = question.spec, question.moment.members
        asked = self._asked(spec, only_host(spec, members))
        course.wanted = prefilters.resources(asked)
        few = enough(question, self._recipe) or self._limit
        for limit in dict.fromkeys((few, self._limit)):
            with course.stage(CANDIDATES):
                fits, complete = self._candidates(asked, limit)
                if not complete:
                    near = [self._asked(spec, host) for host in near_hosts(spec, members)]
                    fits = _joined([*(self._candidates(one, 1)[0] for one in near), fits])
            with course.stage(FILTER):
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
        self, course: Course, picked: Sequence[Decision], group: GroupMembers | None
    ) -> dict[InstanceUuid, str]:
        """Claim the picks that the group has nothing against; return the refused ones with reasons."""
        late = dict.fromkeys(group.choose(picked), _TAKEN_BY_GROUP) if group else {}
        claims = [
            Claim(
                consumer=decision.instance_uuid,
                project_id=course.spec.project_id,
                user_id=course.spec.user_id,
                allocation=decision.destination.allocation,
                fence=course.epochs.get(decision.instance_uuid, 0),
            )
            for decision in picked
            if decision.destination and decision.instance_uuid not in late
        ]
        if not claims:
            return late
        self._in_flight.add((claim.consumer, claim.allocation) for claim in claims)
        refused: dict[InstanceUuid, str] = {claim.consumer: "" for claim in claims}
        try:
            refused = self._placement.claim(claims)
        finally:
            self._in_flight.claimed((claim.consumer for claim in claims), refused)
        return late | refused

    def _why(self, message: SelectDestinations, moment: Moment, course: Course) -> NoHost:
        """Count also the hosts that Placement did not offer. Only for requests that nothing fits."""
        spec, sifted = message.spec, course.sifted
        asked = self._asked(spec, only_host(spec, moment.members))
        offered = self._placement.allocation_candidates(asked, limit=self._limit)
        some = self._placement.allocation_candidates(_ANYTHING, limit=self._limit)
        figures = {candidate.provider_uuid: candidate for candidate in some}
        states = self._hosts.known([u for u in figures if DISABLED_TRAIT not in figures[u].traits])
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
        if message.dry_run:
            # Nothing was claimed, so Placement still offers what the other servers would have taken.
            for fit in sifted.fits:
                sifted.refusals.add(lacks(fit.amounts, fit.free) or TAKEN)
        no_host = sifted.refusals.total(len(states) - len(unknown))
        if states and not no_host.reasons:
            full = Reason(refused_by="claim", sentence="filled up meanwhile", hosts=len(states))
            return NoHost(considered=len(states), reasons=(full,))
        return no_host
