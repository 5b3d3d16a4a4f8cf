"""People who create, stop, start, reboot, resize, move and delete servers, and remember what they were
promised."""

import json
import random
from collections.abc import Mapping
from typing import Any

from keystoneauth1 import exceptions

from tests.faults.world.deployment import IMAGE, Deployment

_BUSY = 0.65
"""How often somebody does something with a server that is there, and does not ask for one more."""
_HASTY = 0.2
"""How many servers are deleted as soon as they are asked for."""
_MOVED = 10
KEPT, DELETED, UNSURE = "kept", "deleted", "unsure"
ACTIONS: Mapping[str, Any] = {
    "stop": {"os-stop": None},
    "start": {"os-start": None},
    "reboot": {"reboot": {"type": "HARD"}},
    "grow": {"resize": {"flavorRef": "2"}},
    "shrink": {"resize": {"flavorRef": "1"}},
    "migrate": {"migrate": None},
    "live": {"os-migrateLive": {"host": None, "block_migration": "auto"}},
    "confirm": {"confirmResize": None},
    "revert": {"revertResize": None},
}
"""What is asked of servers, and how."""
_ALSO = {"grow": (400, 403), "shrink": (400, 403), "live": (400,)}
"""What is refused for good reasons: a size that it has or that is too much; a host that is down."""


class Person:
    """Somebody with servers.

    ``fates`` says of each that was accepted whether it was deleted, or perhaps (``unsure``). ``refusals``
    are answers that nobody should ever get.
    """

    def __init__(self, deployment: Deployment, name: str, seed: int) -> None:
        self._deployment = deployment
        self._name = name
        self._chance = random.Random(seed)
        self.fates: dict[str, str] = {}
        self.refusals: list[str] = []
        self._count = 0

    def live(self, until: float) -> None:
        """Do this and that until a moment."""
        while self._deployment.kernel.now < until:
            if self.fates and self._chance.random() < _BUSY:
                self._change(self._chance.choice(list(self.fates)))
            else:
                self.create()
            self._deployment.kernel.sleep(self._chance.uniform(0.0, 8.0))

    def create(self) -> None:
        """Ask for a server."""
        self._count += 1
        server = {"name": f"{self._name}-{self._count}", "flavorRef": "1", "imageRef": IMAGE}
        answer = self._ask("POST", "/servers", {"server": server | {"networks": "none"}})
        if answer is not None and answer.status_code == 202:
            uuid = answer.json()["server"]["id"]
            self.fates[uuid] = KEPT
            if self._chance.random() < _HASTY:
                self._deployment.kernel.sleep(self._chance.expovariate(20.0))
                self._delete(uuid)
        elif answer is not None and answer.status_code not in (403, 503):
            self.refusals.append(f"create: {answer.status_code} {answer.text}")

    def _change(self, uuid: str) -> None:
        what = self._chance.choice(("delete", "delete", "grow", "migrate", *ACTIONS))
        if what == "delete":
            self._delete(uuid)
        else:
            self.act(uuid, what)

    def act(self, uuid: str, what: str) -> None:
        """Ask for an action on a server."""
        answer = self._ask("POST", f"/servers/{uuid}/action", ACTIONS[what])
        usual = (202, 204, 404, 409, 503, *_ALSO.get(what, ()))
        if answer is not None and answer.status_code not in usual:
            self.refusals.append(f"{what} {uuid}: {answer.status_code} {answer.text}")

    def move_some(self) -> None:
        """Ask for moves of this and that server."""
        for uuid in self._chance.sample(list(self.fates), min(len(self.fates), _MOVED)):
            self.act(uuid, self._chance.choice(("grow", "migrate", "live", "confirm", "revert")))

    def rescue_from(self, host: str, after: float) -> None:
        """Evacuate the servers of a host that is off, once that is known."""
        self._deployment.kernel.sleep(after)
        answer = self._ask("GET", f"/servers/detail?host={host}&all_tenants=1")
        servers = (
            answer.json()["servers"] if answer is not None and answer.status_code == 200 else ()
        )
        for server in servers:
            if self._deployment.is_off(host):
                path = f"/servers/{server['id']}/action"
                answer = self._ask("POST", path, {"evacuate": {}})
                if answer is not None and answer.status_code not in (200, 400, 404, 409, 503):
                    self.refusals.append(f"evacuate: {answer.status_code} {answer.text}")

    def force_down(self, host: str, after: float, lasts: float) -> None:
        """Say of a host, ``after`` some seconds, that it is off, and that it is not when that ``lasts``."""
        sleep = self._deployment.kernel.sleep
        for down, moment in ((True, after), (False, lasts)):
            sleep(moment)
            while self._deployment.is_off(host) or not down:
                answer = self._ask("GET", f"/os-services?host={host}&binary=nova-compute")
                found = (
                    answer.json()["services"]
                    if answer is not None and answer.status_code == 200
                    else ()
                )
                change = {"forced_down": down}
                if any(self._is_done(f"/os-services/{one['id']}", change) for one in found):
                    break
                sleep(1.0)

    def _is_done(self, path: str, change: Any) -> bool:
        answer = self._ask("PUT", path, change)
        return answer is not None and answer.status_code == 200

    def _delete(self, uuid: str) -> None:
        if self.fates[uuid] == KEPT:
            self.fates[uuid] = UNSURE
        answer = self._ask("DELETE", f"/servers/{uuid}")
        if answer is not None and answer.status_code in (204, 404):
            self.fates[uuid] = DELETED
        elif answer is not None and answer.status_code != 503:
            self.refusals.append(f"delete {uuid}: {answer.status_code} {answer.text}")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            return self._deployment.ask(method, f"/v2.1{path}", data)
        except exceptions.ConnectFailure:
            return None
