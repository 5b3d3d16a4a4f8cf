"""Evacuation: servers of a dead host are built anew elsewhere, and the host that returns removes them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kilonova.api.servers import moves
from kilonova.compute import service
from kilonova.compute.fake import FakeDriver
from kilonova.core.errors import BuildFailed
from kilonova.core.instance import Instance
from tests.functional.pipeline.moving_case import SMALL, MovingCase

EVACUATE: dict[str, Any] = {"evacuate": {}}
TPM = {"extra_specs": {"hw:tpm_version": "2.0"}}


class EvacuationTest(MovingCase):
    """Hosts whose guests outlive their service."""

    more = "service_down_time = 3600\n"
    script: list[dict[str, Any]] = [
        {"step": "spawn", "server": "unlucky", "error": "out of luck"},
        {"step": "spawn", "server": "second-luck", "times": 1, "error": "out of luck"},
    ]

    def hosts_of(self) -> Any:
        """Return the services of all hosts."""
        return self.deployment._running["compute"]._services  # type: ignore[attr-defined]

    def down(self, name: str) -> None:
        """Let a host be dead, and say so."""
        for one in self.hosts_of():
            if one._host == name:
                one.stop()
        self._force(name, down=True)

    def _force(self, name: str, *, down: bool) -> None:
        (found,) = self.get("compute", f"/os-services?host={name}&binary=nova-compute")["services"]
        answer = self.ask("compute", "PUT", f"/os-services/{found['id']}", {"forced_down": down})
        self.assertEqual(200, answer.status_code, answer.text)

    def back(self, name: str) -> None:
        """Let a dead host be back, with the guests that it had."""
        services = self.hosts_of()
        (index,) = [n for n, one in enumerate(services) if one._host == name]
        before = services[index]
        self._force(name, down=False)
        driver: FakeDriver = before._driver
        peers = (before._placement, before._handlers._mover._work._images)
        again = service.ComputeService(self.conf(), before._host, before._bus, driver, peers)
        services[index] = again
        again.start()

    def conf(self) -> Any:
        """Return the deployment's configuration."""
        return self.deployment._configuration()

    def test_a_server_of_a_live_host_is_not_evacuated(self) -> None:
        uuid = self.active("vm")
        answer = self.act(uuid, EVACUATE)
        self.assertEqual(400, answer.status_code, answer.text)
        self.assertIn("still in use", answer.text)
        self.gone(uuid)

    def test_a_server_of_a_dead_host_is_built_elsewhere_and_the_host_removes_its_own(self) -> None:
        for version, status in (("2.13", "ACTIVE"), ("2.14", "ACTIVE"), ("2.95", "SHUTOFF")):
            uuid = self.active("vm")
            dead = self.host(uuid)
            self.down(dead)
            old = {"onSharedStorage": False} if version == "2.13" else {}
            path = f"/servers/{uuid}/action"
            answer = self.ask("compute", "POST", path, {"evacuate": old}, version)
            self.assertEqual(200, answer.status_code, answer.text)
            self.until_idle(uuid, status)
            self.assertNotEqual(dead, self.host(uuid))
            self.assertEqual("done", self.until_migration(uuid, "done")["status"])
            self.assertEqual(2, self.held()["VCPU"], "what the dead host has is not free yet")
            self.back(dead)
            self.until_migration(uuid, "completed")
            self.settled(uuid, status, SMALL)
            self.gone(uuid)

    def test_a_server_whose_tpm_remembers_on_its_host_alone_does_not_leave_it_without(self) -> None:
        self.ask("compute", "POST", "/flavors/1/os-extra_specs", TPM)
        uuid = self.active("vm")
        dead = self.host(uuid)
        self.down(dead)
        for action in (EVACUATE, {"shelve": None}):
            answer = self.act(uuid, action)
            self.assertEqual(409, answer.status_code, answer.text)
            self.assertIn("not supported for vTPM-enabled instance", answer.text)
        self.assertEqual([], self.migrations(uuid))
        images = self.get("image", "/v2/images")["images"]
        self.assertEqual([self.image], [image["id"] for image in images])
        self.back(dead)
        self.settled(uuid, "ACTIVE", SMALL)

    def test_a_server_is_evacuated_once_however_many_ask_at_once(self) -> None:
        uuid = self.active("vm")
        dead = self.host(uuid)
        self.down(dead)
        path = f"/servers/{uuid}/action"
        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(self.ask, "compute", "POST", path, EVACUATE) for _ in range(4)]
            answers = sorted(one.result().status_code for one in asked)
        self.assertEqual([200, 409, 409, 409], answers)
        self.until_idle(uuid, "SHUTOFF")
        self.assertEqual(1, len(self.migrations(uuid)))
        self.back(dead)
        self.settled(uuid, "SHUTOFF", SMALL)

    def test_one_that_was_evacuated_while_its_host_was_looked_at_stays_on_its_new_host(
        self,
    ) -> None:
        uuid = self.active("vm")
        dead = self.host(uuid)
        self.down(dead)
        through, looked = moves.host_is_up, threading.Event()

        def slow(asked: Any, host: Any) -> bool:
            is_up = through(asked, host)
            if not looked.is_set():
                looked.set()
                self.asked_for(uuid, EVACUATE, 200)
                self.until_idle(uuid, "SHUTOFF")
            return is_up

        self.patch(moves, "host_is_up", slow)
        answer = self.act(uuid, EVACUATE)
        self.assertEqual(409, answer.status_code, answer.text)
        self.assertEqual(1, len(self.migrations(uuid)))
        self.back(dead)
        self.settled(uuid, "SHUTOFF", SMALL)

    def _renamed(self, uuid: str, name: str) -> None:
        """Give a server that runs another name, to which the script applies."""
        body = {"server": {"name": name}}
        answer = self.ask("compute", "PUT", f"/servers/{uuid}", body)
        self.assertEqual(200, answer.status_code, answer.text)

    def test_another_host_is_tried_when_one_cannot_build_it(self) -> None:
        uuid = self.active("vm")
        dead = self.host(uuid)
        self._renamed(uuid, "second-luck")
        self.down(dead)
        self.asked_for(uuid, EVACUATE, 200)
        self.until_idle(uuid, "SHUTOFF")
        rebuilt = self.events(uuid, "evacuate")
        self.assertEqual(("rebuild_server", "Success"), rebuilt[0])
        self.assertEqual(["Error", "Success"], [result for _, result in rebuilt[1:]])
        self.back(dead)
        self.settled(uuid, "SHUTOFF", SMALL)
        self.gone(uuid)

    def test_a_server_that_no_host_can_build_is_its_old_hosts_when_that_is_back(self) -> None:
        uuid = self.active("vm")
        dead = self.host(uuid)
        self._renamed(uuid, "unlucky")
        self.down(dead)
        self.asked_for(uuid, EVACUATE, 200)
        self.until_migration(uuid, "error")
        self.until_idle(uuid, "ACTIVE")
        self.assertEqual(dead, self.host(uuid))
        self.back(dead)
        self.settled(uuid, "ACTIVE", SMALL)
        self._renamed(uuid, "lucky again")
        self.asked_for(uuid, {"migrate": None})
        self.until_idle(uuid, "VERIFY_RESIZE")
        self.asked_for(uuid, {"revertResize": None})
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)

    def test_a_host_that_is_back_keeps_what_another_may_not_be_able_to_build(self) -> None:
        uuid = self.active("vm")
        dead = self.host(uuid)
        seen = threading.Event()
        self.addCleanup(seen.set)

        def recover(_driver: FakeDriver, _instance: Instance) -> None:
            seen.wait()
            raise BuildFailed("out of luck")

        self.patch(FakeDriver, "recover_disks", recover)
        self.down(dead)
        self.asked_for(uuid, EVACUATE, 200)
        self.until("it is being built elsewhere", lambda: self.host(uuid) != dead)
        self.back(dead)
        self.until("it does not run there", lambda: self.guests()[uuid] == [f"{dead} SHUTDOWN"])
        seen.set()
        self.until_migration(uuid, "error")
        self.settled(uuid, "SHUTOFF", SMALL)
        self.assertEqual(dead, self.host(uuid))
        self.asked_for(uuid, {"os-start": None})
        self.settled(uuid, "ACTIVE", SMALL)
        self.gone(uuid)

    def test_a_server_can_be_deleted_while_its_old_host_is_dead(self) -> None:
        uuid = self.active("vm")
        dead = self.host(uuid)
        self.down(dead)
        self.asked_for(uuid, EVACUATE, 200)
        self.until_idle(uuid, "SHUTOFF")
        self.delete(uuid)
        self.until_held(SMALL)
        self.back(dead)
        self.until("nothing is held", lambda: not self.held())
        self.assertEqual({}, self.guests())

    def test_a_server_that_waits_to_be_confirmed_is_whole_when_its_hosts_were_restarted(
        self,
    ) -> None:
        for decision, status in (({"confirmResize": None}, 204), ({"revertResize": None}, 202)):
            uuid = self.active("vm")
            source = self.host(uuid)
            self.asked_for(uuid, {"migrate": None})
            self.until_idle(uuid, "VERIFY_RESIZE")
            for name in (source, self.host(uuid)):
                self.down(name)
                self.back(name)
            self.until_idle(uuid, "VERIFY_RESIZE")
            self.assertEqual(2, len(self.guests()[uuid]))
            self.asked_for(uuid, decision, status)
            self.settled(uuid, "ACTIVE", SMALL)
            self.gone(uuid)
