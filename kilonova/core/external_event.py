"""Something that another service says happened to a server."""

import msgspec

from kilonova.core.ids import InstanceUuid


class ExternalEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a server. ``tag`` says of which of its parts: a port, a volume, a device profile, or what
    its power became. ``status`` is completed, failed or in-progress."""

    server_uuid: InstanceUuid
    name: str
    tag: str | None = None
    status: str = "completed"


NEEDS_TAG = frozenset(
    {"volume-extended", "power-update", "accelerator-request-bound", "volume-reimaged"}
)
"""Events that mean nothing without a tag."""
