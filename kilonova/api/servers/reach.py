"""Whether a server's host can be told anything.

What only that host could do is refused while it is down: nobody could say when it would be done. One that
falls silent afterwards is told when it is back, or the converger ends what it was to do.
"""

from kilonova.api.compute_services import fleet_of, is_up
from kilonova.api.routing import Asked
from kilonova.core.errors import Conflict
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.db import hosts


def host_is_up(asked: Asked, host: HostName | None) -> bool:
    """Whether a compute host gave a sign of life lately, and is not said to be down."""
    found, _ = fleet_of(asked).services(binary=hosts.COMPUTE, host=host)
    return any(is_up(asked, service) for service in found)


def check_reached(asked: Asked, server: Instance) -> None:
    """Refuse what only a server's host can do, if that is down. One without a host needs none.

    Raises:
        Conflict: it is.
    """
    if server.host is not None and not host_is_up(asked, server.host):
        raise Conflict(
            f"The host of instance {server.uuid} is down; nothing can be done there now."
        )
