"""Shares: file systems that a share service keeps, as a server has them. Pure."""

import uuid
from collections.abc import Collection
from enum import StrEnum

import msgspec

from kilonova.core.ids import HostName, RequestId
from kilonova.core.states import PowerState

NFS, CEPHFS = "NFS", "CEPHFS"
PROTOCOLS = frozenset({NFS, CEPHFS})
"""What a host can mount."""

VIRTIO_FS = "COMPUTE_STORAGE_VIRTIO_FS"
"""What Placement is told of a host whose guests can have shares."""
MEMORY_FILE = "COMPUTE_MEM_BACKING_FILE"
"""What it is told, too: guests with shares have their memory in files there, whatever their flavor says."""

_IDENTITIES = uuid.UUID("0c2f3c5e-6a0f-4f0d-8f6d-7c0e6f1b9a54")
_OFF = frozenset({PowerState.NOSTATE, PowerState.SHUTDOWN, PowerState.CRASHED})


class ShareStage(StrEnum):
    """What is under way with a share of a server, or that the last attempt at something failed."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    ERROR = "error"


UNDER_WAY = frozenset({ShareStage.ATTACHING, ShareStage.DETACHING})
"""The stages in which a host has something to do."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share of a server.

    ``tag`` is what the guest mounts it by, ``export`` where hosts mount it from by ``protocol``. ``rules``
    are the share service's ids of the access rules, by the host that each lets in. ``request_id`` is the
    request that has brought about ``stage``.
    """

    uuid: str
    share_id: str
    tag: str
    protocol: str
    export: str
    stage: ShareStage = ShareStage.ATTACHED
    request_id: RequestId = RequestId("")
    rules: dict[HostName, str] = {}


class ShareReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says of a share of a server, on behalf of its report's request.

    It is refused unless the share is the server's and, where ``begins`` is named, in that stage by that
    request, and the host is the server's. ``rule`` is the access rule that lets the host in from now on, an
    empty text if there is none any more. ``stage`` is what the share becomes; with ``gone`` it is the
    server's no more.
    """

    share_id: str
    begins: ShareStage | None = None
    rule: str | None = None
    stage: ShareStage | None = None
    gone: bool = False


class AccessWanted(msgspec.Struct, frozen=True):
    """Whom an access rule lets in: an ``ip`` address, or a ``cephx`` identity."""

    kind: str
    to: str


def access_for(share: Share, host: HostName, address: str) -> AccessWanted:
    """Return how a host, which is at an address, is let in to a share."""
    if share.protocol == CEPHFS:
        return AccessWanted("cephx", cephx_identity(host))
    return AccessWanted("ip", address)


def all_access(host: HostName, address: str) -> tuple[AccessWanted, ...]:
    """Return every way in which a host may have been let in."""
    return AccessWanted("ip", address), AccessWanted("cephx", cephx_identity(host))


def cephx_identity(host: HostName) -> str:
    """Return who a host is to Ceph: a word of letters and digits, whatever is in the host's name."""
    return f"kilonova-{uuid.uuid5(_IDENTITIES, host).hex}"


def shown(share: Share, power: PowerState) -> str:
    """Return a share's status, as its owner sees it: it is ``active`` while its guest runs with it."""
    if share.stage is not ShareStage.ATTACHED:
        return share.stage.value
    return "inactive" if power in _OFF else "active"


def staying(shares: Collection[Share]) -> tuple[Share, ...]:
    """Return the shares that a guest is to have: all but those that are on their way from its server."""
    return tuple(share for share in shares if share.stage is not ShareStage.DETACHING)
