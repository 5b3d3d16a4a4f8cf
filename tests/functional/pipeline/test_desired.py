"""Desired servers: exactly one runs at each index, whatever becomes of them."""

import threading
from collections import Counter
from typing import Any

from kilonova.compute.fake import FakeDriver
from kilonova.conductor.repairs import server_end
from kilonova.core.errors import BuildAborted
from kilonova.core.instance import Instance
from kilonova.db import desired as store
from tests.functional.pipeline.desired_case import DesiredCase


class DesiredTest(DesiredCase):
    """Nothing fails of itself."""

    def test_five_are_made_of_their_owner_and_a_dead_guest_and_a_deleted_server_come_again(
        self,
    ) -> None:
        made = self.desire(5, metadata={"a": "b"})
        self.assertEqual((5, 0, 1), (made["count"], made["started"], made["generation"]))
        before = self.until_running(5)
        self.assertEqual(5, self.quota_used())
        first = self.server(before[0])
        self.assertEqual((self.project, "admin"), (first["tenant_id"], first["user_id"]))
        self.assertEqual({"a": "b"}, first["metadata"])
        self.die(before[1])
        self.ask("compute", "DELETE", f"/servers/{before[3]}")
        self.until("others run", lambda: not {before[1], before[3]} & set(self.ids()))
        after = self.until_running(5)
        kept = [old for old, new in zip(before, after, strict=True) if old == new]
        self.assertEqual([before[0], before[2], before[4]], kept)
        told = {one["index"]: (one["failures"], one["reason"]) for one in self.shown()["servers"]}
        self.assertEqual((1, "Its guest is off."), told[1])
        self.assertEqual((1, "It was deleted."), told[3])
        self.assertEqual((0, None), told[0])
        self.assertEqual(sorted(after), self.guests())
        self.forget()

    def test_there_are_more_or_fewer_by_wish(self) -> None:
        self.desire(2)
        two = self.until_running(2)
        self.scale(4)
        four = self.until_running(4)
        self.assertEqual(two, four[:2])
        self.scale(1)
        self.assertEqual(two[:1], self.until_running(1))
        self.assertEqual(1, self.quota_used())
        self.scale(0)
        self.until_running(0)
        self.assertEqual({}, self.held())
        self.forget()

    def test_a_replace_goes_one_by_one_until_all_are_of_the_new_kind(self) -> None:
        self.desire(3)
        before = self.until_running(3)
        missing: Counter[int] = Counter()

        def all_new() -> bool:
            shown = self.shown()
            missing[3 - shown["running"]] += 1
            return shown["replace"] is None and shown["running"] == 3

        body = {"server": {"flavorRef": "2"}}
        answer = self.owned(202, "PUT", "/web", body)
        self.assertEqual({"left": 3, "of": 3, "stopped_by": None}, answer["replace"])
        self.until("all are new", all_new)
        after = self.until_running(3)
        self.assertFalse(set(before) & set(after))
        names = {self.server(uuid)["flavor"]["original_name"] for uuid in after}
        self.assertEqual({self.shown()["flavor"]["name"]}, names)
        self.assertEqual({0, 1}, set(missing))
        self.assertEqual({0}, {one["failures"] for one in self.shown()["servers"]})
        self.forget()

    def test_each_is_on_a_host_of_its_own_if_that_is_wished(self) -> None:
        made = self.desire(3, group_policy="anti-affinity")
        ids = self.until_running(3)
        hosts = {self.server(uuid)["OS-EXT-SRV-ATTR:host"] for uuid in ids}
        self.assertEqual(3, len(hosts))
        path = f"/os-server-groups/{made['server_group_id']}"
        self.assertEqual(sorted(ids), sorted(self.get("compute", path)["server_group"]["members"]))
        self.scale(4)
        self.until("no host is left", lambda: "No valid host" in str(self.shown()["servers"]))
        self.scale(3)
        self.assertEqual(ids, self.until_running(3))
        self.forget()
        self.assertEqual(404, self.ask("compute", "GET", path).status_code)

    def test_what_is_paused_or_locked_is_left_to_its_owner(self) -> None:
        self.desire(2)
        one, other = self.until_running(2)
        self.assertEqual(202, self.act(one, {"pause": None}).status_code)
        self.until_status(one, "PAUSED")
        self.assertEqual(202, self.act(other, {"lock": None}).status_code)
        self.owned(202, "DELETE", "/web")
        self.until("one is gone", lambda: [s["id"] for s in self.servers()] == [other])
        self.until("it is forgotten", lambda: len(self.shown()["servers"]) == 1)
        (left,) = self.shown()["servers"]
        self.assertEqual((other, "leaving"), (left["id"], left["status"]))
        self.assertIn("is locked", left["reason"])
        self.act(other, {"unlock": None})
        self.until("it is gone", lambda: self.own("GET", "/web").status_code == 404)

    def test_two_convergers_at_once_make_one_server_at_each_index(self) -> None:
        self.only_by_hand()
        self.desire(6)
        for _ in range(6):
            self._together()
        ids = self.until_running(6)
        self.assertEqual(6, self.quota_used())
        for uuid in ids[:3]:
            self.die(uuid)
            self.until_status(uuid, "SHUTOFF")
        everybody = set(ids)
        for _ in range(40):
            self._together()
            everybody |= {one["id"] for one in self.servers()}
            if self.shown()["running"] == 6 and len(everybody) == 9:
                break
            threading.Event().wait(0.2)
        after = self.until_running(6)
        self.assertEqual(9, len(everybody))
        self.assertEqual(ids[3:], after[3:])
        self.assertEqual({1}, {one["failures"] for one in self.shown()["servers"][:3]})

    def _together(self) -> None:
        threads = [threading.Thread(target=self.converge) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Killed(BaseException):
    """What a converger is stopped by, so that it handles nothing."""


class KilledConvergerTest(DesiredCase):
    """A converger that is killed after each of its writes and messages, one after another."""

    def test_whatever_it_was_killed_in_nothing_is_double_or_lost(self) -> None:
        self.only_by_hand()
        self.desire(2)
        self._through()
        first = self.until_running(2)
        self.die(first[0])
        self.until_status(first[0], "SHUTOFF")
        self._through()
        second = self.until_running(2)
        self.assertEqual(first[1], second[1])
        self.assertEqual(1, self.shown()["servers"][0]["failures"])
        self.owned(202, "PUT", "/web", {"server": {"flavorRef": "1"}})
        self._through()
        third = self.until_running(2)
        self.assertFalse({*first, *second} & set(third))
        self.owned(202, "DELETE", "/web")
        self._through()
        self.until("it is gone", lambda: self.own("GET", "/web").status_code == 404)
        self.until("nothing is left", lambda: not self.servers())
        self.assert_nothing_left()

    def _through(self) -> None:
        """Converge, killed at the first step, then at the second, and so on, until one comes through
        with nothing to do."""
        quiet = step = 0
        for _ in range(200):
            done = self._killed_at(step)
            step = 0 if done is not None else step + 1
            quiet = quiet + 1 if done == 0 and self._is_quiet() else 0
            if quiet:
                return
            threading.Event().wait(0.1)
        self.fail("it does not come to an end")

    def _is_quiet(self) -> bool:
        answer = self.own("GET", "/web")
        if answer.status_code == 404:
            return True
        shown = answer.json()["desired"]
        return (
            not shown["deleting"]
            and shown["replace"] is None
            and {one["status"] for one in shown["servers"]} == {"running"}
        )

    def _killed_at(self, step: int) -> int | None:
        """Converge and be killed after so many writes, or not at all; return how much was mended."""
        left = [step]

        def count(through: Any) -> Any:
            def counted(*arguments: Any, **more: Any) -> Any:
                result = through(*arguments, **more)
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return result

            return counted

        undo = []
        for owner, name in (
            *((store, name) for name in ("move", "start", "drop", "finish")),
            (server_end, "delete"),
            (server_end, "tell_host"),
        ):
            through = getattr(owner, name)
            setattr(owner, name, count(through))
            undo.append((owner, name, through))
        try:
            return self.converge(drive=count)
        except Killed:
            return None
        finally:
            for owner, name, through in undo:
                setattr(owner, name, through)


class FailingTest(DesiredCase):
    """Servers of flavor 2 fail, and a host dies."""

    more = "service_down_time = 2\nreport_interval = 1\n"

    def test_the_servers_of_a_dead_host_run_elsewhere_and_never_twice(self) -> None:
        self.desire(3, group_policy="soft-anti-affinity")
        before = self.until_running(3)
        dead = self.server(before[0])["OS-EXT-SRV-ATTR:host"]
        there = [u for u in before if self.server(u)["OS-EXT-SRV-ATTR:host"] == dead]
        self.down(dead)
        self.until("others run", lambda: not set(there) & set(self.ids()))
        self.until("all run", lambda: self.shown()["running"] == 3)
        after = self.ids()
        self.assertEqual([u for u in before if u not in there], [u for u in after if u in before])
        for uuid in there:
            shown = self.ask("compute", "GET", f"/servers/{uuid}")
            leaving = shown.status_code == 404 or '"deleting"' in shown.text
            self.assertTrue(leaving, shown.text)
        reasons = {one["reason"] for one in self.shown()["servers"] if one["failures"]}
        self.assertEqual({"Its host is down."}, reasons)
        self.assertEqual(3, self.quota_used())
        self.back()
        self.until("its guests are gone", lambda: self.guests() == sorted(after))
        self.until("so are its servers", lambda: len(self.servers()) == 3)
        self.assertEqual(after, self.ids())
        self.forget()

    def test_a_quota_that_is_too_small_is_told_and_what_fits_runs(self) -> None:
        path = f"/os-quota-sets/{self.project}"
        self.ask("compute", "PUT", path, {"quota_set": {"instances": 2}})
        self.desire(3)
        self.until("two run", lambda: self.shown()["running"] == 2)
        self.until("it is told", lambda: self.shown()["servers"][2]["failures"] >= 4)
        third = self.shown()["servers"][2]
        self.assertEqual("missing", third["status"])
        self.assertIn("Quota exceeded for instances: Requested 1", third["reason"])
        self.assertIsNotNone(third["next_start_after"])
        self.assertEqual(2, self.quota_used())
        self.ask("compute", "PUT", path, {"quota_set": {"instances": 3}})
        self.owned(202, "PUT", "/web", {"server": {"flavorRef": "1"}})
        self.until_running(3)


class BadReplaceTest(DesiredCase):
    """Nothing can be built of what a replace brings."""

    def setUp(self) -> None:
        super().setUp()
        through = FakeDriver.prepare_disks

        def prepare_disks(driver: FakeDriver, instance: Instance) -> None:
            if instance.flavor.flavor_id == "2":
                raise BuildAborted("The image is broken.")
            through(driver, instance)

        self.patch(FakeDriver, "prepare_disks", prepare_disks)

    def test_it_stops_after_the_first_failure_says_so_and_is_replaced_again(self) -> None:
        self.desire(3)
        before = self.until_running(3)
        self.owned(202, "PUT", "/web", {"server": {"flavorRef": "2"}})
        self.until("it says so", lambda: (self.shown()["replace"] or {}).get("stopped_by"))
        stopped = self.shown()["replace"]
        self.assertIn("index 0: The server could not be built", stopped["stopped_by"])
        self.until("it tries again", lambda: self.shown()["servers"][0]["failures"] >= 3)
        self.assertEqual(before[1:], self.ids()[1:])
        # What dies meanwhile is made of what worked.
        self.die(before[1])
        self.until("it comes again", lambda: self.ids()[1] not in (None, before[1]))
        self.until("it runs", lambda: self.shown()["servers"][1]["status"] == "running")
        self.assertEqual(1, self.shown()["servers"][1]["generation"])
        self.owned(202, "PUT", "/web", {"server": {"flavorRef": "1"}})
        after = self.until_running(3)
        self.assertFalse(set(before) & set(after))
        self.assertEqual({3}, {one["generation"] for one in self.shown()["servers"]})
        self.forget()
