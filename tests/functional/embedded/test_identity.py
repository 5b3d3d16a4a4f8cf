"""The calls of Keystone v3 that clients make, as clients make them."""

import stat
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import falcon.testing
import testtools
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3

from kilonova.embedded.identity import Accounts, create_app, project_id
from kilonova.http.server import ThreadedServer

ACCOUNTS = Accounts(passwords={"admin": "sesame", "demo": "öffne"})
ENDPOINTS = {"compute": "http://127.0.0.1:8774/v2.1", "image": "http://127.0.0.1:9292"}


def password_of(user: str, password: str, **scope: Any) -> dict[str, Any]:
    """Return the body of a password authentication."""
    who = {"name": user, "password": password, "domain": {"name": "Default"}}
    identity = {"methods": ["password"], "password": {"user": who}}
    return {"auth": {"identity": identity} | scope}


class IdentityTest(testtools.TestCase):
    """Tokens, by password and by token."""

    def setUp(self) -> None:
        super().setUp()
        self.client = falcon.testing.TestClient(create_app(ACCOUNTS, ENDPOINTS))

    def _authenticate(self, body: Any, expected: int = 201) -> falcon.testing.Result:
        result = self.client.simulate_post("/v3/auth/tokens", json=body)
        self.assertEqual(expected, result.status_code, result.text)
        return result

    def test_a_right_password_gets_a_token_of_the_users_project_and_roles(self) -> None:
        for user, password, roles in (
            ("admin", "sesame", ["admin", "member", "reader"]),
            ("demo", "öffne", ["member", "reader"]),
        ):
            result = self._authenticate(password_of(user, password))
            self.assertEqual(f"{user}:{project_id(user)}", result.headers["X-Subject-Token"])
            token = result.json["token"]
            self.assertEqual(user, token["user"]["name"])
            self.assertEqual(project_id(user), token["project"]["id"])
            self.assertEqual(roles, [role["name"] for role in token["roles"]])

    def test_a_token_is_issued_for_a_day(self) -> None:
        token = self._authenticate(password_of("admin", "sesame")).json["token"]
        issued, expires = (
            datetime.strptime(token[name], "%Y-%m-%dT%H:%M:%S.%fZ")
            for name in ("issued_at", "expires_at")
        )
        self.assertEqual(86400, (expires - issued).total_seconds())

    def test_the_catalog_has_every_service_behind_three_interfaces(self) -> None:
        catalog = self._authenticate(password_of("admin", "sesame")).json["token"]["catalog"]
        self.assertEqual(
            {
                kind: {(i, url) for i in ("public", "internal", "admin")}
                for kind, url in ENDPOINTS.items()
            },
            {
                service["type"]: {(e["interface"], e["url"]) for e in service["endpoints"]}
                for service in catalog
            },
        )

    def test_a_wrong_password_an_unknown_user_and_no_password_are_401(self) -> None:
        for user, password in (
            ("admin", "Sesame"),
            ("admin", ""),
            ("root", "sesame"),
            ("root", ""),
        ):
            result = self._authenticate(password_of(user, password), 401)
            self.assertEqual((401, "Unauthorized"), (
                result.json["error"]["code"], result.json["error"]["title"]
            ))  # fmt: skip
            self.assertNotIn("sesame", result.text)

    def test_a_token_is_exchanged_for_another_of_the_same_user(self) -> None:
        token = f"demo:{project_id('demo')}"
        body = {"auth": {"identity": {"methods": ["token"], "token": {"id": token}}}}
        self.assertEqual(token, self._authenticate(body).headers["X-Subject-Token"])
        body["auth"]["identity"]["token"]["id"] = "nobody:x"
        self._authenticate(body, 401)

    def test_a_users_own_project_may_be_named_and_no_other(self) -> None:
        default = {"name": "Default"}
        for expected, scope in (
            (201, {"project": {"name": "admin", "domain": default}}),
            (201, {"project": {"id": project_id("admin")}}),
            (201, "unscoped"),
            (401, {"project": {"name": "demo", "domain": default}}),
            (401, {"project": {"id": project_id("demo")}}),
        ):
            self._authenticate(password_of("admin", "sesame", scope=scope), expected)

    def test_a_body_that_is_no_authentication_is_400(self) -> None:
        for body in (
            {},
            [],
            {"auth": None},
            {"auth": {"identity": {}}},
            {"auth": {"identity": {"methods": []}}},
            {"auth": {"identity": {"methods": ["password"]}}},
            {"auth": {"identity": {"methods": ["password"], "password": {"user": {}}}}},
            {"auth": {"identity": {"methods": ["token"], "token": {"id": 7}}}},
            password_of("admin", "sesame", scope={"project": "admin"}),
        ):
            self._authenticate(body, 400)
        result = self.client.simulate_post("/v3/auth/tokens", body="{")
        self.assertEqual(400, result.status_code)

    def test_a_token_is_shown_to_whoever_asks_and_a_stranger_is_404(self) -> None:
        for token, expected in ((f"admin:{project_id('admin')}", 200), ("nobody:x", 404)):
            headers = {"X-Subject-Token": token}
            result = self.client.simulate_get("/v3/auth/tokens", headers=headers)
            self.assertEqual(expected, result.status_code)

    def test_projects_are_found_by_name_and_by_id(self) -> None:
        def names(path: str) -> list[str]:
            return [p["name"] for p in self.client.simulate_get(path).json["projects"]]

        self.assertEqual(["admin", "demo"], names("/v3/projects"))
        self.assertEqual(["demo"], names("/v3/projects?name=demo"))
        self.assertEqual(["admin", "demo"], names("/v3/auth/projects"))
        one = self.client.simulate_get(f"/v3/projects/{project_id('demo')}")
        self.assertEqual("demo", one.json["project"]["name"])
        self.assertEqual(404, self.client.simulate_get("/v3/projects/nothing").status_code)

    def test_the_versions_lead_to_v3(self) -> None:
        root = self.client.simulate_get("/")
        self.assertEqual(300, root.status_code)
        (version,) = root.json["versions"]["values"]
        self.assertTrue(version["links"][0]["href"].endswith("/v3/"))
        self.assertEqual("v3.14", self.client.simulate_get("/v3/").json["version"]["id"])

    def test_projects_have_the_same_id_on_every_machine(self) -> None:
        self.assertEqual(32, len(project_id("admin")))
        self.assertEqual("b44fa41c687d527782dd64c13f0e8d9e", project_id("admin"))


