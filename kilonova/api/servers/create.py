"""``POST /servers``: from a checked body to build requests in the database and one message.

Everything that can refuse the request comes before the one transaction that accepts it
(``acceptance``).
"""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from kilonova.api import notices
from kilonova.api.limits import limits_of
from kilonova.api.microversions import Since
from kilonova.api.parameters import is_true
from kilonova.api.routing import Answer, Asked
from kilonova.api.servers import devices as server_devices
from kilonova.api.servers import volumes
from kilonova.api.servers import wishes as server_wishes
from kilonova.core.block_devices import boots_from_volume, on_volume
from kilonova.core.clock import utcnow
from kilonova.core.errors import Invalid, QuotaExceeded
from kilonova.core.flavor import Flavor
from kilonova.core.ids import InstanceUuid
from kilonova.core.image import Image
from kilonova.core.instance import Instance, Wishes
from kilonova.core.new_server import of_template
from kilonova.core.quota import Amount, Limits, crowded
from kilonova.core.scheduling import RequestSpec
from kilonova.core.server_group import GroupRule
from kilonova.db import quotas, server_groups
from kilonova.db.acceptance import Accepted
from kilonova.db.room import room_for
from kilonova.rpc.notifications.notification import Payload
from kilonova.rpc.notifications.server_groups import of_group

MOST_AT_ONCE = 1000
"""Servers that one request can ask for: what one transaction and one message carry with ease."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for, resolved: what its servers have in common, what they need of a host, how
    many must be and should be, and the limits on them."""

    template: Instance
    spec: RequestSpec
    counts: tuple[int, int]
    limits: Limits


def create(asked: Asked) -> Answer:
    """Accept servers. Answers 202 as soon as they are written down, whatever else is away."""
    accepted = _accept(asked, wanted(asked))
    uuids = [a.instance.uuid for a in accepted]
    asked.services.acceptance.tell(asked.context, uuids)
    _tell_group(asked, accepted[0].instance.wishes.group, uuids)
    return _answer(asked, asked.body["server"], accepted[0].instance)


def wanted(asked: Asked) -> Wanted:
    """Return what a request asks for.

    Raises:
        KilonovaError: it is refused, for whatever reason but the number of servers.
    """
    body = asked.body["server"]
    counts = _counts(body)
    limits = limits_of(asked, asked.context.project_id, asked.context.user_id)
    server_wishes.check_metadata(body, limits)
    flavor = server_wishes.flavor_of(asked, body)
    devices, image = server_wishes.disks_of(asked, body, flavor, counts[1])
    wishes = server_wishes.wishes_of(asked, body, image)
    wishes = msgspec.structs.replace(wishes, block_devices=devices)
    server_devices.check(flavor, image, wishes)
    spec = RequestSpec(
        project_id=asked.context.project_id,
        user_id=asked.context.user_id,
        flavor=flavor,
        image=image,
        availability_zone=wishes.pinned_zone or asked.services.conf.default_schedule_zone,
        hints=wishes.hints,
        forced_host=wishes.forced_host,
        forced_node=wishes.forced_node,
        group=wishes.group,
        boots_from_volume=boots_from_volume(wishes),
    )
    template = _template(asked, body, flavor, image, wishes)
    return Wanted(template=template, spec=spec, counts=counts, limits=limits)


def admitted(asked: Asked, request: Wanted) -> int:
    """Return how many servers of a request would be accepted.

    Raises:
        QuotaExceeded: not even so many as must be.
    """
    low, high = request.counts
    room = room_for(asked.services.api_db, request.template, request.limits, MOST_AT_ONCE)
    if room < low:
        api_db, flavor, group = asked.services.api_db, request.spec.flavor, request.spec.group
        least = Amount(instances=low, cores=low * flavor.vcpus, ram=low * flavor.memory_mb)
        sentence = quotas.refusal(api_db, asked.context.project_id, least, request.limits)
        if sentence is None and group is not None:
            members = server_groups.count_members(api_db, group.group_uuid)
            sentence = crowded(low, members, request.limits.server_group_members)
        raise QuotaExceeded(sentence or "Quota exceeded")
    return min(high, room)


