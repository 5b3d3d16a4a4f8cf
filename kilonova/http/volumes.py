"""The block storage service as ours see it: a client of the Block Storage API v3, Cinder's.

A user's volumes are looked at, made and reserved with the user's own token, so that what he may do with
them is theirs to say. What hosts do with them, and what is removed, is done with our credentials,
which the service must know as an administrator's (and as a service's: role ``service``).
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from keystoneauth1 import adapter, exceptions
from oslo_config import cfg

from kilonova.core.errors import (
    Invalid,
    KilonovaError,
    NotFound,
    VolumesUnavailable,
)
from kilonova.core.ids import InstanceUuid
from kilonova.http import peers
from kilonova.http.peers import Asker

_TIMEOUT = 60.0
_VERSION = "volume 3.44"
"""From 3.44 on an attachment is complete only when that is said."""
_REIMAGE_VERSION = "volume 3.68"
IS_MOVING = frozenset({"starting", "migrating", "completing"})
"""Values of ``migration_status`` with which the service waits for a host to copy a volume."""
_TAKEN = frozenset({"in-use", "attaching", "reserved", "detaching"})


class StoredVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume as the block storage service tells of it. ``size_gb`` is GiB."""

    volume_id: str
    status: str
    size_gb: int
    multiattach: bool
    bootable: bool
    migration_status: str
    zone: str
    image: dict[str, str]


class NewVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume to be made: of an image, of a snapshot, or blank."""

    size_gb: int
    image_id: str | None = None
    snapshot_id: str | None = None
    volume_type: str | None = None


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A tie between a volume and a server. ``connection`` tells a host how to reach the volume."""

    attachment_id: str
    volume_id: str
    status: str
    connection: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Attachment({self.attachment_id!r}, volume_id={self.volume_id!r})"


def load(conf: cfg.ConfigOpts) -> "Volumes":
    """Return a client from ``[cinder]``, whose options are keystoneauth1's. Without ``auth_type`` there
    is no block storage service."""
    # keystoneauth1 knows volumev3 as an older name of it.
    return Volumes(peers.found_if_there(conf, "cinder", "block-storage"))


