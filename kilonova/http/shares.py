"""The share service as ours see it: a client of the Shared File Systems API v2, Manila's.

A user's share is looked at with the user's own token, so that whose it is is theirs to say. Whom it lets in
is said with our credentials, which the service must know as an administrator's, and what we said is locked:
nobody can remove a share, or an access rule of a host, while a server has the share.
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
    SharesUnavailable,
)
from kilonova.core.share import AccessWanted
from kilonova.http import peers
from kilonova.http.peers import Asker

_TIMEOUT = 60.0
_VERSION = "2.82"
"""From 2.82 on access rules can be locked."""
_OLDER_VERSION = "2.45"
"""From 2.45 on access rules can be listed by themselves."""
_LOCKED = {
    "lock_visibility": True,
    "lock_deletion": True,
    "lock_reason": "A server of the compute service has it.",
}


class StoredShare(msgspec.Struct, frozen=True, kw_only=True):
    """A share as the share service tells of it. ``export`` is where it is mounted from, or empty."""

    share_id: str
    status: str
    protocol: str
    project_id: str
    export: str


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """An access rule. It lets in once its ``state`` is active; ``key`` is a cephx identity's secret."""

    rule_id: str
    state: str
    key: str = ""

    def __repr__(self) -> str:
        return f"Access({self.rule_id!r}, state={self.state!r})"


def load(conf: cfg.ConfigOpts) -> "Shares":
    """Return a client from ``[manila]``, whose options are keystoneauth1's. Without ``auth_type`` there is
    no share service."""
    # keystoneauth1 knows sharev2 as an older name of it.
    return Shares(peers.found_if_there(conf, "manila", "shared-file-system"))


class Shares:
    """A share service, or none.

    Every method raises ``SharesUnavailable`` when it does not answer, ``NotFound`` for what is not there or
    not the asker's, and ``Invalid``, ``Conflict`` or ``Forbidden`` with the service's own words where it
    refuses; ``Invalid``, too, where there is none.
    """

    def __init__(self, http: adapter.Adapter | None) -> None:
        self._http = http
        self._version = _VERSION

    def get(self, share_id: str, asker: Asker) -> StoredShare:
        """Return a share that a user may see."""
        path = f"/shares/{share_id}"
        found = self._ask("GET", path, asker=asker)["share"]
        exports = self._ask("GET", f"{path}/export_locations", asker=asker)["export_locations"]
        preferred = [one for one in exports if one.get("preferred")] or exports
        return StoredShare(
            share_id=found["id"],
            status=found["status"],
            protocol=str(found["share_proto"]).upper(),
            project_id=found["project_id"],
            export=str(preferred[0]["path"]) if preferred else "",
        )

    def access(self, share_id: str, wanted: AccessWanted) -> Access | None:
        """Return the access rule of a share that lets somebody in, or None."""
        found = self._ask("GET", f"/share-access-rules?share_id={share_id}")["access_list"]
        for one in found:
            if (one["access_type"], one["access_to"]) == (wanted.kind, wanted.to):
                return _access(one)
        return None

    def allow(self, share_id: str, wanted: AccessWanted) -> Access:
        """Begin to let somebody in to a share, to read and write, and return the access rule. It is locked
        where the service knows locks."""
        rule = {"access_type": wanted.kind, "access_to": wanted.to, "access_level": "rw"}

        def body(version: str) -> Mapping[str, Any]:
            return {"allow_access": rule | (_LOCKED if version == _VERSION else {})}

        made = self._ask("POST", f"/shares/{share_id}/action", body)
        return _access(made["access"])

    def deny(self, share_id: str, rule_id: str) -> None:
        """Remove an access rule of a share, and its locks. One that is not there is no error."""

        def body(version: str) -> Mapping[str, Any]:
            unlocked = {"unrestrict": True} if version == _VERSION else {}
            return {"deny_access": {"access_id": rule_id} | unlocked}

        try:
            self._ask("POST", f"/shares/{share_id}/action", body)
        except NotFound:
            return

    def _ask(self, method: str, path: str, body: Any = None, *, asker: Asker | None = None) -> Any:
        if self._http is None:
            raise Invalid("No share service is configured, so there are no shares.")
        answer = self._answer(self._http, (method, path, body), asker)
        if answer.status_code == 406 and self._version != _OLDER_VERSION:
            # It is older than locks are, and remains so as long as we run.
            self._version = _OLDER_VERSION
            answer = self._answer(self._http, (method, path, body), asker)
        if answer.status_code >= 300:
            raise _refusal(answer, path)
        return answer.json() if answer.content else None

    def _answer(
        self, http: adapter.Adapter, asks: tuple[str, str, Any], asker: Asker | None
    ) -> Any:
        method, path, body = asks
        headers = {
            "X-OpenStack-Manila-API-Version": self._version,
            "Accept": "application/json",
        }
        try:
            root = _root(http, asker)
            if asker is not None:
                headers["X-Auth-Token"] = asker.token
            return http.request(
                f"{root}{path}",
                method,
                raise_exc=False,
                timeout=_TIMEOUT,
                headers=headers,
                # The user's token stands in place of ours.
                authenticated=asker is None,
                connect_retries=1 if method == "GET" else 0,
                # Access rules hold keys, and who debugs would have them in his log.
                log=asker is not None,
                **({} if body is None else {"json": dict(body(self._version))}),
            )
        except exceptions.ClientException as error:
            raise SharesUnavailable("The share service does not answer.") from error


def _root(http: adapter.Adapter, asker: Asker | None) -> str:
    endpoint = http.get_endpoint()
    if not endpoint:
        raise SharesUnavailable("Nobody knows where the share service is.")
    return peers.root_for(str(endpoint), asker)


def _access(found: Mapping[str, Any]) -> Access:
    return Access(
        rule_id=found["id"], state=str(found.get("state")), key=found.get("access_key") or ""
    )


def _refusal(answer: Any, path: str) -> KilonovaError:
    _, _, name = path.lstrip("/").partition("/")
    missing = f"Share {name.partition('/')[0]} could not be found."
    said = f"The share service answered {answer.status_code}."
    return peers.refusal(answer, missing, SharesUnavailable(said))
