"""Servers found by what no column says: their addresses."""

from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Nic
from tests.functional.api.api_case import ANN
from tests.functional.api.population import ACTIVE, Populated

OTHER = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000007")
SIXTH = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000008")


def card(address: str) -> Nic:
    """Return a card with an address."""
    return Nic(
        network="net",
        network_id="eeeeeeee-0000-4000-8000-000000000001",
        mac="fa:16:3e:00:00:01",
        address=address,
        prefix=24,
        gateway="",
        dns="",
    )


class AddressTest(Populated):
    """``ip`` and ``ip6``."""

    def setUp(self) -> None:
        super().setUp()
        self.add_server(OTHER, nics=(card("192.0.2.9"),))
        self.add_server(SIXTH, nics=(card("192.0.2.30"), card("2001:db8::9")))

    def found(self, query: str, version: str = "2.104") -> set[str]:
        """Return the UUIDs of the servers that their owner finds."""
        path = f"/servers/detail?{query}"
        listed = self.asked(200, "GET", path, version=version, token=ANN)["servers"]
        return {server["id"] for server in listed}

    def test_servers_are_found_by_part_of_an_address(self) -> None:
        for query, expected in (
            ("ip=192.0.2.9", {OTHER}),
            ("ip=192.0.2", {OTHER, SIXTH}),
            ("ip=%5E192.0.2.3", {SIXTH}),
            ("ip=198.51", set()),
            ("ip6=db8", {SIXTH}),
            ("ip6=192", set()),
            ("ip=2001", set()),
            ("ip=192&ip6=2001", {SIXTH}),
            ("ip=192.0.2.9&ip6=2001", set()),
        ):
            self.assertEqual(expected, self.found(query), query)

    def test_an_owner_finds_by_ipv6_only_from_2_5_on(self) -> None:
        self.assertIn(ACTIVE, self.found("ip6=db8", version="2.4"))
        self.assertEqual({SIXTH}, self.found("ip6=db8", version="2.5"))

    def test_a_page_is_filled_up_with_what_is_found(self) -> None:
        first = self.asked(200, "GET", "/servers?ip=192&limit=1", token=ANN)
        (link,) = first["servers_links"]
        following = link["href"].partition("/v2.1")[2]
        second = self.asked(200, "GET", following, token=ANN)
        found = {page["servers"][0]["id"] for page in (first, second)}
        self.assertEqual({OTHER, SIXTH}, found)

    def test_a_pattern_that_cannot_be_read_is_refused(self) -> None:
        self.refused(400, "cannot be read", "GET", "/servers?ip=[1", token=ANN)
