"""Quotas: how much a project and a user in it may use, and what a request over it is told."""

from collections.abc import Mapping

import msgspec

from kilonova.core.ids import UserId

UNLIMITED = -1


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """Something counted: servers, VCPUs, MiB of memory and server groups, asked for or in use."""

    instances: int = 0
    cores: int = 0
    ram: int = 0
    server_groups: int = 0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits on a request. -1 is unlimited; ``ram`` is MiB.

    Of what is counted (the fields of ``Amount``) they are the project's, for all its users together; and
    who has limits of his own on that is held to them as well, by ``own``. All others are the nearest: the
    user's, where he has some.

    Of the last four there is nothing here: Compute had networks of its own once. What operators say of them
    is kept and shown, and holds nobody to anything.
    """

    instances: int = 10
    cores: int = 20
    ram: int = 51200
    key_pairs: int = 100
    metadata_items: int = 128
    server_groups: int = 10
    server_group_members: int = 10
    injected_files: int = 5
    injected_file_content_bytes: int = 10240
    injected_file_path_bytes: int = 255
    fixed_ips: int = UNLIMITED
    floating_ips: int = UNLIMITED
    security_groups: int = UNLIMITED
    security_group_rules: int = UNLIMITED
    own: "OwnLimits | None" = None

    @property
    def nearest(self) -> "Limits":
        """The user's limits, and the project's on what he has none on."""
        return self if self.own is None else self.own.limits


class OwnLimits(msgspec.Struct, frozen=True):
    """The nearest limits of a user who has limits of his own on what is counted."""

    user_id: UserId
    limits: Limits


def limits_in(section: Mapping[str, int]) -> Limits:
    """Return the limits of a configuration's section ``quota``."""
    known = {name: section[name] for name in Limits.__struct_fields__ if name in section}
    return msgspec.structs.replace(Limits(), **known)


def exceeded(asked: Amount, used: Amount, limits: Limits) -> str | None:
    """Return the sentence for a request that is over its limits, or None if it fits.

    What is not asked for is not over, however much is used of it. The sentence names each resource that is
    over with what is asked, used and allowed, in one order (Compute API reference, 403 of "Create server").
    """
    over = [
        name
        for name in sorted(Amount.__struct_fields__)
        if getattr(asked, name)
        and (limit := getattr(limits, name)) != UNLIMITED
        and getattr(used, name) + getattr(asked, name) > limit
    ]
    if not over:
        return None

    def of(amount: Amount | Limits) -> str:
        return ", ".join(str(getattr(amount, name)) for name in over)

    names = ", ".join(over)
    return (
        f"Quota exceeded for {names}: Requested {of(asked)}, "
        f"but already used {of(used)} of {of(limits)} {names}"
    )


def crowded(asked: int, used: int, limit: int) -> str | None:
    """Return the sentence for a server group that would have too many members, or None if it has room."""
    if limit == UNLIMITED or used + asked <= limit:
        return None
    name = "server_group_members"
    return (
        f"Quota exceeded for {name}: Requested {asked}, but already used {used} of {limit} {name}"
    )
