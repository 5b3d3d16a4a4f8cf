"""QEMU on a host whose shares are directories of this machine, bound in place of exports: no kernel has to
know NFS."""

import os

import fixtures
import testtools

from tests.integration.compute.worlds import QemuWorld
from tests.integration.services.cinder import STAND_INS


class SharingWorld(QemuWorld):
    """QEMU, with shares mounted below the directory of the test."""

    @property
    def more(self) -> str:  # type: ignore[override]
        """See ``LibvirtWorld``."""
        return f"[DEFAULT]\nstate_path = {self.directory}\n"

    def export(self, share_id: str) -> str:
        """Have a directory that is exported, and return where it is mounted from."""
        export = self.directory / f"export-{share_id}"
        export.mkdir(exist_ok=True)
        return f"nfs:{export}"


class SharesCase(testtools.TestCase):
    """A test in such a world, which ends with it."""

    def world(self) -> SharingWorld:
        """See ``DriverContract``."""
        world = SharingWorld()
        self.addCleanup(world.close)
        for name, value in (
            ("PATH", f"{STAND_INS}:{os.environ['PATH']}"),
            ("ALSO_IN", str(world.daemon.mounts)),
        ):
            self.useFixture(fixtures.EnvironmentVariable(name, value))
        return world