class AccountsTest(testtools.TestCase):
    """The file that holds them."""

    def test_fresh_passwords_are_kept_in_a_file_that_only_its_owner_reads(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "accounts.json"
            made = Accounts.at(path)
            self.assertEqual({"admin", "demo"}, set(made.passwords))
            self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
            self.assertEqual(made.passwords, Accounts.at(path).passwords)
        self.assertEqual(2, len(set(made.passwords.values())))
        self.assertTrue(all(len(password) >= 16 for password in made.passwords.values()))


class ClientTest(testtools.TestCase):
    """keystoneauth1 against the application behind a socket."""

    def setUp(self) -> None:
        super().setUp()
        self.server = ThreadedServer(create_app(ACCOUNTS, ENDPOINTS), "127.0.0.1", 0)
        self.server.start()
        self.addCleanup(self.server.stop)

    def _session(self, password: str) -> session.Session:
        auth = v3.Password(
            f"http://127.0.0.1:{self.server.port}/v3",
            username="demo",
            password=password,
            project_name="demo",
            user_domain_name="Default",
            project_domain_name="Default",
        )
        return session.Session(auth)

    def test_a_session_authenticates_and_finds_the_services(self) -> None:
        opened = self._session("öffne")
        self.assertEqual(f"demo:{project_id('demo')}", opened.get_token())
        self.assertEqual(ENDPOINTS["compute"], opened.get_endpoint(service_type="compute"))

    def test_a_session_with_a_wrong_password_is_unauthorized(self) -> None:
        self.assertRaises(exceptions.Unauthorized, self._session("wrong").get_token)
