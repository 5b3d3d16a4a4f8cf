"""Moves that fail, or in which a part dies: the server is where it was, or where it was to go; not both."""

import itertools
import time
from typing import Any

from tests.functional.pipeline.moving_case import LARGE, SMALL, MovingCase
from tests.functional.pipeline.test_resize import CONFIRM, MIGRATE, RESIZE, REVERT

SLOWLY = 0.4


class FailingHosts(MovingCase):
    """Each step of a move fails for servers of its name."""

    script: list[dict[str, Any]] = [
        {"step": "prepare-move", "server": "unprepared-once", "times": 1, "error": "no, here not"},
        {"step": "prepare-move", "server": "unprepared-ever", "error": "nowhere"},
        {"step": "send", "server": "unsent", "error": "the wire broke"},
        {"step": "receive", "server": "unreceived", "error": "the disk is full"},
        {"step": "restore", "server": "unrestored", "error": "it is broken"},
        {"step": "receive", "server": "unrestored", "error": "it is broken"},
        {"step": "destroy", "server": "untidy", "times": 1, "seconds": 2},
        {"step": "destroy", "server": "sticky", "times": 2, "error": "it sticks"},
    ]

    def test_the_next_host_is_tried_when_one_cannot_prepare(self) -> None:
        uuid = self.active("unprepared-once")
        self.asked_for(uuid, MIGRATE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        prepared = [
            result for name, result in self.events(uuid, "migrate") if name == "compute_prep_resize"
        ]
        self.assertEqual(["Error", "Success"], prepared)
        self.asked_for(uuid, CONFIRM, 204)
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)

    def test_a_server_is_as_it_was_when_no_host_can_take_it(self) -> None:
        for name, tries in (("unprepared-ever", 2), ("unsent", 1), ("unreceived", 1)):
            for action in (MIGRATE, RESIZE):
                uuid = self.active(name)
                before = self.host(uuid)
                self.asked_for(uuid, action)
                self.until_migration(uuid, "error")
                self.settled(uuid, "ACTIVE", SMALL)
                self.assertEqual(before, self.host(uuid))
                self.assertNotEqual("large", self.server(uuid)["flavor"]["original_name"])
                (what,) = action
                failed = [name for name, result in self.events(uuid, what) if result == "Error"]
                self.assertEqual(tries if action == MIGRATE else len(failed), len(failed))
                self.assertIn(len(failed), (1, 2, 3))
                self.gone(uuid)

    def test_a_server_that_was_off_is_off_again(self) -> None:
        uuid = self.active("unreceived")
        self.asked_for(uuid, {"os-stop": None})
        self.until_idle(uuid, "SHUTOFF")
        self.asked_for(uuid, MIGRATE)
        self.until_migration(uuid, "error")
        self.settled(uuid, "SHUTOFF", SMALL)
        self.gone(uuid)

    def test_a_server_that_no_host_brings_up_is_in_error_and_says_why(self) -> None:
        uuid = self.active("unrestored")
        self.asked_for(uuid, MIGRATE)
        self.until_migration(uuid, "error")
        server = self.until_idle(uuid, "ERROR")
        self.assertIn("it is broken", server["fault"]["message"])
        self.until_held(SMALL)
        self.gone(uuid)

    def test_a_server_goes_back_when_its_host_has_cleared_away_what_it_left(self) -> None:
        uuid = self.active("untidy")
        first = self.host(uuid)
        self.asked_for(uuid, MIGRATE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.asked_for(uuid, CONFIRM, 204)
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual(2, len(self.guests()[uuid]))
        back = {"host": first, "block_migration": "auto"}
        self.asked_for(uuid, {"os-migrateLive": back})
        self.until("it is back", lambda: self.host(uuid) == first)
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)

    def test_what_sticks_is_removed_in_the_end(self) -> None:
        uuid = self.active("sticky")
        self.asked_for(uuid, MIGRATE)
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.asked_for(uuid, CONFIRM, 204)
        self.settled(uuid, "ACTIVE", SMALL)
        self.assertEqual("confirmed", self.until_migration(uuid, "confirmed")["status"])
        self.gone(uuid)


class SlowMoves(MovingCase):
    """Every step takes a while, so that others can come between."""

    script: list[dict[str, Any]] = [
        {"step": step, "server": "slow", "seconds": SLOWLY}
        for step in ("prepare-move", "send", "receive", "restore")
    ]
    _AFTER = (0.0, 0.2, 0.6, 1.0, 1.4)

    def test_a_delete_wins_over_a_move_at_any_moment(self) -> None:
        for action, seconds in itertools.product((MIGRATE, RESIZE), self._AFTER):
            uuid = self.active("slow")
            self.asked_for(uuid, action)
            time.sleep(seconds)
            self.gone(uuid)
            self.until("the move is over", lambda: self._is_over(uuid))  # noqa: B023

    def test_a_delete_wins_over_a_revert_at_any_moment(self) -> None:
        for seconds in (0.0, 0.2, 0.4):
            uuid = self.active("slow")
            self.asked_for(uuid, MIGRATE)
            self.until_idle(uuid, "VERIFY_RESIZE")
            self.asked_for(uuid, REVERT)
            time.sleep(seconds)
            self.gone(uuid)
            self.until("the move is over", lambda: self._is_over(uuid))  # noqa: B023

    def _is_over(self, uuid: str) -> bool:
        ends = {"confirmed", "reverted", "error"}
        return {one["status"] for one in self.migrations(uuid)} <= ends

    def test_a_part_that_dies_in_between_loses_nothing(self) -> None:
        for part in ("conductor", "scheduler", "placement"):
            for seconds in (0.0, 0.3, 0.8):
                uuid = self.active("slow")
                self.asked_for(uuid, MIGRATE)
                time.sleep(seconds)
                self.deployment.stop_part(part)
                time.sleep(0.3)
                self.deployment.start_part(part)
                self.until_idle(uuid, "VERIFY_RESIZE")
                self.deployment.stop_part(part)
                answer = self.act(uuid, REVERT)
                self.assertEqual(202, answer.status_code, answer.text)
                time.sleep(0.3)
                self.deployment.start_part(part)
                self.settled(uuid, "ACTIVE", SMALL)
                self.gone(uuid)

    def test_messages_that_are_lost_are_sent_again(self) -> None:
        for message in ("StartMove", "MoveInstance"):
            uuid = self.active("slow")
            self.wire.lost = {message}
            self.asked_for(uuid, RESIZE)
            time.sleep(0.3)
            self.wire.lost = set()
            self.until_idle(uuid, "VERIFY_RESIZE")
            self.wire.lost = {message}
            self.asked_for(uuid, CONFIRM, 204)
            time.sleep(0.3)
            self.wire.lost = set()
            self.settled(uuid, "ACTIVE", LARGE)
            self.gone(uuid)

    def test_without_a_bus_a_move_waits(self) -> None:
        uuid = self.active("slow")
        self.wire.is_away = True
        self.asked_for(uuid, MIGRATE)
        time.sleep(0.5)
        self.wire.is_away = False
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.gone(uuid)

    def test_a_database_that_is_away_for_a_while_loses_nothing(self) -> None:
        for database, seconds in itertools.product(("api", "cell1", "placement"), (0.1, 0.7)):
            uuid = self.active("slow")
            self.asked_for(uuid, MIGRATE)
            time.sleep(seconds)
            self.outage.away.add(database)
            time.sleep(0.6)
            self.outage.away.clear()
            self.until_idle(uuid, "VERIFY_RESIZE")
            self.gone(uuid)
