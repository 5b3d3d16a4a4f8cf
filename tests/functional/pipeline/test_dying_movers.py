"""Moves one of whose hosts dies: at every stage, of either side, before its part is done and after it."""

from typing import Any

from kilonova.core.host_failure import Verdict
from kilonova.core.migration import Side, Stage
from kilonova.db import host_fences, moves
from tests.functional.pipeline.dying_case import AFTER, BEFORE, DyingCase
from tests.functional.pipeline.moving_case import SMALL
from tests.functional.pipeline.test_resize import CONFIRM, MIGRATE, RESIZE, REVERT
from tests.functional.pipeline.test_shelving import SHELVE, UNSHELVE

LIVE = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
_take = moves.take
SOURCE, DESTINATION = Side.SOURCE, Side.DESTINATION


class DyingMovers(DyingCase):
    """Servers that are evacuated if their hosts die."""

    script: list[dict[str, Any]] = [
        {"step": "arrive", "server": "astray", "error": "there is no guest"},
    ]

    def whole_again(self, uuid: str, status: str = "ACTIVE") -> None:
        """Have all hosts back, and check that nothing is left of the move, or of the server after that."""
        self.power_on()
        self.settled(uuid, status, SMALL)
        self.until("nothing is fenced", lambda: not self.fenced())
        self.gone(uuid)

    def fenced(self) -> Any:
        """Return what is known of silent hosts."""
        return host_fences.all_of(self.database())

    def until_known(self) -> None:
        """Wait until it is known that a host is down."""
        path = "/os-services?binary=nova-compute"
        self.until(
            "a host is down",
            lambda: "down" in [one["state"] for one in self.get("compute", path)["services"]],
        )

    def actions(self, uuid: str) -> list[str]:
        """Return what was done with a server, the oldest first."""
        listed = self.get("compute", f"/servers/{uuid}/os-instance-actions")["instanceActions"]
        return [one["action"] for one in reversed(listed)]

    def until_active_elsewhere(self, uuid: str) -> None:
        """Wait until a server is ACTIVE on a host that is not dead."""
        dead = self.until_off()

        def elsewhere() -> bool:
            server = self.server(uuid)
            at = server["OS-EXT-SRV-ATTR:host"]
            idle = server["OS-EXT-STS:task_state"] is None
            return server["status"] == "ACTIVE" and idle and at != dead

        self.until(f"{uuid} is ACTIVE elsewhere", elsewhere)

    def test_a_server_whose_source_dies_before_it_left_is_evacuated(self) -> None:
        for action, when in ((MIGRATE, BEFORE), (RESIZE, BEFORE), (MIGRATE, AFTER)):
            uuid = self.active("vm")
            self.kills(Stage.SENDING, SOURCE, when)
            self.asked_for(uuid, action)
            self.until_active_elsewhere(uuid)
            (what,) = action
            self.assertEqual(["create", what, "evacuate"], self.actions(uuid))
            self.assertEqual("Error", self.action(uuid, what)["message"])
            made = [(one["migration_type"], one["status"]) for one in self.migrations(uuid)]
            kind = "resize" if what == "resize" else "migration"
            self.assertEqual([("evacuation", "done"), (kind, "error")], made)
            self.whole_again(uuid)

    def test_a_server_whose_host_dies_before_a_destination_is_chosen_is_evacuated(self) -> None:
        uuid = self.active("vm")
        self.patch(moves, "take", lambda *_: None)
        self.asked_for(uuid, MIGRATE)
        self.power_off(self.host(uuid))
        self.until(
            "its host is dead",
            lambda: [one.verdict for one in self.fenced().values()] == [Verdict.DEAD],
        )
        self.patch(moves, "take", _take)
        self.until_active_elsewhere(uuid)
        self.assertEqual(["create", "migrate", "evacuate"], self.actions(uuid))
        self.assertEqual("Error", self.action(uuid, "migrate")["message"])
        self.whole_again(uuid)

    def test_a_server_whose_destination_dies_is_where_it_was_or_goes_to_another(self) -> None:
        for stage, when in (
            (Stage.PREPARING, BEFORE),
            (Stage.SENDING, BEFORE),
            (Stage.FINISHING, BEFORE),
            (Stage.FINISHING, AFTER),
        ):
            uuid = self.active("vm")
            source = self.host(uuid)
            self.kills(stage, DESTINATION, when)
            self.asked_for(uuid, MIGRATE)
            dead = self.until_off()
            if stage is Stage.PREPARING:
                self.until_idle(uuid, "VERIFY_RESIZE")
                self.assertNotIn(self.host(uuid), (source, dead))
                self.asked_for(uuid, CONFIRM, 204)
            else:
                self.until_migration(uuid, "error")
                self.until_idle(uuid, "ACTIVE")
                self.assertEqual(source, self.host(uuid))
            self.assertNotIn("evacuate", self.actions(uuid))
            self.whole_again(uuid)

    def test_a_server_that_has_left_goes_on_when_its_source_dies(self) -> None:
        for stage, side in ((Stage.FINISHING, SOURCE), (Stage.CLEARING, SOURCE)):
            uuid = self.active("vm")
            self.kills(stage, side)
            self.asked_for(uuid, MIGRATE)
            self.until_idle(uuid, "VERIFY_RESIZE")
            if stage is Stage.FINISHING:
                self.until_known()
                self.asked_for(uuid, REVERT, 409)
            self.asked_for(uuid, CONFIRM, 204)
            self.until_off()
            self.until_idle(uuid, "ACTIVE")
            self.assertNotIn("evacuate", self.actions(uuid))
            self.whole_again(uuid)

    def test_a_resized_server_whose_host_dies_is_reverted(self) -> None:
        uuid = self.active("vm")
        source = self.host(uuid)
        self.asked_for(uuid, MIGRATE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.power_off(self.host(uuid))
        self.until_known()
        self.asked_for(uuid, CONFIRM, 409)
        self.until_active_elsewhere(uuid)
        self.assertEqual(source, self.host(uuid))
        self.assertEqual(["create", "migrate", "revertResize"], self.actions(uuid))
        self.until_migration(uuid, "reverted")
        self.whole_again(uuid)

    def test_a_revert_comes_to_its_end_whichever_host_dies(self) -> None:
        for stage, side, when in (
            (Stage.UNDOING, DESTINATION, BEFORE),
            (Stage.UNDOING, SOURCE, BEFORE),
            (Stage.RESTORING, SOURCE, AFTER),
        ):
            uuid = self.active("vm")
            source = self.host(uuid)
            self.asked_for(uuid, MIGRATE)
            self.until_idle(uuid, "VERIFY_RESIZE")
            self.kills(stage, side, when)
            self.asked_for(uuid, REVERT)
            self.until_active_elsewhere(uuid)
            if side is DESTINATION:
                self.assertEqual(source, self.host(uuid))
            self.whole_again(uuid)

    def test_a_running_server_is_where_it_came_to_when_its_source_dies(self) -> None:
        uuid = self.active("vm")
        self.kills(Stage.SENDING, SOURCE, AFTER)
        self.asked_for(uuid, LIVE)
        self.until_active_elsewhere(uuid)
        self.assertEqual(["create", "live-migration"], self.actions(uuid))
        self.whole_again(uuid)

    def test_a_running_server_that_did_not_come_is_evacuated(self) -> None:
        uuid = self.active("astray")
        self.kills(Stage.SENDING, SOURCE)
        self.asked_for(uuid, LIVE)
        self.until_active_elsewhere(uuid)
        self.assertEqual(["create", "live-migration", "evacuate"], self.actions(uuid))
        self.whole_again(uuid)

    def test_a_running_server_that_came_is_evacuated_when_its_destination_dies(self) -> None:
        for when in (BEFORE, AFTER):
            uuid = self.active("vm")
            self.kills(Stage.FINISHING, DESTINATION, when)
            self.asked_for(uuid, LIVE)
            self.until_active_elsewhere(uuid)
            self.assertEqual(["create", "live-migration", "evacuate"], self.actions(uuid))
            self.whole_again(uuid)

    def test_a_server_whose_host_dies_before_it_is_an_image_is_evacuated(self) -> None:
        for when in (BEFORE, AFTER):
            uuid = self.active("vm")
            self.kills(Stage.SENDING, SOURCE, when)
            self.asked_for(uuid, SHELVE)
            self.until_active_elsewhere(uuid)
            self.assertEqual(["create", "shelve", "evacuate"], self.actions(uuid))
            self.until("the image is removed", lambda: len(self.images()) == 1)
            self.whole_again(uuid)

    def images(self) -> list[Any]:
        """Return all images."""
        found: list[Any] = self.get("image", "/v2/images")["images"]
        return found

    def test_a_server_that_is_an_image_needs_its_host_no_more(self) -> None:
        uuid = self.active("vm")
        self.kills(Stage.CLEARING, SOURCE)
        self.asked_for(uuid, SHELVE)
        self.until_off()
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.asked_for(uuid, UNSHELVE)
        self.until_idle(uuid, "ACTIVE")
        self.whole_again(uuid)

    def test_an_unshelved_server_goes_elsewhere_when_its_host_dies(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, SHELVE)
        self.until_idle(uuid, "SHELVED_OFFLOADED")
        self.kills(Stage.FINISHING, DESTINATION)
        self.asked_for(uuid, UNSHELVE)
        self.until_active_elsewhere(uuid)
        self.assertEqual(["create", "shelve", "unshelve"], self.actions(uuid))
        self.whole_again(uuid)
