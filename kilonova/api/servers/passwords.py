"""The password of a server's administrator: changed by its host, shown as only its owner's key reads it."""

from kilonova.api.find import find_server
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.servers.tasks import order, placed
from kilonova.core.orders import ChangePassword
from kilonova.db import passwords

_RULE = "os_compute_api:os-server-password"


def change(asked: Asked, server_id: str) -> Answer:
    """``changePassword``."""
    order(asked, server_id, ChangePassword(password=asked.body["changePassword"]["adminPass"]))
    return Answer(status=202)


def show(asked: Asked, server_id: str) -> Answer:
    """``GET /servers/{server_id}/os-server-password``: empty where none was ever told."""
    located = find_server(asked, server_id)
    if located.cell_uuid is None:
        return Answer({"password": ""})
    database = asked.services.cells.database(located.cell_uuid)
    return Answer({"password": passwords.get(database, located.instance.uuid) or ""})


def clear(asked: Asked, server_id: str) -> Answer:
    """``DELETE /servers/{server_id}/os-server-password``: forget it; the guest's own stays as it is."""
    instance, cell = placed(find_server(asked, server_id), "clear_password")
    passwords.clear(asked.services.cells.database(cell), instance.uuid)
    return Answer(status=204)


_PATH = "/servers/{server_id}/os-server-password"
ROUTES = (
    Route("GET", _PATH, f"{_RULE}:show", show),
    Route("DELETE", _PATH, f"{_RULE}:clear", clear),
)
