"""Desired servers as they are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from kilonova.api.views.moments import precise
from kilonova.core.desired import PRESENT, Actual, Desired, Life, Slot, Template
from kilonova.core.desired_plan import failed_replace
from kilonova.core.ids import InstanceUuid

_UNSEEN = Actual(life=Life.UNKNOWN)


def outline(desired: Desired, slots: Sequence[Slot]) -> dict[str, Any]:
    """Return what the API database alone knows. ``started`` are servers that were accepted and not given
    up since."""
    started = [slot for slot in slots if slot.server is not None and slot.ending is None]
    return {
        "id": desired.uuid,
        "name": desired.name,
        "project_id": desired.project_id,
        "user_id": desired.user_id,
        "count": desired.count,
        "started": len(started),
        "deleting": desired.deleting,
        "generation": desired.generation,
        "server_group_id": desired.group_uuid,
        "created_at": precise(desired.created_at),
        "updated_at": precise(desired.updated_at),
    }


def in_full(
    desired: Desired,
    slots: Sequence[Slot],
    actual: Mapping[InstanceUuid, Actual],
    template: Template | None,
) -> dict[str, Any]:
    """Return everything: what they are made of, each index, and how far a replace is."""
    by_number = {number: Slot(number=number) for number in range(desired.wanted)}
    by_number |= {slot.number: slot for slot in slots}
    shown = [_slot(by_number[number], actual) for number in sorted(by_number)]
    running = sum(one["status"] == Life.RUNNING for one in shown)
    made_of: dict[str, Any] = {}
    if template is not None:
        image, flavor = template.instance.image, template.instance.flavor
        made_of["flavor"] = {"id": flavor.flavor_id, "name": flavor.name}
        made_of["image"] = image and {"id": image.image_id, "name": image.name}
    return (
        outline(desired, slots)
        | made_of
        | {
            "running": running,
            "replace": _replace(desired, slots, actual),
            "servers": shown,
        }
    )


def _slot(slot: Slot, actual: Mapping[InstanceUuid, Actual]) -> dict[str, Any]:
    """Return an index. The last failure is told until another generation begins."""
    status = "missing"
    if slot.server is not None:
        life = actual.get(slot.server, _UNSEEN).life
        status = Life.LEAVING if slot.ending else life
    due = None if status in PRESENT else slot.due()
    return {
        "index": slot.number,
        "id": slot.server,
        "status": str(status),
        "generation": slot.generation or None,
        "failures": slot.failures,
        "failed_at": precise(slot.failed_at),
        "reason": slot.reason,
        "next_start_after": precise(due),
    }


def _replace(
    desired: Desired, slots: Sequence[Slot], actual: Mapping[InstanceUuid, Actual]
) -> dict[str, Any] | None:
    """Return how far a replace is, and why it goes no further; None if none is under way."""
    wanted = [slot for slot in slots if slot.number < desired.wanted]
    old = [slot for slot in wanted if 0 < slot.generation < desired.generation]
    failed = failed_replace(desired, slots, actual)
    if not old:
        return None
    stopped = None if failed is None else f"index {failed.number}: {failed.reason}"
    return {"left": len(old), "of": desired.wanted, "stopped_by": stopped}
