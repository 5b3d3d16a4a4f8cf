"""What servers need of their hosts, as it stands for as long as they do: read when they move."""

from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import InstanceUuid
from kilonova.core.image import Image
from kilonova.core.scheduling import RequestSpec
from kilonova.db.api_schema import StoredRequestSpec
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_specs = table_of(StoredRequestSpec)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RequestSpec).decode


def pin(api_db: Database, uuid: InstanceUuid, zone: str | None) -> None:
    """Let a server stay in a zone, or in none, wherever it is scheduled to from now on."""
    _change_spec(api_db, uuid, lambda spec: msgspec.structs.replace(spec, availability_zone=zone))


def change_image(api_db: Database, uuid: InstanceUuid, image: Image) -> None:
    """Let a server be one of this image, wherever it is scheduled to from now on."""
    _change_spec(api_db, uuid, lambda spec: msgspec.structs.replace(spec, image=image))


def _change_spec(
    api_db: Database, uuid: InstanceUuid, change: Callable[[RequestSpec], RequestSpec]
) -> None:
    mine = _specs.c.instance_uuid == uuid

    def work(connection: sa.Connection) -> None:
        row = connection.execute(sa.select(_specs.c.spec).where(mine).with_for_update()).first()
        if row is not None:
            spec = change(_decode(row.spec))
            connection.execute(sa.update(_specs).where(mine).values(spec=_encode(spec)))

    api_db.write(work)


def spec_of(api_db: Database, uuid: InstanceUuid) -> RequestSpec | None:
    """Return what a server needs of its host, or None if nothing is known of it."""
    query = sa.select(_specs.c.spec).where(_specs.c.instance_uuid == uuid)
    stored = api_db.query(lambda c: c.execute(query).scalar())
    return None if stored is None else _decode(stored)
