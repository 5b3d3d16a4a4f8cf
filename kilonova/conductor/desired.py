"""The repair that keeps desired servers running: what ``desired_plan`` decides is done here.

A start goes the way of a tenant's ``POST /servers`` from where that is accepted: under the owner's quota,
into his project, as a build request. Two that do this at once, or one that breaks off anywhere, make no
second server at an index: see ``db.desired``.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import msgspec
from oslo_config import cfg

from kilonova.conductor.notices import Notices
from kilonova.conductor.server_end import ServerEnd
from kilonova.core import desired_plan
from kilonova.core.clock import utcnow
from kilonova.core.context import new_request_id
from kilonova.core.desired import Desired, Template
from kilonova.core.desired_plan import Drop, Finish, Start, Step, Stop, Vacate
from kilonova.core.errors import Invalid, KilonovaError, QuotaExceeded, ServerLocked
from kilonova.core.ids import InstanceUuid
from kilonova.core.new_server import of_template
from kilonova.core.quota import limits_in
from kilonova.db import desired as store
from kilonova.db import quotas
from kilonova.db.build_requests import Accepted
from kilonova.db.cells import Cells
from kilonova.db.desired import Filling
from kilonova.db.desired_sight import LOST_AFTER, look
from kilonova.db.engine import Database
from kilonova.db.room import room_for
from kilonova.placement.client import Placement
from kilonova.rpc.connect import Buses

LOG = logging.getLogger(__name__)

_PAGE = 20
"""Desired servers that are looked at together: with a thousand each, as many as a statement can name."""

_STARTED_AT_ONCE = 100
"""Servers that one transaction accepts."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    ``subject`` is whatever it is about; ``differs`` says in a few words what is wrong. ``mend`` mends it
    and returns what it did, or None if it was no longer so. Mending again, or by two at once, does no harm.
    """

    subject: str
    differs: str
    mend: Callable[[], str | None]


class DesiredRepair:
    """Compares what is desired with what runs. ``drive`` has build requests driven."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        collaborators: tuple[Database, Cells, Buses, Placement],
        drive: Callable[[tuple[InstanceUuid, ...]], None],
        notices: Notices,
    ) -> None:
        self._api_db, self._cells, _, _ = collaborators
        self._drive = drive
        self._end = ServerEnd(collaborators, notices)
        self._limits = limits_in(conf.quota)
        self._lost_after = max(LOST_AFTER, timedelta(seconds=2 * conf.service_down_time))

    def converge(self) -> int:
        """Mend everything that differs, and return how much that was.

        What cannot be mended is logged, and is still different in the next round.
        """
        mended = 0
        for finding in self.findings():
            try:
                done = finding.mend()
            except KilonovaError as error:
                LOG.warning("%s: %s: %s", finding.subject, finding.differs, error)
                continue
            if done is not None:
                LOG.info("Repair desired: %s: %s: %s", finding.subject, finding.differs, done)
                mended += 1
        return mended

    def findings(self) -> Iterator[Finding]:
        """Find whatever differs from what is desired. Only reads."""
        after = ""
        while page := store.list_desired(self._api_db, None, after=after, limit=_PAGE):
            now = utcnow()
            slots = store.slots_of(self._api_db, [desired.uuid for desired in page])
            servers = [s.server for some in slots.values() for s in some if s.server is not None]
            actual = look(self._api_db, self._cells, servers, now - self._lost_after)
            for desired in page:
                steps = desired_plan.plan(desired, slots.get(desired.uuid, []), actual, now)
                yield from self._of(desired, steps)
            after = page[-1].uuid

    def _of(self, desired: Desired, steps: Iterable[Step]) -> Iterator[Finding]:
        starts: defaultdict[int, list[Start]] = defaultdict(list)
        rest: list[Finding] = []
        for step in steps:
            match step:
                case Start():
                    starts[step.after.generation].append(step)
                case Vacate():
                    mend = partial(self._vacate, desired, step)
                    yield Finding(step.before.server or "", f"{_at(desired, step)} is gone", mend)
                case Stop():
                    mend = partial(self._stop, desired, step)
                    yield Finding(step.before.server or "", f"{_at(desired, step)} is to go", mend)
                case Drop():
                    mend = partial(self._drop, desired, step)
                    rest.append(Finding(desired.uuid, f"{_at(desired, step)} is not wanted", mend))
                case Finish():
                    mend = partial(self._finish, desired)
                    rest.append(Finding(desired.uuid, f"{desired.name} is not wanted", mend))
        for generation, wanted in starts.items():
            for begin in range(0, len(wanted), _STARTED_AT_ONCE):
                some = wanted[begin : begin + _STARTED_AT_ONCE]
                numbers = ", ".join(str(one.before.number) for one in some)
                differs = f"{desired.name} has no server at {numbers}"
                mend = partial(self._start, desired, generation, some)
                yield Finding(desired.uuid, differs, mend)
        yield from rest

    def _vacate(self, desired: Desired, step: Vacate) -> str | None:
        done = store.move(self._api_db, desired.uuid, step.before, step.after)
        return "its slot is free" if done else None

    def _stop(self, desired: Desired, step: Stop) -> str | None:
        if not store.move(self._api_db, desired.uuid, step.before, step.after):
            return None
        if step.after.server is None:
            return None
        try:
            self._end.delete(step.after.server)
        except ServerLocked as error:
            if step.after.reason == error.message:
                return None
            told = msgspec.structs.replace(step.after, reason=error.message)
            store.move(self._api_db, desired.uuid, step.after, told)
            raise
        return f"deleted, as it {step.after.ending}: {step.after.reason or 'by wish'}"

    def _start(self, desired: Desired, generation: int, steps: Sequence[Start]) -> str | None:
        template = store.template_of(self._api_db, desired.uuid, generation)
        if template is None:
            # Another generation began meanwhile.
            return None
        limits = quotas.limits_of(self._api_db, self._limits, desired.project_id, desired.user_id)
        room = len(steps)
        sentence = ""
        while room:
            fillings = [_filling(template, step) for step in steps[:room]]
            try:
                started = store.start(self._api_db, desired.uuid, fillings, limits)
            except QuotaExceeded as error:
                sentence = error.message
                room = max(0, room_for(self._api_db, template.instance, limits, room - 1))
            except Invalid as error:
                sentence, room = error.message, 0
            else:
                break
        else:
            started = []
        refused = [step for step in steps[room:] if self._refuse(desired, step, sentence)]
        if started:
            self._drive(tuple(started))
        told = [f"started {', '.join(started)}"] if started else []
        told += [f"{len(refused)} refused: {sentence}"] if refused else []
        return "; ".join(told) or None

    def _refuse(self, desired: Desired, step: Start, sentence: str) -> bool:
        failed = step.after.failed(None, sentence, utcnow())
        return store.move(self._api_db, desired.uuid, step.before, failed)

    def _drop(self, desired: Desired, step: Drop) -> str | None:
        done = store.drop(self._api_db, desired.uuid, step.before)
        return "its slot is forgotten" if done else None

    def _finish(self, desired: Desired) -> str | None:
        return "forgotten" if store.finish(self._api_db, desired.uuid) else None


def _at(desired: Desired, step: Vacate | Stop | Drop) -> str:
    return f"{desired.name}-{step.before.number}"


def _filling(template: Template, step: Start) -> Filling:
    number = step.after.number
    now = msgspec.structs.replace(template.instance, created_at=utcnow())
    server = of_template(now, number, f"-{number}")
    return Filling(
        before=step.before,
        after=msgspec.structs.replace(step.after, server=server.uuid),
        accepted=Accepted(instance=server, spec=template.spec, request_id=new_request_id()),
    )
