"""Hosts that an operator switches off and on: servers go by it from the answer on, before anybody looks."""

from datetime import timedelta

from kilonova.conductor import patience
from tests.functional.pipeline.choice_case import ChoiceCase, host_name

FIRST, SECOND, THIRD = (host_name(number) for number in range(3))
TRAIT = "COMPUTE_STATUS_DISABLED"


class DisabledHostsTest(ChoiceCase):
    """Three hosts at which the scheduler does not look again by itself."""

    more = "[scheduler]\nhost_refresh_interval = 3600\n"

    def setUp(self) -> None:
        self.patch(patience, "MIRRORED_EVERY", timedelta(seconds=0.2))
        super().setUp()
        nodes = self.get("compute", "/os-hypervisors/detail")["hypervisors"]
        self.provider_of = {node["service"]["host"]: node["id"] for node in nodes}
        self.see()

    def is_barred(self, host: str) -> bool:
        """Whether Placement has a host as a disabled one."""
        path = f"/resource_providers/{self.provider_of[host]}/traits"
        return TRAIT in self.get("placement", path)["traits"]

    def set_trait(self, host: str, *, there: bool) -> None:
        """Change what Placement has, behind everybody's back."""
        path = f"/resource_providers/{self.provider_of[host]}/traits"
        held = self.get("placement", path)
        traits = set(held["traits"]) | {TRAIT} if there else set(held["traits"]) - {TRAIT}
        body = held | {"traits": sorted(traits)}
        self.assertEqual(200, self.ask("placement", "PUT", path, body).status_code)

    def test_a_host_that_was_disabled_gets_no_server_any_more(self) -> None:
        for host in (FIRST, SECOND):
            self.set_enabled(host, enabled=False)
        asked = [self.request({}, {}) for _ in range(6)]
        self.assertEqual({THIRD}, {self.host_of(uuid) for uuid in asked})
        self.set_enabled(THIRD, enabled=False)
        self.assertEqual("0 of 3 hosts fit: 3 are disabled.", self.why_not(self.request({}, {})))

    def test_a_host_that_was_enabled_gets_servers_again(self) -> None:
        for host in (FIRST, SECOND, THIRD):
            self.set_enabled(host, enabled=False)
        self.see()
        self.set_enabled(SECOND, enabled=True)
        self.assertEqual(SECOND, self.host_of(self.request({}, {})))

    def test_the_old_ways_to_switch_a_host_do_the_same(self) -> None:
        by_name = {"host": FIRST, "binary": "nova-compute"}
        for path, body, barred in (
            ("/os-services/disable", by_name, True),
            ("/os-services/enable", by_name, False),
            ("/os-services/disable-log-reason", by_name | {"disabled_reason": "fans"}, True),
            (f"/os-hosts/{FIRST}", {"status": "enable"}, False),
            (f"/os-hosts/{FIRST}", {"status": "disable"}, True),
        ):
            answer = self.ask("compute", "PUT", path, body, version="2.11")
            self.assertEqual(200, answer.status_code, answer.text)
            self.assertEqual(barred, self.is_barred(FIRST), path)

    def test_another_change_of_a_service_leaves_the_switch_alone(self) -> None:
        self.set_enabled(FIRST, enabled=False)
        path = f"/os-services/{self.services[FIRST]}"
        for down in (True, False):
            self.assertEqual(
                200, self.ask("compute", "PUT", path, {"forced_down": down}).status_code
            )
            self.assertTrue(self.is_barred(FIRST))

    def test_what_placement_could_not_be_told_it_is_told_when_it_is_back(self) -> None:
        self.set_enabled(FIRST, enabled=False)
        self.deployment.stop_part("placement")
        self.set_enabled(FIRST, enabled=True)
        self.set_enabled(SECOND, enabled=False)
        self.deployment.start_part("placement")
        self.until("one is offered again", lambda: not self.is_barred(FIRST))
        self.until("one is offered no more", lambda: self.is_barred(SECOND))

    def test_what_somebody_else_said_of_a_host_gives_way_to_its_operator(self) -> None:
        self.set_enabled(FIRST, enabled=False)
        self.set_trait(FIRST, there=False)
        self.set_trait(SECOND, there=True)
        self.until("the disabled one is barred", lambda: self.is_barred(FIRST))
        self.until("the enabled one is not", lambda: not self.is_barred(SECOND))
