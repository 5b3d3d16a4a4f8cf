"""What becomes of a server by ``PUT``, when it is still to be placed too, and how addresses are kept."""

from typing import Any

from tests.functional.api.population import ACTIVE, WAITING, Populated
from tests.functional.compute.image_store import ServedImages


class ServerChangesTest(Populated):
    """With an image store."""

    def options(self) -> str:
        images = ServedImages(self.directory)
        self.addCleanup(images.stop)
        self.image = images.add(b"\0" * 512).image_id
        return super().options() + images.options

    def _show(self, server: str) -> dict[str, Any]:
        found: dict[str, Any] = self.asked(200, "GET", f"/servers/{server}")["server"]
        return found

    def test_an_address_is_shown_in_its_one_form_however_it_was_written(self) -> None:
        written, shown = "0000:0000:0000:0000:0000:BABE:220.12.22.2", "::babe:dc0c:1602"
        server = {"name": "new", "flavorRef": "1", "imageRef": self.image, "networks": "none"}
        body = {"server": server | {"accessIPv6": written}}
        made = self.asked(202, "POST", "/servers", body)["server"]["id"]
        self.assertEqual(shown, self._show(made)["accessIPv6"])
        self.asked(200, "PUT", f"/servers/{ACTIVE}", {"server": {"accessIPv6": written}})
        self.assertEqual(shown, self._show(ACTIVE)["accessIPv6"])
        body = {"rebuild": {"imageRef": self.image, "accessIPv6": "2001:DB8:0::1"}}
        self.asked(202, "POST", f"/servers/{ACTIVE}/action", body)
        self.assertEqual("2001:db8::1", self._show(ACTIVE)["accessIPv6"])

    def test_what_waits_for_a_host_is_changed_too(self) -> None:
        body = {"server": {"name": "new", "description": "words", "OS-DCF:diskConfig": "MANUAL"}}
        changed = self.asked(200, "PUT", f"/servers/{WAITING}", body)["server"]
        shown = self._show(WAITING)
        for view in (changed, shown):
            self.assertEqual(("new", "words"), (view["name"], view["description"]))
            self.assertEqual("MANUAL", view["OS-DCF:diskConfig"])
            self.assertEqual("BUILD", view["status"])

    def test_what_waits_for_a_host_is_in_no_zone_to_which_it_could_be_pinned(self) -> None:
        body = {"server": {"name": "new", "pinned_availability_zone": "z1"}}
        self.refused(409, "scheduling", "PUT", f"/servers/{WAITING}", body, version="2.104")
        self.assertEqual("waiting", self._show(WAITING)["name"])
