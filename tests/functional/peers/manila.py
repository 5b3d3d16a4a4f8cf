"""A small share service on loopback: the Shared File Systems API v2 as far as it is spoken here.

Access rules have the states that Manila gives them, and their locks. It can be away, be slow to let
somebody in, know no locks, and fail at what it is told to fail at.
"""

import re
import uuid
from typing import Any

from tests.functional.peers.peer import Doc, Peer, Refused


class Manila(Peer):
    """The service. ``options`` is what a configuration says to reach it; ``newest`` is what it speaks."""

    def __init__(self, *, project_in_url: bool = False, newest: tuple[int, int] = (2, 90)) -> None:
        super().__init__("manila", "/v2", project_in_url=project_in_url)
        self._newest = newest
        self.shares: dict[str, Doc] = {}
        self.rules: dict[str, Doc] = {}
        self.failures: dict[str, int] = {}
        """``GET shares``, ``allow_access`` and such -> status with which it is refused."""
        self.lets_in: str | None = "active"
        """What becomes of a new access rule when it is looked at; None: it stays as it is for now."""
        self.lets_out = True
        """Whether an access rule that is taken away is gone when it is looked at."""
        self.asked: list[tuple[str, str, str]] = []
        """(method, path or action, token) of each request."""

    def add(self, project: str, **more: Any) -> str:
        """Have a share of NFS's, and return its id."""
        share_id: str = more.get("id") or str(uuid.uuid4())
        self.shares[share_id] = {
            "id": share_id,
            "status": "available",
            "share_proto": "NFS",
            "project_id": project,
            "is_public": False,
            "exports": [
                {"path": f"192.0.2.9:/other/{share_id}", "preferred": False},
                {"path": f"192.0.2.1:/exports/{share_id}", "preferred": True},
            ],
            **more,
        }
        return share_id

    def let_in(self, share_id: str) -> dict[str, str]:
        """Return whom a share lets in, with the state of each rule."""
        mine = (one for one in self.rules.values() if one["share_id"] == share_id)
        return {f"{one['access_type']} {one['access_to']}": one["state"] for one in mine}

    def _route(self, environ: Doc, body: Doc) -> tuple[int, Doc | None]:
        token = environ.get("HTTP_X_AUTH_TOKEN", "")
        user, _, project = token.partition(":")
        if not user:
            raise Refused(401, "Who are you?")
        asked = environ.get("HTTP_X_OPENSTACK_MANILA_API_VERSION", "2.0")
        if tuple(map(int, asked.split("."))) > self._newest:
            raise Refused(406, f"Version {asked} is not supported by the API.")
        match = re.fullmatch(
            r"/v2(?:/(?P<project>[^/]+))??/(?P<kind>shares|share-access-rules)"
            r"(?:/(?P<id>[^/]+))?(?:/(?P<part>action|export_locations))?",
            environ["PATH_INFO"],
        )
        if match is None:
            raise Refused(404, "There is no such path.")
        if match["project"] not in (None, project):
            raise Refused(400, "Malformed request url")
        method, what = environ["REQUEST_METHOD"], next(iter(body), match["kind"])
        self.asked.append((method, what, token))
        failure = self.failures.get(what if body else f"{method} {what}")
        if failure is not None:
            raise Refused(failure, "It was told to fail.")
        admin = user == "admin" and project == "service"
        if match["kind"] == "share-access-rules":
            query = re.search(r"share_id=([^&]+)", environ.get("QUERY_STRING", ""))
            share = self.shares.get(query[1] if query else "")
            if share is None or not admin:
                raise Refused(400, "Share could not be found.")
            return 200, {"access_list": self._rules(share["id"])}
        share = self.shares.get(match["id"])
        if share is None or not (admin or share["is_public"] or share["project_id"] == project):
            raise Refused(404, f"Share {match['id']} could not be found.")
        if match["part"] == "export_locations":
            return 200, {"export_locations": share["exports"]}
        if match["part"] == "action":
            return self._act(share, body, locks=asked >= "2.82")
        return 200, {"share": {k: v for k, v in share.items() if k != "exports"}}

    def _rules(self, share_id: str) -> list[Doc]:
        found = []
        for rule_id, rule in list(self.rules.items()):
            if rule["share_id"] != share_id:
                continue
            if rule["state"] == "denying" and self.lets_out:
                del self.rules[rule_id]
                continue
            if rule["state"] == "queued_to_apply" and self.lets_in is not None:
                rule["state"] = self.lets_in
                is_ceph = rule["access_type"] == "cephx"
                rule["access_key"] = "c2VjcmV0IGtleQ==" if is_ceph else None
            found.append(dict(rule))
        return found

    def _act(self, share: Doc, body: Doc, *, locks: bool) -> tuple[int, Doc | None]:
        if "allow_access" in body:
            wanted = body["allow_access"]
            if ("lock_deletion" in wanted) != locks:
                raise Refused(400, "Locks are from 2.82 on.")
            same = (wanted["access_type"], wanted["access_to"])
            for rule in self.rules.values():
                known = (rule["access_type"], rule["access_to"])
                if rule["share_id"] == share["id"] and known == same:
                    raise Refused(400, f"Share access {wanted['access_type']} exists.")
            rule_id = str(uuid.uuid4())
            self.rules[rule_id] = {
                "id": rule_id,
                "share_id": share["id"],
                "state": "queued_to_apply",
                "access_key": None,
                **wanted,
            }
            return 200, {"access": dict(self.rules[rule_id])}
        wanted = body["deny_access"]
        found = self.rules.get(wanted["access_id"])
        if found is None or found["share_id"] != share["id"]:
            raise Refused(404, "There is no such rule.")
        if found.get("lock_deletion") and not wanted.get("unrestrict"):
            raise Refused(403, "It is locked.")
        found["state"] = "denying"
        return 202, None
