"""``/extensions``: what clients from before microversions look for."""

from tests.functional.api.population import Populated


class ExtensionsTest(Populated):
    """As anybody sees them."""

    def test_what_is_served_is_listed_and_shown_one_by_one(self) -> None:
        listed = self.asked(200, "GET", "/extensions")["extensions"]
        aliases = [one["alias"] for one in listed]
        self.assertEqual(len(set(aliases)), len(aliases))
        # What Tempest, Horizon and old SDKs ask for by name.
        wanted = {"os-consoles", "os-server-groups", "os-attach-interfaces", "os-shelve", "NMN"}
        self.assertLessEqual(wanted, set(aliases))
        for one in listed:
            shown = self.asked(200, "GET", f"/extensions/{one['alias']}")["extension"]
            self.assertEqual(one, shown)

    def test_what_is_not_served_is_not_there(self) -> None:
        listed = self.asked(200, "GET", "/extensions")["extensions"]
        for gone in ("os-cells", "os-certificates", "os-fping"):
            self.assertNotIn(gone, [one["alias"] for one in listed])
            self.refused(404, gone, "GET", f"/extensions/{gone}")
