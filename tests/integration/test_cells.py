"""Three cells on real databases and buses: sixty servers, and a cell that hangs, goes, and comes back."""

import time
from typing import Any, ClassVar

import requests

from tests.integration.case import BootTest, eventually
from tests.integration.cells import CELLS, HOSTS, CellsDeployment
from tests.integration.services.keystone import ADMIN, DEMO
from tests.integration.services.process import CommandFailed

PATIENCE = 60


class CellsTest(BootTest):
    """One life of such a deployment."""

    deployment: ClassVar[CellsDeployment]

    @classmethod
    def describe(cls) -> CellsDeployment:
        """Return the deployment."""
        return CellsDeployment("cells")

    def ask(self, method: str, path: str, body: Any = None, user: str = DEMO) -> requests.Response:
        """Ask the Compute API, as the tenant."""
        return self.deployment.ask(method, path, body, user)

    def create(self, count: int) -> requests.Response:
        """Ask for servers by one request."""
        server = {"name": "vm", "flavorRef": "tiny", "imageRef": self.image, "networks": "none"}
        body = {"server": server | {"min_count": count, "max_count": count}}
        answer = self.ask("POST", "/servers", body)
        self.assertEqual(202, answer.status_code, answer.text)
        return answer

    def listed(self, query: str = "", user: str = DEMO) -> list[dict[str, Any]]:
        """Return the servers of all pages in detail."""
        found: list[dict[str, Any]] = []
        path = f"/servers/detail?{query}"
        while path:
            answer = self.ask("GET", path, user=user)
            self.assertEqual(200, answer.status_code, answer.text)
            found += answer.json()["servers"]
            links = answer.json().get("servers_links", [])
            path = links[0]["href"].partition("/v2.1")[2] if links else ""
        return found

    def with_status(self, status: str) -> set[str]:
        """Return the servers that are listed under a status."""
        return {server["id"] for server in self.listed() if server["status"] == status}

    def by_cell(self) -> dict[str, set[str]]:
        """Return the servers of each cell."""
        names = {"one": "cell1", "two": "two", "three": "three"}
        found: dict[str, set[str]] = {cell: set() for cell in CELLS}
        for server in self.listed("all_tenants=1", user=ADMIN):
            host = server["OS-EXT-SRV-ATTR:host"]
            found[names[host.partition("-")[0]]].add(server["id"])
        return found

    def test_sixty_servers_in_three_cells_of_which_one_goes_and_comes_back(self) -> None:
        """Boots, lists, the cell that is away, its return, and the deletion of everything."""
        self.deployment.openstack(
            *("flavor", "create", "--id", "tiny", "--ram", "64", "--vcpus", "1", "--disk", "1"),
            "tiny",
        )
        file = self.deployment.directory / "image"
        file.write_bytes(b"never read")
        name = self.add_image(file, "raw")
        self.image = self.deployment.openstack_json("image", "show", name)["id"]
        self.assert_operators_see_cells_that_work()

        self.create(50)
        for _ in range(10):
            self.create(1)
        eventually("60 are ACTIVE", PATIENCE, lambda: len(self.with_status("ACTIVE")) == 60)
        there = self.by_cell()
        for servers in there.values():
            self.assertLessEqual(abs(len(servers) - 20), 2)
        self.assert_pages_are_exact()

        self.assert_a_hung_cell_holds_up_nobody(there)
        self.deployment.forwarder.stop()
        self.assert_the_others_work_without_it(there)
        self.deployment.forwarder.start()
        self.assert_it_is_back(there)
        self.delete_all()

    def assert_operators_see_cells_that_work(self) -> None:
        """The commands tell that all is well, and no password."""
        eventually("hosts are mapped", 30, self.verified)
        listed = self.deployment.manage("cell", "list")
        self.assertIn("rabbit://kilonova:***@", listed)
        self.assertNotIn("kilonova:kilonova", listed)
        shown = self.deployment.manage("cell", "list", "--show-secrets")
        self.assertIn("rabbit://kilonova:kilonova@", shown)

    def verified(self) -> bool:
        """Whether all cells are well."""
        try:
            said = self.deployment.manage("cell", "verify")
        except CommandFailed:
            return False
        return said.count(f"{HOSTS} of {HOSTS} up") == len(CELLS)

    def assert_pages_are_exact(self) -> None:
        """A walk through small pages is the whole list, under several orders."""
        for order in ("", "sort_key=display_name&sort_dir=asc", "sort_key=launched_at"):
            whole = [server["id"] for server in self.listed(order)]
            self.assertEqual(60, len(set(whole)))
            self.assertEqual(whole, [s["id"] for s in self.listed(f"limit=7&{order}")])

    def assert_a_hung_cell_holds_up_nobody(self, there: dict[str, set[str]]) -> None:
        """While its database takes all and answers nothing, lists take the time-out, then no time."""
        self.deployment.forwarder.hang()
        began = time.monotonic()
        self.assertEqual(there["two"], self.with_status("UNKNOWN"))
        self.assertLess(time.monotonic() - began, 6)

        def quick() -> bool:
            start = time.monotonic()
            unknown = [self.with_status("UNKNOWN") for _ in range(5)]
            self.assertEqual([there["two"]] * 5, unknown)
            return time.monotonic() - start < 3

        eventually("lists take no time", 40, quick)

    def assert_the_others_work_without_it(self, there: dict[str, set[str]]) -> None:
        """Lists and shows are partial, its servers are refused clearly, and the API starts without it."""
        lost, other = next(iter(there["two"])), next(iter(there["three"]))
        api = self.deployment.processes["api"]
        api.stop()
        self.deployment.start_service("api")
        self.deployment.wait_ready("api")
        self.assertEqual(there["two"], self.with_status("UNKNOWN"))
        self.assertEqual(60, len({server["id"] for server in self.listed("limit=7")}))
        shown = self.ask("GET", f"/servers/{lost}").json()["server"]
        self.assertEqual(("UNKNOWN", lost), (shown["status"], shown["id"]))
        for method, path, body in (
            ("DELETE", f"/servers/{lost}", None),
            ("POST", f"/servers/{lost}/action", {"os-stop": None}),
        ):
            answer = self.ask(method, path, body)
            self.assertEqual(503, answer.status_code, answer.text)
            self.assertNotIn("kilonova@", answer.text)
        self.assertEqual(204, self.ask("DELETE", f"/servers/{other}").status_code)
        eventually("one is gone", PATIENCE, lambda: other not in self.with_status("ACTIVE"))
        there["three"].discard(other)
        self.create(6)
        left = len(there["cell1"]) + len(there["three"])
        eventually("six more", PATIENCE, lambda: len(self.with_status("ACTIVE")) == left + 6)
        failed = self.assertRaises(CommandFailed, self.deployment.manage, "cell", "verify", "two")
        self.assertEqual(2, failed.status)
        self.assertIn("does not answer", failed.stdout)

    def assert_it_is_back(self, there: dict[str, set[str]]) -> None:
        """Everything is as it was, with what came and went meanwhile."""
        eventually("65 are ACTIVE", PATIENCE, lambda: len(self.with_status("ACTIVE")) == 65)
        now = self.by_cell()
        self.assertEqual(there["two"], now["two"])
        self.assertLessEqual(there["three"], now["three"])
        eventually("all is well", PATIENCE, self.verified)