class Volumes:
    """A block storage service, or none.

    Every method raises ``VolumesUnavailable`` when it does not answer, ``NotFound`` for what is not there
    or not the asker's, and ``Invalid``, ``Conflict`` or ``Forbidden`` with the service's own words where
    it refuses; ``Invalid``, too, where there is none.
    """

    def __init__(self, http: adapter.Adapter | None) -> None:
        self._http = http

    @property
    def is_there(self) -> bool:
        """Whether one is configured."""
        return self._http is not None

    def get(self, volume_id: str, asker: Asker | None = None) -> StoredVolume:
        """Return a volume, for its user or (None) for us."""
        found = self._ask("GET", f"/volumes/{volume_id}", asker=asker)["volume"]
        return _stored(found)

    def snapshot_size(self, snapshot_id: str, asker: Asker) -> int:
        """Return the GiB of a snapshot's volume."""
        found = self._ask("GET", f"/snapshots/{snapshot_id}", asker=asker)["snapshot"]
        return int(found["size"])

    def create(self, wanted: NewVolume, asker: Asker) -> str:
        """Begin to make a volume, and return its id."""
        body = {
            "size": wanted.size_gb,
            "imageRef": wanted.image_id,
            "snapshot_id": wanted.snapshot_id,
            "volume_type": wanted.volume_type,
        }
        known = {name: value for name, value in body.items() if value is not None}
        made = self._ask("POST", "/volumes", {"volume": known}, asker=asker)
        return str(made["volume"]["id"])

    def delete(self, volume_id: str) -> None:
        """Remove a volume. One that is not there is no error."""
        try:
            self._ask("DELETE", f"/volumes/{volume_id}")
        except NotFound:
            return

    def reserve(self, volume_id: str, server: InstanceUuid, asker: Asker | None = None) -> str:
        """Reserve a volume for a server, and return the attachment's id.

        Raises:
            Invalid: it is not to be had: somebody else's, or not ready.
        """
        wanted = {"volume_uuid": volume_id, "instance_uuid": server}
        made = self._ask("POST", "/attachments", {"attachment": wanted}, asker=asker)
        return str(made["attachment"]["id"])

    def attach(
        self, volume_id: str, server: InstanceUuid, connector: Mapping[str, Any]
    ) -> Attachment:
        """Reserve a volume for a server and let a host reach it, though another host may do so already.

        Raises:
            Invalid: it is not to be had.
        """
        wanted = {
            "volume_uuid": volume_id,
            "instance_uuid": server,
            "connector": dict(connector),
        }
        made = self._ask("POST", "/attachments", {"attachment": wanted})["attachment"]
        return _attachment(made, made["connection_info"])

    def connect(self, attachment_id: str, connector: Mapping[str, Any]) -> dict[str, Any]:
        """Let a host, which a connector describes, reach a volume that is reserved and no other host's.

        Returns how it does.
        """
        path, wanted = f"/attachments/{attachment_id}", {"connector": dict(connector)}
        made = self._ask("PUT", path, {"attachment": wanted})
        return dict(made["attachment"]["connection_info"])

    def connection(self, attachment_id: str) -> dict[str, Any]:
        """Return how a host reaches a volume, empty if the attachment is only a reservation."""
        found = self._ask("GET", f"/attachments/{attachment_id}")["attachment"]
        return dict(found.get("connection_info") or {})

    def complete(self, attachment_id: str) -> None:
        """Say that a host has its volume. Said before, it is no error."""
        self._ask("POST", f"/attachments/{attachment_id}/action", {"os-complete": None})

    def release(self, attachment_id: str) -> None:
        """Remove an attachment. One that is not there is no error."""
        try:
            self._ask("DELETE", f"/attachments/{attachment_id}")
        except NotFound:
            return

    def attachments_of(self, server: InstanceUuid) -> tuple[Attachment, ...]:
        """Return every attachment of a server, whoever made it."""
        path = f"/attachments?all_tenants=1&instance_id={server}"
        found = self._ask("GET", path)["attachments"]
        return tuple(_attachment(one) for one in found)

    def snapshot(self, volume_id: str, name: str, asker: Asker) -> str:
        """Begin to copy a volume, which may be in use, and return the snapshot's id."""
        wanted = {"volume_id": volume_id, "name": name, "force": True}
        made = self._ask("POST", "/snapshots", {"snapshot": wanted}, asker=asker)
        return str(made["snapshot"]["id"])

    def tell_snapshot(self, snapshot_id: str, status: str, progress: str) -> None:
        """Tell how far a snapshot is that a host makes (status ``creating``, ``error``, ``deleting``)."""
        told = {"status": status, "progress": progress}
        body = {"os-update_snapshot_status": told}
        self._ask("POST", f"/snapshots/{snapshot_id}/action", body)

    def finish_migration(
        self, volume_id: str, replacement: str, *, has_failed: bool = False
    ) -> str:
        """Say that a server has ``replacement`` instead of a volume, or still the volume if that failed.

        Returns which of both remains the server's; what is on the other is removed.
        """
        wanted = {"new_volume": replacement, "error": has_failed}
        body = {"os-migrate_volume_completion": wanted}
        return str(self._ask("POST", f"/volumes/{volume_id}/action", body)["save_volume_id"])

    def reimage(self, volume_id: str, image_id: str) -> None:
        """Begin to write an image over a volume that is reserved."""
        wanted = {"image_id": image_id, "reimage_reserved": True}
        path = f"/volumes/{volume_id}/action"
        self._ask("POST", path, {"os-reimage": wanted}, version=_REIMAGE_VERSION)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        asker: Asker | None = None,
        version: str = _VERSION,
    ) -> Any:
        if self._http is None:
            raise Invalid("No block storage service is configured, so there are no volumes.")
        headers = {"OpenStack-API-Version": version, "Accept": "application/json"}
        try:
            root = _root(self._http, asker)
            # That a service asks: only to one does Cinder give back what servers have.
            headers["X-Service-Token"] = self._http.get_token() or ""
            if asker is not None:
                headers["X-Auth-Token"] = asker.token
            answer = self._http.request(
                f"{root}{path}",
                method,
                raise_exc=False,
                timeout=_TIMEOUT,
                headers=headers,
                # The user's token stands in place of ours.
                authenticated=asker is None,
                connect_retries=1 if method == "GET" else 0,
                # How a volume is reached holds secrets, and who debugs would have them in his log.
                log=not path.startswith("/attachments"),
                **({} if body is None else {"json": dict(body)}),
            )
        except exceptions.ClientException as error:
            raise VolumesUnavailable("The block storage service does not answer.") from error
        if answer.status_code >= 300:
            raise _refusal(answer, path)
        return answer.json() if answer.content else None


def _root(http: adapter.Adapter, asker: Asker | None) -> str:
    endpoint = http.get_endpoint()
    if not endpoint:
        raise VolumesUnavailable("Nobody knows where the block storage service is.")
    return peers.root_for(str(endpoint), asker)


def _attachment(
    found: Mapping[str, Any], connection: Mapping[str, Any] | None = None
) -> Attachment:
    return Attachment(
        attachment_id=found["id"],
        volume_id=found["volume_id"],
        status=found["status"],
        connection=dict(connection or {}),
    )


def _stored(found: Mapping[str, Any]) -> StoredVolume:
    image = found.get("volume_image_metadata") or {}
    return StoredVolume(
        volume_id=found["id"],
        status=found["status"],
        size_gb=int(found["size"]),
        multiattach=bool(found.get("multiattach")),
        migration_status=found.get("migration_status") or "",
        bootable=str(found.get("bootable")).lower() == "true",
        zone=found.get("availability_zone") or "",
        image={name: str(value) for name, value in image.items()},
    )


def check_free(volume: StoredVolume, *, to_be_shared: bool = False) -> None:
    """Refuse a volume that another server has, or that is not ready.

    Raises:
        Invalid: naming its status.
    """
    shared = volume.multiattach and to_be_shared and volume.status == "in-use"
    if volume.status != "available" and not shared:
        taken = "in use" if volume.status in _TAKEN else "not available"
        raise Invalid(
            f"Invalid volume: volume {volume.volume_id} is {taken}; "
            f"its status must be 'available', but it is '{volume.status}'."
        )


def _refusal(answer: Any, path: str) -> KilonovaError:
    kind, _, name = path.lstrip("/").partition("/")
    missing = f"{kind.rstrip('s').capitalize()} {name.partition('/')[0]} could not be found."
    said = f"The block storage service answered {answer.status_code}."
    return peers.refusal(answer, missing, VolumesUnavailable(said))
