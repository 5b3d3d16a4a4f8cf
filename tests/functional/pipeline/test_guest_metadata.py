"""What a metadata agent of a network service is told of servers, and who is told nothing."""

import base64
import hmac
from typing import Any

import requests

from kilonova.api import guest_metadata
from tests.functional.pipeline.network_case import NetworkCase

SECRET = "known to the agents"
SCRIPT = b"#!/bin/sh\necho marker\n"


class Agents(NetworkCase):
    """One host, and agents that share a secret with the Compute API."""

    more_options = f"metadata_proxy_shared_secret = {SECRET}\n"

    def setUp(self) -> None:
        super().setUp()
        user_data = base64.b64encode(SCRIPT).decode()
        self.uuid = self.boot(user_data=user_data, metadata={"role": "web"})["id"]

    def told(
        self, path: str, uuid: str | None = None, method: str = "GET", **changed: str | None
    ) -> requests.Response:
        """Ask as an agent does for a server of the project; a header that is None is not sent."""
        named = uuid or self.uuid
        headers: dict[str, str | None] = {
            "X-Instance-ID": named,
            "X-Tenant-ID": self.project,
            "X-Instance-ID-Signature": signature(named),
            "X-Forwarded-For": "10.1.0.2",
        }
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        port = self.deployment.options.ports[1]
        url = f"http://127.0.0.1:{port}{path}"
        sent = {name: value for name, value in headers.items() if value is not None}
        return requests.request(method, url, headers=sent, timeout=60)

    def test_a_guest_is_told_of_itself_whoever_asks_for_it(self) -> None:
        found: dict[str, Any] = self.told("/openstack/latest/meta_data.json").json()
        expected = (self.uuid, "vm", self.project, {"role": "web"})
        self.assertEqual(expected, tuple(found[n] for n in ("uuid", "name", "project_id", "meta")))
        (port,) = self.neutron.ports_of(self.uuid)
        (link,) = self.told("/openstack/latest/network_data.json").json()["links"]
        self.assertEqual(port["mac_address"], link["ethernet_mac_address"])
        self.assertEqual(SCRIPT, self.told("/openstack/latest/user_data").content)
        self.assertEqual("10.1.0.2", self.told("/latest/meta-data/local-ipv4").text)
        self.assertIn("2009-04-04", self.told("/").text)
        self.assertEqual(404, self.told("/openstack/latest/nothing").status_code)
        self.assertEqual(405, self.told("/latest/user-data", method="PUT").status_code)

    def test_where_devices_with_tags_are_is_what_the_servers_host_says(self) -> None:
        path = "/openstack/latest/meta_data.json"
        self.assertEqual([], self.told(path).json()["devices"])
        disk = {"boot_index": 0, "uuid": self.image, "source_type": "image", "tag": "root"}
        disk |= {"destination_type": "local"}
        server = self.boot("tagged", block_device_mapping_v2=[disk])
        where = {"bus": "pci", "address": "0000:00:03.0"}
        told = {"type": "disk", "serial": server["id"][:20], "tags": ["root"]}
        self.assertEqual([told | where], self.told(path, server["id"]).json()["devices"])
        self.patch(guest_metadata, "_HOST_SECONDS", 0.2)
        self.deployment.stop_part("compute")
        nowhere = {"bus": "none", "address": "none"}
        self.assertEqual([told | nowhere], self.told(path, server["id"]).json()["devices"])

    def test_an_address_from_outside_is_told(self) -> None:
        self.assertEqual("", self.told("/latest/meta-data/public-ipv4").text)
        floating = self.neutron.floating(self.project, "198.51.100.7")
        (port,) = self.neutron.ports_of(self.uuid)
        url = self.neutron.options.partition("endpoint = ")[2].split()[0]
        body = {"floatingip": {"port_id": port["id"], "fixed_ip_address": "10.1.0.2"}}
        requests.put(
            f"{url}/v2.0/floatingips/{floating}",
            json=body,
            headers={"X-Auth-Token": "admin:admin"},
            timeout=60,
        )
        self.until(
            "it is told",
            lambda: self.told("/latest/meta-data/public-ipv4").text == "198.51.100.7",
        )

    def test_who_does_not_know_the_secret_is_told_nothing(self) -> None:
        path = "/openstack/latest/meta_data.json"
        for wrong in ("", "0" * 64, signature(self.uuid)[:-1], signature("another"), "\xe9"):
            answer = self.told(path, X_Instance_ID_Signature=wrong)
            self.assertEqual(403 if wrong else 400, answer.status_code)
            self.assertNotIn(self.uuid, answer.text)
        for name in ("X_Tenant_ID", "X_Instance_ID_Signature"):
            self.assertEqual(400, self.told(path, **{name: None}).status_code)
        self.assertEqual(400, self.told(path, X_Instance_ID="").status_code)

    def test_who_asks_for_another_project_or_for_what_is_not_there_is_told_nothing(self) -> None:
        path = "/openstack/latest/meta_data.json"
        self.assertEqual(404, self.told(path, X_Tenant_ID="another").status_code)
        nothing = "00000000-0000-4000-8000-000000000000"
        for uuid in (nothing, "no uuid", "../../etc"):
            self.assertEqual(404, self.told(path, uuid).status_code, uuid)
        self.delete(self.uuid)
        self.assertEqual(404, self.told(path).status_code)

    def test_a_header_without_more_opens_nothing_of_the_compute_api(self) -> None:
        answer = self.told("/v2.1/servers")
        self.assertEqual(404, answer.status_code)


class NoAgents(NetworkCase):
    """Nobody shares a secret with the Compute API."""

    def test_an_agent_is_not_listened_to(self) -> None:
        port = self.deployment.options.ports[1]
        headers = {"X-Instance-ID": "any", "X-Tenant-ID": self.project}
        headers["X-Instance-ID-Signature"] = hmac.new(b"", b"any", "sha256").hexdigest()
        url = f"http://127.0.0.1:{port}/openstack/latest/meta_data.json"
        # As anybody who asks for what is not below a version.
        self.assertEqual(300, requests.get(url, headers=headers, timeout=60).status_code)


def signature(text: str) -> str:
    """Return what an agent signs a server's id with."""
    return hmac.new(SECRET.encode(), text.encode(), "sha256").hexdigest()
