"""Ports of servers that move, or whose end comes when the network service is away."""

from datetime import timedelta
from typing import Any

from kilonova.compute import ports
from kilonova.conductor import patience
from tests.functional.pipeline.moving_case import MovingCase
from tests.functional.pipeline.network_case import NetworkCase

LIVE: dict[str, Any] = {"os-migrateLive": {"host": None, "block_migration": "auto"}}


class MovingNetworks(NetworkCase, MovingCase):
    """Three hosts. Guests called "broken" do not get there."""

    script = [
        {"step": "live-migrate", "server": "broken", "error": "the wire broke"},
        {"step": "prepare-move", "server": "unready", "error": "no berth"},
        {"step": "spawn", "server": "second-luck", "times": 1, "error": "out of luck"},
        {"step": "spawn", "server": "unlucky", "error": "out of luck"},
    ]

    def bound(self, uuid: str) -> set[str]:
        """Return the hosts to which a server's ports are bound."""
        return {port["binding:host_id"] for port in self.neutron.ports_of(uuid)}

    def test_a_port_follows_its_server_and_comes_back_with_it(self) -> None:
        uuid = self.boot()["id"]
        first, addresses = self.host(uuid), self.addresses(uuid)
        for end, status in (("revertResize", 202), ("confirmResize", 204)):
            self.asked_for(uuid, {"migrate": None})
            self.until_idle(uuid, "VERIFY_RESIZE")
            there = self.host(uuid)
            self.assertNotEqual(first, there)
            self.assertEqual({there}, self.bound(uuid))
            self.asked_for(uuid, {end: None}, status)
            self.until_idle(uuid, "ACTIVE")
            expected = first if end == "revertResize" else there
            self.assertEqual(({expected}, expected), (self.bound(uuid), self.host(uuid)))
            self.assertEqual(addresses, self.addresses(uuid))

    def test_a_port_is_bound_to_both_hosts_while_its_server_goes_live_and_then_to_one(self) -> None:
        for multiple in (True, False):
            self.neutron.multiple_bindings = multiple
            uuid = self.boot()["id"]
            (port,) = self.neutron.ports_of(uuid)
            before = self.host(uuid)
            self.asked_for(uuid, LIVE)
            self.until("it is elsewhere", lambda u=uuid, b=before: self.host(u) != b)  # type: ignore[misc]
            self.until_idle(uuid, "ACTIVE")
            after = self.host(uuid)
            self.until(
                "it is bound there",
                lambda p=port["id"], a=after: self.neutron.hosts_of(p) == {a: "ACTIVE"},  # type: ignore[misc]
            )
            self.assertEqual({after}, self.bound(uuid))
            self.delete(uuid)

    def test_a_guest_that_does_not_get_there_keeps_its_port_where_it_is(self) -> None:
        uuid = self.boot("broken")["id"]
        (port,) = self.neutron.ports_of(uuid)
        before = self.host(uuid)
        self.asked_for(uuid, LIVE)
        alone = {before: "ACTIVE"}
        self.until("it has failed", lambda: self.migrations(uuid) in (["error"], ["failed"]))
        self.until("one is left", lambda: self.neutron.hosts_of(port["id"]) == alone)
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual({before}, self.bound(uuid))

    def test_a_host_that_cannot_prepare_lets_go_of_the_port_that_it_was_promised(self) -> None:
        uuid = self.boot("unready")["id"]
        (port,) = self.neutron.ports_of(uuid)
        before = self.host(uuid)
        self.asked_for(uuid, LIVE)
        self.until("it is given up", lambda: self.migrations(uuid) == ["error"])
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual({before: "ACTIVE"}, self.neutron.hosts_of(port["id"]))

    def test_a_port_that_cannot_be_bound_at_the_destination_stays_with_its_server(self) -> None:
        uuid = self.boot()["id"]
        (port,) = self.neutron.ports_of(uuid)
        before = self.host(uuid)
        self.neutron.failing = set(self.hosts_named()) - {before}
        self.asked_for(uuid, LIVE)
        self.until("it is given up", lambda: self.migrations(uuid) == ["error"])
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual({before: "ACTIVE"}, self.neutron.hosts_of(port["id"]))

    def migrations(self, uuid: str) -> list[str]:
        """Return the statuses of a server's moves."""
        found = self.get("compute", f"/os-migrations?instance_uuid={uuid}")["migrations"]
        return [one["status"] for one in found]

    def test_a_shelved_server_keeps_its_ports_on_no_host(self) -> None:
        uuid = self.boot()["id"]
        addresses = self.addresses(uuid)
        self.asked_for(uuid, {"shelve": None})
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.assertEqual({""}, self.bound(uuid))
        self.asked_for(uuid, {"unshelve": None})
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual({self.host(uuid)}, self.bound(uuid))
        self.assertEqual(addresses, self.addresses(uuid))
        self.asked_for(uuid, {"shelve": None})
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.delete(uuid)
        self.assertEqual([], self.neutron.ports_of(uuid))

    def test_an_unshelved_server_stands_still_until_its_port_is_connected(self) -> None:
        uuid = self.boot()["id"]
        (port,) = self.neutron.ports_of(uuid)
        self.asked_for(uuid, {"shelve": None})
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.neutron.connects = False
        self.asked_for(uuid, {"unshelve": None})
        self.until("it is bound", lambda: self.bound(uuid) != {""})
        self.assertEqual("SHELVED_OFFLOADED", self.server(uuid)["status"])
        self.neutron.connect(port["id"])
        self.until_idle(uuid, "ACTIVE")

    def runs_on(self, uuid: str) -> set[str]:
        """Return the hosts on which a server's guest runs."""
        there = [place.split() for place in self.guests()[uuid]]
        return {host for host, power in there if power == "RUNNING"}

    def stands_on(self, uuid: str) -> set[str]:
        """Return the hosts on which a server's guest stands still."""
        there = [place.split() for place in self.guests()[uuid]]
        return {host for host, power in there if power == "PAUSED"}

    def test_a_server_that_moves_stands_still_until_its_port_is_connected_there_and_back(
        self,
    ) -> None:
        uuid = self.boot()["id"]
        (port,) = self.neutron.ports_of(uuid)
        self.neutron.connects = False
        for asked, status in (
            ({"migrate": None}, "VERIFY_RESIZE"),
            ({"revertResize": None}, "ACTIVE"),
        ):
            before = self.bound(uuid)
            self.asked_for(uuid, asked)
            self.until("it is bound", lambda b=before: self.bound(uuid) not in (b, {""}))  # type: ignore[misc]
            self.until("it waits", lambda: self.stands_on(uuid) == self.bound(uuid))
            self.assertNotEqual(status, self.server(uuid)["status"])
            self.neutron.connect(port["id"])
            self.until_idle(uuid, status)
            self.assertEqual(self.bound(uuid), self.runs_on(uuid))

    def test_a_server_whose_port_is_not_connected_elsewhere_runs_where_it_was(self) -> None:
        self.patch(ports, "_LOOKS", 0.1)
        self.patch(ports, "_PLUGGED_SECONDS", 0.3)
        uuid = self.boot()["id"]
        before = self.bound(uuid)
        self.neutron.connects = False
        self.asked_for(uuid, {"migrate": None})
        self.until("it has failed", lambda: self.migrations(uuid) == ["error"])
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual(before, self.bound(uuid))
        self.assertEqual(before, self.runs_on(uuid))

    def test_a_server_that_is_evacuated_in_vain_has_its_port_where_it_was(self) -> None:
        uuid = self.boot()["id"]
        (before,) = self.bound(uuid)
        self.neutron.failing = set(self.hosts_named()) - {before}
        services = self.deployment._running["compute"]._services  # type: ignore[attr-defined]
        (dead,) = [one for one in services if one._host == before]
        services.remove(dead)
        dead.stop()
        (found,) = self.get("compute", f"/os-services?host={before}&binary=nova-compute")[
            "services"
        ]
        down = self.ask("compute", "PUT", f"/os-services/{found['id']}", {"forced_down": True})
        self.assertEqual(200, down.status_code, down.text)
        self.asked_for(uuid, {"evacuate": {}}, 200)
        self.until("it is given up", lambda: self.migrations(uuid) == ["error"])
        self.assertEqual(({before}, before), (self.bound(uuid), self.host(uuid)))

    def test_a_server_that_cannot_be_unshelved_has_its_port_on_no_host(self) -> None:
        self.patch(ports, "_LOOKS", 0.1)
        self.patch(ports, "_PLUGGED_SECONDS", 0.3)
        uuid = self.boot()["id"]
        self.asked_for(uuid, {"shelve": None})
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.neutron.connects = False
        self.asked_for(uuid, {"unshelve": None})
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.assertEqual({""}, self.bound(uuid))

    def test_the_next_host_builds_with_ports_of_its_own_and_none_is_left_over(self) -> None:
        mine = self.neutron.port(self.net, self.project)
        wanted = [{"port": mine}, {"uuid": self.net}]
        uuid = self.boot("second-luck", networks=wanted)["id"]
        self.assertEqual(2, len(self.neutron.ports_of(uuid)))
        self.assertEqual({self.host(uuid)}, self.bound(uuid))
        self.assertEqual(["Error", "Success"], self.builds(uuid))
        lost = self.until_status(self.create("unlucky", networks="auto"), "ERROR")["id"]
        self.assertEqual([], self.neutron.ports_of(lost))

    def test_a_host_to_which_no_port_is_bound_is_left_for_another(self) -> None:
        self.neutron.failing = set(self.hosts_named()[:2])
        server = self.boot()
        self.assertEqual(self.hosts_named()[2], server["OS-EXT-SRV-ATTR:host"])
        self.assertEqual(1, len(self.neutron.ports_of(server["id"])))

    def test_rebuilding_keeps_the_ports(self) -> None:
        uuid = self.boot()["id"]
        before = [port["id"] for port in self.neutron.ports_of(uuid)]
        self.asked_for(uuid, {"rebuild": {"imageRef": self.image}})
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual(before, [port["id"] for port in self.neutron.ports_of(uuid)])

    def test_ports_that_outlived_their_server_are_removed_and_no_others(self) -> None:
        self.patch(patience, "PORTS_EVERY", timedelta(seconds=0.2))
        uuid, lives = self.boot()["id"], self.boot("other")["id"]
        self.asked_for(uuid, {"shelve": None})
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.neutron.go()
        self.delete(uuid)
        self.assertEqual(1, len(self.neutron.ports_of(uuid)))
        marked = {"description": "Made by kilonova for its server"}
        foreign = self.neutron.port(self.net, "p", device_id="another deployment's", **marked)
        self.neutron.come()
        self.until("they are removed", lambda: not self.neutron.ports_of(uuid))
        self.assertEqual(1, len(self.neutron.ports_of(lives)))
        self.assertEqual("another deployment's", self.neutron.get_port(foreign)["device_id"])
