"""Hosts that die: their servers are started elsewhere once a fence says that they are off."""

import time
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from kilonova.conductor import converger, fencing
from kilonova.conductor.repairs import host_failures
from kilonova.core import host_failure
from kilonova.core.errors import HostsUnavailable
from kilonova.core.host_failure import WISH
from kilonova.db import host_fences, hosts, moves
from kilonova.db.cell_schema import StoredInstance
from tests.functional.pipeline.desired_case import DesiredCase
from tests.functional.pipeline.host_failure_case import NOT_YET, Fenced, FencedCase
from tests.functional.pipeline.moving_case import SMALL


class HostFailureTest(FencedCase):
    """All servers of a dead host leave it."""

    def test_the_servers_of_a_host_that_dies_are_active_elsewhere_and_the_host_clears_up(
        self,
    ) -> None:
        uuids = [self.active(f"vm-{n}") for n in range(6)]
        dead = self.host(uuids[0])
        moved = [uuid for uuid in uuids if self.host(uuid) == dead]
        others = {uuid: self.host(uuid) for uuid in uuids if uuid not in moved}
        died = self.dies(dead)
        for uuid in moved:
            self.elsewhere(uuid, dead)
        self.assertEqual([f"--now {dead} 127.0.0.1"], self.asked())
        self.assertEqual(others, {uuid: self.host(uuid) for uuid in others})
        action = self.action(moved[0], "evacuate")
        self.assertEqual(self.server(moved[0])["tenant_id"], action["project_id"])
        self.assertIsNone(action["message"])
        self.returns(died)
        for uuid in uuids:
            only = [f"{self.host(uuid)} RUNNING"]
            self.until(f"one guest, {only}", lambda u=uuid, o=only: self.guests()[u] == o)  # type: ignore[misc]
        self.until("nothing is known of it", lambda: not host_fences.all_of(self.database()))
        for uuid in uuids:
            self.delete(uuid)
        self.assert_nothing_left()

    def test_nothing_is_started_while_the_fence_says_no(self) -> None:
        uuid = self.active("vm")
        dead = self.host(uuid)
        self.says(1, "no BMC answers")
        self.dies(dead)
        self.until("the fence was asked twice", lambda: len(self.asked()) >= 2)
        self.stays(uuid, dead)
        (fence,) = host_fences.all_of(self.database()).values()
        self.assertIn("no BMC answers; exit status 1", fence.words)
        self.says(0, "it is off")
        self.elsewhere(uuid, dead)

    def test_a_host_that_returns_before_its_fence_is_asked_keeps_its_servers(self) -> None:
        uuid = self.active("vm")
        here = self.host(uuid)
        self.patch(host_failure, "STAYS_SILENT", timedelta(seconds=3600))
        died = self.dies(here)
        self.until("it is suspected", lambda: bool(host_fences.all_of(self.database())))
        self.returns(died)
        self.until("it is forgotten", lambda: not host_fences.all_of(self.database()))
        self.assertEqual([], self.asked())
        self.settled(uuid, "ACTIVE", SMALL)

    def test_a_host_that_returns_while_its_fence_is_asked_keeps_its_servers(self) -> None:
        """What was raised before hinders nobody: the server can be stopped, and its end is noticed."""
        uuid = self.active("vm")
        here = self.host(uuid)
        died: list[Any] = []
        through = fencing.run

        def slowly(command: list[str]) -> tuple[bool, str]:
            self.returns(died.pop())
            name = hosts.COMPUTE
            before = hosts.list_services(self.database(), binary=name, host=here)[0].last_seen
            self.until(
                "it was heard",
                lambda: (
                    hosts.list_services(self.database(), binary=name, host=here)[0].last_seen
                    != before
                ),
            )
            return through(command)

        self.patch(fencing, "run", slowly)
        died.append(self.dies(here))
        self.until("the fence was asked", lambda: bool(self.asked()))
        self.until("it is forgotten", lambda: not host_fences.all_of(self.database()))
        self.settled(uuid, "ACTIVE", SMALL)
        self.assertEqual([], self.migrations(uuid))
        self.asked_for(uuid, {"os-stop": None})
        self.settled(uuid, "SHUTOFF", SMALL)

    def test_a_host_that_returns_while_its_servers_leave_has_none_of_them(self) -> None:
        uuid = self.active("vm")
        dead = self.host(uuid)
        self.wire.lost.add("StartMove")
        self.patch(moves, "take", lambda *_: None)
        died = self.dies(dead)
        self.until("it is to move", lambda: bool(self.migrations(uuid)))
        self.returns(died)
        self.until("it is heard", lambda: not host_fences.all_of(self.database()))
        self.wire.lost.clear()
        self.patch(moves, "take", _take)
        self.elsewhere(uuid, dead)
        self.until_migration(uuid, "completed")
        self.settled(uuid, "ACTIVE", SMALL)

    def all_on_one_host(self, *names: str) -> list[str]:
        """Return servers of these names, on one host."""
        first = self.hosts_named()[0]
        uuids = [self.active(name) for name in names]
        for uuid in uuids:
            if self.host(uuid) != first:
                self.asked_for(uuid, {"os-migrateLive": {"host": first, "block_migration": "auto"}})
                self.until("it is there", lambda u=uuid: self.host(u) == first)  # type: ignore[misc]
                self.until_idle(uuid, "ACTIVE")
        return uuids

    def test_what_runs_elsewhere_is_what_ran_before(self) -> None:
        states: dict[str, tuple[Any, str, str]] = {
            "active": (None, "ACTIVE", "ACTIVE"),
            "stopped": ({"os-stop": None}, "SHUTOFF", "SHUTOFF"),
            # Their memory is lost.
            "paused": ({"pause": None}, "PAUSED", "SHUTOFF"),
            "suspended": ({"suspend": None}, "SUSPENDED", "SHUTOFF"),
            "rescued": ({"rescue": {}}, "RESCUE", "ACTIVE"),
            "failed": ({"os-resetState": {"state": "error"}}, "ERROR", "ACTIVE"),
            "locked": ({"lock": None}, "ACTIVE", "ACTIVE"),
        }
        uuids = dict(zip(states, self.all_on_one_host(*states), strict=True))
        for name, (action, status, _) in states.items():
            if action is not None:
                accepted = self.act(uuids[name], action)
                self.assertIn(accepted.status_code, (200, 202), accepted.text)
            self.until_idle(uuids[name], status)
        dead = self.host(uuids["active"])
        self.dies(dead)
        for name, (_, _, status) in states.items():
            self.until(f"{name} left", lambda u=uuids[name]: self.host(u) != dead)  # type: ignore[misc]
            self.until_idle(uuids[name], status)

    def test_servers_that_cannot_leave_say_why_and_the_others_go(self) -> None:
        never, moved = self.all_on_one_host("never active", "moved")
        specs = {"extra_specs": {"hw:tpm_version": "2.0"}}
        self.ask("compute", "POST", "/flavors/1/os-extra_specs", specs)
        (trusted,) = self.all_on_one_host("trusted")
        change = sa.update(StoredInstance).where(StoredInstance.uuid == never)
        self.database().write(lambda c: c.execute(change.values(launched_at=None)))
        dead = self.host(never)
        self.dies(dead)
        self.elsewhere(moved, dead)
        self.until("it says why", lambda: bool(self._evacuations(never)))
        time.sleep(NOT_YET / 2)
        (told,) = self._evacuations(never)
        self.assertIn("cannot be started elsewhere: it has never been active", told["message"])
        (told,) = self._evacuations(trusted)
        self.assertIn("cannot be started elsewhere: only that host knows", told["message"])
        self.assertEqual({dead}, {self.host(never), self.host(trusted)})

    def _evacuations(self, uuid: str) -> list[Any]:
        listed = self.get("compute", f"/servers/{uuid}/os-instance-actions")["instanceActions"]
        return [one for one in listed if one["action"] == "evacuate"]

    def test_a_server_for_which_there_is_no_room_is_tried_again(self) -> None:
        group = {"name": "apart", "policy": "anti-affinity"}
        answer = self.ask("compute", "POST", "/os-server-groups", {"server_group": group})
        hints = {"group": answer.json()["server_group"]["id"]}
        uuid, other, _ = [self._in_group(f"vm-{n}", hints) for n in range(3)]
        for one in self.servers():
            self.until_status(one["id"], "ACTIVE")
        dead = self.host(uuid)
        self.dies(dead)
        self.until_migration(uuid, "error")
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual(dead, self.host(uuid))
        self.delete(other)
        self.elsewhere(uuid, dead)

    def _in_group(self, name: str, hints: dict[str, str]) -> str:
        server = {"name": name, "flavorRef": "1", "imageRef": self.image, "networks": "none"}
        body = {"server": server, "os:scheduler_hints": hints}
        answer = self.ask("compute", "POST", "/servers", body)
        self.assertEqual(202, answer.status_code, answer.text)
        return str(answer.json()["server"]["id"])

    def _enable(self, name: str, *, enabled: bool) -> None:
        (found,) = self.get("compute", f"/os-services?host={name}&binary=nova-compute")["services"]
        status = {"status": "enabled" if enabled else "disabled"}
        answer = self.ask("compute", "PUT", f"/os-services/{found['id']}", status)
        self.assertEqual(200, answer.status_code, answer.text)

    def test_a_silent_host_that_is_disabled_is_left_to_its_operator(self) -> None:
        uuid = self.active("vm")
        here = self.host(uuid)
        self._enable(here, enabled=False)
        self.dies(here)
        time.sleep(3)
        self.stays(uuid, here)
        self.assertEqual([], self.asked())

    def test_when_the_next_host_dies_too_the_server_goes_on_to_another(self) -> None:
        uuid = self.active("vm")
        first = self.host(uuid)
        self.wire.lost.add("MoveInstance")
        self.dies(first)
        self.until("it is on its way", lambda: self.host(uuid) != first)
        second = self.host(uuid)
        self.dies(second)
        self.wire.lost.clear()
        self._wait_dead(second)
        self.until("it left", lambda: self.host(uuid) not in (first, second))
        self.until_idle(uuid, "ACTIVE")

    def _wait_dead(self, name: str) -> None:
        """Another server has to wait there, so that somebody asks for the fence of this host."""
        self.until("it is dead", lambda: name in host_fences.dead(self.database()))


