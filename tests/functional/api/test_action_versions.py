"""What comes and goes with microversions among the actions of servers, and below a server."""

from typing import Any

from kilonova.api.microversions import MAXIMUM
from kilonova.core.states import VmState
from tests.functional.api.population import ACTIVE
from tests.functional.api.test_server_actions import NEWEST, PATH, ActionCase

REBUILD_KEYS: tuple[tuple[str, Any, str, str], ...] = (
    ("name", "x", "2.1", NEWEST),
    ("adminPass", "x", "2.1", NEWEST),
    ("metadata", {"a": "b"}, "2.1", NEWEST),
    ("preserve_ephemeral", True, "2.1", NEWEST),
    ("accessIPv4", "192.0.2.1", "2.1", NEWEST),
    ("accessIPv6", "2001:db8::1", "2.1", NEWEST),
    ("OS-DCF:diskConfig", "AUTO", "2.1", NEWEST),
    ("personality", [], "2.1", "2.56"),
    ("description", None, "2.19", NEWEST),
    ("key_name", None, "2.54", NEWEST),
    ("user_data", None, "2.57", NEWEST),
    ("trusted_image_certificates", None, "2.63", NEWEST),
    ("hostname", "web", "2.90", NEWEST),
    ("hostname", "web.example.org", "2.94", NEWEST),
)
"""Key of a rebuild, a value, and the first and the last microversion that take it."""

CONSOLES = (
    ("vnc", "novnc", "2.6"),
    ("spice", "spice-html5", "2.6"),
    ("serial", "serial", "2.6"),
    ("mks", "webmks", "2.8"),
    ("spice", "spice-direct", "2.99"),
)
"""Protocol and type of a console, and the first microversion that knows them."""

EVENTS = (
    ("network-changed", "2.1"),
    ("network-vif-plugged", "2.1"),
    ("network-vif-unplugged", "2.1"),
    ("network-vif-deleted", "2.1"),
    ("volume-extended", "2.51"),
    ("power-update", "2.76"),
    ("accelerator-request-bound", "2.82"),
    ("volume-reimaged", "2.93"),
)
"""Name of an external event, and the first microversion that knows it."""


def _number(version: str) -> int:
    return int(version.partition(".")[2])


class ActionVersionsTest(ActionCase):
    """What comes and goes with microversions."""

    def test_each_key_of_a_rebuild_is_taken_from_its_first_version_to_its_last(self) -> None:
        for key, value, first, last in REBUILD_KEYS:
            for minor, taken in (
                (_number(first) - 1, False),
                (_number(first), True),
                (_number(last), True),
                (_number(last) + 1, False),
            ):
                if 1 <= minor <= MAXIMUM[1]:
                    self.become(VmState.ACTIVE)
                    body = {"rebuild": {"imageRef": self.image, key: value}}
                    answer = self.ask("POST", PATH, body, version=f"2.{minor}")
                    self.assertEqual(
                        202 if taken else 400, answer.status_code, f"{key} 2.{minor}: {answer.text}"
                    )

    def test_a_rebuild_shows_at_each_version_what_there_is_to_show(self) -> None:
        for version in ("2.1", "2.53", "2.54", "2.56", "2.57", "2.74", "2.75", NEWEST):
            self.become(VmState.ACTIVE)
            body = {"rebuild": {"imageRef": self.image}}
            server = self.asked(202, "POST", PATH, body, version=version)["server"]
            self.assertEqual(_number(version) >= 54, "key_name" in server)
            self.assertEqual(_number(version) >= 57, "user_data" in server)
            self.assertEqual("REBUILD", server["status"])
            self.assertTrue(server["addresses"]["public"])

    def test_what_a_rebuild_does_not_say_stays_and_null_takes_away(self) -> None:
        def rebuilt(**more: Any) -> dict[str, Any]:
            self.become(VmState.ACTIVE)
            body = {"rebuild": {"imageRef": self.image} | more}
            server: dict[str, Any] = self.asked(202, "POST", PATH, body, version=NEWEST)["server"]
            return server

        same = rebuilt()
        self.assertEqual(("k", "aGVsbG8="), (same["key_name"], same["user_data"]))
        self.assertEqual({"colour": "blue"}, same["metadata"])
        self.assertEqual("AUTO", same["OS-DCF:diskConfig"])
        manual = rebuilt(**{"OS-DCF:diskConfig": "MANUAL"})
        self.assertEqual("MANUAL", manual["OS-DCF:diskConfig"])
        self.assertEqual("MANUAL", rebuilt()["OS-DCF:diskConfig"])
        gone = rebuilt(key_name=None, user_data=None, description=None, metadata={})
        self.assertEqual(
            (None, None, None, {}),
            tuple(gone[key] for key in ("key_name", "user_data", "description", "metadata")),
        )

    def test_an_image_says_its_id_in_the_body_from_2_45_on(self) -> None:
        for action in ("createImage", "createBackup"):
            self.become(VmState.ACTIVE)
            old = self.ask("POST", PATH, self.body(action), version="2.44")
            self.assertRegex(old.headers["location"], r"/v2/images/[0-9a-f-]{36}$")
            self.become(VmState.ACTIVE)
            made = self.asked(202, "POST", PATH, self.body(action), version="2.45")
            self.assertRegex(made["image_id"], r"^[0-9a-f-]{36}$")

    def test_actions_come_and_go(self) -> None:
        for action, since, until in (
            ("trigger_crash_dump", 17, MAXIMUM[1]),
            ("os-getVNCConsole", 1, 5),
            ("os-getSPICEConsole", 1, 5),
            ("os-getSerialConsole", 1, 5),
        ):
            for minor in {since - 1, since, until, until + 1} & set(range(1, MAXIMUM[1] + 1)):
                answer = self.ask("POST", PATH, self.body(action), version=f"2.{minor}")
                unknown = "There is no such action" in answer.text
                self.assertEqual(since <= minor <= until, not unknown, f"{action} 2.{minor}")

    def test_each_console_comes_with_its_version_and_below_2_6_there_is_no_such_route(
        self,
    ) -> None:
        path = f"/servers/{ACTIVE}/remote-consoles"
        for protocol, kind, first in CONSOLES:
            body = {"remote_console": {"protocol": protocol, "type": kind}}
            minor = _number(first)
            for version, status in (
                (f"2.{minor - 1}", 404 if minor == 6 else 400),
                (first, 503),
                (NEWEST, 503),
            ):
                answer = self.ask("POST", path, body, version=version)
                self.assertEqual(status, answer.status_code, f"{kind} {version}: {answer.text}")
        body = {"remote_console": {"protocol": "vnc", "type": "serial"}}
        self.refused(400, "serial", "POST", path, body)
        self.asked(404, "GET", "/os-console-auth-tokens/x", version="2.30")
        self.refused(404, "Token not found", "GET", "/os-console-auth-tokens/x", version="2.31")

    def test_each_external_event_comes_with_its_version(self) -> None:
        for name, first in EVENTS:
            body = {"events": [{"name": name, "server_uuid": ACTIVE, "tag": "t"}]}
            if _number(first) > 1:
                before = f"2.{_number(first) - 1}"
                self.asked(400, "POST", "/os-server-external-events", body, version=before)
            for version in (first, NEWEST):
                self.asked(200, "POST", "/os-server-external-events", body, version=version)
