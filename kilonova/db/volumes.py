"""The volumes of servers in a cell's database."""

from collections.abc import Callable
from typing import Any

import msgspec

from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.volume import NOBODY, UNDER_WAY, Volume, VolumeReport
from kilonova.db.attached import Attached, Kind
from kilonova.db.carried import encode_volumes, volume_rows
from kilonova.db.cell_schema import VolumeAttachment
from kilonova.db.statements import table_of

Change = Callable[[Instance], tuple[Volume, ...]]


def heard(volume: Volume, host: HostName, said: VolumeReport) -> Volume | None:
    """Return what a volume becomes by what a host says of it, None if it is its server's no more."""
    if said.gone:
        return None
    changes: dict[str, Any] = {}
    if said.attachment is not None:
        # A reservation becomes the attachment of the host that takes it.
        taken = (host, NOBODY) if said.attachment else (host,)
        left = {at: one for at, one in volume.attachments.items() if at not in taken}
        mine = {host: said.attachment} if said.attachment else {}
        changes["attachments"] = {**left, **mine}
    if said.reserved is not None:
        changes["attachments"] = {**volume.attachments, NOBODY: said.reserved}
    if said.stage is not None:
        changes |= {"stage": said.stage, "replacement": None}
    if said.replaced_by is not None:
        changes["volume_id"] = said.replaced_by
    if said.size_gb:
        changes["size_gb"] = said.size_gb
    return msgspec.structs.replace(volume, **changes)


_ATTACHED = Attached(
    Kind[Volume, VolumeReport](
        field="volumes",
        key="volume_id",
        table=table_of(VolumeAttachment),
        encode=encode_volumes,
        rows=lambda server: volume_rows([server]),
        under_way=UNDER_WAY,
        heard=heard,
    )
)
change = _ATTACHED.change
hear = _ATTACHED.hear
servers_with = _ATTACHED.servers_with
standing_still = _ATTACHED.standing_still
touch = _ATTACHED.touch
