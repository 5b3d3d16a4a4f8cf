"""What answers look like at each microversion."""

from datetime import datetime, timedelta
from typing import Any

import testtools

from kilonova.api.views import aggregates, flavors, hosts, key_pairs, quotas
from kilonova.core.aggregate import HostAggregate
from kilonova.core.flavor import Flavor
from kilonova.core.host import NodeReport, Service
from kilonova.core.ids import FlavorId, HostName, InstanceUuid, NodeName, ProviderUuid, UserId
from kilonova.core.instance import KeyPair
from kilonova.core.quota import Amount, Limits
from kilonova.db.hosted import Hosted
from kilonova.db.hosts import StoredNode
from kilonova.db.key_pairs import OwnedKeyPair

NOW = datetime(2026, 5, 1, 12, 0, 0)
FLAVOR = Flavor(
    flavor_id=FlavorId("1"),
    name="tiny",
    vcpus=1,
    memory_mb=512,
    root_gb=1,
    description="small",
    extra_specs={"a": "b"},
)
KEY = KeyPair(name="k", kind="ssh", fingerprint="00", public_key="ssh-rsa x")
SERVICE = Service(
    uuid="s-uuid", id=7, binary="nova-compute", host=HostName("h"), topic="compute", last_seen=NOW
)
REPORT = NodeReport(
    node=NodeName("h.example"),
    provider_uuid=ProviderUuid("p-uuid"),
    hypervisor_type="QEMU",
    hypervisor_version=7002000,
    host_ip="192.0.2.1",
    vcpus=8,
    memory_mb=8192,
    disk_gb=100,
    vcpus_used=2,
    memory_mb_used=1024,
    disk_gb_used=10,
    running_vms=1,
    cpu_info='{"arch": "x86_64"}',
    booted_at=NOW - timedelta(days=3, hours=4, minutes=5),
)
NODE = StoredNode(number=3, host=HostName("h"), report=REPORT, service=SERVICE)
SEEN = hosts.SeenService(service=SERVICE, zone="z", up=True)


def _detail(version: tuple[int, int], *, up: bool) -> dict[str, Any]:
    return hosts.hypervisor_detail(hosts.SeenNode(node=NODE, up=up, now=NOW), version)


class FlavorViewTest(testtools.TestCase):
    """Flavors."""

    def _full(self, version: tuple[int, int], **seen: bool) -> dict[str, Any]:
        return flavors.full(FLAVOR, version, [], **{"with_extra_specs": True} | seen)

    def test_the_description_comes_with_2_55(self) -> None:
        self.assertNotIn("description", self._full((2, 54)))
        self.assertEqual("small", self._full((2, 55))["description"])
        self.assertEqual({"id", "name", "links"}, flavors.brief(FLAVOR, (2, 54), []).keys())
        self.assertEqual("small", flavors.brief(FLAVOR, (2, 55), [])["description"])

    def test_extra_specs_come_with_2_61_for_those_who_may_see_them(self) -> None:
        self.assertNotIn("extra_specs", self._full((2, 60)))
        self.assertEqual({"a": "b"}, self._full((2, 61))["extra_specs"])
        self.assertNotIn("extra_specs", self._full((2, 61), with_extra_specs=False))

    def test_no_swap_is_an_empty_string_and_0_from_2_75(self) -> None:
        self.assertEqual("", self._full((2, 74))["swap"])
        self.assertEqual(0, self._full((2, 75))["swap"])


