"""The shares of servers in a cell's database."""

from collections.abc import Callable
from typing import Any

import msgspec

from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.share import UNDER_WAY, Share, ShareReport
from kilonova.db.attached import Attached, Kind
from kilonova.db.carried import encode_shares, share_rows
from kilonova.db.cell_schema import ShareAttachment
from kilonova.db.statements import table_of

Change = Callable[[Instance], tuple[Share, ...]]


def heard(share: Share, host: HostName, said: ShareReport) -> Share | None:
    """Return what a share becomes by what a host says of it, None if it is its server's no more."""
    if said.gone:
        return None
    changes: dict[str, Any] = {}
    if said.rule is not None:
        others = {at: rule for at, rule in share.rules.items() if at != host}
        changes["rules"] = others | ({host: said.rule} if said.rule else {})
    if said.stage is not None:
        changes["stage"] = said.stage
    return msgspec.structs.replace(share, **changes)


_ATTACHED = Attached(
    Kind[Share, ShareReport](
        field="shares",
        key="share_id",
        table=table_of(ShareAttachment),
        encode=encode_shares,
        rows=share_rows,
        under_way=UNDER_WAY,
        heard=heard,
    )
)
change = _ATTACHED.change
hear = _ATTACHED.hear
servers_with = _ATTACHED.servers_with
standing_still = _ATTACHED.standing_still
touch = _ATTACHED.touch
