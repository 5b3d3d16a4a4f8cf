"""A deployment in which servers are desired."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import requests

from kilonova.compute.fake import FakeDriver
from kilonova.compute.service import ComputeService
from kilonova.conductor import converger, patience
from kilonova.conductor.repairs.desired import not_as_desired
from kilonova.conductor.repairs.scene import Scene
from kilonova.core.states import PowerState
from tests.functional.pipeline.case import PipelineCase


class DesiredCase(PipelineCase):
    """Three hosts, a converger that waits for nothing, and a host that is lost as soon as it is down."""

    hosts = 3

    def setUp(self) -> None:
        self.patch(patience, "HOST_LOST", timedelta(seconds=2))
        self.patch(patience, "NOT_DELETED", timedelta(seconds=1))
        super().setUp()
        conductor: Any = self.deployment.part("conductor")
        conductor._converger._interval = 0.2

    def own(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Ask below ``/kilonova/v1/desired`` as the admin user."""
        root = self.deployment.options.urls["compute"].removesuffix("/v2.1")
        headers = {"X-Auth-Token": f"admin:{self.project}"}
        url = f"{root}/kilonova/v1/desired{path}"
        return requests.request(method, url, json=body, headers=headers, timeout=60)

    def owned(self, status: int, method: str, path: str, body: Any = None) -> Any:
        """Ask, expect a status, and return what is told."""
        answer = self.own(method, path, body)
        self.assertEqual(status, answer.status_code, f"{method} {path}: {answer.text}")
        return answer.json()["desired"] if answer.content else None

    def desire(self, count: int, name: str = "web", **more: Any) -> Any:
        """Desire so many small servers."""
        policy = {"group_policy": more.pop("group_policy")} if "group_policy" in more else {}
        server = {"flavorRef": "1", "imageRef": self.image, "networks": "none"} | more
        body = {"desired": {"name": name, "count": count} | policy, "server": server}
        return self.owned(202, "POST", "", body)

    def shown(self, name: str = "web") -> Any:
        """Return desired servers as they are shown."""
        return self.owned(200, "GET", f"/{name}")

    def scale(self, count: int, name: str = "web") -> None:
        """Desire another number of them."""
        self.owned(202, "PUT", f"/{name}", {"desired": {"count": count}})

    def ids(self, name: str = "web") -> list[str]:
        """Return the servers by index."""
        return [one["id"] for one in self.shown(name)["servers"]]

    def until_running(self, count: int, name: str = "web", seconds: float = 120) -> list[str]:
        """Wait until exactly one server runs at each index, and return them."""

        def runs() -> bool:
            shown = self.shown(name)
            states = [one["status"] for one in shown["servers"]]
            return states == ["running"] * count and shown["replace"] is None

        self.until(f"{count} run", runs, seconds)
        ids = self.ids(name)
        live = [one for one in self.servers() if one["name"].startswith(f"{name}-")]
        self.assertEqual(sorted(ids), sorted(one["id"] for one in live))
        names = {one["id"]: one["name"] for one in live}
        self.assertEqual([f"{name}-{n}" for n in range(count)], [names[uuid] for uuid in ids])
        self.assertEqual({"ACTIVE"}, {one["status"] for one in live} | {"ACTIVE"})
        return ids

    def forget(self, name: str = "web") -> None:
        """Desire them no more, and check that nothing is left."""
        self.owned(202, "DELETE", f"/{name}")
        self.until("it is gone", lambda: self.own("GET", f"/{name}").status_code == 404)
        self.until("nothing is left", lambda: not self.servers())
        self.assert_nothing_left()

    def drivers(self) -> dict[str, FakeDriver]:
        """Return the fake hypervisors by host."""
        services: Any = self.deployment.part("compute")
        return {one._host: one._driver for one in services._services}

    def guests(self) -> list[str]:
        """Return the servers of all guests that run, on any host."""
        return sorted(
            uuid
            for driver in self.drivers().values()
            for uuid, guest in driver.guests().items()
            if guest.power == PowerState.RUNNING
        )

    def die(self, uuid: str) -> None:
        """Let a server's guest end by itself."""
        for driver in self.drivers().values():
            guest = driver._guests.get(uuid)  # type: ignore[call-overload]
            if guest is not None:
                guest.power = PowerState.SHUTDOWN
                driver._tell(uuid, PowerState.SHUTDOWN)  # type: ignore[arg-type]

    def down(self, name: str) -> None:
        """Let a host be silent from now on, with its guests where they are."""
        services: Any = self.deployment.part("compute")
        (self._dead,) = [one for one in services._services if one._host == name]
        self._dead.stop()
        services._services.remove(self._dead)

    def back(self) -> None:
        """Let the host be back, with the guests that it had."""
        dead = self._dead
        conf = self.deployment._configuration()
        peers = (dead._placement, dead._handlers._mover._work._images)
        again = ComputeService(conf, dead._host, dead._bus, dead._driver, peers)
        services: Any = self.deployment.part("compute")
        services._services.append(again)
        again.start()

    def scene(self) -> Scene:
        """Return what the conductor's converger looks at and acts on."""
        conductor: Any = self.deployment.part("conductor")
        scene: Scene = conductor._converger._scene
        return scene

    def only_by_hand(self) -> None:
        """Let the conductor's converger leave desired servers alone."""
        others = {name: look for name, look in converger.OF_DEPLOYMENT.items() if name != "desired"}
        self.patch(converger, "OF_DEPLOYMENT", others)

    def converge(self, drive: Callable[[Any], Any] = lambda through: through) -> int:
        """Mend what is not as desired, and return how much that was.

        ``drive`` wraps what sets builds going.
        """
        scene = self.scene()
        hands = replace(scene.hands, drive=drive(scene.hands.drive))
        return sum(
            finding.mend() is not None for finding in not_as_desired(replace(scene, hands=hands))
        )
