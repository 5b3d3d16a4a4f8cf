"""Servers that are plugged into ports of a network service, from their request to their end."""

from typing import Any

from kilonova.compute import ports
from tests.functional.pipeline.network_case import NetworkCase


class Boots(NetworkCase):
    """One host."""

    def test_the_only_network_is_meant_when_none_is_named(self) -> None:
        server = self.boot()
        (port,) = self.neutron.ports_of(server["id"])
        self.assertEqual(self.net, port["network_id"])
        self.assertEqual(server["OS-EXT-SRV-ATTR:host"], port["binding:host_id"])
        self.assertEqual("compute:nova", port["device_owner"])
        self.assertEqual(self.project, port["project_id"])
        (shown,) = server["addresses"]["net"]
        self.assertEqual(
            {
                "addr": "10.1.0.2",
                "version": 4,
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": port["mac_address"],
            },
            shown,
        )
        self.assertEqual([{"name": "default"}], server["security_groups"])

    def test_a_server_has_the_networks_ports_and_addresses_that_were_asked_for_in_their_order(
        self,
    ) -> None:
        other = self.neutron.network("other", self.project, "10.2.0.0/24")
        self.neutron.subnet(other, "2001:db8::/64")
        mine = self.neutron.port(self.net, self.project)
        asked = [
            {"uuid": other, "tag": "first"},
            {"port": mine},
            {"uuid": self.net, "fixed_ip": "10.1.0.77"},
        ]
        server = self.boot(networks=asked)
        self.assertEqual(["other", "net"], list(server["addresses"]))
        self.assertEqual([4, 6], [one["version"] for one in server["addresses"]["other"]])
        self.assertEqual({"10.1.0.2", "10.1.0.77"}, self.addresses(server["id"]))
        tags = {one["net_id"]: one["tag"] for one in self.interfaces(server["id"])}
        self.assertEqual("first", tags[other])
        self.delete(server["id"])
        kept = self.neutron.get_port(mine)
        self.assertEqual(
            ("", "", ""), tuple(kept[k] for k in ("device_id", "device_owner", "binding:host_id"))
        )
        self.assertEqual([], self.neutron.ports_of(server["id"]))
        self.assert_nothing_left()

    def test_a_boot_asks_the_network_service_as_little_as_is_written_down(self) -> None:
        # The converger looks at all ports once it runs, and then not for minutes.
        look = ("GET", "/v2.0/ports")
        self.until("it has looked", lambda: look in self.neutron.asked)
        self.neutron.asked.clear()
        uuid = self.boot()["id"]
        by_api = [("GET", "/v2.0/networks")] * 2
        by_host = [
            ("POST", "/v2.0/ports"),
            ("GET", "/v2.0/networks"),
            ("GET", "/v2.0/subnets"),
            ("GET", "/v2.0/security-groups"),
            ("GET", "/v2.0/floatingips"),
        ]
        self.assertEqual(by_api + by_host, self.neutron.asked)
        self.neutron.asked.clear()
        self.server(uuid)
        self.servers()
        self.assertEqual([], self.neutron.asked)

    def test_a_server_without_networks_has_no_port(self) -> None:
        server = self.boot(networks="none")
        self.assertEqual({}, server["addresses"])
        self.assertNotIn("security_groups", server)
        self.assertEqual([], self.neutron.ports_of(server["id"]))

    def test_what_cannot_be_is_refused_before_anything_is_made(self) -> None:
        used = self.neutron.port(self.net, self.project, device_id="somebody")
        foreign = self.neutron.port(self.net, "another")
        bare = self.neutron.network("bare", self.project, None)
        outside = self.neutron.network("outside", "another", "198.51.100.0/24")
        nothing = "00000000-0000-4000-8000-000000000000"
        refusals: list[tuple[int, str, Any]] = [
            (409, "still in use", [{"port": used}]),
            (400, "not usable", [{"port": foreign}]),
            (400, "could not be found", [{"port": nothing}]),
            (400, "could not be found", [{"uuid": nothing}]),
            (400, "requires a subnet", [{"uuid": bare}]),
            (400, "not a valid ip address", [{"uuid": self.net, "fixed_ip": "192.0.2.9"}]),
            (400, "already in use", [{"uuid": self.net, "fixed_ip": "10.1.0.2"}]),
            (409, "Multiple possible networks", "auto"),
        ]
        for status, says, networks in refusals:
            server = {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": networks}
            answer = self.ask("compute", "POST", "/servers", {"server": server})
            self.assertEqual(status, answer.status_code, answer.text)
            self.assertIn(says, answer.text)
        self.assertEqual([], self.servers())
        self.assertIsNotNone(outside)

    def test_security_groups_are_found_by_name_or_id_and_changed_while_the_server_runs(
        self,
    ) -> None:
        web, db = self.neutron.group("web", self.project), self.neutron.group("db", self.project)
        for _ in range(2):
            self.neutron.group("twin", self.project)
        for status, name in ((400, "none"), (409, "twin")):
            asked = {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": "auto"}
            body = {"server": asked | {"security_groups": [{"name": name}]}}
            self.assertEqual(status, self.ask("compute", "POST", "/servers", body).status_code)
        uuid = self.boot(security_groups=[{"name": "web"}])["id"]
        path = f"/servers/{uuid}/os-security-groups"
        self.assertEqual([web], [g["id"] for g in self.get("compute", path)["security_groups"]])
        self.assertEqual(202, self.act(uuid, {"addSecurityGroup": {"name": db}}).status_code)
        both = [{"name": "db"}, {"name": "web"}]
        self.assertEqual(both, self.server(uuid)["security_groups"], "at once")
        self.assertEqual(202, self.act(uuid, {"removeSecurityGroup": {"name": "web"}}).status_code)
        self.assertEqual(404, self.act(uuid, {"removeSecurityGroup": {"name": "web"}}).status_code)
        self.assertEqual(404, self.act(uuid, {"addSecurityGroup": {"name": "none"}}).status_code)
        self.until("one is shown", lambda: self.server(uuid)["security_groups"] == both[:1])

    def test_groups_are_added_where_the_network_service_knows_no_port_security_and_not_without_it(
        self,
    ) -> None:
        self.neutron.group("db", self.project)
        for enabled, status in ((None, 202), (True, 202), (False, 400)):
            mine = self.neutron.port(self.net, self.project, port_security_enabled=enabled)
            uuid = self.boot(networks=[{"port": mine}])["id"]
            answer = self.act(uuid, {"addSecurityGroup": {"name": "db"}})
            self.assertEqual(status, answer.status_code, answer.text)

    def test_a_guest_stands_still_until_its_ports_are_connected(self) -> None:
        self.patch(ports, "_LOOKS", 0.1)
        self.neutron.connects = False
        uuid = self.create("vm", networks="auto")
        self.until("the port is made", lambda: bool(self.neutron.ports_of(uuid)))
        (port,) = self.neutron.ports_of(uuid)
        self.assertEqual("BUILD", self.server(uuid)["status"])
        # The word of it is lost: the host looks for itself.
        self.neutron.connect(port["id"], tell=False)
        self.until_status(uuid, "ACTIVE")

    def test_a_build_whose_ports_are_not_connected_fails_and_leaves_nothing(self) -> None:
        self.patch(ports, "_LOOKS", 0.1)
        self.patch(ports, "_PLUGGED_SECONDS", 0.3)
        self.neutron.connects = False
        mine = self.neutron.port(self.net, self.project)
        server = self.until_status(
            self.create("vm", networks=[{"port": mine}, {"uuid": self.net}]), "ERROR"
        )
        self.assertIn("did not connect port", server["fault"]["message"])
        self.assertEqual([], self.neutron.ports_of(server["id"]))
        self.assertEqual("", self.neutron.get_port(mine)["device_id"])
        self.delete(server["id"])
        self.assert_nothing_left()

    def test_a_word_that_a_port_cannot_be_connected_ends_the_build(self) -> None:
        self.neutron.connects = False
        uuid = self.create("vm", networks="auto")

        def failed() -> bool:
            for port in self.neutron.ports_of(uuid):
                self.neutron.connect(port["id"], "failed")
            return bool(self.server(uuid)["status"] == "ERROR")

        self.until("the build has failed", failed)
        self.assertEqual([], self.neutron.ports_of(uuid))

    def test_what_changes_at_the_network_service_is_seen_in_the_server(self) -> None:
        uuid = self.boot()["id"]
        self.neutron.floating(self.project, "203.0.113.7")
        act = {"addFloatingIp": {"address": "203.0.113.7"}}
        self._old(202, uuid, act)
        self.until("it is shown", lambda: "203.0.113.7" in self.addresses(uuid))
        kinds = {
            one["addr"]: one["OS-EXT-IPS:type"] for one in self.server(uuid)["addresses"]["net"]
        }
        self.assertEqual({"10.1.0.2": "fixed", "203.0.113.7": "floating"}, kinds)
        self._old(404, uuid, {"addFloatingIp": {"address": "203.0.113.8"}})
        self._old(202, uuid, {"removeFloatingIp": {"address": "203.0.113.7"}})
        self._old(409, uuid, {"removeFloatingIp": {"address": "203.0.113.7"}})
        self.until("it is gone", lambda: self.addresses(uuid) == {"10.1.0.2"})
        self._old(202, uuid, {"addFixedIp": {"networkId": self.net}})
        self.until("two", lambda: self.addresses(uuid) == {"10.1.0.2", "10.1.0.3"})
        self._old(202, uuid, {"removeFixedIp": {"address": "10.1.0.2"}})
        self._old(400, uuid, {"removeFixedIp": {"address": "10.1.0.2"}})
        self.until("one", lambda: self.addresses(uuid) == {"10.1.0.3"})

    def _old(self, status: int, uuid: str, act: dict[str, Any]) -> None:
        answer = self.ask("compute", "POST", f"/servers/{uuid}/action", act, "2.43")
        self.assertEqual(status, answer.status_code, answer.text)

    def test_a_network_service_that_is_away_is_said_to_be(self) -> None:
        uuid = self.boot()["id"]
        self.neutron.go()
        server = {"name": "vm", "flavorRef": "1", "imageRef": self.image}
        for method, path, body in (
            ("POST", "/servers", {"server": server | {"networks": "auto"}}),
            ("GET", f"/servers/{uuid}/os-interface", None),
            ("GET", f"/servers/{uuid}/os-security-groups", None),
        ):
            answer = self.ask("compute", method, path, body)
            self.assertEqual(503, answer.status_code, path)
            self.assertIn("The network service does not answer", answer.text)
        # All else goes on without it.
        self.assertEqual({"10.1.0.2"}, self.addresses(uuid))
        self.boot("without", networks="none")
        self.assertEqual(202, self.act(uuid, {"os-stop": None}).status_code)
        self.until_status(uuid, "SHUTOFF")
        self.neutron.come()
        self.delete(uuid)
        self.assertEqual([], self.neutron.ports_of(uuid))

    def test_a_project_without_a_network_gets_one_only_where_it_asks_and_it_can_be_had(
        self,
    ) -> None:
        self.neutron._things["networks"].clear()
        asked = {"name": "vm", "flavorRef": "1", "imageRef": self.image}
        named = {"server": asked | {"networks": "auto"}}
        refused = self.ask("compute", "POST", "/servers", named)
        self.assertEqual(400, refused.status_code)
        self.assertIn("Unable to automatically allocate a network", refused.text)
        old = self.ask("compute", "POST", "/servers", {"server": asked}, "2.36")
        self.assertEqual({}, self.until_status(old.json()["server"]["id"], "ACTIVE")["addresses"])
        self.neutron.makes_networks = True
        self.assertEqual(["auto_allocated_network"], list(self.boot()["addresses"]))


class Interfaces(NetworkCase):
    """A server that gets and loses cards while it is there."""

    def test_cards_are_attached_and_detached(self) -> None:
        uuid = self.boot()["id"]
        other = self.neutron.network("other", self.project, "10.2.0.0/24")
        mine = self.neutron.port(other, self.project)
        made = self.attach(uuid, net_id=other, fixed_ips=[{"ip_address": "10.2.0.9"}], tag="new")
        self.assertEqual(200, made.status_code, made.text)
        view = made.json()["interfaceAttachment"]
        self.assertEqual(("10.2.0.9", "new"), (view["fixed_ips"][0]["ip_address"], view["tag"]))
        self.assertEqual(200, self.attach(uuid, port_id=mine).status_code)
        self.until("all are shown", lambda: len(self.addresses(uuid, "other")) == 2)
        self.assertEqual(3, len(self.interfaces(uuid)))
        path = f"/servers/{uuid}/os-interface/{view['port_id']}"
        shown = self.get("compute", path)["interfaceAttachment"]
        self.assertEqual("new", shown["tag"])
        for port in (view["port_id"], mine):
            answer = self.ask("compute", "DELETE", f"/servers/{uuid}/os-interface/{port}")
            self.assertEqual(202, answer.status_code)
        self.until("they are gone", lambda: not self.addresses(uuid, "other"))
        self.assertEqual("", self.neutron.get_port(mine)["device_id"])
        self.assertEqual(1, len(self.neutron.ports_of(uuid)))
        self.assertEqual(404, self.ask("compute", "GET", path).status_code)
        self.assertEqual(404, self.ask("compute", "DELETE", path).status_code)
        names = [one["action"] for one in self.actions(uuid)]
        self.assertEqual(2, names.count("attach_interface"))
        self.assertEqual(2, names.count("detach_interface"))

    def actions(self, uuid: str) -> list[dict[str, Any]]:
        found = self.get("compute", f"/servers/{uuid}/os-instance-actions")
        listed: list[dict[str, Any]] = found["instanceActions"]
        return listed

    def test_what_cannot_be_attached_is_refused(self) -> None:
        uuid = self.boot()["id"]
        nothing = "00000000-0000-4000-8000-000000000000"
        used = self.neutron.port(self.net, self.project, device_id="somebody")
        self.neutron.network("other", self.project, "10.2.0.0/24")
        taken = [{"ip_address": "10.1.0.2"}]
        for status, wanted in (
            (404, {"port_id": nothing}),
            (404, {"net_id": nothing}),
            (409, {"port_id": used}),
            (409, {"net_id": self.net, "fixed_ips": taken}),
            (400, {"net_id": self.net, "port_id": used}),
            (400, {"fixed_ips": taken}),
            (400, {}),
        ):
            answer = self.attach(uuid, **wanted)
            self.assertEqual(status, answer.status_code, answer.text)
        self.neutron.port_quota = 0
        self.assertEqual(403, self.attach(uuid, net_id=self.net).status_code)
        self.neutron.port_quota = 1000
        self.act(uuid, {"suspend": None})
        self.until_status(uuid, "SUSPENDED")
        self.assertEqual(409, self.attach(uuid, net_id=self.net).status_code)
        self.assertEqual(1, len(self.neutron.ports_of(uuid)))

    def test_a_card_whose_port_is_removed_is_taken_away(self) -> None:
        uuid = self.boot()["id"]
        (port,) = self.neutron.ports_of(uuid)
        self.neutron.remove_port(port["id"])
        self.until("it has no address", lambda: self.server(uuid)["addresses"] == {})


class FailingInterfaces(NetworkCase):
    """A host on which nothing can be attached."""

    script = [{"step": "attach-interface", "error": "it does not fit"}]

    def test_a_port_that_cannot_be_attached_is_let_go_of(self) -> None:
        uuid = self.boot()["id"]
        mine = self.neutron.port(self.net, self.project)
        self.attach(uuid, port_id=mine)
        self.attach(uuid, net_id=self.net)
        self.until("only the first is left", lambda: len(self.neutron.ports_of(uuid)) == 1)
        self.until("it is free", lambda: self.neutron.get_port(mine)["device_id"] == "")
        self.assertEqual({"10.1.0.2"}, self.addresses(uuid))
