"""A server's fixed address, from its host to its users."""

from tests.functional.pipeline.case import PipelineCase


class Networks(PipelineCase):
    """One host that gives network cards."""

    more = "[network]\nprovider = libvirt\nfixed_range = 192.0.2.0/29\n"

    def test_a_server_shows_the_address_that_its_host_gave_it(self) -> None:
        uuid = self.create("vm", networks="auto")
        server = self.until_status(uuid, "ACTIVE")
        (card,) = server["addresses"]["default"]
        self.assertEqual(
            {
                "addr": "192.0.2.2",
                "version": 4,
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": "52:54:c0:00:02:02",
            },
            card,
        )
        (listed,) = self.servers()
        self.assertEqual(server["addresses"], listed["addresses"])
        plain = [{"addr": "192.0.2.2", "version": 4}]
        self.assertEqual(
            {"addresses": {"default": plain}}, self.get("compute", f"/servers/{uuid}/ips")
        )
        self.assertEqual({"default": plain}, self.get("compute", f"/servers/{uuid}/ips/default"))
        missing = self.ask("compute", "GET", f"/servers/{uuid}/ips/other")
        self.assertEqual(404, missing.status_code)

    def test_a_server_that_wants_no_network_has_no_address(self) -> None:
        server = self.until_status(self.create("vm", networks="none"), "ACTIVE")
        self.assertEqual({}, server["addresses"])

    def test_an_address_is_free_again_once_its_server_is_gone(self) -> None:
        for _ in range(2):
            uuids = [self.create(f"vm-{n}", networks="auto") for n in range(5)]
            servers = [self.until_status(uuid, "ACTIVE") for uuid in uuids]
            addresses = {server["addresses"]["default"][0]["addr"] for server in servers}
            self.assertEqual({f"192.0.2.{n}" for n in range(2, 7)}, addresses)
            full = self.until_status(self.create("vm", networks="auto"), "ERROR")
            self.assertIn("No address is free", full["fault"]["message"])
            self.assertEqual({}, full["addresses"])
            for uuid in (*uuids, full["id"]):
                self.delete(uuid)
        self.assert_nothing_left()


class AnotherHost(PipelineCase):
    """Hosts whose guests fail to start the first time."""

    hosts = 2
    more = "[network]\nprovider = libvirt\n"
    script = [{"step": "spawn", "times": 1, "error": "it does not start"}]

    def test_a_build_that_failed_holds_no_address(self) -> None:
        server = self.until_status(self.create("vm", networks="auto"), "ACTIVE")
        (card,) = server["addresses"]["default"]
        self.assertEqual("10.77.0.2", card["addr"])
        others = [self.create(f"vm-{n}", networks="auto") for n in range(2)]
        shown = [self.until_status(uuid, "ACTIVE")["addresses"]["default"] for uuid in others]
        self.assertEqual({"10.77.0.2", "10.77.0.3"}, {cards[0]["addr"] for cards in shown})
