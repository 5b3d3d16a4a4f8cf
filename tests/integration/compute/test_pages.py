"""A real guest in huge pages, on a machine that gives some."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import msgspec
import testtools

from kilonova.core.states import PowerState
from tests.integration import services
from tests.integration.compute.worlds import QemuWorld

_SIZE_KB = 2048
_POOL = Path(f"/sys/kernel/mm/hugepages/hugepages-{_SIZE_KB}kB")


class PagesWorld(QemuWorld):
    """A host whose libvirt found huge pages when it started."""

    name = "pages"


class PagesTest(testtools.TestCase):
    """``hw:mem_page_size``."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() or not _POOL.is_dir():
            self.skipTest("Huge pages take root, and a kernel that has them.")
        self.pool = _POOL / "nr_hugepages"
        before = self.pool.read_text()
        self.addCleanup(self.pool.write_text, before)

    def reserve(self, count: int) -> None:
        """Have so many more pages, and where libvirt finds them."""
        wanted = int(self.pool.read_text()) + count
        with contextlib.suppress(OSError):
            self.pool.write_text(str(wanted))
        if int(self.pool.read_text()) < wanted:
            self.skipTest(f"This machine has no {count} huge pages to give.")
        directory = tempfile.mkdtemp(dir=services.scratch())
        mounted = ["mount", "-t", "hugetlbfs", "none", directory]
        if subprocess.run(mounted, capture_output=True, check=False).returncode:
            self.skipTest("This machine mounts no hugetlbfs.")
        self.addCleanup(subprocess.run, ["umount", "--lazy", directory], check=True)

    def test_all_memory_of_a_guest_is_in_them_and_goes_back_to_the_pool(self) -> None:
        had = int((_POOL / "free_hugepages").read_text())
        memory_mb = 64
        pages = memory_mb * 1024 // _SIZE_KB
        self.reserve(pages)
        world = PagesWorld()
        self.addCleanup(world.close)
        plain = world.deaf("vm")
        flavor = msgspec.structs.replace(
            plain.flavor, memory_mb=memory_mb, extra_specs={"hw:mem_page_size": "large"}
        )
        server = msgspec.structs.replace(plain, flavor=flavor)
        self.addCleanup(world.driver.destroy, server.uuid)
        self.assertEqual(had + pages, self.offered(world))
        world.driver.prepare_disks(server)
        world.driver.spawn(server)
        self.assertIs(PowerState.RUNNING, world.driver.guests()[server.uuid].power)
        self.assertEqual(had, self.offered(world))
        # The kernel takes a page from the pool, or keeps it back, for each that is mapped.
        free, kept = (
            int((_POOL / name).read_text()) for name in ("free_hugepages", "resv_hugepages")
        )
        self.assertEqual(had, free - kept)
        world.driver.destroy(server.uuid)
        self.assertEqual(had + pages, int((_POOL / "free_hugepages").read_text()))

    def offered(self, world: PagesWorld) -> int:
        """Return how many pages the host says that servers can get."""
        (node,) = world.driver.nodes()
        return sum(cell.pages.get(_SIZE_KB, 0) for cell in node.numa)
