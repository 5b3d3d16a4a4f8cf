"""Which of several hosts a server goes to, through every service: hints and what flavors demand."""

from typing import Any

from tests.functional.pipeline.case import PipelineCase

_FILTERS = (
    "ComputeFilter,AvailabilityZoneFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,"
    "AggregateInstanceExtraSpecsFilter,DifferentHostFilter,SameHostFilter,JsonFilter,"
    "NumInstancesFilter"
)


class ThreeHosts(PipelineCase):
    """Three equal hosts, and filters beyond the usual ones."""

    hosts = 3
    more = f"[filter_scheduler]\nenabled_filters = {_FILTERS}\nmax_instances_per_host = 20\n"

    def setUp(self) -> None:
        """Note the hosts."""
        super().setUp()
        listed = self.get("compute", "/os-hypervisors/detail")["hypervisors"]
        self.nodes = {one["hypervisor_hostname"]: one["service"]["host"] for one in listed}

    def _host(self, uuid: str) -> str:
        return str(self.until_status(uuid, "ACTIVE")["OS-EXT-SRV-ATTR:host"])

    def _hinted(self, hints: dict[str, Any], **more: Any) -> str:
        body = {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": "none"} | more
        asked = {"server": body, "os:scheduler_hints": hints}
        answer = self.ask("compute", "POST", "/servers", asked)
        self.assertEqual(202, answer.status_code, answer.text)
        return str(answer.json()["server"]["id"])

    def _flavor(self, name: str, **extra: str) -> str:
        flavor = {"name": name, "id": name, "vcpus": 1, "ram": 128, "disk": 1}
        self.ask("compute", "POST", "/flavors", {"flavor": flavor})
        specs = {"extra_specs": {key.replace("__", ":"): value for key, value in extra.items()}}
        answer = self.ask("compute", "POST", f"/flavors/{name}/os-extra_specs", specs)
        self.assertEqual(200, answer.status_code, answer.text)
        return name

    def _why_not(self, uuid: str) -> str:
        return str(self.until_status(uuid, "ERROR")["fault"]["message"])

    def test_hints_say_beside_which_servers_and_apart_from_which(self) -> None:
        first = self.create("first")
        host = self._host(first)
        self.assertEqual(host, self._host(self._hinted({"same_host": first})))
        second = self._hinted({"different_host": first})
        other = self._host(second)
        third = self._host(self._hinted({"different_host": [first, second]}))
        self.assertEqual(set(self.nodes.values()), {host, other, third})
        nowhere = self._hinted({"same_host": "11111111-1111-4111-8111-111111111111"})
        self.assertEqual(
            "No valid host was found. 0 of 3 hosts fit: "
            "3 lack the servers that it should be beside.",
            self._why_not(nowhere),
        )

    def test_a_query_names_the_one_host_that_will_do(self) -> None:
        for node, host in self.nodes.items():
            wanted = f'["=", "$hypervisor_hostname", "{node}"]'
            self.assertEqual(host, self._host(self._hinted({"query": wanted})))
        message = self._why_not(self._hinted({"query": '["<", "$vcpus_total", 1]'}))
        self.assertIn("0 of 3 hosts fit: 3 are not as the query wants", message)

    def test_a_flavor_finds_the_one_host_whose_aggregate_it_demands(self) -> None:
        flavor = self._flavor("ssd", aggregate_instance_extra_specs__ssd="true")
        message = self._why_not(self.create("early", flavorRef=flavor))
        self.assertIn("0 of 3 hosts fit: 3 are in no aggregate with ssd true", message)
        body = {"aggregate": {"name": "fast"}}
        number = self.ask("compute", "POST", "/os-aggregates", body).json()["aggregate"]["id"]
        host = sorted(self.nodes.values())[1]
        path = f"/os-aggregates/{number}/action"
        self.ask("compute", "POST", path, {"set_metadata": {"metadata": {"ssd": "true"}}})
        joins = {"add_host": {"host": host}}
        self.until(
            "it has joined", lambda: self.ask("compute", "POST", path, joins).status_code == 200
        )
        self.until(
            "the scheduler has seen the aggregate",
            lambda: self._tried(flavor) == host,
        )

    def _tried(self, flavor: str) -> str | None:
        """Return where a server of a flavor went, if anywhere, and delete it."""
        uuid = self.create("vm", flavorRef=flavor)
        self.until("it ended", lambda: self.server(uuid)["status"] in ("ACTIVE", "ERROR"))
        host: str | None = self.server(uuid)["OS-EXT-SRV-ATTR:host"]
        self.delete(uuid)
        return host

    def test_a_trait_that_no_host_has_is_told(self) -> None:
        flavor = self._flavor("avx", trait__HW_CPU_X86_AVX2="required")
        self.assertIn(
            "0 of 3 hosts fit: 3 lack trait HW_CPU_X86_AVX2",
            self._why_not(self.create("vm", flavorRef=flavor)),
        )

    def test_a_trait_that_there_is_not_ends_the_server_at_once(self) -> None:
        flavor = self._flavor("odd", trait__CUSTOM_NEVER_MADE="required")
        message = self._why_not(self.create("vm", flavorRef=flavor))
        self.assertIn("0 of 3 hosts fit: 3 were refused by Placement", message)
        self.assertIn("CUSTOM_NEVER_MADE", message)
