"""Key pairs through the API."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import testscenarios

from kilonova.api import public_keys
from tests.functional.api.api_case import ADMIN, ANN, BOB, ApiCase

load_tests = testscenarios.load_tests_apply_scenarios

PUBLIC_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJIO7W7pTKBrsGAcM/UjV7vjkTQ/Nb9bcrLRoGVlhWWE ann@home"
)
KEYS = "/os-keypairs"


class KeyPairsTest(ApiCase):
    """Users keep their own; two of them fit."""

    def options(self) -> str:
        return "[quota]\nkey_pairs = 2\n"

    def _body(self, name: str, **changed: Any) -> dict[str, Any]:
        return {"keypair": {"name": name, "public_key": PUBLIC_KEY} | changed}

    def _create(self, name: str = "laptop", **how: str) -> dict[str, Any]:
        made: dict[str, Any] = self.asked(
            201, "POST", KEYS, self._body(name), **{"token": ANN} | how
        )["keypair"]
        return made

    def _names(self, query: str = "", **how: str) -> list[str]:
        found = self.asked(200, "GET", f"{KEYS}{query}", **{"token": ANN} | how)["keypairs"]
        return [one["keypair"]["name"] for one in found]

    def test_a_key_pair_is_shown_as_it_was_kept(self) -> None:
        made = self._create()
        self.assertEqual(
            {
                "name": "laptop",
                "type": "ssh",
                "public_key": PUBLIC_KEY,
                "fingerprint": public_keys.ssh_fingerprint(PUBLIC_KEY),
                "user_id": "ann",
            },
            made,
        )
        shown = self.asked(200, "GET", f"{KEYS}/laptop", token=ANN)["keypair"]
        self.assertEqual(made, {key: shown[key] for key in made})
        self.assertEqual(["laptop"], self._names())
        self.assertEqual([], self._names(token=BOB))

    def test_a_pair_is_made_for_clients_below_2_92_only(self) -> None:
        body = {"keypair": {"name": "made"}}
        self.refused(400, "public_key", "POST", KEYS, body, token=ANN)
        made = self.asked(201, "POST", KEYS, body, version="2.91", token=ANN)["keypair"]
        self.assertTrue(made["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----"))
        shown = self.asked(200, "GET", f"{KEYS}/made", token=ANN)["keypair"]
        self.assertEqual(made["public_key"], shown["public_key"])
        self.assertNotIn("private_key", shown)

    def test_a_certificate_is_kept_with_its_fingerprint(self) -> None:
        body = {"keypair": {"name": "win", "type": "x509"}}
        made = self.asked(201, "POST", KEYS, body, version="2.2", token=ANN)["keypair"]
        again = self._body("win2", type="x509", public_key=made["public_key"])
        kept = self.asked(201, "POST", KEYS, again, token=ANN)["keypair"]
        self.assertEqual(made["fingerprint"], kept["fingerprint"])
        self.assertEqual("x509", kept["type"])

    def test_what_is_wrong_is_named_and_nothing_is_kept(self) -> None:
        for changed, says in (
            ({"public_key": "ssh-rsa rubbish"}, "public_key"),
            ({"public_key": f"{PUBLIC_KEY}\n{PUBLIC_KEY}"}, "public_key"),
            ({"public_key": 5}, "public_key"),
            ({"type": "x509"}, "public_key"),
            ({"type": "gpg"}, "type"),
            ({"name": ""}, "name"),
            ({"name": "a/b"}, "name"),
            ({"name": " a"}, "name"),
            ({"name": "n" * 256}, "name"),
            ({"colour": "blue"}, "colour"),
            ({"user_id": ""}, "user_id"),
        ):
            body = {"keypair": {"name": "x", "public_key": PUBLIC_KEY} | changed}
            self.refused(400, says, "POST", KEYS, body, token=ANN)
        self.refused(400, "user_id", "POST", KEYS, self._body("x", user_id="a"), version="2.9")
        self.refused(400, "type", "POST", KEYS, self._body("x", type="ssh"), version="2.1")
        self.refused(400, "name", "POST", KEYS, {"keypair": {}}, token=ANN)
        self.assertEqual([], self._names())

    def test_names_may_have_dots_and_ats_from_2_92_on(self) -> None:
        body = self._body("ann@home.example")
        self.refused(400, "name", "POST", KEYS, body, version="2.91", token=ANN)
        self._create("ann@home.example")
        self.asked(200, "GET", f"{KEYS}/ann@home.example", token=ANN)

    def test_a_taken_name_is_a_conflict(self) -> None:
        self._create()
        self.refused(409, "laptop", "POST", KEYS, self._body("laptop"), token=ANN)
        self._create(token=BOB)

    def test_over_the_limit_is_forbidden_and_the_limit_is_a_users(self) -> None:
        self._create("a")
        self._create("b")
        self.refused(403, "key_pairs", "POST", KEYS, self._body("c"), token=ANN)
        self._create("c", token=BOB)
        self.asked(200, "PUT", "/os-quota-sets/project-a", {"quota_set": {"key_pairs": 3}})
        self._create("c")

    def test_many_requests_at_once_keep_exactly_the_limit(self) -> None:
        def attempt(number: int) -> int:
            return self.ask("POST", KEYS, self._body(f"k{number}"), token=ANN).status_code

        with ThreadPoolExecutor(6) as pool:
            statuses = sorted(pool.map(attempt, range(10)))
        self.assertEqual([201] * 2 + [403] * 8, statuses)

    def test_administrators_act_for_users_from_2_10_on_and_users_for_nobody_else(self) -> None:
        self.asked(201, "POST", KEYS, self._body("a", user_id="ann"))
        self.assertEqual(["a"], self._names())
        self.assertEqual(["a"], self._names("?user_id=ann", token=ADMIN))
        self.assertEqual([], self._names("?user_id=ann", token=ADMIN, version="2.9"))
        self.asked(200, "GET", f"{KEYS}/a?user_id=ann")
        self.refused(404, "a", "GET", f"{KEYS}/a")
        for method, path, body in (
            ("GET", f"{KEYS}?user_id=ann", None),
            ("GET", f"{KEYS}/a?user_id=ann", None),
            ("DELETE", f"{KEYS}/a?user_id=ann", None),
            ("POST", KEYS, self._body("b", user_id="ann")),
        ):
            self.refused(403, "os-keypairs", method, path, body, token=BOB)
        self.asked(204, "DELETE", f"{KEYS}/a?user_id=ann")
        self.assertEqual([], self._names())
