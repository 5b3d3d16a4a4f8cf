"""Servers through the API, short of what happens on hosts."""

from typing import Any

from kilonova.api.microversions import MAXIMUM
from kilonova.core.clock import utcnow
from kilonova.db import build_requests
from tests.functional.api.api_case import ADMIN, ANN
from tests.functional.api.population import (
    ACTIVE,
    FAILED,
    GONE,
    IMAGE,
    REQUEST,
    SERVERS,
    WAITING,
    Populated,
)
from tests.functional.compute.image_store import ServedImages

NEWEST = ".".join(map(str, MAXIMUM))
KEYS: tuple[tuple[str, Any, str, str], ...] = (
    ("name", "x", "2.1", NEWEST),
    ("metadata", {"a": "b"}, "2.1", NEWEST),
    ("config_drive", "yes", "2.1", NEWEST),
    ("networks", "none", "2.37", NEWEST),
    ("networks", "auto", "2.37", NEWEST),
    ("networks", [], "2.1", NEWEST),
    ("description", None, "2.19", NEWEST),
    ("tags", ["a"], "2.52", NEWEST),
    ("personality", [], "2.1", "2.56"),
    ("trusted_image_certificates", None, "2.63", NEWEST),
    ("host", "h1", "2.74", NEWEST),
    ("hypervisor_hostname", "h1.example", "2.74", NEWEST),
    ("hostname", "web-1", "2.90", NEWEST),
    ("hostname", "web.example.org", "2.94", NEWEST),
)
"""Key of a new server, a value, and the first and the last microversion that take it."""

CHANGES: tuple[tuple[str, Any, str], ...] = (
    ("name", "new", "2.1"),
    ("accessIPv4", "192.0.2.9", "2.1"),
    ("accessIPv6", "2001:db8::1", "2.1"),
    ("OS-DCF:diskConfig", "MANUAL", "2.1"),
    ("description", "new", "2.19"),
    ("description", "", "2.19"),
    ("description", None, "2.19"),
    ("hostname", "web-1", "2.90"),
    ("hostname", "web.example.org", "2.94"),
    ("pinned_availability_zone", "z1", "2.104"),
)
"""Key of a change, a value, and the first microversion that takes it."""


def _number(version: str) -> int:
    return int(version.partition(".")[2])


