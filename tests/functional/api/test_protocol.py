"""What holds for every request: paths, headers, bodies and faults."""

from typing import Any

import falcon.testing

from tests.functional.api.api_case import ADMIN
from tests.functional.api.population import ACTIVE, Populated

ECHO = ("openstack-api-version", "x-openstack-nova-api-version")
IDS = ("x-openstack-request-id", "x-compute-request-id")


class ProtocolTest(Populated):
    """Requests as they come over the wire."""

    def _send(self, method: str, path: str, **more: Any) -> falcon.testing.Result:
        headers = {"X-Auth-Token": ADMIN} | more.pop("headers", {})
        return self.client.simulate_request(method, path, headers=headers, **more)

    def _assert_headers(
        self, answer: falcon.testing.Result, *, echo: str | None, ids: bool
    ) -> None:
        for name, wanted in zip(ECHO, (f"compute {echo}", echo), strict=True):
            self.assertEqual(wanted if echo else None, answer.headers.get(name))
        self.assertEqual(ids, all(name in answer.headers for name in IDS), answer.headers)

    def test_version_documents_need_no_token_and_say_how_they_are_spoken_to(self) -> None:
        for path, status, echo in (
            ("/", 200, None),
            ("/v2.1", 200, "2.1"),
            ("/v2.1/", 200, "2.1"),
            ("/v2", 200, None),
            ("/v3", 300, None),
            ("/servers", 300, None),
        ):
            answer = self.client.simulate_get(path)
            self.assertEqual(status, answer.status_code, path)
            self._assert_headers(answer, echo=echo, ids=path.startswith("/v2"))
        self.assertEqual(
            {"id", "status", "version", "min_version", "updated", "links", "media-types"},
            self.client.simulate_get("/v2.1/").json["version"].keys(),
        )
        versions = self.client.simulate_get("/").json["versions"]
        self.assertEqual(
            [("v2.0", ""), ("v2.1", "2.104")], [(one["id"], one["version"]) for one in versions]
        )

    def test_a_path_or_a_method_that_is_none_is_not_found(self) -> None:
        for method, path in (
            ("GET", "/v2.1/nothing"),
            ("GET", "/v2.1/servers/1/nothing"),
            ("PATCH", f"/v2.1/servers/{ACTIVE}"),
            ("DELETE", "/v2.1/servers"),
            ("POST", "/v2.1/limits"),
        ):
            answer = self._send(method, path)
            self.assertEqual(404, answer.status_code, path)
            self.assertEqual({"message", "code", "title"}, answer.json.keys())
            self._assert_headers(answer, echo=None, ids=True)

    def test_a_body_that_cannot_be_read_says_why(self) -> None:
        for body, kind, status, name in (
            ("{", "application/json", 400, "badRequest"),
            ("\xff", "application/json", 400, "badRequest"),
            ("[" * 50_000, "application/json", 400, "badRequest"),
            ("<a/>", "application/xml", 415, "badMediaType"),
            ("x" * 114_689, "application/json", 413, "overLimit"),
        ):
            answer = self._send(
                "POST",
                "/v2.1/flavors",
                body=body.encode("latin-1"),
                headers={"Content-Type": kind},
            )
            self.assertEqual(status, answer.status_code, body[:10])
            self.assertEqual(status, answer.json[name]["code"])
            self.assertEqual("application/json; charset=UTF-8", answer.headers["content-type"])
            self._assert_headers(answer, echo="2.1", ids=True)
        at_the_limit = b" " * (114_688 - 2) + b"{}"
        answer = self._send("POST", "/v2.1/flavors", body=at_the_limit)
        self.assertIn("flavor", answer.json["badRequest"]["message"])

    def test_a_field_that_is_wrong_is_named_as_clients_know_it(self) -> None:
        server = {"name": "x", "flavorRef": "1", "networks": "none"}
        device = {"boot_index": 0, "uuid": "u", "source_type": "tape"}
        for method, path, body, says in (
            ("POST", "/servers", {"server": server | {"min_count": 0}},
             "Invalid input for field/attribute min_count. Value: 0. "),
            ("POST", "/servers", {"server": server | {"block_device_mapping_v2": [device]}},
             "Invalid input for field/attribute source_type. Value: tape. "),
            ("POST", "/servers", {"server": server | {"tags": ["a", "b/c"]}},
             "Invalid input for field/attribute tags/1. Value: b/c. "),
            ("POST", "/servers", {"server": {"name": "x", "networks": "none"}},
             "Invalid input for field/attribute server. Value: {'name': 'x', 'networks': 'none'}. "
             "'flavorRef' is a required property"),
            ("POST", "/servers", {"serve": {}}, "'server' is a required property"),
            ("POST", "/servers", [1], "[1] is not of type 'object'"),
            ("POST", "/flavors", {"flavor": {"name": "f", "ram": 0, "vcpus": 1, "disk": 1}},
             "Invalid input for field/attribute ram. Value: 0. 0 is less than the minimum of 1"),
            ("PUT", "/os-quota-sets/p", {"quota_set": {"cores": -2}},
             "Invalid input for field/attribute cores. Value: -2. -2 is less than the minimum of -1"),
            ("GET", "/servers?limit=x", None, "Invalid input for query parameters limit. Value: x. "),
            ("GET", "/servers?colour=blue", None,
             "Additional properties are not allowed ('colour' was unexpected)"),
        ):  # fmt: skip
            answer = self.ask(method, path, body)
            self.assertEqual(400, answer.status_code, answer.text)
            self.assertTrue(answer.json["badRequest"]["message"].startswith(says), answer.text)

    def test_an_action_that_is_none_is_refused_by_name(self) -> None:
        path = f"/servers/{ACTIVE}/action"
        self.refused(400, "There is no such action: dance", "POST", path, {"dance": None})
        for body in (None, {}, [], {"os-stop": None, "os-start": None}):
            answer = self._send("POST", f"/v2.1{path}", json=body)
            self.assertEqual(400, answer.status_code, body)

    def test_the_legacy_root_has_no_microversions(self) -> None:
        headers = {"OpenStack-API-Version": "compute 2.90"}
        answer = self._send("GET", f"/v2/servers/{ACTIVE}", headers=headers)
        self.assertEqual(200, answer.status_code)
        self.assertNotIn("locked", answer.json["server"])
        self._assert_headers(answer, echo=None, ids=True)

    def test_the_legacy_root_forgives_unknown_keys_and_spaces_around_names(self) -> None:
        body = {"server": {"name": " new ", "colour": "blue"}}
        self.refused(400, "name", "PUT", f"/servers/{ACTIVE}", body, version="2.1")
        answer = self._send("PUT", f"/v2/servers/{ACTIVE}", json=body)
        self.assertEqual(200, answer.status_code, answer.text)
        self.assertEqual("new", answer.json["server"]["name"])
        body = {"metadata": {"name": " kept "}}
        answer = self._send("POST", f"/v2/servers/{ACTIVE}/metadata", json=body)
        self.assertEqual(" kept ", answer.json["metadata"]["name"])
        answer = self._send("PUT", f"/v2/servers/{ACTIVE}", json={"server": {"name": "  "}})
        self.assertEqual(400, answer.status_code)
