"""Guests of UEFI, with secure boot and with a TPM, under emulation."""

from pathlib import Path
from typing import Any

import msgspec
import testtools

from kilonova.core.instance import Instance
from tests.integration.case import eventually
from tests.integration.compute import efi
from tests.integration.compute.worlds import QemuWorld


class FirmwareTest(testtools.TestCase):
    """Real guests, whose disk only UEFI can start."""

    def setUp(self) -> None:
        super().setUp()
        self.world = QemuWorld()
        self.addCleanup(self.world.close)
        self.made: list[Instance] = []
        self.addCleanup(self._remove_all)

    def _remove_all(self) -> None:
        for server in self.made:
            self.world.driver.destroy(server.uuid)

    def spawned(self, **specs: str) -> Instance:
        """Return a server whose guest was spawned; ``os__x`` stands for the extra spec ``os:x``."""
        server = self.world.of_disk("vm", efi.disk())
        extra = {key.replace("__", ":"): value for key, value in specs.items()}
        flavor = msgspec.structs.replace(server.flavor, memory_mb=128, extra_specs=extra)
        assert server.image is not None
        image = msgspec.structs.replace(server.image, properties={"hw_firmware_type": "uefi"})
        server = msgspec.structs.replace(server, flavor=flavor, image=image)
        self.made.append(server)
        self.world.driver.prepare_disks(server)
        self.world.driver.spawn(server)
        return server

    def until_it_says(self, server: Instance, words: str) -> str:
        """Wait until a guest's console says something, and return all of it."""
        said = ""

        def says() -> bool:
            nonlocal said
            said = self.world.driver.console_output(server.uuid, None)
            return words in said

        try:
            eventually(f"the console says {words}", 180, says)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {said}") from error
        return said

    def domain(self, server: Instance) -> Any:
        """Return a server's domain, seen by libvirt alone."""
        (found,) = [d for d in self.world.daemon.domains() if d.UUIDString() == server.uuid]
        return found

    def test_a_guest_starts_from_what_uefi_alone_finds_and_leaves_no_variables(self) -> None:
        server = self.spawned()
        self.until_it_says(server, efi.LINE)
        kept = self.variables()
        self.assertEqual(1, len(kept))
        self.world.driver.destroy(server.uuid)
        self.assertEqual([], self.variables())

    def variables(self) -> list[Path]:
        """Return the files of variables that guests' firmware keeps."""
        return list((self.world.daemon.directory / "lib" / "qemu" / "nvram").glob("*"))

    def test_a_secure_boot_starts_nothing_that_is_not_signed(self) -> None:
        server = self.spawned(os__secure_boot="required")
        said = self.until_it_says(server, "Access Denied")
        self.assertNotIn(efi.LINE, said)

    def test_a_guest_has_a_tpm_that_goes_with_it(self) -> None:
        server = self.spawned(hw__tpm_version="2.0", hw__tpm_model="tpm-crb")
        self.until_it_says(server, efi.LINE)
        self.assertIn("<tpm model='tpm-crb'>", self.domain(server).XMLDesc())
        states = self.world.daemon.directory / "lib" / "swtpm"
        self.assertEqual([server.uuid], [path.name for path in states.iterdir()])
        self.world.driver.destroy(server.uuid)
        self.assertEqual([], list(states.iterdir()))
