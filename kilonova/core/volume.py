"""Volumes: disks that a block storage service keeps, as a server has them."""

from enum import StrEnum
from typing import Any

import msgspec

from kilonova.core.ids import HostName, RequestId


class VolumeStage(StrEnum):
    """What is under way with a volume of a server."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    SWAPPING = "swapping"


UNDER_WAY = frozenset({VolumeStage.ATTACHING, VolumeStage.DETACHING, VolumeStage.SWAPPING})
"""The stages in which a host has something to do."""

NOBODY = HostName("")
"""Whose an attachment is that only reserves a volume."""


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume of a server.

    ``device`` is what the guest calls it, such as ``/dev/vdb``; ``bus`` None is the guest's usual one.
    ``attachments`` are the block storage service's attachment ids by host: two while the server moves.
    ``request_id`` is the request that has brought about ``stage``. ``replacement`` is the volume that a
    swap puts in its place. ``connection`` tells a host how to reach it: it holds secrets, and is not kept.
    """

    volume_id: str
    device: str = ""
    boot_index: int | None = None
    bus: str | None = None
    kind: str = "disk"
    tag: str | None = None
    delete_on_termination: bool = False
    multiattach: bool = False
    size_gb: int = 0
    stage: VolumeStage = VolumeStage.ATTACHED
    request_id: RequestId = RequestId("")
    attachments: dict[HostName, str] = {}
    replacement: str | None = None
    connection: dict[str, Any] | None = None

    def attachment_at(self, host: HostName | None) -> str:
        """Return the attachment of a host, else the one there is, else an empty text."""
        found = self.attachments.get(host or NOBODY)
        return found or next(iter(self.attachments.values()), "")


class VolumeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says of a volume of a server, on behalf of ``request_id``.

    It is refused unless the volume is the server's and, where ``begins`` is named, in that stage by that
    request, and the host is the server's. ``attachment`` is the host's own from now on, an empty text if
    there is none any more; ``reserved`` is one of no host. ``stage`` is what the volume becomes; with
    ``gone`` it is the server's no more. ``size_gb`` 0 leaves it as it was.
    """

    volume_id: str
    begins: VolumeStage | None = None
    attachment: str | None = None
    reserved: str | None = None
    stage: VolumeStage | None = None
    gone: bool = False
    replaced_by: str | None = None
    size_gb: int = 0
