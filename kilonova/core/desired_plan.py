"""What to do next so that exactly one server runs at each index. Pure: values in, steps out.

Every step is from a slot as it was seen to what it becomes, and is made by compare-and-set: one that
another has made meanwhile does nothing, and one that broke off half way is found again in the next look.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from kilonova.core.desired import PRESENT, Actual, Desired, Ending, Life, Slot
from kilonova.core.ids import InstanceUuid

_UNSEEN = Actual(life=Life.UNKNOWN)


class Vacate(msgspec.Struct, frozen=True):
    """The server of the slot is no more, or will never be heard of again: there may be another."""

    before: Slot
    after: Slot


class Stop(msgspec.Struct, frozen=True):
    """Note why the server is to go, then delete it."""

    before: Slot
    after: Slot


class Start(msgspec.Struct, frozen=True):
    """Have a server of the generation in ``after`` made."""

    before: Slot
    after: Slot


class Drop(msgspec.Struct, frozen=True):
    """Forget an empty slot that is not wanted."""

    before: Slot


class Finish(msgspec.Struct, frozen=True):
    """Forget what was desired: all its servers are gone."""


Step = Vacate | Stop | Start | Drop | Finish


def plan(
    desired: Desired, slots: Iterable[Slot], actual: Mapping[InstanceUuid, Actual], now: datetime
) -> tuple[Step, ...]:
    """Return the steps that can be made now, in order.

    ``actual`` has the servers of the slots; one that is not in it is taken for one of which nothing is
    known, and left alone.
    """
    known = {slot.number: slot for slot in sorted(slots, key=lambda slot: slot.number)}
    steps: list[Step] = []
    for slot in tuple(known.values()):
        step = _of_server(desired, slot, actual, now)
        if step is not None:
            steps.append(step)
            known[slot.number] = step.after
    steps += _replaced(desired, known, actual)
    held_back = failed_replace(desired, known.values(), actual) is not None
    for number in range(desired.wanted):
        slot = known.get(number, Slot(number=number))
        if slot.server is None:
            generation = _generation(desired, slot, known) if held_back else desired.generation
            again = _started(slot, generation)
            due = again.due()
            if due is None or due <= now:
                steps.append(Start(slot, again))
    empty = [slot for slot in known.values() if slot.server is None]
    steps += [Drop(slot) for slot in empty if slot.number >= desired.wanted]
    if desired.deleting and len(empty) == len(known):
        steps.append(Finish())
    return tuple(steps)


def _of_server(
    desired: Desired, slot: Slot, actual: Mapping[InstanceUuid, Actual], now: datetime
) -> Vacate | Stop | None:
    """Return what follows from the server of a slot by itself."""
    if slot.server is None:
        return None
    found = actual.get(slot.server, _UNSEEN)
    if found.life is Life.GONE or (found.life is Life.LEAVING and found.host_lost):
        ended = slot if slot.ending else slot.failed(found.launched_at, "It was deleted.", now)
        return Vacate(slot, msgspec.structs.replace(ended, server=None, ending=None))
    if found.life in (Life.LEAVING, Life.UNKNOWN):
        return None
    if slot.ending is not None:
        # Noted, and then something broke off: its server is still to be deleted.
        return Stop(slot, slot)
    if slot.number >= desired.wanted:
        return Stop(slot, msgspec.structs.replace(slot, ending=Ending.STOPPED))
    if found.life is Life.BROKEN or (found.host_lost and found.life is not Life.HELD):
        reason = found.reason if found.life is Life.BROKEN else "Its host is down."
        failed = slot.failed(found.launched_at, reason, now)
        return Stop(slot, msgspec.structs.replace(failed, ending=Ending.FAILED))
    return None


def at_once(count: int) -> int:
    """Return how many of so many servers a replace may take away at a time."""
    return max(1, count // 4)


def _lives(slot: Slot, actual: Mapping[InstanceUuid, Actual]) -> Life | None:
    """Return what stays of a slot's server; None if there is none, or it is to go."""
    if slot.server is None or slot.ending is not None:
        return None
    return actual.get(slot.server, _UNSEEN).life


def _replaced(
    desired: Desired, known: dict[int, Slot], actual: Mapping[InstanceUuid, Actual]
) -> list[Step]:
    """Return the stops of servers of earlier generations, as many as a replace may make now."""
    wanted = [slot for slot in known.values() if slot.number < desired.wanted]
    lives = {slot.number: _lives(slot, actual) for slot in wanted}
    if failed_replace(desired, wanted, actual) is not None:
        return []
    present = sum(life in PRESENT for life in lives.values())
    room = at_once(desired.wanted) - (desired.wanted - present)
    steps: list[Step] = []
    for slot in wanted:
        life = lives[slot.number]
        if slot.generation == desired.generation:
            continue
        # One that is not there yet is missed by nobody.
        if life is Life.BUILDING or (life in PRESENT and room > 0):
            room -= life in PRESENT
            steps.append(Stop(slot, msgspec.structs.replace(slot, ending=Ending.STOPPED)))
    return steps


def failed_replace(
    desired: Desired, slots: Iterable[Slot], actual: Mapping[InstanceUuid, Actual]
) -> Slot | None:
    """Return the slot for which a replace goes no further, or None.

    It is one whose server of the new generation failed and does not run yet, while others are still of an
    earlier one.
    """
    wanted = [slot for slot in slots if slot.number < desired.wanted]
    if not any(0 < slot.generation < desired.generation for slot in wanted):
        return None
    failed = (
        slot
        for slot in wanted
        if slot.generation == desired.generation
        and slot.failures
        and _lives(slot, actual) not in PRESENT
    )
    return next(failed, None)


def _generation(desired: Desired, slot: Slot, known: Mapping[int, Slot]) -> int:
    """Return what an empty slot is filled with while a replace goes no further: what worked before."""
    if slot.generation:
        return slot.generation
    earlier = (one.generation for one in known.values() if one.generation < desired.generation)
    return max(earlier, default=0) or desired.generation


def _started(slot: Slot, generation: int) -> Slot:
    if slot.generation == generation:
        return slot
    return Slot(number=slot.number, generation=generation)
