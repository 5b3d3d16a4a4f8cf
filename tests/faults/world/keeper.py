"""Somebody who desires servers, and wants now more, now fewer of them, or others in their place."""

import json
import random
from typing import Any

from keystoneauth1 import exceptions

from tests.faults.world.deployment import IMAGE, Deployment

_MOST = 4
NAME = "web"
OWNER = "keeper"
"""The project of the desired servers, which has a quota of its own."""
_ROOT = "/kilonova/v1/desired"


class Keeper:
    """Has one name's desired servers. ``count`` is how many there must be in the end, once he said so."""

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self._deployment = deployment
        self._chance = random.Random(f"keeper {seed}")
        self.count: int | None = None
        self.refusals: list[str] = []

    def live(self, until: float) -> None:
        """Change what is desired, and spoil some of it, until a moment; then say what must be."""
        self._desire(self._chance.randint(1, _MOST))
        while self._deployment.kernel.now < until:
            self._deployment.kernel.sleep(self._chance.uniform(0.0, 6.0))
            what = self._chance.random()
            if what < 0.4:
                self._scale(self._chance.randint(0, _MOST))
            elif what < 0.5:
                self._ask("PUT", f"{_ROOT}/{NAME}", {"server": {"flavorRef": "1"}}, (404, 409))
            elif what < 0.55:
                self._ask("DELETE", f"{_ROOT}/{NAME}", None, (404,))
            elif what < 0.65:
                self._desire(self._chance.randint(1, _MOST))
            else:
                self._spoil()
        self._insist()

    def _insist(self) -> None:
        """Ask for a number of servers until that is accepted."""
        wanted = self._chance.randint(1, _MOST)
        while not (self._scale(wanted) or self._desire(wanted)):
            self._deployment.kernel.sleep(5.0)
        self.count = wanted

    def _desire(self, count: int) -> bool:
        server = {"flavorRef": "1", "imageRef": IMAGE, "networks": "none"}
        body = {"desired": {"name": NAME, "count": count}, "server": server}
        return self._ask("POST", _ROOT, body, (409,)) is not None

    def _scale(self, count: int) -> bool:
        body = {"desired": {"count": count}}
        return self._ask("PUT", f"{_ROOT}/{NAME}", body, (404, 409)) is not None

    def _spoil(self) -> None:
        """Stop or delete one of the servers."""
        shown = self._ask("GET", f"{_ROOT}/{NAME}", None, (404,))
        servers = [] if shown is None else shown.json()["desired"]["servers"]
        uuids = [one["id"] for one in servers if one["id"]]
        if uuids:
            uuid = self._chance.choice(uuids)
            if self._chance.random() < 0.5:
                self._ask("DELETE", f"/v2.1/servers/{uuid}", None, (404, 409))
            else:
                self._ask("POST", f"/v2.1/servers/{uuid}/action", {"os-stop": None}, (404, 409))

    def _ask(self, method: str, path: str, body: Any, usual: tuple[int, ...]) -> Any:
        """Return what was answered, if that was a success."""
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = self._deployment.ask(method, path, data, OWNER)
        except exceptions.ConnectFailure:
            return None
        if answer.status_code < 300:
            return answer
        if answer.status_code not in (503, *usual):
            self.refusals.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return None