class KeyPairViewTest(testtools.TestCase):
    """Key pairs."""

    def test_the_type_comes_with_2_2(self) -> None:
        self.assertNotIn("type", key_pairs.brief(KEY, (2, 1)))
        self.assertEqual("ssh", key_pairs.brief(KEY, (2, 2))["type"])

    def test_a_private_key_is_shown_only_when_one_was_made(self) -> None:
        view = key_pairs.created(KEY, UserId("ann"), None, (2, 10))
        self.assertNotIn("private_key", view)
        self.assertEqual("ann", view["user_id"])
        view = key_pairs.created(KEY, UserId("ann"), "secret", (2, 10))
        self.assertEqual("secret", view["private_key"])

    def test_a_whole_key_pair_says_when_it_was_made(self) -> None:
        owned = OwnedKeyPair(number=4, user_id=UserId("ann"), created_at=NOW, key_pair=KEY)
        view = key_pairs.full(owned, (2, 2))
        self.assertEqual((4, "2026-05-01T12:00:00.000000"), (view["id"], view["created_at"]))


class HostViewTest(testtools.TestCase):
    """Hypervisors, services and zones."""

    def test_ids_are_numbers_and_from_2_53_uuids(self) -> None:
        for version, wanted in (((2, 52), (3, 7)), ((2, 53), ("p-uuid", "s-uuid"))):
            view = _detail(version, up=True)
            self.assertEqual(wanted, (view["id"], view["service"]["id"]))
            self.assertEqual(wanted[1], hosts.service(SEEN, version)["id"])

    def test_cpu_info_is_a_text_an_object_from_2_28_and_gone_from_2_88(self) -> None:
        view = _detail((2, 27), up=True)
        self.assertEqual('{"arch": "x86_64"}', view["cpu_info"])
        view = _detail((2, 28), up=True)
        self.assertEqual({"arch": "x86_64"}, view["cpu_info"])
        view = _detail((2, 88), up=True)
        self.assertEqual(
            {
                "id",
                "hypervisor_hostname",
                "state",
                "status",
                "hypervisor_type",
                "hypervisor_version",
                "host_ip",
                "service",
                "uptime",
            },
            view.keys(),
        )

    def test_what_is_free_is_what_is_not_used(self) -> None:
        view = _detail((2, 87), up=True)
        self.assertEqual((7168, 90), (view["free_ram_mb"], view["free_disk_gb"]))

    def test_uptime_is_known_of_hosts_that_are_up_from_2_88(self) -> None:
        up = _detail((2, 88), up=True)
        self.assertEqual(("up 3 days, 4:05", "up"), (up["uptime"], up["state"]))
        down = _detail((2, 88), up=False)
        self.assertEqual((None, "down"), (down["uptime"], down["state"]))

    def test_statistics_are_sums_and_zero_without_hypervisors(self) -> None:
        both = hosts.statistics([REPORT, REPORT])["hypervisor_statistics"]
        self.assertEqual((2, 16, 14336), (both["count"], both["vcpus"], both["free_ram_mb"]))
        none = hosts.statistics([])["hypervisor_statistics"]
        self.assertEqual(both.keys(), none.keys())
        self.assertEqual({0}, set(none.values()))

    def test_a_host_without_servers_shows_an_empty_list_from_2_75(self) -> None:
        self.assertNotIn("servers", hosts.with_servers({}, [], (2, 74)))
        self.assertEqual([], hosts.with_servers({}, [], (2, 75))["servers"])
        shown = hosts.with_servers({}, [Hosted(HostName("h"), InstanceUuid("u"), "vm")], (2, 53))
        self.assertEqual([{"uuid": "u", "name": "vm"}], shown["servers"])

    def test_forced_down_comes_with_2_11(self) -> None:
        self.assertNotIn("forced_down", hosts.service(SEEN, (2, 10)))
        self.assertIs(False, hosts.service(SEEN, (2, 11))["forced_down"])

    def test_a_zone_is_available_if_one_of_its_hosts_is_enabled(self) -> None:
        off = Service(uuid="x", binary="nova-compute", host=HostName("g"), topic="", enabled=False)
        boss = Service(uuid="y", binary="nova-conductor", host=HostName("c"), topic="")
        states = [
            hosts.SeenService(service=off, zone="a", up=True),
            hosts.SeenService(service=SERVICE, zone="b", up=False),
            hosts.SeenService(service=boss, zone=hosts.INTERNAL_ZONE, up=True),
        ]
        brief = hosts.zones(states, detail=False)["availabilityZoneInfo"]
        self.assertEqual(
            [("b", True, None), ("a", False, None)],
            [(z["zoneName"], z["zoneState"]["available"], z["hosts"]) for z in brief],
        )
        full = {z["zoneName"]: z for z in hosts.zones(states, detail=True)["availabilityZoneInfo"]}
        self.assertIsNone(full["a"]["hosts"])
        self.assertIs(False, full["b"]["hosts"]["h"]["nova-compute"]["available"])
        self.assertIn("internal", full)