class ServersTest(Populated):
    """With an image store."""

    def options(self) -> str:
        images = ServedImages(self.directory)
        self.addCleanup(images.stop)
        self.image = images.add(b"\0" * 512).image_id
        return super().options() + images.options + "[quota]\ninstances = 100\ncores = 100\n"

    def _body(self, version: str, **more: Any) -> dict[str, Any]:
        networks = {"networks": "none"} if _number(version) >= 37 else {}
        return {
            "server": {"name": "new", "flavorRef": "1", "imageRef": self.image} | networks | more
        }

    def _create(self, version: str = NEWEST, **more: Any) -> str:
        body = self._body(version, **more)
        made = self.asked(202, "POST", "/servers", body, version=version)
        return str(made["server"]["id"])

    def _show(self, uuid: str, version: str = NEWEST) -> dict[str, Any]:
        shown: dict[str, Any] = self.asked(200, "GET", f"/servers/{uuid}", version=version)
        server: dict[str, Any] = shown["server"]
        return server

    def test_each_key_of_a_new_server_is_taken_from_its_first_version_to_its_last(self) -> None:
        for key, value, first, last in KEYS:
            for minor, taken in (
                (_number(first) - 1, False),
                (_number(first), True),
                (_number(last), True),
                (_number(last) + 1, False),
            ):
                if 1 <= minor <= MAXIMUM[1]:
                    version = f"2.{minor}"
                    body = self._body(version, **{key: value})
                    answer = self.ask("POST", "/servers", body, version=version)
                    self.assertEqual(
                        202 if taken else 400, answer.status_code, f"{key} {version}: {answer.text}"
                    )

    def test_a_refusal_reads_as_clients_know_it(self) -> None:
        name = (
            "An invalid 'name' value was provided. The name must be: printable characters. "
            "Can not start or end with whitespace."
        )
        for more, status, sentence in (
            ({"imageRef": IMAGE.image_id}, 400, "Can not find requested image"),
            ({"imageRef": ""}, 400, "Missing imageRef attribute"),
            ({"key_name": "nobody's"}, 400, "Invalid key_name provided."),
            ({"flavorRef": "999"}, 400, "Flavor 999 could not be found."),
            ({"name": " x"}, 400, name),
            ({"name": "x "}, 400, name),
            ({"name": "x\u2028y"}, 400, name),
            ({"min_count": 3, "max_count": 2}, 400, "min_count must be <= max_count"),
        ):
            document = self.asked(status, "POST", "/servers", self._body(NEWEST, **more))
            self.assertEqual({"badRequest": {"code": status, "message": sentence}}, document)
        body = self._body(NEWEST, min_count=101)
        self.asked(200, "PUT", "/os-quota-sets/operators", {"quota_set": {"ram": -1}})
        fault = self.asked(403, "POST", "/servers", body)["forbidden"]
        self.assertEqual(
            "Quota exceeded for cores, instances: Requested 101, 101, but already used 0, 0 of "
            "100, 100 cores, instances",
            fault["message"],
        )

    def test_networks_are_needed_from_2_37_on(self) -> None:
        body = self._body("2.36")
        self.asked(202, "POST", "/servers", body, version="2.36")
        self.refused(400, "networks", "POST", "/servers", body, version="2.37")

    def test_a_maximum_beyond_the_quota_is_cut_to_it(self) -> None:
        self.asked(200, "PUT", "/os-quota-sets/admins", {"quota_set": {"instances": 3}})
        body = self._body(NEWEST, max_count=10**9)
        self.asked(202, "POST", "/servers", body, token="admin:admins")
        listed = self.asked(200, "GET", "/servers", token="admin:admins")["servers"]
        self.assertEqual({"new-1", "new-2", "new-3"}, {server["name"] for server in listed})
        self.refused(403, "Quota", "POST", "/servers", body, token="admin:admins")

    def test_hints_of_any_type_leave_a_request_that_can_be_read(self) -> None:
        hints = {"a": {"b": [1]}, "n": 1, "none": None, "many": [1, "x", None], "text": "t"}
        for key in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"):
            body = self._body(NEWEST) | {key: hints}
            uuid = self.asked(202, "POST", "/servers", body)["server"]["id"]
            (pending,) = build_requests.take(self.api_db, [uuid], "c9", utcnow())
            self.assertEqual("t", pending.spec.hints["text"])
            shown = self._show(uuid)["scheduler_hints"]
            self.assertEqual(("t", ["1", "x", "null"]), (shown["text"], shown["many"]))

    def test_a_device_without_a_boot_index_is_no_boot_disk(self) -> None:
        device = {"source_type": "image", "destination_type": "local", "uuid": self.image}
        for more in ({}, {"boot_index": None}, {"boot_index": 1}, {"boot_index": "x"}):
            body = self._body(NEWEST, block_device_mapping_v2=[device | more])
            self.refused(400, "boot_index", "POST", "/servers", body)
        self._create(block_device_mapping_v2=[device | {"boot_index": "0"}])

    def test_an_image_may_be_named_without_hyphens(self) -> None:
        uuid = self._create(imageRef=self.image.replace("-", ""))
        self.assertEqual(self.image, self._show(uuid)["image"]["id"])

    def test_each_key_of_a_change_is_taken_from_its_first_version_on(self) -> None:
        for key, value, first in CHANGES:
            body = {"server": {key: value}}
            if _number(first) > 1:
                before = f"2.{_number(first) - 1}"
                self.refused(400, key, "PUT", f"/servers/{ACTIVE}", body, version=before)
            for version in (first, NEWEST):
                self.asked(200, "PUT", f"/servers/{ACTIVE}", body, version=version)
            shown = self._show(ACTIVE)
            name = "OS-EXT-SRV-ATTR:hostname" if key == "hostname" else key
            self.assertEqual(value, shown[name])

    def test_what_a_change_may_not_say_is_refused_and_nothing_is_changed(self) -> None:
        before = self._show(ACTIVE)
        for key, value in (
            ("name", " x"),
            ("accessIPv4", "nowhere"),
            ("accessIPv4", ""),
            ("accessIPv6", "192.0.2.1"),
            ("OS-DCF:diskConfig", "manual"),
            ("flavorRef", "1"),
        ):
            body = {"server": {"name": "renamed", key: value}}
            self.refused(400, key, "PUT", f"/servers/{ACTIVE}", body)
        self.assertEqual(before, self._show(ACTIVE))

    def test_a_server_is_unpinned_and_pinned_to_where_it_is(self) -> None:
        path = f"/servers/{ACTIVE}"

        def pin(status: int, zone: str | None) -> Any:
            body = {"server": {"pinned_availability_zone": zone}}
            answer = self.ask("PUT", path, body, version="2.104")
            self.assertEqual(status, answer.status_code, answer.text)
            return answer.json.get("server", {}).get("pinned_availability_zone", "refused")

        self.assertEqual("z1", pin(200, "z1"))
        pin(409, "z2")
        self.assertIsNone(pin(200, None))
        pin(409, "z2")
        self.assertEqual("z1", pin(200, "z1"))
        self.assertEqual("z1", self._show(ACTIVE)["pinned_availability_zone"])

    def test_actions_of_a_deleted_server_are_read_from_2_21_on(self) -> None:
        path = f"/servers/{GONE}/os-instance-actions"
        self.refused(404, GONE, "GET", path, version="2.20")
        listed = self.asked(200, "GET", path, version="2.21", token=ANN)["instanceActions"]
        self.assertEqual({"create", "stop"}, {action["action"] for action in listed})
        self.asked(200, "GET", f"{path}/{REQUEST}", version="2.21", token=ANN)

    def test_events_are_everybodys_from_2_51_on_but_not_what_policy_hides(self) -> None:
        path = f"/servers/{ACTIVE}/os-instance-actions/{REQUEST}"

        def events(version: str, token: str) -> list[dict[str, Any]] | None:
            action = self.asked(200, "GET", path, version=version, token=token)["instanceAction"]
            shown: list[dict[str, Any]] | None = action.get("events")
            return shown

        self.assertIsNone(events("2.50", ANN))
        self.assertIsNotNone(events("2.50", ADMIN))
        for event in events(NEWEST, ANN) or ():
            self.assertEqual(set(), event.keys() & {"traceback", "host", "details"})
        told = {event["event"]: event for event in events(NEWEST, ADMIN) or ()}
        build = told["compute__do_build_and_run_instance"]
        self.assertEqual(
            ("h1", "it broke", "line 1"), (build["host"], build["details"], build["traceback"])
        )
        self.assertEqual(self._show(ACTIVE)["hostId"], build["hostId"])
        self.assertEqual("", told["schedule_instances"]["hostId"])

    def test_a_lock_says_its_reason_from_2_73_on(self) -> None:
        path = f"/servers/{ACTIVE}/action"
        self.asked(202, "POST", path, {"lock": {"locked_reason": "mine"}}, version="2.72")
        self.assertIsNone(self._show(ACTIVE)["locked_reason"])
        self.asked(202, "POST", path, {"lock": {"locked_reason": "mine"}}, version="2.73")
        self.assertEqual("mine", self._show(ACTIVE)["locked_reason"])
        self.refused(400, "reason", "POST", path, {"lock": {"reason": "mine"}}, version="2.73")
        self.refused(400, "lock", "POST", path, {"lock": "mine"}, version="2.73")
        body = {"os-stop": None}
        self.refused(409, "locked", "POST", path, body, token=ANN)
        self.refused(403, "unlock_override", "POST", path, {"unlock": None}, token=ANN)
        self.asked(202, "POST", path, {"unlock": None})
        self.assertFalse(self._show(ACTIVE)["locked"])

    def test_a_console_is_asked_with_an_object(self) -> None:
        for asked, says in ((None, "os-getConsoleOutput"), ({"length": "many"}, "length")):
            body = {"os-getConsoleOutput": asked}
            self.refused(400, says, "POST", f"/servers/{ACTIVE}/action", body)

    def test_metadata_are_added_replaced_and_removed(self) -> None:
        path = f"/servers/{ACTIVE}/metadata"
        added = self.asked(200, "POST", path, {"metadata": {"a": "b"}})
        self.assertEqual({"metadata": {"colour": "blue", "a": "b"}}, added)
        self.asked(200, "PUT", f"{path}/a", {"meta": {"a": "c"}})
        self.refused(400, "mismatch", "PUT", f"{path}/z", {"meta": {"a": "c"}})
        self.asked(204, "DELETE", f"{path}/colour")
        self.refused(404, "Metadata", "GET", f"{path}/colour")
        self.assertEqual({"metadata": {"a": "c"}}, self.asked(200, "GET", path))
        self.assertEqual({"metadata": {}}, self.asked(200, "PUT", path, {"metadata": {}}))
        self.refused(409, "vm_state error", "POST", f"/servers/{FAILED}/metadata", added)

    def test_what_waits_for_a_cell_is_shown_and_deleted_but_not_acted_on(self) -> None:
        self.assertEqual("BUILD", self._show(WAITING)["status"])
        path = f"/servers/{WAITING}"
        self.refused(409, "scheduling", "POST", f"{path}/action", {"os-stop": None})
        self.asked(204, "DELETE", path)
        self.refused(404, WAITING, "GET", path)

    def test_a_name_that_two_servers_share_is_no_secret_of_another_project(self) -> None:
        names = self.asked(200, "GET", "/servers?name=vm", token="bob:project-b")["servers"]
        self.assertEqual([], names)

    def test_an_error_shows_its_fault_in_details_only_to_administrators(self) -> None:
        fault = self._show(FAILED)["fault"]
        self.assertEqual((500, "all"), (fault["code"], fault["details"]))
        shown = self.asked(200, "GET", f"/servers/{FAILED}", token=ANN)["server"]["fault"]
        self.assertEqual({"code", "created", "message"}, shown.keys())


