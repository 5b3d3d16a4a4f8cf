"""Finds one server, wherever it is: in a cell, in cell0, or still a build request."""

import uuid as uuids

from kilonova.api.routing import Asked
from kilonova.core.errors import DatabaseUnavailable, NotFound
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Located
from kilonova.db import cells, instance_lists, instances


def missing(server_id: str) -> NotFound:
    """Return the error for a server that is not there, or that the asker may not know of."""
    return NotFound(f"Instance {server_id} could not be found.")


def find_server(asked: Asked, server_id: str, *, with_deleted: bool = False) -> Located:
    """Return a server of the asker's project (of any, for administrators).

    Raises:
        NotFound: there is none.
        DatabaseUnavailable: its cell does not answer.
    """
    try:
        uuid = InstanceUuid(str(uuids.UUID(server_id)))
    except ValueError as error:
        raise missing(server_id) from error
    services = asked.services
    for _ in range(2):
        # Twice: between the two looks a build request may have become an instance.
        mapping = cells.mapping_of(services.api_db, uuid)
        if mapping is None:
            break
        if mapping.project_id != asked.context.project_id and not asked.is_admin:
            break
        if mapping.cell_uuid is None:
            requested = instance_lists.get_requested(services.api_db, uuid)
            if requested is not None:
                return Located(instance=requested, cell_uuid=None)
            continue
        database = services.cells.database(mapping.cell_uuid)
        try:
            instance = instances.get(database, uuid, with_deleted=with_deleted)
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(
                f"The cell of instance {uuid} does not answer. Try again later."
            ) from error
        if instance is None:
            break
        return Located(instance=instance, cell_uuid=mapping.cell_uuid)
    raise missing(server_id)
