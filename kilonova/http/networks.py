"""The network service as services see it: a client of the Network API v2.0, Neutron's.

It is asked with the service's own credentials, or under the token of a user. Documents go in and out as
the Network API has them; what they mean for a server is in ``network_cards``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from keystoneauth1 import adapter, exceptions
from oslo_config import cfg

from kilonova.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    KilonovaError,
    NetworkUnavailable,
    NotFound,
    QuotaExceeded,
)
from kilonova.http import peers

Document = dict[str, Any]
Documents = list[Document]

_TIMEOUT = 30.0
_ROOT = "/v2.0"
_AT_ONCE = 100
"""Ids in one query: more would not fit into a URL."""
_TAKEN = frozenset({"IpAddressInUse", "IpAddressAlreadyAllocated", "MacAddressInUse"})


def load(conf: cfg.ConfigOpts) -> "Networks | None":
    """Return a client from ``[neutron]``, whose options are keystoneauth1's; None without Neutron."""
    if conf.network.provider != "neutron":
        return None
    return Networks(peers.found_by(conf, "neutron", "network"))


class Networks:
    """A network service.

    Every method raises ``NetworkUnavailable`` when it does not answer, and, when it refuses: ``NotFound``,
    ``Invalid``, ``Forbidden``, ``QuotaExceeded``, ``AddressTaken`` or ``Conflict``, with its own sentence.
    """

    def __init__(self, http: adapter.Adapter, token: str | None = None) -> None:
        self._http = http
        self._token = token

    def under(self, token: str) -> "Networks":
        """Return the same service, asked by a user, who sees and may do what is his."""
        return Networks(self._http, token)

    def networks(self, **filters: Any) -> Documents:
        """Return the networks that the asker sees."""
        return self._list("networks", filters)

    def network(self, network_id: str) -> Document:
        """Return a network."""
        return self._get("network", f"/networks/{network_id}")

    def subnets(self, ids: Sequence[str]) -> Documents:
        """Return subnets by their ids; those that are gone are left out."""
        return self._by_id("subnets", "id", ids)

    def ports(self, **filters: Any) -> Documents:
        """Return the ports that the asker sees."""
        return self._list("ports", filters)

    def port(self, port_id: str) -> Document:
        """Return a port."""
        return self._get("port", f"/ports/{port_id}")

    def create_port(self, port: Document) -> Document:
        """Make a port."""
        return self._send("POST", "/ports", "port", port)

    def update_port(self, port_id: str, changes: Document) -> Document:
        """Change a port."""
        return self._send("PUT", f"/ports/{port_id}", "port", changes)

    def delete_port(self, port_id: str) -> None:
        """Remove a port. One that is not there is no error."""
        try:
            self._ask("DELETE", f"/ports/{port_id}")
        except NotFound:
            return

    def security_groups(self, **filters: Any) -> Documents:
        """Return the security groups that the asker sees."""
        return self._list("security_groups", filters, "security-groups")

    def security_groups_by_id(self, ids: Sequence[str]) -> Documents:
        """Return security groups by their ids; those that are gone are left out."""
        return self._by_id("security_groups", "id", ids, "security-groups")

    def floating_ips(self, **filters: Any) -> Documents:
        """Return the floating IPs that the asker sees; none where there is no such extension."""
        try:
            return self._list("floatingips", filters)
        except NotFound:
            return []

    def floating_ips_of(self, port_ids: Sequence[str]) -> Documents:
        """Return the floating IPs that lead to these ports."""
        try:
            return self._by_id("floatingips", "port_id", port_ids)
        except NotFound:
            return []

    def update_floating_ip(self, floating_id: str, changes: Document) -> Document:
        """Let a floating IP lead elsewhere."""
        return self._send("PUT", f"/floatingips/{floating_id}", "floatingip", changes)

    def own_network(self, project_id: str) -> str:
        """Return the id of the network that the service makes for a project that has none.

        Raises:
            NotFound: it makes none.
        """
        made = self._get("auto_allocated_topology", f"/auto-allocated-topology/{project_id}")
        return str(made["id"])

    def add_binding(self, port_id: str, host: str) -> Document:
        """Prepare a port for a second host, to which its server comes while it runs; return the binding.

        Raises:
            NotFound: there is no such port, or the service does not do that.
        """
        path = f"/ports/{port_id}/bindings"
        try:
            return self._send("POST", path, "binding", {"host": host})
        except Conflict:
            # It was, when this was asked before.
            for binding in self._ask("GET", path)["bindings"]:
                if binding["host"] == host:
                    return dict(binding)
            raise

    def activate_binding(self, port_id: str, host: str) -> None:
        """Let a prepared host be that of the port."""
        try:
            self._ask("PUT", f"/ports/{port_id}/bindings/{host}/activate")
        except Conflict:
            # It is.
            return

    def drop_binding(self, port_id: str, host: str) -> None:
        """Take back what was prepared for a host. What is not there is no error."""
        try:
            self._ask("DELETE", f"/ports/{port_id}/bindings/{host}")
        except NotFound:
            return

    def _list(self, name: str, filters: Mapping[str, Any], path: str = "") -> Documents:
        found: Documents = self._ask("GET", f"/{path or name}", params=dict(filters))[name]
        return found

    def _by_id(self, name: str, key: str, ids: Sequence[str], path: str = "") -> Documents:
        wanted = sorted(set(ids))
        found: Documents = []
        for start in range(0, len(wanted), _AT_ONCE):
            found += self._list(name, {key: wanted[start : start + _AT_ONCE]}, path)
        return found

    def _get(self, name: str, path: str) -> Document:
        found: Document = self._ask("GET", path)[name]
        return found

    def _send(self, method: str, path: str, name: str, document: Document) -> Document:
        done: Document = self._ask(method, path, json={name: document})[name]
        return done

    def _ask(self, method: str, path: str, **rest: Any) -> Any:
        if self._token is not None:
            rest |= {"authenticated": False, "headers": {"X-Auth-Token": self._token}}
        try:
            answer = self._http.request(
                _ROOT + path,
                method,
                raise_exc=False,
                timeout=_TIMEOUT,
                connect_retries=1 if method == "GET" else 0,
                **rest,
            )
        except exceptions.ClientException as error:
            raise NetworkUnavailable("The network service does not answer.") from error
        if answer.status_code >= 400:
            raise _refusal(answer)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise NetworkUnavailable("The network service answers something else.") from error


class AddressTaken(Conflict):
    """A fixed address is another port's."""

    code = "address_taken"


def _refusal(answer: Any) -> KilonovaError:
    """Return the error that an answer is."""
    status = answer.status_code
    kind, sentence = _said(answer)
    if status >= 500 or status == 401:
        return NetworkUnavailable(f"The network service answered {status}.")
    if kind == "OverQuota":
        return QuotaExceeded(sentence)
    if kind in _TAKEN:
        return AddressTaken(sentence)
    kinds: dict[int, type[KilonovaError]] = {403: Forbidden, 404: NotFound, 409: Conflict}
    return kinds.get(status, Invalid)(sentence)


def _said(answer: Any) -> tuple[str, str]:
    """Return the kind and the sentence of a refusal."""
    usual = f"The network service answered {answer.status_code}."
    try:
        document = answer.json()
    except ValueError:
        return "", usual
    error = document.get("NeutronError") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return "", str(error or usual)
    return str(error.get("type", "")), str(error.get("message") or usual)
