"""A small block storage service on loopback: the Block Storage API v3 as far as it is spoken here.

Volumes have the states that Cinder gives them, and what Cinder refuses in a state is refused. It can be
away, be slow to make a volume, and fail at what it is told to fail at.
"""

import re
import uuid
from collections.abc import Callable
from typing import Any

from tests.functional.peers.peer import Doc, Peer, Refused


class Cinder(Peer):
    """The service. ``options`` is what a configuration says to reach it."""

    def __init__(self, *, project_in_url: bool = False) -> None:
        super().__init__("cinder", "/v3", project_in_url=project_in_url)
        self.volumes: dict[str, Doc] = {}
        self.attachments: dict[str, Doc] = {}
        self.snapshots: dict[str, Doc] = {}
        self.failures: dict[str, int] = {}
        """Method and collection, such as ``PUT attachments``, -> status with which it is refused."""
        self.makes_at_once = True
        """Whether a new volume is available at once; ``finish`` makes it so."""
        self.asked: list[tuple[str, str, str]] = []
        """(method, path, token) of each request."""

    def add(self, project: str, **more: Any) -> str:
        """Have a volume of 1 GiB, and return its id."""
        volume_id: str = more.get("id") or str(uuid.uuid4())
        self.volumes[volume_id] = {
            "id": volume_id,
            "status": "available",
            "size": 1,
            "multiattach": False,
            "bootable": "false",
            "project": project,
            "migration_status": None,
            "availability_zone": "nova",
            **more,
        }
        return volume_id

    def add_snapshot(self, project: str, size: int = 1) -> str:
        """Have a snapshot, and return its id."""
        snapshot_id = str(uuid.uuid4())
        self.snapshots[snapshot_id] = {
            "id": snapshot_id,
            "status": "available",
            "size": size,
            "volume_id": str(uuid.uuid4()),
            "project": project,
        }
        return snapshot_id

    def finish(self, status: str = "available") -> None:
        """Make what is being made."""
        for volume in self.volumes.values():
            if volume["status"] == "creating":
                volume["status"] = status

    def status(self, volume_id: str) -> str:
        """Return a volume's status."""
        return str(self.volumes[volume_id]["status"])

    def hosts_of(self, volume_id: str) -> list[str | None]:
        """Return the host of each attachment of a volume."""
        return [
            (one["connector"] or {}).get("host")
            for one in self.attachments.values()
            if one["volume_id"] == volume_id
        ]

    def _route(self, environ: Doc, body: Doc) -> tuple[int, Doc | None]:
        token = environ.get("HTTP_X_AUTH_TOKEN", "")
        user, _, project = token.partition(":")
        if not user:
            raise Refused(401, "Who are you?")
        path = environ["PATH_INFO"]
        method = environ["REQUEST_METHOD"]
        self.asked.append((method, path, token))
        match = re.fullmatch(
            r"/v3(?:/(?P<project>[^/]+))?/(?P<kind>volumes|attachments|snapshots)"
            r"(?:/(?P<id>[^/]+))?(?:/(?P<action>action))?",
            path,
        )
        if match is None:
            raise Refused(404, "There is no such path.")
        if match["project"] not in (None, project):
            raise Refused(400, "Malformed request url")
        kind, one = match["kind"], match["id"]
        failure = self.failures.get(f"{method} {kind}")
        if failure is not None:
            raise Refused(failure, "It was told to fail.")
        served = environ.get("HTTP_X_SERVICE_TOKEN") == "admin:service"
        asker = (user == "admin" and project == "service" and served, project)
        name = f"_{method.lower()}_{kind}" + ("_action" if match["action"] else "")
        handler: Callable[..., tuple[int, Doc | None]] | None = getattr(self, name, None)
        if handler is None:
            raise Refused(404, "There is no such method.")
        return handler(one, body, asker, environ.get("QUERY_STRING", ""))

    def _mine(self, found: Doc | None, asker: tuple[bool, str], what: str) -> Doc:
        if found is None or not (asker[0] or found["project"] == asker[1]):
            raise Refused(404, f"{what} could not be found.")
        return found

    def _get_volumes(self, one: str, _b: Doc, asker: Any, _q: str) -> tuple[int, Doc]:
        return 200, {"volume": self._mine(self.volumes.get(one), asker, f"Volume {one}")}

    def _get_snapshots(self, one: str, _b: Doc, asker: Any, _q: str) -> tuple[int, Doc]:
        return 200, {"snapshot": self._mine(self.snapshots.get(one), asker, f"Snapshot {one}")}

    def _post_volumes(self, _one: str, body: Doc, asker: Any, _q: str) -> tuple[int, Doc]:
        wanted = body["volume"]
        status = "available" if self.makes_at_once else "creating"
        made = self.add(asker[1], size=wanted["size"], status=status)
        bootable = str("imageRef" in wanted).lower()
        self.volumes[made] |= {"wanted": wanted, "bootable": bootable}
        return 202, {"volume": self.volumes[made]}

    def _delete_volumes(self, one: str, _b: Doc, asker: Any, _q: str) -> tuple[int, None]:
        volume = self._mine(self.volumes.get(one), asker, f"Volume {one}")
        if volume["status"] not in ("available", "error", "creating"):
            raise Refused(400, f"Volume status must be available, but is {volume['status']}.")
        del self.volumes[one]
        return 202, None

    def _post_volumes_action(
        self, one: str, body: Doc, asker: Any, _q: str
    ) -> tuple[int, Doc | None]:
        volume = self._mine(self.volumes.get(one), asker, f"Volume {one}")
        if "os-migrate_volume_completion" in body:
            return 200, {"save_volume_id": self._migrated(volume, body)}
        if "os-reimage" in body:
            volume["wanted"] = {"imageRef": body["os-reimage"]["image_id"]}
            return 202, None
        raise Refused(400, "There is no such action.")

    def _migrated(self, volume: Doc, body: Doc) -> str:
        """A volume keeps its id, and is from now on what its copy was; if that failed, the copy goes."""
        said = body["os-migrate_volume_completion"]
        one = str(volume["id"])
        if not volume["migration_status"]:
            raise Refused(400, "Source volume not mid-migration.")
        copy = self.volumes.pop(said["new_volume"])
        volume["migration_status"] = "error" if said["error"] else "success"
        if not said["error"]:
            volume |= {"status": copy["status"], "size": copy["size"]}
            for attachment in self.attachments.values():
                if attachment["volume_id"] == copy["id"]:
                    attachment["volume_id"] = one
        return one

    def _post_snapshots(self, _one: str, body: Doc, asker: Any, _q: str) -> tuple[int, Doc]:
        wanted = body["snapshot"]
        volume = self._mine(self.volumes.get(wanted["volume_id"]), asker, "Volume")
        made = self.add_snapshot(asker[1], volume["size"])
        self.snapshots[made]["volume_id"] = volume["id"]
        return 202, {"snapshot": self.snapshots[made]}

    def _post_snapshots_action(self, one: str, body: Doc, asker: Any, _q: str) -> tuple[int, None]:
        snapshot = self._mine(self.snapshots.get(one), asker, f"Snapshot {one}")
        snapshot["status"] = body["os-update_snapshot_status"]["status"]
        return 202, None

    def _get_attachments(self, one: str | None, _b: Doc, asker: Any, query: str) -> tuple[int, Doc]:
        if one is not None:
            return 200, {"attachment": self._attachment(one)}
        server = re.search(r"instance_id=([^&]+)", query)
        return 200, {
            "attachments": [
                self._attachment(found)
                for found, doc in self.attachments.items()
                if server is None or doc["instance"] == server[1]
            ]
        }

    def _attachment(self, one: str) -> Doc:
        found = self.attachments.get(one)
        if found is None:
            raise Refused(404, f"Attachment {one} could not be found.")
        return {
            "id": one,
            "volume_id": found["volume_id"],
            "instance": found["instance"],
            "status": found["status"],
            "connection_info": self._connection(found) if found["connector"] else {},
        }

    def _connection(self, found: Doc) -> Doc:
        path = f"/dev/disk/by-id/{found['volume_id']}"
        return {"driver_volume_type": "local", "device_path": path, "access_mode": "rw"}

    def _post_attachments(self, _one: str, body: Doc, asker: Any, _q: str) -> tuple[int, Doc]:
        wanted = body["attachment"]
        volume = self._mine(self.volumes.get(wanted["volume_uuid"]), asker, "Volume")
        server = wanted["instance_uuid"]
        same = any(
            found["volume_id"] == volume["id"] and found["instance"] == server
            for found in self.attachments.values()
        )
        ready = volume["status"] == "available" or (
            volume["multiattach"] and volume["status"] == "in-use"
        )
        if not (ready or same):
            raise Refused(400, f"Invalid volume: Volume {volume['id']} status must be available.")
        made = str(uuid.uuid4())
        self.attachments[made] = {
            "volume_id": volume["id"],
            "instance": server,
            "status": "reserved",
            "connector": None,
        }
        if volume["status"] == "available":
            volume["status"] = "reserved"
        if "connector" in wanted:
            self._connect(self.attachments[made], wanted["connector"])
        return 200, {"attachment": self._attachment(made)}

    def _put_attachments(self, one: str, body: Doc, asker: Any, _q: str) -> tuple[int, Doc]:
        self._attachment(one)
        found = self.attachments[one]
        volume_id = found["volume_id"]
        connected = any(self.hosts_of(volume_id))
        # Only what is reserved and connected in one may be a second one.
        if len(self.hosts_of(volume_id)) > 1 and connected and not self._is_shared(volume_id):
            raise Refused(409, f"duplicate connectors detected on volume {volume_id}")
        self._connect(found, body["attachment"]["connector"])
        return 200, {"attachment": self._attachment(one)}

    def _is_shared(self, volume_id: str) -> bool:
        return bool(self.volumes[volume_id]["multiattach"])

    def _connect(self, found: Doc, connector: Doc) -> None:
        found |= {"connector": connector, "status": "attaching"}
        volume = self.volumes[found["volume_id"]]
        if volume["status"] == "reserved":
            volume["status"] = "attaching"

    def _post_attachments_action(
        self, one: str, body: Doc, asker: Any, _q: str
    ) -> tuple[int, None]:
        self._attachment(one)
        if "os-complete" not in body:
            raise Refused(400, "There is no such action.")
        self.attachments[one]["status"] = "attached"
        self.volumes[self.attachments[one]["volume_id"]]["status"] = "in-use"
        return 204, None

    def _delete_attachments(self, one: str, _b: Doc, asker: Any, _q: str) -> tuple[int, Doc]:
        self._attachment(one)
        if not asker[0]:
            raise Refused(409, "Detach volume from instance using the Compute API")
        volume = self.attachments.pop(one)["volume_id"]
        left = [one for one in self.attachments.values() if one["volume_id"] == volume]
        states = {one["status"] for one in left}
        order = (("attached", "in-use"), ("attaching", "attaching"), ("reserved", "reserved"))
        after = next((shown for state, shown in order if state in states), "available")
        self.volumes[volume]["status"] = after
        return 200, {"attachments": []}
