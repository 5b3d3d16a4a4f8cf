"""Changes of servers that were accepted, and that nobody has begun to place."""

from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance
from kilonova.db.api_schema import BuildRequest
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Instance).decode
_requests = table_of(BuildRequest)


def change(api_db: Database, uuid: InstanceUuid, become: Callable[[Instance], Instance]) -> bool:
    """Change what a server will be; False if it is being placed, and its place alone can say what it is."""
    mine = sa.and_(
        _requests.c.instance_uuid == uuid,
        _requests.c.driver == "",
        _requests.c.withdrawn.is_(False),
    )

    def work(connection: sa.Connection) -> bool:
        query = sa.select(_requests.c.instance).where(mine).with_for_update()
        stored = connection.execute(query).scalar()
        if stored is None:
            return False
        changed = _encode(become(_decode(stored)))
        update = sa.update(_requests).where(mine).values(instance=changed)
        return bool(connection.execute(update).rowcount)

    return api_db.write(work)
