"""A deployment with a share service beside it."""

from typing import Any

from tests.functional.peers.manila import Manila
from tests.functional.pipeline.case import PipelineCase

VERSION = "2.97"


class ShareCase(PipelineCase):
    """A deployment, and shares in its project."""

    def setUp(self) -> None:
        self.manila = Manila()
        self.more = f"{self.more}\n{self.manila.options}"
        super().setUp()
        self.addCleanup(self.manila.stop)

    def share(self, **more: Any) -> str:
        """Have a share."""
        return self.manila.add(self.project, **more)

    def path(self, uuid: str, share: str = "") -> str:
        """Return the path of a server's shares, or of one of them."""
        return f"/servers/{uuid}/shares" + (f"/{share}" if share else "")

    def of(self, uuid: str) -> dict[str, str]:
        """Return the shares of a server with the status of each."""
        answer = self.ask("compute", "GET", self.path(uuid), version=VERSION)
        self.assertEqual(200, answer.status_code, answer.text)
        return {one["share_id"]: one["status"] for one in answer.json()["shares"]}

    def ask_to_attach(self, uuid: str, share: str, **more: Any) -> Any:
        """Ask for a share to be attached, and return the answer."""
        body = {"share": {"share_id": share} | more}
        return self.ask("compute", "POST", self.path(uuid), body, version=VERSION)

    def attach(self, uuid: str, share: str, status: str = "inactive", **more: Any) -> Any:
        """Attach a share, wait until it has a status, and return what the API answered."""
        answer = self.ask_to_attach(uuid, share, **more)
        self.assertEqual(201, answer.status_code, answer.text)
        self.until(f"it is {status}", lambda: self.of(uuid).get(share) == status)
        return answer.json()["share"]

    def detach(self, uuid: str, share: str) -> None:
        """Detach a share, and wait until the server has it no more."""
        answer = self.ask("compute", "DELETE", self.path(uuid, share), version=VERSION)
        self.assertEqual(200, answer.status_code, answer.text)
        self.until("the server has it no more", lambda: share not in self.of(uuid))

    def do(self, uuid: str, action: str, status: str, details: Any = None) -> None:
        """Have something done with a server, and wait until it has a status."""
        answer = self.ask("compute", "POST", f"/servers/{uuid}/action", {action: details})
        self.assertEqual(202, answer.status_code, answer.text)
        self.until_status(uuid, status)

    def stopped(self, name: str = "vm", **more: Any) -> str:
        """Create a server, and wait until it is shut down."""
        uuid = self.create(name, **more)
        self.until_status(uuid, "ACTIVE")
        self.do(uuid, "os-stop", "SHUTOFF")
        return uuid

    def driver(self, host: int = 0) -> Any:
        """Return the fake driver of one of the hosts."""
        hosts: Any = self.deployment.part("compute")
        return hosts._services[host]._driver

    def mounted(self, host: int = 0) -> set[str]:
        """Return the shares that are mounted on a host."""
        return set(self.driver(host).mounted_shares())

    def guest_has(self, uuid: str, host: int = 0) -> dict[str, str]:
        """Return the tags of the shares that a fake guest has."""
        return {one.share_id: one.tag for one in self.driver(host)._guests[uuid].shares}
