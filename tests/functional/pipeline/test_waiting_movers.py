"""Moves that wait for a host that may be back: their owners see why, and operators get them out of it."""

from typing import Any

from kilonova.conductor.converger import Round
from kilonova.core.migration import WAITS, Side, Stage
from tests.functional.pipeline.dying_case import AFTER, DyingCase
from tests.functional.pipeline.moving_case import SMALL
from tests.functional.pipeline.test_evacuation import EVACUATE
from tests.functional.pipeline.test_resize import CONFIRM, MIGRATE, REVERT


class WaitingMovers(DyingCase):
    """Nothing is evacuated by itself, so no fence is asked."""

    mode = "never"

    def waiting(self, uuid: str, action: str = "migrate") -> dict[str, Any]:
        """Wait until it is told what a move waits for, and return that event."""
        self.until("it is told why", lambda: bool(self._waits(uuid, action)))
        return self._waits(uuid, action)[0]

    def _waits(self, uuid: str, action: str) -> list[dict[str, Any]]:
        events = self.action(uuid, action)["events"]
        return [
            event for event in events if event["event"] == WAITS and event["finish_time"] is None
        ]

    def stranded(self) -> tuple[str, str]:
        """Return a server whose source died while it had its disk, and that host."""
        uuid = self.active("vm")
        self.kills(Stage.SENDING, Side.SOURCE)
        self.asked_for(uuid, MIGRATE)
        return uuid, self.until_off()

    def back(self, host: str) -> None:
        """Let all hosts be back, this one too, of which that was not expected."""
        self.power_on()
        self.force(host, down=False)

    def test_a_move_tells_what_it_waits_for_and_goes_on_when_that_is_back(self) -> None:
        uuid, host = self.stranded()
        event = self.waiting(uuid)
        self.assertEqual(
            (host, "The host that has the server's disk does not answer."),
            (event["host"], event["details"]),
        )
        self.assertEqual([], self.asked(), "nobody waits for it, so nothing is switched off")
        one = Round(self.scene(), lambda: True)
        one.of_everything()
        (found,) = [each for each in one.outcomes if each.repair == "move"]
        self.assertEqual((uuid, None, None), (found.subject, found.did, found.failed))
        self.assertIn(f"sending by {host}", found.differs)
        self.power_on()
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.assertEqual([], self._waits(uuid, "migrate"))
        self.asked_for(uuid, CONFIRM, 204)
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)

    def test_a_destination_that_may_run_the_guest_is_waited_for(self) -> None:
        uuid = self.active("vm")
        source = self.host(uuid)
        self.kills(Stage.FINISHING, Side.DESTINATION, AFTER)
        self.asked_for(uuid, MIGRATE)
        host = self.until_off()
        event = self.waiting(uuid)
        self.assertEqual(
            (host, "The host to which the server went does not answer, and may run it."),
            (event["host"], event["details"]),
        )
        self.assertEqual({f"{source} SHUTDOWN", f"{host} SHUTDOWN"}, set(self.guests()[uuid]))
        self.power_on()
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.asked_for(uuid, REVERT)
        self.settled(uuid, "ACTIVE", SMALL)
        self.assertEqual(source, self.host(uuid))
        self.gone(uuid)

    def test_a_server_of_a_host_that_is_said_to_be_dead_can_be_evacuated(self) -> None:
        uuid, host = self.stranded()
        self.waiting(uuid)
        self.asked_for(uuid, EVACUATE, 409)
        self.assertEqual({name: 2 * amount for name, amount in SMALL.items()}, self.held())
        self.force(host, down=True)
        self.until_held(SMALL)
        self.asked_for(uuid, EVACUATE, 200)
        self.until_idle(uuid, "SHUTOFF")
        self.assertNotEqual(host, self.host(uuid))
        self.until_held({name: 2 * amount for name, amount in SMALL.items()})
        self.back(host)
        self.settled(uuid, "SHUTOFF", SMALL)
        self.gone(uuid)

    def test_what_a_host_had_is_free_when_an_operator_removes_it(self) -> None:
        uuid, host = self.stranded()
        self.waiting(uuid)
        self.force(host, down=True)
        self.until_held(SMALL)
        path = f"/os-services?host={host}&binary=nova-compute"
        (found,) = self.get("compute", path)["services"]
        removal = f"/os-services/{found['id']}"
        self.assertEqual(409, self.ask("compute", "DELETE", removal).status_code)
        self.asked_for(uuid, EVACUATE, 200)
        self.until_idle(uuid, "SHUTOFF")
        self.until_held({name: 2 * amount for name, amount in SMALL.items()})
        self.assertEqual(204, self.ask("compute", "DELETE", removal).status_code)
        self.until_migration(uuid, "completed")
        self.until_held(SMALL)
        self.delete(uuid)
        self.assert_nothing_left()

    def test_a_server_is_what_it_was_when_its_host_is_back_after_all(self) -> None:
        uuid, host = self.stranded()
        self.waiting(uuid)
        self.force(host, down=True)
        self.until_held(SMALL)
        self.back(host)
        self.settled(uuid, "ACTIVE", SMALL)
        self.assertEqual(host, self.host(uuid))
        self.gone(uuid)

    def test_a_reset_server_can_be_evacuated(self) -> None:
        uuid, host = self.stranded()
        self.waiting(uuid)
        self.force(host, down=True)
        self.asked_for(uuid, {"os-resetState": {"state": "active"}})
        self.until_held(SMALL)
        self.asked_for(uuid, EVACUATE, 200)
        self.until_idle(uuid, "SHUTOFF")
        self.back(host)
        self.settled(uuid, "SHUTOFF", SMALL)
        self.gone(uuid)

    def test_a_server_whose_revert_waits_can_be_evacuated(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, MIGRATE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.kills(Stage.RESTORING, Side.SOURCE)
        self.asked_for(uuid, REVERT)
        host = self.until_off()
        self.waiting(uuid, "revertResize")
        self.force(host, down=True)
        state = "OS-EXT-STS:vm_state"
        self.until("it is what it was", lambda: self.server(uuid)[state] == "active")
        self.assertEqual(host, self.waiting(uuid, "revertResize")["host"])
        one = Round(self.scene(), lambda: True)
        one.of_everything()
        self.assertEqual(
            [None], [each.did for each in one.outcomes if each.repair == "move"], "it is told once"
        )
        self.asked_for(uuid, EVACUATE, 200)
        self.until_idle(uuid, "SHUTOFF")
        self.back(host)
        self.settled(uuid, "SHUTOFF", SMALL)
        self.gone(uuid)

    def test_a_server_that_waits_can_be_deleted(self) -> None:
        for forced in (False, True):
            uuid, host = self.stranded()
            self.waiting(uuid)
            if forced:
                self.force(host, down=True)
            self.delete(uuid)
            self.until("it is gone", lambda: not self._is_there(uuid))  # noqa: B023
            self.back(host)
            self.until_held({})
            self.until("no guest is left", lambda: self.guests() == {})

    def _is_there(self, uuid: str) -> bool:
        return bool(self.ask("compute", "GET", f"/servers/{uuid}").status_code == 200)
