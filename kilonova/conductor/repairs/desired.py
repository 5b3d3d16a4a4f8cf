"""Desired servers that do not run: what ``core.desired_plan`` decides is done here.

A start goes the way of a tenant's ``POST /servers`` from where that is accepted: under the owner's quota,
into his project, as a build request. Two that do this at once, or one that breaks off anywhere, make no
second server at an index: see ``db.desired``.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial

import msgspec

from kilonova.conductor import patience
from kilonova.conductor.repairs import server_end
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core import desired_plan
from kilonova.core.clock import utcnow
from kilonova.core.context import new_request_id
from kilonova.core.desired import Desired, Template
from kilonova.core.desired_plan import Drop, Finish, Start, Step, Stop, Vacate
from kilonova.core.errors import Invalid, QuotaExceeded, ServerLocked
from kilonova.core.ids import InstanceUuid
from kilonova.core.new_server import of_template
from kilonova.db import desired as store
from kilonova.db import host_fences, hosts, quotas
from kilonova.db.acceptance import Accepted
from kilonova.db.desired import Filling
from kilonova.db.desired_sight import Lost, look
from kilonova.db.room import room_for

_PAGE = 20
"""Desired servers that are looked at together: with a thousand each, as many as a statement can name."""
_STARTED_AT_ONCE = 100
"""Servers that one transaction accepts."""


def not_as_desired(scene: Scene) -> Iterator[Finding]:
    """Find indexes at which not exactly the one server runs that should."""
    lost = _lost(scene)
    after = ""
    while page := store.list_desired(scene.api_db, None, after=after, limit=_PAGE):
        now = utcnow()
        slots = store.slots_of(scene.api_db, [desired.uuid for desired in page])
        servers = [s.server for some in slots.values() for s in some if s.server is not None]
        actual = look(scene.api_db, scene.cells, servers, lost)
        for desired in page:
            steps = desired_plan.plan(desired, slots.get(desired.uuid, []), actual, now)
            yield from _findings(scene, desired, steps)
        after = page[-1].uuid


def _lost(scene: Scene) -> Lost:
    """Return which hosts are not waited for: where there are fences, those that are surely off."""
    if scene.limits.ha.fences:
        return host_fences.surely_dead
    before = utcnow() - max(patience.HOST_LOST, timedelta(seconds=2 * scene.limits.down_time))
    return partial(hosts.silent_since, before=before)


def _findings(scene: Scene, desired: Desired, steps: Iterable[Step]) -> Iterator[Finding]:
    """Yield the steps, with those together that one transaction can make."""
    starts: defaultdict[int, list[Start]] = defaultdict(list)
    rest: list[Finding] = []
    for step in steps:
        match step:
            case Start():
                starts[step.after.generation].append(step)
            case Vacate():
                mend = partial(_vacate, scene, desired, step)
                yield Finding(step.before.server or "", f"{_at(desired, step)} is gone", mend)
            case Stop():
                mend = partial(_stop, scene, desired, step)
                yield Finding(step.before.server or "", f"{_at(desired, step)} is to go", mend)
            case Drop():
                mend = partial(_drop, scene, desired, step)
                rest.append(Finding(desired.uuid, f"{_at(desired, step)} is not wanted", mend))
            case Finish():
                mend = partial(_finish, scene, desired)
                rest.append(Finding(desired.uuid, f"{desired.name} is not wanted", mend))
    for generation, wanted in starts.items():
        for begin in range(0, len(wanted), _STARTED_AT_ONCE):
            some = wanted[begin : begin + _STARTED_AT_ONCE]
            numbers = ", ".join(str(one.before.number) for one in some)
            differs = f"{desired.name} has no server at {numbers}"
            mend = partial(_start, scene, desired, generation, some)
            yield Finding(desired.uuid, differs, mend)
    yield from rest


def _at(desired: Desired, step: Vacate | Stop | Drop) -> str:
    return f"{desired.name}-{step.before.number}"


def _vacate(scene: Scene, desired: Desired, step: Vacate) -> str | None:
    done = store.move(scene.api_db, desired.uuid, step.before, step.after)
    return "its index is free" if done else None


def _stop(scene: Scene, desired: Desired, step: Stop) -> str | None:
    if not store.move(scene.api_db, desired.uuid, step.before, step.after):
        return None
    if step.after.server is None:
        return None
    try:
        server_end.delete(scene, step.after.server)
    except ServerLocked as error:
        told = msgspec.structs.replace(step.after, reason=error.message)
        store.move(scene.api_db, desired.uuid, step.after, told)
        raise
    return f"deleted, as it {step.after.ending}: {step.after.reason or 'by wish'}"


def _start(scene: Scene, desired: Desired, generation: int, steps: Sequence[Start]) -> str | None:
    template = store.template_of(scene.api_db, desired.uuid, generation)
    if template is None:
        # Another generation began meanwhile.
        return None
    limits = quotas.limits_of(scene.api_db, scene.limits.quota, desired.project_id, desired.user_id)
    room, sentence = len(steps), ""
    started: list[InstanceUuid] = []
    while room:
        fillings = [_filling(template, step) for step in steps[:room]]
        try:
            started = store.start(scene.api_db, desired.uuid, fillings, limits)
            break
        except QuotaExceeded as error:
            sentence = error.message
            room = max(0, room_for(scene.api_db, template.instance, limits, room - 1))
        except Invalid as error:
            sentence, room = error.message, 0
    refused = [step for step in steps[room:] if _refuse(scene, desired, step, sentence)]
    if started:
        scene.hands.drive(tuple(started))
    told = [f"started {', '.join(started)}"] if started else []
    told += [f"{len(refused)} refused: {sentence}"] if refused else []
    return "; ".join(told) or None


def _filling(template: Template, step: Start) -> Filling:
    number = step.after.number
    now = msgspec.structs.replace(template.instance, created_at=utcnow())
    server = of_template(now, number, f"-{number}")
    return Filling(
        before=step.before,
        after=msgspec.structs.replace(step.after, server=server.uuid),
        accepted=Accepted(instance=server, spec=template.spec, request_id=new_request_id()),
    )


def _refuse(scene: Scene, desired: Desired, step: Start, sentence: str) -> bool:
    failed = step.after.failed(None, sentence, utcnow())
    return store.move(scene.api_db, desired.uuid, step.before, failed)


def _drop(scene: Scene, desired: Desired, step: Drop) -> str | None:
    done = store.drop(scene.api_db, desired.uuid, step.before)
    return "forgotten" if done else None


def _finish(scene: Scene, desired: Desired) -> str | None:
    return "forgotten" if store.finish(scene.api_db, desired.uuid) else None
