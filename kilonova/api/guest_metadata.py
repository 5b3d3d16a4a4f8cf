"""What guests with ports of a network service are told at 169.254.169.254, by its agents who ask for them.

Neutron's agent knows by the port who asks. It says so in headers, signed with a secret that it shares with
this service, and is answered where the Compute API listens.
"""

import hmac
import logging
import secrets
import uuid as uuids
from collections.abc import Callable, Iterable
from typing import Any

import falcon

from kilonova.api.services import Services
from kilonova.core.context import service_context
from kilonova.core.errors import DatabaseUnavailable, KilonovaError
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.tagged_devices import Placed, has_tags
from kilonova.db import cells, instances
from kilonova.http.identity import Wsgi
from kilonova.http.metadata.openstack import Told
from kilonova.http.metadata.service import create_app
from kilonova.rpc.messages import DevicesFound, FindDevices

LOG = logging.getLogger(__name__)

_SERVER = "X-Instance-ID"
_PROJECT = "X-Tenant-ID"
_SIGNATURE = "X-Instance-ID-Signature"
_SEED = 512
_HOST_SECONDS = 3.0


def with_metadata(app: Wsgi, services: Services) -> Wsgi:
    """Return ``app``, and beside it what agents are answered; ``app`` alone where no secret is shared."""
    secret: str | None = services.conf.neutron.metadata_proxy_shared_secret
    if not secret:
        return app
    key = secret.encode()
    agents = create_app(lambda request: _told_to(request, key, services))

    def choose(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chosen = agents if "HTTP_X_INSTANCE_ID" in environ else app
        return chosen(environ, start_response)

    return choose


def _told_to(request: falcon.Request, key: bytes, services: Services) -> Told | None:
    """Return what is told to the server that a request names, None if there is none of that project."""
    server_id, project, signature = (_header(request, n) for n in (_SERVER, _PROJECT, _SIGNATURE))
    expected = hmac.new(key, server_id.encode("latin-1"), "sha256").hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode("latin-1")):
        LOG.warning("A request for metadata from %s is not signed well", request.remote_addr)
        raise falcon.HTTPForbidden(description="Invalid proxy request signature.")
    try:
        return _told(InstanceUuid(str(uuids.UUID(server_id))), project, services)
    except ValueError:
        return None
    except DatabaseUnavailable as error:
        LOG.warning("Metadata of %s: %s", server_id, error.in_full)
        raise falcon.HTTPServiceUnavailable(description="Try again later.") from error


def _header(request: falcon.Request, name: str) -> str:
    value = request.get_header(name)
    if not value:
        raise falcon.HTTPBadRequest(description=f"{name} header is missing from request.")
    return str(value)


def _told(uuid: InstanceUuid, project: str, services: Services) -> Told | None:
    mapping = cells.mapping_of(services.api_db, uuid)
    if mapping is None or mapping.cell_uuid is None or mapping.project_id != project:
        return None
    instance = instances.get(services.cells.database(mapping.cell_uuid), uuid)
    if instance is None:
        return None
    placed = _placed(instance, mapping.cell_uuid, services)
    seed = secrets.token_bytes(_SEED)
    return Told(instance=instance, nics=instance.nics, seed=seed, placed=placed)


def _placed(instance: Instance, cell: CellUuid, services: Services) -> tuple[Placed, ...] | None:
    """Return where the server's devices are, if that is told of any and its host says so."""
    if instance.host is None or not has_tags(instance, instance.nics):
        return None
    question = FindDevices(instance_uuid=instance.uuid)
    bus = services.cell_bus(cell)
    try:
        return bus.call(
            service_context(), question, DevicesFound, host=instance.host, timeout=_HOST_SECONDS
        ).devices
    except KilonovaError as error:
        LOG.info("Where devices of %s are is not known: %s", instance.uuid, error)
        return None
