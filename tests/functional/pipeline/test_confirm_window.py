"""Resizes and migrations that nobody decides on, where they are confirmed after a while."""

from tests.functional.pipeline.moving_case import LARGE, SMALL, MovingCase

RESIZE = {"resize": {"flavorRef": "large"}}


class WindowTest(MovingCase):
    """Of a second."""

    more = "resize_confirm_window = 1\n"

    def test_what_nobody_decides_on_is_confirmed_and_counts_as_it_is(self) -> None:
        sized, moved = self.active("sized"), self.active("moved")
        before = self.host(moved)
        self.asked_for(sized, RESIZE)
        self.asked_for(moved, {"migrate": None})
        for uuid in (sized, moved):
            self.until_migration(uuid, "confirmed")
            self.until_idle(uuid, "ACTIVE")
            events = [event for event, _ in self.events(uuid, "confirmResize")]
            self.assertIn("compute_confirm_resize", events)
        self.assertNotEqual(before, self.host(moved))
        self.until_held({name: LARGE[name] + SMALL[name] for name in LARGE})
        limits = self.get("compute", "/limits")["limits"]["absolute"]
        self.assertEqual((2, 3), (limits["totalInstancesUsed"], limits["totalCoresUsed"]))

    def test_what_is_off_stays_off(self) -> None:
        off = self.active("off")
        self.asked_for(off, {"os-stop": None})
        self.until_idle(off, "SHUTOFF")
        self.asked_for(off, RESIZE)
        self.until_migration(off, "confirmed")
        self.until_idle(off, "SHUTOFF")


class NoWindowTest(MovingCase):
    """As usual, and a converger that finds everything at once."""

    def test_what_nobody_decides_on_waits(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, RESIZE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        other = self.active("other")
        self.asked_for(other, RESIZE)
        self.until_idle(other, "VERIFY_RESIZE")
        self.assertEqual("VERIFY_RESIZE", self.server(uuid)["status"])
        self.assertEqual("finished", self.migrations(uuid)[0]["status"])
