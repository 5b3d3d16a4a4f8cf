"""A deployment with a network service, for tests of servers that are plugged into it."""

from typing import Any

import requests

from tests.functional.peers.neutron import Neutron
from tests.functional.pipeline.case import PipelineCase


class NetworkCase(PipelineCase):
    """``self.neutron`` has one network, ``net``, of the admin's project."""

    more_options = ""

    def setUp(self) -> None:
        self.neutron = Neutron()
        self.addCleanup(self.neutron.stop)
        self.more = self.neutron.options + self.more_options
        super().setUp()
        self.neutron.events = self._tell
        self.net = self.neutron.network("net", self.project)

    def _tell(self, events: list[dict[str, Any]]) -> None:
        """Tell the Compute API what happened, as Neutron does. What is refused is lost."""
        url = self.deployment.options.urls["compute"] + "/os-server-external-events"
        headers = {"X-Auth-Token": f"admin:{self.project}"}
        requests.post(url, json={"events": events}, headers=headers, timeout=10)

    def boot(self, name: str = "vm", networks: Any = "auto", **more: Any) -> dict[str, Any]:
        """Boot a server and return it as it is shown once it is active."""
        return self.until_status(self.create(name, networks=networks, **more), "ACTIVE")

    def addresses(self, uuid: str, network: str = "net") -> set[str]:
        """Return a server's addresses in a network."""
        return {one["addr"] for one in self.server(uuid)["addresses"].get(network, ())}

    def interfaces(self, uuid: str) -> list[dict[str, Any]]:
        """Return a server's interface attachments."""
        found = self.get("compute", f"/servers/{uuid}/os-interface")
        listed: list[dict[str, Any]] = found["interfaceAttachments"]
        return listed

    def attach(self, uuid: str, **wanted: Any) -> requests.Response:
        """Ask for a further card."""
        body = {"interfaceAttachment": wanted}
        return self.ask("compute", "POST", f"/servers/{uuid}/os-interface", body)

    def moved_to(self, uuid: str) -> set[str]:
        """Return the hosts to which a server's ports are bound."""
        return {port["binding:host_id"] for port in self.neutron.ports_of(uuid)}
