"""Guests of UEFI, with secure boot and with a TPM, under emulation."""

from pathlib import Path
from typing import Any

import msgspec
import testtools

from kilonova.core.instance import Instance
from kilonova.core.migration import Kind
from tests.functional.compute.driver_contract import never
from tests.functional.compute.size_contract import resize_of
from tests.integration.case import eventually
from tests.integration.compute import efi
from tests.integration.compute.two_hosts import Sailing, TwoHosts
from tests.integration.compute.worlds import QemuWorld


def of_uefi(world: QemuWorld, **specs: str) -> Instance:
    """Return a server that UEFI starts; ``os__x`` stands for the extra spec ``os:x``."""
    server = world.of_disk("vm", efi.disk())
    extra = {key.replace("__", ":"): value for key, value in specs.items()}
    flavor = msgspec.structs.replace(server.flavor, memory_mb=128, extra_specs=extra)
    assert server.image is not None
    image = msgspec.structs.replace(server.image, properties={"hw_firmware_type": "uefi"})
    return msgspec.structs.replace(server, flavor=flavor, image=image)


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
        """Return a server whose guest was spawned, as ``of_uefi``."""
        server = of_uefi(self.world, **specs)
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
        self.assertIn(f"{server.uuid}/variables.fd", self.world.files())
        self.world.driver.destroy(server.uuid)
        self.assertEqual([], self.world.files())

    def test_a_secure_boot_starts_nothing_that_is_not_signed(self) -> None:
        server = self.spawned(os__secure_boot="required")
        said = self.until_it_says(server, "Access Denied")
        self.assertNotIn(efi.LINE, said)


class FirmwareMovesTest(TwoHosts):
    """A guest of UEFI with a TPM, which remember on whichever host it is."""

    def setUp(self) -> None:
        super().setUp()
        self.server = of_uefi(self.here, hw__tpm_version="2.0", hw__tpm_model="tpm-crb")

    def test_what_variables_and_tpm_remember_goes_with_their_guest(self) -> None:
        """To another host in another size, back again, to it live, and then to nowhere."""
        here, there = self.here.driver, self.there.driver
        here.prepare_disks(self.server)
        here.spawn(self.server)
        self.until_up(self.here, 1)
        move = self.prepared(self.move(Kind.RESIZE))
        here.stop(self.server.uuid, 0, never)
        remembered = self.remembered(self.here)
        self.assertEqual(["tpm2-00.permall", "variables.fd"], sorted(remembered))
        for _ in range(2):
            here.send(self.server, move)
        there.receive(self.arriving(move), move, power_on=False)
        self.assertEqual(remembered, self.remembered(self.there))
        self.assertNotIn("tpm.state", self.files(self.there))
        for _ in range(2):
            there.receive(self.arriving(move), move, power_on=True)
        self.until_up(self.there, 2)

        there.destroy(self.server.uuid)
        self.assertEqual({}, self.remembered(self.there))
        here.restore(self.server, move, power_on=False)
        self.assertEqual(remembered, self.remembered(self.here))
        here.start(self.server.uuid)
        move = self.prepared(self.move(Kind.LIVE))
        here.live_migrate(self.server, move, Sailing())
        here.destroy(self.server.uuid)
        there.arrive(self.arriving(move), move)
        self.assertEqual({}, self.remembered(self.here))
        self.assertEqual(sorted(remembered), sorted(self.remembered(self.there)))
        there.destroy(self.server.uuid)
        self.assertEqual({}, self.remembered(self.there))

    def test_a_resize_where_it_is_gives_back_what_they_remembered(self) -> None:
        here, changed = self.here.driver, b"changed"
        here.prepare_disks(self.server)
        here.spawn(self.server)
        move = self.move(Kind.RESIZE)
        move = msgspec.structs.replace(move, destination=resize_of(self.server).destination)
        move = msgspec.structs.replace(move, source_host=move.chosen.host)
        here.stop(self.server.uuid, 0, never)
        remembered = self.remembered(self.here)
        here.send(self.server, move)
        here.receive(self.arriving(move), move, power_on=False)
        for path in self.paths(self.here):
            path.write_bytes(changed)
        for _ in range(2):
            here.restore(self.server, move, power_on=False)
        self.assertEqual(remembered, self.remembered(self.here))
        here.send(self.server, move)
        without = msgspec.structs.replace(move.new_flavor, extra_specs={})
        move = msgspec.structs.replace(move, new_flavor=without)
        here.receive(self.arriving(move), move, power_on=False)
        here.forget(self.server.uuid)
        self.assertEqual(["variables.fd"], sorted(self.remembered(self.here)))
        self.assertEqual(set(), {name for name in self.files(self.here) if "kept" in name})

    def until_up(self, world: QemuWorld, times: int) -> None:
        """Wait until the guest has said its line so many times, on one host after the other."""

        def says() -> bool:
            return world.driver.console_output(self.server.uuid, None).count(efi.LINE) >= times

        eventually(f"it came up {times} times", 180, says)

    def paths(self, world: QemuWorld) -> list[Path]:
        """Return the files in which variables and TPM remember."""
        states = world.daemon.directory / "lib" / "swtpm"
        own = world.instances / self.server.uuid / "variables.fd"
        return [*states.glob("*/*/*.permall"), *([own] if own.exists() else [])]

    def remembered(self, world: QemuWorld) -> dict[str, bytes]:
        """Return what they remember on a host."""
        return {path.name: path.read_bytes() for path in self.paths(world)}