class ListsTest(Populated):
    """Lists of servers."""

    def _ids(self, query: str, version: str = NEWEST, token: str = ANN) -> set[str]:
        listed = self.asked(200, "GET", f"/servers{query}", version=version, token=token)
        return {server["id"] for server in listed["servers"]}

    def test_changes_before_and_since_show_deleted_servers_too(self) -> None:
        alive = set(SERVERS) - {GONE}
        later = "2999-01-01T00:00:00Z"
        self.assertEqual(alive, self._ids(""))
        self.assertIn(GONE, self._ids("?changes-since=2020-01-01T00:00:00Z"))
        self.assertIn(GONE, self._ids(f"?changes-before={later}"))
        self.assertEqual(alive, self._ids(f"?changes-before={later}", "2.65"))

    def test_only_administrators_ask_for_deleted_servers(self) -> None:
        mine = "all_tenants=1&project_id=project-a"
        self.assertEqual({GONE}, self._ids(f"?deleted=true&{mine}", token=ADMIN))
        self.assertNotIn(GONE, self._ids(f"?deleted=perhaps&{mine}", token=ADMIN))
        self.assertNotIn(GONE, self._ids("?deleted=true"))
        self.refused(403, "", "GET", "/servers?status=deleted", token=ANN)
        self.refused(403, "get_all_tenants", "GET", "/servers?all_tenants=1", token=ANN)
        for name in ("project_id", "tenant_id"):
            self.assertEqual(set(), self._ids(f"?{name}=project-a", token=ADMIN))
            self.assertLess(set(), self._ids(f"?all_tenants=1&{name}=project-a", token=ADMIN))

    def test_what_is_inside_is_no_filter(self) -> None:
        for name in ("services", "metadata", "_sa"):
            self.refused(400, name, "GET", f"/servers?{name}=1", version="2.74")
            self.refused(400, name, "GET", f"/servers?{name}=1", version="2.75")
            self._ids(f"?{name}=1", "2.74")

    def test_sort_keys_that_meant_nothing_are_refused_from_2_75_on(self) -> None:
        for key in ("vcpus", "id"):
            self._ids(f"?sort_key={key}", "2.74")
            self.refused(400, key, "GET", f"/servers?sort_key={key}", version="2.75")
        for key in ("locked", "locked_by", "launch_index", "display_name", "key_name"):
            self._ids(f"?sort_key={key}&sort_dir=asc")
        self.refused(400, "colour", "GET", "/servers?sort_key=colour", version="2.1")
        self.refused(403, "host", "GET", "/servers?sort_key=host", token=ANN)

    def test_a_status_that_is_none_is_refused_from_2_38_on(self) -> None:
        self.assertEqual(set(), self._ids("?status=lost", "2.37"))
        self.refused(400, "status", "GET", "/servers?status=lost", version="2.38")
        self.assertEqual({FAILED}, self._ids("?status=error"))

    def test_filters_become_everybodys_with_their_versions(self) -> None:
        for query, before in (
            ("?vm_state=error", "2.82"),
            ("?hostname=vm", "2.89"),
            ("?tags=red", "2.25"),
            ("?locked=true", "2.72"),
            ("?changes-before=2020-01-01T00:00:00Z", "2.65"),
        ):
            everything = self._ids("", before)
            self.assertEqual(everything, self._ids(query, before), query)
        self.assertEqual({FAILED}, self._ids("?vm_state=error", "2.83"))
        self.assertEqual({ACTIVE, FAILED}, self._ids("?tags=red", "2.26"))
        self.assertEqual({WAITING}, self._ids("?not-tags=red", "2.26"))
        self.assertEqual(set(), self._ids("?locked=true", "2.73"))

    def test_unknown_parameters_are_refused_from_2_75_on(self) -> None:
        self._ids("?colour=blue", "2.74")
        self.refused(400, "colour", "GET", "/servers?colour=blue", version="2.75")

    def test_pages_follow_each_other(self) -> None:
        path, seen = "/servers?limit=1", []
        while path:
            page = self.asked(200, "GET", path, token=ANN)
            seen += [server["id"] for server in page["servers"]]
            links = page.get("servers_links", [])
            path = links[0]["href"].partition("/v2.1")[2] if links else ""
        self.assertEqual(sorted(set(SERVERS) - {GONE}), sorted(seen))
        self.refused(400, "marker", "GET", "/servers?marker=nothing", token=ANN)
