"""Who passes to a console, and which pages are shown."""

import os
import tempfile
from http import HTTPStatus
from pathlib import Path

import testtools

from kilonova.consoles.gate import Knock, Refused, decide, token_of
from kilonova.consoles.pages import page
from kilonova.core.console import ConsoleAddress
from kilonova.core.ids import InstanceUuid
from kilonova.db.console_tokens import Console

BASE = "https://consoles.example.org/vnc_auto.html"
HOST = "10.0.0.1:6080"


def console(kind: str = "novnc") -> Console:
    """Return a console of a type."""
    address = ConsoleAddress(host="192.0.2.9", port=6079, path="/secret")
    return Console(InstanceUuid("3f0d6c1e-52c4-4d3a-9a43-8a3c7e1f0b21"), kind, address)


KNOWN = {"good": console(), "line": console("serial"), "mks": console("webmks")}


class GateTest(testtools.TestCase):
    """The decision."""

    def decided(self, target: str, origin: str | None = None) -> Console | Refused:
        """Return what is decided of a request."""
        return decide(Knock(target=target, host=HOST, origin=origin), BASE, KNOWN.get)

    def test_a_good_token_leads_to_its_console(self) -> None:
        for target, name in (
            ("/?token=good", "good"),
            ("/websockify?token=line", "line"),
            ("/?x=1&token=good", "good"),
            ("/%3Ftoken%3Dgood", "good"),
        ):
            self.assertEqual(KNOWN[name], self.decided(target), target)

    def test_no_token_an_unknown_one_and_two_lead_nowhere(self) -> None:
        for target in (
            "/",
            "/?token=",
            "/?token=bad",
            "/?token=good&token=good",
            "/good",
            "/?token=" + "x" * 5000,
            "/?TOKEN=good",
            "",
        ):
            found = self.decided(target)
            self.assertIsInstance(found, Refused, target)
            self.assertEqual(HTTPStatus.UNAUTHORIZED, found.status, target)

    def test_a_console_of_another_protocol_is_not_carried(self) -> None:
        self.assertEqual(HTTPStatus.FORBIDDEN, self.decided("/?token=mks").status)

    def test_a_page_of_another_site_is_refused_even_with_a_good_token(self) -> None:
        for origin, passes in (
            (None, True),
            (f"http://{HOST}", True),
            ("https://consoles.example.org", True),
            ("https://consoles.example.org.evil.test", False),
            ("https://evil.test", False),
            ("null", False),
            ("", False),
        ):
            found = self.decided("/?token=good", origin)
            self.assertEqual(passes, isinstance(found, Console), origin)

    def test_without_a_base_url_an_empty_origin_is_still_refused(self) -> None:
        knock = Knock(target="/?token=good", host="", origin="null")
        self.assertIsInstance(decide(knock, "", KNOWN.get), Refused)

    def test_a_token_is_read_once(self) -> None:
        self.assertEqual("a", token_of("/?token=a"))
        self.assertIsNone(token_of("/?token=a&token=b"))


class PagesTest(testtools.TestCase):
    """Files of a directory, and no other."""

    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name) / "novnc"
        (self.root / "core").mkdir(parents=True)
        (self.root / "vnc_lite.html").write_text("a screen")
        (self.root / "core" / "rfb.js").write_text("rfb")
        (Path(scratch.name) / "secret").write_text("of the host")
        os.symlink(Path(scratch.name) / "secret", self.root / "link")

    def test_what_is_there_is_shown_under_its_type(self) -> None:
        for target in ("/vnc_lite.html", "/vnc_auto.html?path=%3Ftoken%3Dx"):
            self.assertEqual(("text/html", b"a screen"), page(target, self.root), target)
        kind, body = page("/core/rfb.js", self.root) or ("", b"")
        self.assertIn("javascript", kind)
        self.assertEqual(b"rfb", body)

    def test_what_is_elsewhere_is_not(self) -> None:
        for target in (
            "/",
            "/core",
            "/nothing.html",
            "/../secret",
            "/core/../../secret",
            "/%2e%2e/secret",
            "/link",
            "//etc/passwd",
            "/%2Fetc%2Fpasswd",
            "/vnc_lite.html%00",
        ):
            self.assertIsNone(page(target, self.root), target)

    def test_without_novnc_there_is_no_page(self) -> None:
        self.assertIsNone(page("/vnc_lite.html", self.root / "missing"))