_take = moves.take


class MeltdownTest(FencedCase):
    """Many hosts that fall silent together."""

    hosts = 8

    def test_when_many_hosts_fall_silent_together_nothing_is_done_and_it_is_said(self) -> None:
        uuid = self.active("vm")
        here = self.host(uuid)
        named = [here, *(name for name in self.hosts_named() if name != here)]
        before = converger.FAILURES.value("silent host")
        died = [self.dies(name) for name in named[:5]]
        self.until(
            "it is counted",
            lambda: converger.FAILURES.value("silent host") > before,
        )
        self.stays(uuid, here)
        self.assertEqual([], self.asked())
        scene, cell = self.scene(), self.cell().uuid
        error = self.assertRaises(HostsUnavailable, lambda: list(host_failures.silent(scene, cell)))
        self.assertIn("5 of 8 compute hosts fell silent within 10 minutes", str(error))
        self.returns(died[1])
        self.elsewhere(uuid, here)

    def test_when_no_host_is_heard_it_is_not_the_hosts(self) -> None:
        uuid = self.active("vm")
        here = self.host(uuid)
        for name in self.hosts_named():
            self.dies(name)
        time.sleep(3)
        self.stays(uuid, here)
        self.assertEqual([], self.asked())


class AskedTest(FencedCase):
    """Only servers that ask for it leave a dead host."""

    mode = "asked"

    def test_only_servers_that_ask_for_it_leave_a_dead_host(self) -> None:
        plain, asks = self.active("plain"), self.active("asks", metadata={WISH: "true"})
        if self.host(plain) != self.host(asks):
            self.asked_for(plain, {"migrate": {"host": self.host(asks)}})
            self.until_idle(plain, "VERIFY_RESIZE")
            self.asked_for(plain, {"confirmResize": None}, 204)
            self.until_idle(plain, "ACTIVE")
        dead = self.host(asks)
        self.dies(dead)
        self.elsewhere(asks, dead)
        self.assertEqual(dead, self.host(plain))

    def test_the_fence_of_a_host_on_which_nobody_waits_is_not_asked(self) -> None:
        uuid = self.active("plain")
        here = self.host(uuid)
        self.dies(here)
        time.sleep(3)
        self.stays(uuid, here)
        self.assertEqual([], self.asked())


class FencedDesiredTest(Fenced, DesiredCase):
    """Desired servers where there is a fence: silence alone does not lose one."""

    mode = "never"

    def test_a_desired_server_is_replaced_only_when_the_fence_says_yes(self) -> None:
        self.says(1, "who knows")
        self.desire(2)
        before = self.until_running(2)
        (lost,) = [one for one in self.servers() if one["id"] == before[1]]
        self.down(lost["OS-EXT-SRV-ATTR:host"])
        self.until("the fence was asked", lambda: bool(self.asked()))
        time.sleep(NOT_YET)
        self.assertEqual(before, self.ids())
        self.says(0, "it is off")
        left = "its server is gone"
        self.until(left, lambda: before[1] not in {one["id"] for one in self.servers()})
        self.until_running(2)