def _counts(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many servers must be, and how many should be accepted."""
    low = int(body.get("min_count", 1))
    high = int(body.get("max_count", low))
    if low > high:
        raise Invalid("min_count must be <= max_count")
    if low > MOST_AT_ONCE:
        raise Invalid(f"min_count: at most {MOST_AT_ONCE} servers are created by one request")
    if high > 1 and len(body["name"]) > 255 - len(f"-{min(high, MOST_AT_ONCE)}"):
        raise Invalid("name: it is too long to be followed by the servers' numbers")
    return low, min(high, MOST_AT_ONCE)


def _template(
    asked: Asked, body: Mapping[str, Any], flavor: Flavor, image: Image, wishes: Wishes
) -> Instance:
    """Return what the servers of the request have in common."""
    name = body["name"]
    return Instance(
        uuid=InstanceUuid(""),
        name=name,
        hostname=body.get("hostname", ""),
        project_id=asked.context.project_id,
        user_id=asked.context.user_id,
        flavor=flavor,
        image=image,
        wishes=wishes,
        created_at=utcnow(),
        description=body.get(
            "description", name if asked.version not in Since.DESCRIPTION else None
        ),
        metadata=body.get("metadata", {}),
        tags=tuple(dict.fromkeys(body.get("tags", ()))),
        access_ipv4=body.get("accessIPv4"),
        access_ipv6=server_wishes.access_ipv6_of(body),
    )


def _accept(asked: Asked, request: Wanted) -> list[Accepted]:
    """Write as many servers as the quota holds between min_count and max_count, in one transaction.

    Raises:
        QuotaExceeded: it does not hold min_count of them.
    """
    api_db, template, limits = asked.services.api_db, request.template, request.limits
    low, count = request.counts
    several = count > 1
    if count > low:
        # So that nothing is written in vain for a maximum far beyond the quota.
        count = max(low, min(count, room_for(api_db, template, limits, MOST_AT_ONCE)))
    while True:
        accepted = _with_volumes(
            asked,
            [
                Accepted(
                    instance=of_template(template, n, f"-{n + 1}" if several else ""),
                    spec=request.spec,
                    request_id=asked.context.request_id,
                )
                for n in range(count)
            ],
        )
        try:
            asked.services.acceptance.write(accepted, limits)
        except QuotaExceeded:
            _give_back(asked, accepted)
            room = room_for(api_db, template, limits, MOST_AT_ONCE)
            if count == low or room < low:
                raise
            count = max(low, min(room, count - 1))
        except BaseException:
            _give_back(asked, accepted)
            raise
        else:
            return accepted


def _with_volumes(asked: Asked, accepted: list[Accepted]) -> list[Accepted]:
    """Have the volumes of servers that are to be accepted: for all of them, or for none."""
    if not any(on_volume(device) for device in accepted[0].instance.wishes.block_devices):
        return accepted
    done: list[Accepted] = []
    try:
        for one in accepted:
            server = volumes.with_volumes(asked, one.instance)
            done.append(msgspec.structs.replace(one, instance=server))
    except BaseException:
        _give_back(asked, done)
        raise
    return done


def _give_back(asked: Asked, accepted: list[Accepted]) -> None:
    for one in accepted:
        volumes.give_back(asked.services.volumes, one.instance, created=True)


def _tell_group(asked: Asked, rule: GroupRule | None, uuids: list[InstanceUuid]) -> None:
    """Notify of new members of a server group; they alone stand in it."""

    def payload(group_uuid: str) -> Payload:
        group = server_groups.get(asked.services.api_db, group_uuid)
        return of_group(msgspec.structs.replace(group, members=tuple(uuids)))

    if rule is not None:
        notices.tell(asked, "server_group.add_member", lambda: payload(rule.group_uuid))


def _answer(asked: Asked, body: Mapping[str, Any], first: Instance) -> Answer:
    if is_true(body.get("return_reservation_id")):
        return Answer({"reservation_id": first.wishes.reservation_id}, 202)
    path = f"/servers/{first.uuid}"
    server = {
        "id": first.uuid,
        "links": asked.links(path),
        "OS-DCF:diskConfig": first.wishes.disk_config,
        "security_groups": body.get("security_groups", [{"name": "default"}]),
    }
    if asked.services.conf.api.enable_instance_password:
        server["adminPass"] = (
            first.wishes.admin_pass or body.get("adminPass") or secrets.token_urlsafe(9)
        )
    return Answer({"server": server}, 202, {"Location": asked.link(path)})
