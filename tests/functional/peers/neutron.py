"""A network service in this process: the Network API v2.0 as far as servers need it, with state.

Tokens read ``user:project``, as elsewhere in tests; ``admin`` sees and may do everything. Addresses are
really taken, ports really bound, and what Neutron tells Nova is told to ``events``.
"""

import ipaddress
import threading
import uuid
from collections.abc import Callable
from typing import Any

import falcon

from kilonova.http.server import ThreadedServer
from tests.functional.peers.neutron_rules import (
    Document,
    Refusal,
    fits,
    is_admin,
    project_of,
    sees,
)
from tests.ports import free_port

_BIND = "binding:host_id"
_COLLECTIONS = {
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "security-groups": "security_group",
    "floatingips": "floatingip",
}
_PORT_ADMIN = frozenset({_BIND, "binding:vif_type", "binding:vif_details"})


class Neutron:
    """A network service. ``options`` is what makes a service's configuration use it.

    ``failing`` are hosts to which no port can be bound; with ``connects`` off, bound ports stay DOWN until
    ``connect``; ``makes_networks`` is whether projects without a network get one.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._things: dict[str, dict[str, Document]] = {name: {} for name in _COLLECTIONS}
        self._bindings: dict[str, dict[str, str]] = {}
        self.failing: set[str] = set()
        self.connects = True
        self.makes_networks = False
        self.multiple_bindings = True
        self.port_quota = 1000
        self.asked: list[tuple[str, str]] = []
        self.events: Callable[[list[Document]], None] = lambda _events: None
        self._server = ThreadedServer(self._app(), "127.0.0.1", free_port(), threads=8)
        self._server.start()
        self._port = self._server.port
        self.options = (
            "[network]\nprovider = neutron\n[neutron]\nauth_type = admin_token\n"
            f"endpoint = http://127.0.0.1:{self._port}\ntoken = admin\n"
        )

    def go(self) -> None:
        """Be away: connections are refused."""
        self._server.stop()

    def come(self) -> None:
        """Be back, at the same address."""
        self._server = ThreadedServer(self._app(), "127.0.0.1", self._port, threads=8)
        self._server.start()

    def stop(self) -> None:
        """End for good."""
        self._server.stop()

    # ---- what tests make and see

    def network(
        self, name: str, project: str, cidr: str | None = "10.1.0.0/24", **more: Any
    ) -> str:
        """Make a network with one subnet, or with none, and return its id."""
        wanted = {"name": name, "project_id": project} | more
        network = self._create("networks", wanted, "admin:admin")
        if cidr is not None:
            self.subnet(network["id"], cidr)
        return str(network["id"])

    def subnet(self, network: str, cidr: str) -> str:
        """Add a subnet to a network and return its id."""
        made = self._create("subnets", {"network_id": network, "cidr": cidr}, "admin:admin")
        return str(made["id"])

    def port(self, network: str, project: str, **more: Any) -> str:
        """Make a port of a user's and return its id."""
        wanted = {"network_id": network, "project_id": project, "name": "mine"} | more
        return str(self._create("ports", wanted, "admin:admin")["id"])

    def group(self, name: str, project: str) -> str:
        """Make a security group and return its id."""
        wanted = {"name": name, "project_id": project}
        return str(self._create("security-groups", wanted, "admin:admin")["id"])

    def floating(self, project: str, address: str) -> str:
        """Make a floating IP that leads nowhere and return its id."""
        wanted = {"project_id": project, "floating_ip_address": address}
        return str(self._create("floatingips", wanted, "admin:admin")["id"])

    def ports_of(self, server: str) -> list[Document]:
        """Return the ports of a server."""
        with self._lock:
            return [dict(p) for p in self._things["ports"].values() if p["device_id"] == server]

    def get_port(self, port: str) -> Document:
        """Return a port."""
        return dict(self._things["ports"][port])

    def hosts_of(self, port: str) -> dict[str, str]:
        """Return the hosts to which a port is bound, each with whether it is ACTIVE."""
        return dict(self._bindings.get(port, {}))

    def connect(self, port: str, status: str = "completed", *, tell: bool = True) -> None:
        """Be the agent that connects a port, or fails to; without ``tell`` the word of it is lost."""
        with self._lock:
            found = self._things["ports"][port]
            if status == "completed":
                found["status"] = "ACTIVE"
        if tell:
            self._tell(found, "network-vif-plugged", status=status)

    def remove_port(self, port: str) -> None:
        """Remove a port, as its user does."""
        self._delete("ports", port)

    # ---- the API

    def _app(self) -> Any:
        app = falcon.App()
        app.add_sink(self._answer)
        return app

    def _answer(self, request: falcon.Request, response: falcon.Response) -> None:
        token = request.get_header("X-Auth-Token") or ""
        self.asked.append((request.method, request.path))
        try:
            with self._lock:
                status, body = self._route(request, token)
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
        response.status = status
        if body is not None:
            response.media = body

    def _route(  # noqa: PLR0911 - a table
        self, request: falcon.Request, token: str
    ) -> tuple[int, Any]:
        if not token:
            raise Refusal(401, "Unauthorized", "Who asks?")
        parts = request.path.strip("/").split("/")[1:]
        method = request.method
        document = (
            request.get_media() if method in ("POST", "PUT") and request.content_length else {}
        )
        match method, parts:
            case "GET", ["auto-allocated-topology", project]:
                return 200, self._own_network(project)
            case "GET", [name]:
                found = self._filtered(name, request.params, token)
                return 200, {name.replace("-", "_"): found}
            case "POST", [name]:
                kind = _COLLECTIONS[name]
                return 201, {kind: self._create(name, document[kind], token)}
            case "GET", [name, one]:
                return 200, {_COLLECTIONS[name]: self._seen(name, one, token)}
            case "PUT", ["ports", one, "bindings", host, "activate"]:
                return 200, self._activate(one, host)
            case "PUT", [name, one]:
                kind = _COLLECTIONS[name]
                return 200, {kind: self._update(name, one, document[kind], token)}
            case "DELETE", [name, one]:
                self._seen(name, one, token)
                self._delete(name, one)
                return 204, None
            case "POST", ["ports", one, "bindings"]:
                return 201, {"binding": self._bind_too(one, document["binding"]["host"])}
            case "GET", ["ports", one, "bindings"]:
                listed = self._bindings.get(one, {}).items()
                return 200, {"bindings": [self._binding(*binding) for binding in listed]}
            case "DELETE", ["ports", one, "bindings", host]:
                if self._bindings.get(one, {}).pop(host, None) is None:
                    raise Refusal(404, "PortBindingNotFound", "There is no such binding.")
                return 204, None
        raise Refusal(404, "HTTPNotFound", "The resource could not be found.")

    def _own_network(self, project: str) -> Document:
        if not self.makes_networks:
            raise Refusal(404, "AutoAllocationFailure", "No default router:external network.")
        made = self.network("auto_allocated_network", project)
        return {"auto_allocated_topology": {"id": made, "tenant_id": project}}

    def _filtered(self, name: str, query: dict[str, Any], token: str) -> list[Document]:
        found = []
        fields = query.pop("fields", None)
        for thing in self._things[name].values():
            if not sees(thing, token):
                continue
            if all(fits(thing, key, value) for key, value in query.items()):
                found.append(self._shown(name, thing, token))
        return [{k: one[k] for k in fields} for one in found] if fields else found

    def _seen(self, name: str, one: str, token: str) -> Document:
        thing = self._things[name].get(one)
        if thing is None or not sees(thing, token):
            kind = _COLLECTIONS[name].title().replace("_", "")
            raise Refusal(404, f"{kind}NotFound", f"{kind} {one} could not be found.")
        return self._shown(name, thing, token)

    def _shown(self, name: str, thing: Document, token: str) -> Document:
        shown = dict(thing)
        if name == "networks":
            mine = (s for s in self._things["subnets"].values() if s["network_id"] == thing["id"])
            shown["subnets"] = [subnet["id"] for subnet in mine]
        if name == "ports" and not is_admin(token):
            shown = {key: value for key, value in shown.items() if key not in _PORT_ADMIN}
        return shown

    def _create(self, name: str, wanted: Document, token: str) -> Document:
        project = wanted.get("project_id") or wanted.get("tenant_id") or project_of(token)
        if project != project_of(token) and not is_admin(token):
            raise Refusal(403, "PolicyNotAuthorized", "rule:create is disallowed by policy")
        usual: dict[str, Document] = {
            "networks": {"shared": False, "router:external": False, "mtu": 1450},
            "subnets": {"dns_nameservers": ["192.0.2.53"]},
            "ports": {
                "device_id": "", "device_owner": "", "description": "", "status": "DOWN", _BIND: "",
                "port_security_enabled": True,
            },
            "security-groups": {"description": "", "security_group_rules": []},
            "floatingips": {"port_id": None, "fixed_ip_address": None, "status": "DOWN"},
        }  # fmt: skip
        made = {"id": str(uuid.uuid4())} | usual[name] | wanted
        made |= {"project_id": project, "tenant_id": project}
        if name == "subnets":
            network = ipaddress.ip_network(made["cidr"])
            made.setdefault("gateway_ip", str(network[1]))
        if name == "ports":
            if len(self._things["ports"]) >= self.port_quota:
                raise Refusal(409, "OverQuota", "Quota exceeded for resources: ['port'].")
            self._seen("networks", made["network_id"], token)
            made["mac_address"] = "fa:16:3e:" + ":".join(made["id"][n : n + 2] for n in (0, 2, 4))
            made["fixed_ips"] = self._allocate(made, wanted.get("fixed_ips"))
            made.setdefault("security_groups", [self._default_group(project)])
            self._check_groups(made)
        self._things[name][made["id"]] = made
        if name == "ports":
            self._bind(made)
        return self._shown(name, made, token)

    def _default_group(self, project: str) -> str:
        for group in self._things["security-groups"].values():
            if group["name"] == "default" and group["project_id"] == project:
                return str(group["id"])
        return self.group("default", project)

    def _check_groups(self, port: Document) -> None:
        for group in port["security_groups"]:
            if group not in self._things["security-groups"]:
                raise Refusal(
                    404, "SecurityGroupNotFound", f"Security group {group} does not exist"
                )

    def _allocate(self, port: Document, wanted: list[Document] | None) -> list[Document]:
        """Return a port's addresses: those wished for, or one of each kind that the network has."""
        network = port["network_id"]
        subnets = [s for s in self._things["subnets"].values() if s["network_id"] == network]
        taken = {
            one["ip_address"]
            for other in self._things["ports"].values()
            if other["network_id"] == network and other["id"] != port["id"]
            for one in other["fixed_ips"]
        }
        if wanted is None:
            kinds: dict[int, Document] = {}
            for subnet in subnets:
                kinds.setdefault(ipaddress.ip_network(subnet["cidr"]).version, subnet)
            wanted = [{"subnet_id": subnet["id"]} for subnet in kinds.values()]
        given: list[Document] = []
        for wish in wanted:
            one = self._address(subnets, wish, taken | {g["ip_address"] for g in given})
            given.append(one)
        return given

    def _address(self, subnets: list[Document], wish: Document, taken: set[str]) -> Document:
        for subnet in subnets:
            network = ipaddress.ip_network(subnet["cidr"])
            if wish.get("subnet_id") not in (None, subnet["id"]):
                continue
            address = wish.get("ip_address")
            if address is None:
                for candidate in network.hosts():
                    if str(candidate) not in taken | {subnet["gateway_ip"]}:
                        return {"subnet_id": subnet["id"], "ip_address": str(candidate)}
                raise Refusal(409, "IpAddressGenerationFailure", "No more IP addresses available.")
            if ipaddress.ip_address(address) in network:
                if address in taken:
                    raise Refusal(409, "IpAddressAlreadyAllocated", f"{address} is taken.")
                return {"subnet_id": subnet["id"], "ip_address": address}
        raise Refusal(400, "InvalidIpForNetwork", "IP address is not in any subnet.")

    def _bind(self, port: Document) -> None:
        host = port[_BIND]
        if not host:
            port |= {"binding:vif_type": "unbound", "binding:vif_details": {}, "status": "DOWN"}
            self._bindings.pop(port["id"], None)
        elif host in self.failing:
            port |= {"binding:vif_type": "binding_failed", "binding:vif_details": {}}
        else:
            port |= {"binding:vif_type": "bridge", "binding:vif_details": {"port_filter": True}}
            if self._bindings.get(port["id"], {}).get(host) != "ACTIVE":
                port["status"] = "DOWN"
            self._bindings[port["id"]] = {host: "ACTIVE"}
            if self.connects and port["device_id"]:
                timer = threading.Timer(0.05, self._connect_if_there, (port["id"],))
                timer.daemon = True
                timer.start()

    def _connect_if_there(self, port: str) -> None:
        if port in self._things["ports"]:
            self.connect(port)

    def _bind_too(self, port: str, host: str) -> Document:
        if not self.multiple_bindings:
            raise Refusal(404, "HTTPNotFound", "The resource could not be found.")
        if host in self.failing:
            raise Refusal(409, "PortBindingError", f"Binding for port {port} could not be made.")
        bindings = self._bindings.setdefault(port, {})
        if host in bindings:
            raise Refusal(409, "PortBindingAlreadyExists", "There is such a binding.")
        bindings[host] = "INACTIVE"
        return self._binding(host, "INACTIVE")

    def _binding(self, host: str, status: str) -> Document:
        return {"host": host, "status": status, "vif_type": "bridge", "vif_details": {}}

    def _activate(self, port: str, host: str) -> Document:
        bindings = self._bindings.get(port, {})
        if host not in bindings:
            raise Refusal(404, "PortBindingNotFound", "There is no such binding.")
        if bindings[host] == "ACTIVE":
            raise Refusal(409, "PortBindingAlreadyActive", "It is active.")
        self._bindings[port] = dict.fromkeys(bindings, "INACTIVE") | {host: "ACTIVE"}
        self._things["ports"][port][_BIND] = host
        return {"binding": {"host": host, "status": "ACTIVE"}}

    def _update(self, name: str, one: str, changes: Document, token: str) -> Document:
        self._seen(name, one, token)
        thing = self._things[name][one]
        if name == "ports":
            if set(changes) & _PORT_ADMIN and not is_admin(token):
                raise Refusal(
                    403, "PolicyNotAuthorized", "rule:update_port is disallowed by policy"
                )
            if "fixed_ips" in changes:
                changes = changes | {"fixed_ips": self._allocate(thing, changes["fixed_ips"])}
            before = thing[_BIND]
            thing |= changes
            self._check_groups(thing)
            if thing[_BIND] != before or thing["binding:vif_type"] == "binding_failed":
                self._bind(thing)
            if set(changes) & {"fixed_ips"}:
                self._tell(thing, "network-changed")
        else:
            thing |= changes
        if name == "floatingips" and changes.get("port_id"):
            self._tell(self._things["ports"][changes["port_id"]], "network-changed")
        return self._shown(name, thing, token)

    def _delete(self, name: str, one: str) -> None:
        thing = self._things[name].pop(one)
        if name == "ports":
            for floating in self._things["floatingips"].values():
                if floating["port_id"] == one:
                    floating |= {"port_id": None, "fixed_ip_address": None}
            self._tell(thing, "network-vif-deleted")

    def _tell(self, port: Document, name: str, **more: str) -> None:
        """Tell of a server's port, from a thread of its own, as nobody waits for that."""
        if port["device_id"]:
            event = {"name": name, "server_uuid": port["device_id"], "tag": port["id"]} | more
            threading.Thread(target=self.events, args=([event],), daemon=True).start()