class QuotaViewTest(testtools.TestCase):
    """Quota sets, quota class sets and limits."""

    def test_quota_sets_lose_networks_at_2_36_and_files_at_2_57(self) -> None:
        old = quotas.quota_set(Limits(), (2, 35), "p")["quota_set"]
        self.assertEqual((-1, 5, "p"), (old["floating_ips"], old["injected_files"], old["id"]))
        middle = quotas.quota_set(Limits(), (2, 36))["quota_set"]
        self.assertNotIn("floating_ips", middle)
        self.assertIn("injected_files", middle)
        new = quotas.quota_set(Limits(), (2, 57))["quota_set"]
        self.assertEqual(
            {
                "cores",
                "instances",
                "key_pairs",
                "metadata_items",
                "ram",
                "server_group_members",
                "server_groups",
            },
            new.keys(),
        )

    def test_class_sets_swap_networks_for_server_groups_at_2_50(self) -> None:
        old = quotas.class_set(Limits(), (2, 49), "default")["quota_class_set"]
        self.assertIn("fixed_ips", old)
        self.assertNotIn("server_groups", old)
        new = quotas.class_set(Limits(), (2, 50), "default")["quota_class_set"]
        self.assertNotIn("fixed_ips", new)
        self.assertIn("server_groups", new)
        self.assertNotIn("injected_files", quotas.class_set(Limits(), (2, 57))["quota_class_set"])

    def test_details_show_what_is_used(self) -> None:
        used = {"instances": 1, "cores": 2}
        view = quotas.detailed_set(Limits(), used, (2, 57), "p")["quota_set"]
        self.assertEqual({"limit": 20, "in_use": 2, "reserved": 0}, view["cores"])
        self.assertEqual({"limit": 100, "in_use": 0, "reserved": 0}, view["key_pairs"])

    def test_limits_lose_fields_at_2_36_2_39_and_2_57(self) -> None:
        def names(version: tuple[int, int]) -> set[str]:
            return set(quotas.absolute_limits(Limits(), Amount(), version)["limits"]["absolute"])

        self.assertEqual(
            {
                "maxTotalFloatingIps",
                "maxSecurityGroups",
                "maxSecurityGroupRules",
                "totalFloatingIpsUsed",
                "totalSecurityGroupsUsed",
            },
            names((2, 35)) - names((2, 36)),
        )
        self.assertEqual({"maxImageMeta"}, names((2, 38)) - names((2, 39)))
        self.assertEqual({"maxPersonality", "maxPersonalitySize"}, names((2, 56)) - names((2, 57)))


class AggregateViewTest(testtools.TestCase):
    """Aggregates."""

    def test_the_uuid_comes_with_2_41_and_a_new_one_shows_no_hosts(self) -> None:
        group = HostAggregate(
            number=1, uuid="u", name="n", created_at=NOW, metadata={"availability_zone": "z"}
        )
        self.assertNotIn("uuid", aggregates.full(group, (2, 40)))
        view = aggregates.full(group, (2, 41))
        self.assertEqual(("u", "z", []), (view["uuid"], view["availability_zone"], view["hosts"]))
        self.assertEqual({"hosts", "metadata"}, view.keys() - aggregates.created(group, (2, 41)))
